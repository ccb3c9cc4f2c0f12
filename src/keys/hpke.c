/* SPDX-License-Identifier: Apache-2.0 */
/* HPKE (RFC 9180) by EVP_PKEY-X25519(7), HKDF and AES-256-GCM. The names of steps are the RFC's. */
#include "keys/hpke.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "keys/hkdf.h"

#define HASH_LENGTH 32 /* Nh of HKDF-SHA256 */
#define VERSION	    "HPKE-v1"
#define MODE_BASE   0
#define SUITE_MAX   10
#define LABEL_MAX   16
#define LABELED_MAX (2 + sizeof(VERSION) - 1 + SUITE_MAX + LABEL_MAX + HPKE_INFO_MAX)

/* suite_id of section 4.1 (the KEM's own steps) and of section 5.1 (all others). */
struct suite {
	uint8_t id[SUITE_MAX];
	size_t size;
};
static const struct suite kem_suite = {{'K', 'E', 'M', 0, 0x20}, 5};
static const struct suite hpke_suite = {{'H', 'P', 'K', 'E', 0, 0x20, 0, 1, 0, 2}, 10};

/* What the key schedule makes of a shared secret. */
struct message_key {
	uint8_t key[AEAD_KEY_SIZE];
	uint8_t nonce[AEAD_NONCE_SIZE];
};

static void free_pkey(EVP_PKEY **pkey)
{
	EVP_PKEY_free(*pkey);
}

static void free_pkey_context(EVP_PKEY_CTX **context)
{
	EVP_PKEY_CTX_free(*context);
}

/* --- section 4 --- */

/* "HPKE-v1" ‖ suite_id ‖ LABEL ‖ N of BYTES at TO; returns its size. N is at most HPKE_INFO_MAX. */
static size_t labeled(const struct suite *suite, const char *label, const void *bytes, size_t n,
		      uint8_t *to)
{
	size_t used = sizeof(VERSION) - 1;

	memcpy(to, VERSION, used);
	memcpy(to + used, suite->id, suite->size);
	used += suite->size;
	memcpy(to + used, label, strlen(label));
	used += strlen(label);
	if (n > 0)
		memcpy(to + used, bytes, n);
	return used + n;
}

/* SALT has HASH_LENGTH bytes; NULL: none. */
static int labeled_extract(const struct suite *suite, const uint8_t *salt, const char *label,
			   const void *bytes, size_t n, uint8_t ret_key[static HASH_LENGTH])
{
	uint8_t input[LABELED_MAX];
	const struct hkdf_input extract = {
		.key = input,
		.key_size = labeled(suite, label, bytes, n, input),
		.salt = salt,
		.salt_size = salt ? HASH_LENGTH : 0,
	};
	int r = hkdf_extract(HKDF_SHA256, &extract, ret_key, HASH_LENGTH);

	bytes_wipe(input, sizeof(input));
	return r;
}

static int labeled_expand(const struct suite *suite, const uint8_t key[static HASH_LENGTH],
			  const char *label, const void *bytes, size_t n, uint8_t *ret_bytes,
			  size_t length)
{
	uint8_t info[LABELED_MAX];
	struct hkdf_input expand = {.key = key, .key_size = HASH_LENGTH, .info = info};

	put_be16(info, (uint16_t)length);
	expand.info_size = 2 + labeled(suite, label, bytes, n, info + 2);
	return hkdf_expand(HKDF_SHA256, &expand, ret_bytes, length);
}

/* DH(): -EBADMSG where PUBLIC_KEY is of small order, which OpenSSL refuses to derive with. */
static int exchange(const uint8_t private_key[static HPKE_KEY_SIZE],
		    const uint8_t public_key[static HPKE_KEY_SIZE],
		    uint8_t ret_shared[static HPKE_KEY_SIZE])
{
	_cleanup_(free_pkey) EVP_PKEY *own =
		EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, private_key, HPKE_KEY_SIZE);
	_cleanup_(free_pkey) EVP_PKEY *peer =
		EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, public_key, HPKE_KEY_SIZE);
	_cleanup_(free_pkey_context) EVP_PKEY_CTX *context = NULL;
	size_t n = HPKE_KEY_SIZE;

	if (own)
		context = EVP_PKEY_CTX_new(own, NULL);
	if (!context || !peer || EVP_PKEY_derive_init(context) <= 0 ||
	    EVP_PKEY_derive_set_peer(context, peer) <= 0)
		return -EIO;
	if (EVP_PKEY_derive(context, ret_shared, &n) <= 0 || n != HPKE_KEY_SIZE) {
		bytes_wipe(ret_shared, HPKE_KEY_SIZE);
		return -EBADMSG;
	}
	return 0;
}

static int public_of(const uint8_t private_key[static HPKE_KEY_SIZE],
		     uint8_t ret_public[static HPKE_KEY_SIZE])
{
	_cleanup_(free_pkey) EVP_PKEY *pkey =
		EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, private_key, HPKE_KEY_SIZE);
	size_t n = HPKE_KEY_SIZE;

	if (!pkey || EVP_PKEY_get_raw_public_key(pkey, ret_public, &n) <= 0 || n != HPKE_KEY_SIZE)
		return -EIO;
	return 0;
}

int hpke_key_derive(const uint8_t seed[static HPKE_SEED_SIZE],
		    uint8_t ret_private[static HPKE_KEY_SIZE],
		    uint8_t ret_public[static HPKE_KEY_SIZE])
{
	uint8_t key[HASH_LENGTH];
	int r;

	r = labeled_extract(&kem_suite, NULL, "dkp_prk", seed, HPKE_SEED_SIZE, key);
	r = r < 0 ? r : labeled_expand(&kem_suite, key, "sk", NULL, 0, ret_private, HPKE_KEY_SIZE);
	r = r < 0 ? r : public_of(ret_private, ret_public);
	bytes_wipe(key, sizeof(key));
	if (r < 0)
		bytes_wipe(ret_private, HPKE_KEY_SIZE);
	return r;
}

/* Encap() and Decap(): what the holders of both key pairs can compute, and nobody else. */
static int shared_secret(const uint8_t private_key[static HPKE_KEY_SIZE],
			 const uint8_t peer[static HPKE_KEY_SIZE],
			 const uint8_t encapsulated[static HPKE_KEY_SIZE],
			 const uint8_t recipient[static HPKE_KEY_SIZE],
			 uint8_t ret_secret[static HASH_LENGTH])
{
	uint8_t kem_context[2 * HPKE_KEY_SIZE], shared[HPKE_KEY_SIZE], key[HASH_LENGTH];
	int r;

	memcpy(kem_context, encapsulated, HPKE_KEY_SIZE);
	memcpy(kem_context + HPKE_KEY_SIZE, recipient, HPKE_KEY_SIZE);
	r = exchange(private_key, peer, shared);
	r = r < 0 ? r : labeled_extract(&kem_suite, NULL, "eae_prk", shared, sizeof(shared), key);
	r = r < 0 ? r
		  : labeled_expand(&kem_suite, key, "shared_secret", kem_context,
				   sizeof(kem_context), ret_secret, HASH_LENGTH);
	bytes_wipe(shared, sizeof(shared));
	bytes_wipe(key, sizeof(key));
	return r;
}

/* --- section 5 --- */

/* KeySchedule() without a pre-shared key. */
static int key_schedule(const uint8_t secret[static HASH_LENGTH],
			const struct hpke_context *context, struct message_key *ret_key)
{
	uint8_t schedule[1 + 2 * HASH_LENGTH] = {MODE_BASE}, key[HASH_LENGTH];
	int r;

	r = labeled_extract(&hpke_suite, NULL, "psk_id_hash", NULL, 0, schedule + 1);
	r = r < 0 ? r
		  : labeled_extract(&hpke_suite, NULL, "info_hash", context->info,
				    context->info_size, schedule + 1 + HASH_LENGTH);
	r = r < 0 ? r : labeled_extract(&hpke_suite, secret, "secret", NULL, 0, key);
	r = r < 0 ? r
		  : labeled_expand(&hpke_suite, key, "key", schedule, sizeof(schedule),
				   ret_key->key, sizeof(ret_key->key));
	r = r < 0 ? r
		  : labeled_expand(&hpke_suite, key, "base_nonce", schedule, sizeof(schedule),
				   ret_key->nonce, sizeof(ret_key->nonce));
	bytes_wipe(key, sizeof(key));
	return r;
}

int hpke_seal(const uint8_t recipient[static HPKE_KEY_SIZE],
	      const uint8_t seed[static HPKE_SEED_SIZE], const struct hpke_context *context,
	      const uint8_t *plain, size_t n, uint8_t ret_encapsulated[static HPKE_KEY_SIZE],
	      uint8_t *sealed)
{
	uint8_t ephemeral[HPKE_KEY_SIZE], secret[HASH_LENGTH];
	struct message_key key;
	int r;

	if (context->info_size > HPKE_INFO_MAX)
		return -E2BIG;
	r = hpke_key_derive(seed, ephemeral, ret_encapsulated);
	r = r < 0 ? r : shared_secret(ephemeral, recipient, ret_encapsulated, recipient, secret);
	r = r < 0 ? r : key_schedule(secret, context, &key);
	/* The first message of a context: its nonce is the base nonce. */
	r = r < 0 ? r
		  : aead_seal(key.key, key.nonce, context->additional, context->additional_size,
			      plain, n, sealed);
	bytes_wipe(ephemeral, sizeof(ephemeral));
	bytes_wipe(secret, sizeof(secret));
	bytes_wipe(&key, sizeof(key));
	return r;
}

int hpke_open(const uint8_t private_key[static HPKE_KEY_SIZE],
	      const uint8_t encapsulated[static HPKE_KEY_SIZE], const struct hpke_context *context,
	      const uint8_t *sealed, size_t n, uint8_t *plain)
{
	uint8_t own[HPKE_KEY_SIZE], secret[HASH_LENGTH];
	struct message_key key;
	int r;

	if (context->info_size > HPKE_INFO_MAX)
		return -E2BIG;
	r = public_of(private_key, own);
	r = r < 0 ? r : shared_secret(private_key, encapsulated, encapsulated, own, secret);
	r = r < 0 ? r : key_schedule(secret, context, &key);
	r = r < 0 ? r
		  : aead_open(key.key, key.nonce, context->additional, context->additional_size,
			      sealed, n, plain);
	bytes_wipe(secret, sizeof(secret));
	bytes_wipe(&key, sizeof(key));
	if (r < 0)
		bytes_wipe(plain, n);
	return r;
}
