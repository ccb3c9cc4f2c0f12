/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint of the audit log: its last record's number and hash, signed by the manager's signing
 * key. Kept elsewhere it proves that nothing up to it was changed or cut off since. */
#pragma once

#include "core/message.h"
#include "keys/sign.h"
#include "manager/audit_chain.h"

#define AUDIT_CHECKPOINT_DOMAIN "emberlock v1 audit checkpoint"

#define AUDIT_CHECKPOINT_SIZE 128
struct audit_checkpoint {
	struct audit_head head; /* number not 0 */
	uint64_t made_at;	/* seconds since 1970 */
	uint64_t key_id;	/* signing_key_id() */
	uint8_t signature[SIGNATURE_SIZE];
};
/*   0 magic "EMBAUD01" · 8 number · 16 made at · 24 hash · 56 key id · 64 signature */

/* Fills key id and signature, encodes. 0 or negative errno. */
int audit_checkpoint_sign(const struct signing_key *key, struct audit_checkpoint *checkpoint,
			  uint8_t ret_bytes[static AUDIT_CHECKPOINT_SIZE]);
/* The form alone: 0 or -EBADMSG. */
int audit_checkpoint_decode(const uint8_t *bytes, size_t n,
			    struct audit_checkpoint *ret_checkpoint);
/* 0, or -EBADMSG where it is not PUBLIC_KEY's. */
int audit_checkpoint_verify(const struct audit_checkpoint *checkpoint,
			    const uint8_t public_key[static PUBLIC_KEY_SIZE]);
