/* SPDX-License-Identifier: Apache-2.0 */
/* The set of keys that may sign tokens. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "core/field.h"

#define MAGIC "EMBKEY01"
#define KEYS  32

void signing_keys_encode(const struct signing_keys *set, uint8_t bytes[static SIGNING_KEYS_SIZE])
{
	memset(bytes, 0, SIGNING_KEYS_SIZE);
	memcpy(bytes, MAGIC, MAGIC_SIZE);
	put_be64(bytes + 8, set->epoch);
	put_be32(bytes + 16, set->n_keys);
	for (size_t i = 0; i < set->n_keys && i < SIGNING_KEYS_MAX; i++)
		memcpy(bytes + KEYS + i * PUBLIC_KEY_SIZE, set->keys[i], PUBLIC_KEY_SIZE);
	memcpy(bytes + 288, set->signature, SIGNATURE_SIZE);
}

int signing_keys_decode(const uint8_t *bytes, size_t size, struct signing_keys *ret_set)
{
	struct signing_keys set = {};
	size_t used;

	if (!field_starts(bytes, size, SIGNING_KEYS_SIZE, MAGIC) || !bytes_are_zero(bytes + 20, 12))
		return -EBADMSG;
	set.epoch = get_be64(bytes + 8);
	set.n_keys = get_be32(bytes + 16);
	if (set.n_keys < 1 || set.n_keys > SIGNING_KEYS_MAX)
		return -EBADMSG;
	used = set.n_keys * (size_t)PUBLIC_KEY_SIZE;
	if (!bytes_are_zero(bytes + KEYS + used, sizeof(set.keys) - used))
		return -EBADMSG;
	memcpy(set.keys, bytes + KEYS, sizeof(set.keys));
	memcpy(set.signature, bytes + 288, SIGNATURE_SIZE);
	*ret_set = set;
	return 0;
}
