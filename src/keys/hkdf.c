/* SPDX-License-Identifier: Apache-2.0 */
/* HKDF (RFC 5869) by EVP_KDF-HKDF(7). */
#include "keys/hkdf.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "base/bytes.h"

/* OpenSSL takes nothing for an empty string but a pointer to one. */
static OSSL_PARAM octets(const char *name, const uint8_t *bytes, size_t n)
{
	static uint8_t empty[1];

	return OSSL_PARAM_construct_octet_string(name, n > 0 ? (void *)(uintptr_t)bytes : empty, n);
}

static int derive(int mode, enum hkdf_hash hash, const struct hkdf_input *input, uint8_t *ret_bytes,
		  size_t n)
{
	char sha256_name[] = "SHA2-256", sha512_name[] = "SHA2-512";
	EVP_KDF_CTX *context = NULL;
	EVP_KDF *kdf;
	int r = -EIO;

	kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	if (kdf)
		context = EVP_KDF_CTX_new(kdf);
	if (context) {
		/* The key is read in place: OpenSSL's own copy is cleansed with the context. */
		OSSL_PARAM params[] = {OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
				       OSSL_PARAM_construct_utf8_string(
					       OSSL_KDF_PARAM_DIGEST,
					       hash == HKDF_SHA256 ? sha256_name : sha512_name, 0),
				       octets(OSSL_KDF_PARAM_KEY, input->key, input->key_size),
				       octets(OSSL_KDF_PARAM_SALT, input->salt, input->salt_size),
				       octets(OSSL_KDF_PARAM_INFO, input->info, input->info_size),
				       OSSL_PARAM_construct_end()};

		if (EVP_KDF_derive(context, ret_bytes, n, params) > 0)
			r = 0;
	}
	EVP_KDF_CTX_free(context);
	EVP_KDF_free(kdf);
	if (r < 0)
		bytes_wipe(ret_bytes, n);
	return r;
}

int hkdf(enum hkdf_hash hash, const struct hkdf_input *input, uint8_t *ret_bytes, size_t n)
{
	return derive(EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND, hash, input, ret_bytes, n);
}

int hkdf_extract(enum hkdf_hash hash, const struct hkdf_input *input, uint8_t *ret_bytes, size_t n)
{
	return derive(EVP_KDF_HKDF_MODE_EXTRACT_ONLY, hash, input, ret_bytes, n);
}

int hkdf_expand(enum hkdf_hash hash, const struct hkdf_input *input, uint8_t *ret_bytes, size_t n)
{
	return derive(EVP_KDF_HKDF_MODE_EXPAND_ONLY, hash, input, ret_bytes, n);
}
