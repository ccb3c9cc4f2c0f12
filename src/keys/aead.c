/* SPDX-License-Identifier: Apache-2.0 */
/* AES-256-GCM by EVP_EncryptInit(3). */
#include "keys/aead.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"

static void free_cipher(EVP_CIPHER_CTX **cipher)
{
	EVP_CIPHER_CTX_free(*cipher);
}

static EVP_CIPHER_CTX *cipher_new(const uint8_t *key, const uint8_t *nonce, const void *additional,
				  size_t additional_size, bool seal)
{
	_cleanup_(free_cipher) EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
	int ignored;

	/* A nonce of 12 bytes is the cipher's default. */
	if (!cipher || EVP_CipherInit_ex(cipher, EVP_aes_256_gcm(), NULL, key, nonce, seal) != 1)
		return NULL;
	if (additional_size > 0 &&
	    EVP_CipherUpdate(cipher, NULL, &ignored, additional, (int)additional_size) != 1)
		return NULL;
	return TAKE_PTR(cipher);
}

int aead_seal(const uint8_t key[static AEAD_KEY_SIZE], const uint8_t nonce[static AEAD_NONCE_SIZE],
	      const void *additional, size_t additional_size, const uint8_t *plain, size_t n,
	      uint8_t *sealed)
{
	_cleanup_(free_cipher) EVP_CIPHER_CTX *cipher = NULL;
	int length, last;

	if (n > AEAD_TEXT_MAX || additional_size > AEAD_TEXT_MAX)
		return -E2BIG;
	cipher = cipher_new(key, nonce, additional, additional_size, true);
	if (!cipher || (n > 0 && EVP_CipherUpdate(cipher, sealed, &length, plain, (int)n) != 1) ||
	    EVP_CipherFinal_ex(cipher, sealed + n, &last) != 1 ||
	    EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_SIZE, sealed + n) != 1)
		return -EIO;
	return 0;
}

int aead_open(const uint8_t key[static AEAD_KEY_SIZE], const uint8_t nonce[static AEAD_NONCE_SIZE],
	      const void *additional, size_t additional_size, const uint8_t *sealed, size_t n,
	      uint8_t *plain)
{
	_cleanup_(free_cipher) EVP_CIPHER_CTX *cipher = NULL;
	uint8_t tag[AEAD_TAG_SIZE];
	int length, last, r = 0;

	if (n > AEAD_TEXT_MAX || additional_size > AEAD_TEXT_MAX)
		return -E2BIG;
	memcpy(tag, sealed + n, sizeof(tag));
	cipher = cipher_new(key, nonce, additional, additional_size, false);
	if (!cipher ||
	    EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_SIZE, tag) != 1 ||
	    (n > 0 && EVP_CipherUpdate(cipher, plain, &length, sealed, (int)n) != 1))
		r = -EIO;
	else if (EVP_CipherFinal_ex(cipher, plain + n, &last) != 1)
		r = -EBADMSG;
	/* GCM has the text before it knows the tag. */
	if (r < 0)
		bytes_wipe(plain, n);
	return r;
}
