/* SPDX-License-Identifier: Apache-2.0 */
/* Verifies an exported audit log, from its first record, with what left the machine before.
 *
 *	audit_verifier_add_checkpoint() ... ─▶ audit_verifier_text() ... ─▶ audit_verifier_end()
 */
#pragma once

#include "manager/audit_checkpoint.h"

#define AUDIT_KEYS_MAX 256

/* Zeroed at first. */
struct audit_verifier {
	struct audit_head head;
	uint64_t withheld; /* records known by their hash alone */
	/* Where it is given, checkpoints must be signed by a key that it vouches for. */
	bool have_root;
	uint8_t root_public[PUBLIC_KEY_SIZE];
	/* Keys of the sets that the log holds, as the root key signed them. */
	size_t n_keys;
	uint8_t keys[AUDIT_KEYS_MAX][PUBLIC_KEY_SIZE];
	struct audit_checkpoint *checkpoints; /* by number, once a line was read */
	size_t n_checkpoints, room;
	size_t met; /* how many of them have a number that was read */
	uint64_t
		proven; /* the highest number that a checkpoint agrees to; 0: the tail is not proven */
};

/* HEX: AUDIT_CHECKPOINT_SIZE bytes in hex, LEN digits. 0, -EBADMSG, -ENOMEM. All
 * before the first line. */
int audit_verifier_add_checkpoint(struct audit_verifier *verifier, const char *hex, size_t len);

/* The next N bytes of the log: whole lines, each with its newline. 0, or -EBADMSG with ERROR naming
 * the record. */
int audit_verifier_text(struct audit_verifier *verifier, const char *text, size_t n,
			char error[static 256]);

/* Frees what it holds, not itself. */
void audit_verifier_done(struct audit_verifier *verifier);

/* No more lines come: each checkpoint must have been met, and be signed. */
int audit_verifier_end(struct audit_verifier *verifier, char error[static 256]);
