/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint of the audit log. */
#include "manager/audit_checkpoint.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

#define MAGIC	  "EMBAUD01"
#define SIGNED_TO 64

static void encode(const struct audit_checkpoint *checkpoint,
		   uint8_t bytes[static AUDIT_CHECKPOINT_SIZE])
{
	memcpy(bytes, MAGIC, 8);
	put_be64(bytes + 8, checkpoint->head.number);
	put_be64(bytes + 16, checkpoint->made_at);
	memcpy(bytes + 24, checkpoint->head.hash, HASH_SIZE);
	put_be64(bytes + 56, checkpoint->key_id);
	memcpy(bytes + SIGNED_TO, checkpoint->signature, SIGNATURE_SIZE);
}

int audit_checkpoint_sign(const struct signing_key *key, struct audit_checkpoint *checkpoint,
			  uint8_t ret_bytes[static AUDIT_CHECKPOINT_SIZE])
{
	uint8_t public_key[PUBLIC_KEY_SIZE], bytes[AUDIT_CHECKPOINT_SIZE];
	int r;

	signing_key_public(key, public_key);
	checkpoint->key_id = signing_key_id(public_key);
	encode(checkpoint, bytes);
	r = sign_domain(key, AUDIT_CHECKPOINT_DOMAIN, bytes, SIGNED_TO, checkpoint->signature);
	if (r < 0)
		return r;
	encode(checkpoint, ret_bytes);
	return 0;
}

int audit_checkpoint_decode(const uint8_t *bytes, size_t n, struct audit_checkpoint *ret_checkpoint)
{
	struct audit_checkpoint checkpoint = {0};

	if (n != AUDIT_CHECKPOINT_SIZE || memcmp(bytes, MAGIC, 8) != 0)
		return -EBADMSG;
	checkpoint.head.number = get_be64(bytes + 8);
	checkpoint.made_at = get_be64(bytes + 16);
	memcpy(checkpoint.head.hash, bytes + 24, HASH_SIZE);
	checkpoint.key_id = get_be64(bytes + 56);
	memcpy(checkpoint.signature, bytes + SIGNED_TO, SIGNATURE_SIZE);
	if (checkpoint.head.number == 0)
		return -EBADMSG;
	*ret_checkpoint = checkpoint;
	return 0;
}

int audit_checkpoint_verify(const struct audit_checkpoint *checkpoint,
			    const uint8_t public_key[static PUBLIC_KEY_SIZE])
{
	uint8_t bytes[AUDIT_CHECKPOINT_SIZE];

	encode(checkpoint, bytes);
	return verify_domain(public_key, AUDIT_CHECKPOINT_DOMAIN, bytes, SIGNED_TO,
			     checkpoint->signature);
}
