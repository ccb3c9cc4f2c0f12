/* SPDX-License-Identifier: Apache-2.0 */
/* The key of a segment, from the boot key: EVP_KDF-HKDF(7). */
#include "keys/derive.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <string.h>

#include "base/bytes.h"

#define INFO_PREFIX	 "emberlock v1 segment"
#define INFO_PREFIX_SIZE sizeof(INFO_PREFIX) /* its NUL belongs to it */
#define INFO_SIZE_MAX	 (INFO_PREFIX_SIZE + 4 + VOLUME_NAME_MAX + 8 + 8)

static size_t info_encode(const char *name, size_t name_length, uint64_t instance, uint64_t segment,
			  uint8_t info[static INFO_SIZE_MAX])
{
	uint8_t *p = info;

	memcpy(p, INFO_PREFIX, INFO_PREFIX_SIZE);
	p += INFO_PREFIX_SIZE;
	put_be32(p, (uint32_t)name_length);
	p += 4;
	memcpy(p, name, name_length);
	p += name_length;
	put_be64(p, instance);
	put_be64(p + 8, segment);
	return (size_t)(p + 16 - info);
}

int segment_key_derive(const uint8_t boot_key[static BOOT_KEY_SIZE],
		       const uint8_t boot_id[static BOOT_ID_SIZE], const char *name,
		       uint64_t instance, uint64_t segment,
		       uint8_t ret_key[static SEGMENT_KEY_SIZE])
{
	size_t name_length = strlen(name), info_size;
	uint8_t info[INFO_SIZE_MAX];
	char digest[] = "SHA2-512";
	EVP_KDF_CTX *context = NULL;
	EVP_KDF *kdf;
	int r = -EIO;

	if (name_length > VOLUME_NAME_MAX)
		return -ENAMETOOLONG;
	info_size = info_encode(name, name_length, instance, segment, info);

	kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	if (kdf)
		context = EVP_KDF_CTX_new(kdf);
	if (context) {
		/* The key is read in place: OpenSSL's own copy is cleansed with the context. */
		OSSL_PARAM params[] = {
			OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
			OSSL_PARAM_construct_octet_string(
				OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)boot_key, BOOT_KEY_SIZE),
			OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT,
							  (void *)(uintptr_t)boot_id, BOOT_ID_SIZE),
			OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, info_size),
			OSSL_PARAM_construct_end()};

		if (EVP_KDF_derive(context, ret_key, SEGMENT_KEY_SIZE, params) > 0)
			r = 0;
	}
	EVP_KDF_CTX_free(context);
	EVP_KDF_free(kdf);
	if (r < 0)
		bytes_wipe(ret_key, SEGMENT_KEY_SIZE);
	return r;
}
