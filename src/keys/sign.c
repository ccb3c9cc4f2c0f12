/* SPDX-License-Identifier: Apache-2.0 */
/* Ed25519 with domain separation, by OpenSSL: EVP_SIGNATURE-ED25519(7). */
#include "keys/sign.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"

#define SIGNED_SIZE_MAX 8192
#define DOMAIN_SIZE_MAX 128

struct signing_key {
	EVP_PKEY *pkey;
};

static void cleanup_pkey(EVP_PKEY **pkey)
{
	EVP_PKEY_free(*pkey);
}

static void cleanup_md_context(EVP_MD_CTX **context)
{
	EVP_MD_CTX_free(*context);
}

int signing_key_new_from_seed(const uint8_t seed[static IDENTITY_SEED_SIZE],
			      struct signing_key **ret_key)
{
	struct signing_key *key;
	EVP_PKEY *pkey;

	pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, IDENTITY_SEED_SIZE);
	if (!pkey)
		return -ENOMEM;
	key = malloc(sizeof(*key));
	if (!key) {
		EVP_PKEY_free(pkey);
		return -ENOMEM;
	}
	key->pkey = pkey;
	*ret_key = key;
	return 0;
}

int signing_key_generate(uint8_t ret_seed[static IDENTITY_SEED_SIZE])
{
	uint8_t seed[IDENTITY_SEED_SIZE];
	int r = -EIO;

	if (RAND_priv_bytes(seed, sizeof(seed)) > 0) {
		memcpy(ret_seed, seed, sizeof(seed));
		r = 0;
	}
	bytes_wipe(seed, sizeof(seed));
	return r;
}

struct signing_key *signing_key_free(struct signing_key *key)
{
	if (key)
		EVP_PKEY_free(key->pkey);
	free(key);
	return NULL;
}

void signing_key_public(const struct signing_key *key, uint8_t ret_public[static PUBLIC_KEY_SIZE])
{
	size_t n = PUBLIC_KEY_SIZE;

	/* Cannot fail for a key that exists: OpenSSL computed the public half when it was made. */
	if (EVP_PKEY_get_raw_public_key(key->pkey, ret_public, &n) <= 0 || n != PUBLIC_KEY_SIZE)
		abort();
}

uint64_t signing_key_id(const uint8_t public_key[static PUBLIC_KEY_SIZE])
{
	uint8_t hash[HASH_SIZE];

	if (sha256(public_key, PUBLIC_KEY_SIZE, hash) < 0)
		abort();
	return get_be64(hash);
}

int sha256(const void *bytes, size_t n, uint8_t ret_hash[static HASH_SIZE])
{
	return EVP_Digest(bytes, n, ret_hash, NULL, EVP_sha256(), NULL) > 0 ? 0 : -EIO;
}

/* Ed25519 is one-shot in OpenSSL: domain and bytes must lie side by side. */
static int message_join(const char *domain, const uint8_t *bytes, size_t n,
			uint8_t message[static DOMAIN_SIZE_MAX + SIGNED_SIZE_MAX], size_t *ret_size)
{
	size_t domain_size = strlen(domain) + 1;

	if (domain_size > DOMAIN_SIZE_MAX || n > SIGNED_SIZE_MAX)
		return -E2BIG;
	memcpy(message, domain, domain_size);
	if (n > 0)
		memcpy(message + domain_size, bytes, n);
	*ret_size = domain_size + n;
	return 0;
}

int sign_domain(const struct signing_key *key, const char *domain, const uint8_t *bytes, size_t n,
		uint8_t ret_signature[static SIGNATURE_SIZE])
{
	_cleanup_(cleanup_md_context) EVP_MD_CTX *context = EVP_MD_CTX_new();
	uint8_t message[DOMAIN_SIZE_MAX + SIGNED_SIZE_MAX];
	size_t size, signature_size = SIGNATURE_SIZE;
	int r;

	r = message_join(domain, bytes, n, message, &size);
	if (r < 0)
		return r;
	if (!context || EVP_DigestSignInit(context, NULL, NULL, NULL, key->pkey) <= 0 ||
	    EVP_DigestSign(context, ret_signature, &signature_size, message, size) <= 0 ||
	    signature_size != SIGNATURE_SIZE)
		return -EIO;
	return 0;
}

int verify_domain(const uint8_t public_key[static PUBLIC_KEY_SIZE], const char *domain,
		  const uint8_t *bytes, size_t n, const uint8_t signature[static SIGNATURE_SIZE])
{
	_cleanup_(cleanup_md_context) EVP_MD_CTX *context = EVP_MD_CTX_new();
	_cleanup_(cleanup_pkey) EVP_PKEY *pkey =
		EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, PUBLIC_KEY_SIZE);
	uint8_t message[DOMAIN_SIZE_MAX + SIGNED_SIZE_MAX];
	size_t size;

	if (message_join(domain, bytes, n, message, &size) < 0)
		return -EBADMSG;
	if (!context || !pkey || EVP_DigestVerifyInit(context, NULL, NULL, NULL, pkey) <= 0)
		return -EBADMSG;
	if (EVP_DigestVerify(context, signature, SIGNATURE_SIZE, message, size) != 1)
		return -EBADMSG;
	return 0;
}
