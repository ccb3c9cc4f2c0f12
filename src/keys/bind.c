/* SPDX-License-Identifier: Apache-2.0 */
/* The share of a boot, by HPKE. */
#include "keys/bind.h"

#include <errno.h>
#include <openssl/rand.h>
#include <string.h>

#include "base/bytes.h"
#include "keys/hkdf.h"
#include "keys/hpke.h"

#define SEED_INFO "emberlock v1 bind" /* its NUL belongs to it */

_Static_assert(BIND_KEY_SIZE == HPKE_KEY_SIZE, "an offer holds one of HPKE's keys");
_Static_assert(BIND_SEALED_SIZE == BIND_SHARE_SIZE + AEAD_TAG_SIZE, "a share and its tag");

static int key_pair(const uint8_t boot_key[static BOOT_KEY_SIZE],
		    const uint8_t boot_id[static BOOT_ID_SIZE],
		    uint8_t ret_private[static BIND_KEY_SIZE],
		    uint8_t ret_public[static BIND_KEY_SIZE])
{
	const struct hkdf_input input = {
		.key = boot_key,
		.key_size = BOOT_KEY_SIZE,
		.salt = boot_id,
		.salt_size = BOOT_ID_SIZE,
		.info = (const uint8_t *)SEED_INFO,
		.info_size = sizeof(SEED_INFO),
	};
	uint8_t seed[HPKE_SEED_SIZE];
	int r;

	r = hkdf(HKDF_SHA512, &input, seed, sizeof(seed));
	r = r < 0 ? r : hpke_key_derive(seed, ret_private, ret_public);
	/* Looked at when it has been read: the keeper may wipe it at any time. */
	if (r == 0 && bytes_are_zero(boot_key, BOOT_KEY_SIZE))
		r = -ENOKEY;
	bytes_wipe(seed, sizeof(seed));
	if (r < 0)
		bytes_wipe(ret_private, BIND_KEY_SIZE);
	return r;
}

static struct hpke_context context_of(const uint8_t admission[static HASH_SIZE])
{
	return (struct hpke_context){
		.info = BIND_SHARE_DOMAIN,
		.info_size = sizeof(BIND_SHARE_DOMAIN),
		.additional = admission,
		.additional_size = HASH_SIZE,
	};
}

int bind_public(const uint8_t boot_key[static BOOT_KEY_SIZE],
		const uint8_t boot_id[static BOOT_ID_SIZE],
		uint8_t ret_public[static BIND_KEY_SIZE])
{
	uint8_t private_key[BIND_KEY_SIZE];
	int r = key_pair(boot_key, boot_id, private_key, ret_public);

	bytes_wipe(private_key, sizeof(private_key));
	return r;
}

int bind_seal(const uint8_t key[static BIND_KEY_SIZE], const uint8_t admission[static HASH_SIZE],
	      const uint8_t share[static BIND_SHARE_SIZE], struct bind_share *ret_share)
{
	const struct hpke_context context = context_of(admission);
	struct bind_share made = {};
	uint8_t seed[HPKE_SEED_SIZE];
	int r = -EIO;

	memcpy(made.admission, admission, HASH_SIZE);
	if (RAND_priv_bytes(seed, sizeof(seed)) > 0)
		r = hpke_seal(key, seed, &context, share, BIND_SHARE_SIZE, made.encapsulated,
			      made.sealed);
	bytes_wipe(seed, sizeof(seed));
	if (r == 0)
		*ret_share = made;
	return r;
}

int bind_open(const uint8_t boot_key[static BOOT_KEY_SIZE],
	      const uint8_t boot_id[static BOOT_ID_SIZE], const struct bind_share *share,
	      uint8_t ret_share[static BIND_SHARE_SIZE])
{
	const struct hpke_context context = context_of(share->admission);
	uint8_t private_key[BIND_KEY_SIZE], public_key[BIND_KEY_SIZE];
	int r;

	r = key_pair(boot_key, boot_id, private_key, public_key);
	r = r < 0 ? r
		  : hpke_open(private_key, share->encapsulated, &context, share->sealed,
			      BIND_SHARE_SIZE, ret_share);
	bytes_wipe(private_key, sizeof(private_key));
	if (r < 0)
		bytes_wipe(ret_share, BIND_SHARE_SIZE);
	return r;
}
