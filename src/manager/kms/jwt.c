/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 7519 assertions signed by RS256. */
#include "manager/kms/jwt.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "manager/kms/codec.h"

#define PART_MAX      1024
#define BITS_MIN      2048
#define SIGNATURE_MAX 1024 /* RSA-8192 */

static void free_bio(BIO **bio)
{
	BIO_free(*bio);
}

static void free_key(EVP_PKEY **key)
{
	EVP_PKEY_free(*key);
}

static void free_digest(EVP_MD_CTX **context)
{
	EVP_MD_CTX_free(*context);
}

static void free_x509(X509 **certificate)
{
	X509_free(*certificate);
}

/* An encrypted key is no key: OpenSSL would ask the terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *userdata)
{
	return -1;
}

static EVP_PKEY *read_key(const char *pem, size_t n)
{
	_cleanup_(free_bio) BIO *bio = BIO_new_mem_buf(pem, (int)n);
	_cleanup_(free_key) EVP_PKEY *key = NULL;

	if (bio)
		key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	if (!key || !EVP_PKEY_is_a(key, "RSA") || EVP_PKEY_get_bits(key) < BITS_MIN)
		return NULL;
	return TAKE_PTR(key);
}

/* Appends the JSON as base64url and the character END. */
static int add_part(const json_t *json, char end, char *token, size_t size, size_t *n)
{
	char text[PART_MAX];
	size_t len = json_dumpb(json, text, sizeof(text), JSON_COMPACT);

	if (len == 0 || len > sizeof(text) || BASE64_SIZE(len) + 1 > size - *n)
		return -EMSGSIZE;
	*n += base64_encode(BASE64_URL, text, len, token + *n);
	token[(*n)++] = end;
	return 0;
}

static int add_signature(EVP_PKEY *key, char *token, size_t size, size_t n)
{
	_cleanup_(free_digest) EVP_MD_CTX *context = EVP_MD_CTX_new();
	uint8_t signature[SIGNATURE_MAX];
	size_t len = sizeof(signature);

	if ((size_t)EVP_PKEY_get_size(key) > sizeof(signature))
		return -EBADMSG;
	if (!context || EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) != 1 ||
	    EVP_DigestSign(context, signature, &len, (const uint8_t *)token, n - 1) != 1)
		return -EIO;
	if (BASE64_SIZE(len) > size - n)
		return -EMSGSIZE;
	base64_encode(BASE64_URL, signature, len, token + n);
	return 0;
}

int jwt_sign_rs256(const json_t *header, const json_t *claims, const char *pem, size_t pem_size,
		   char *token, size_t size)
{
	_cleanup_(free_key) EVP_PKEY *key = read_key(pem, pem_size);
	size_t n = 0;
	int r;

	if (!key)
		return -EBADMSG;
	r = add_part(header, '.', token, size, &n);
	if (r == 0)
		r = add_part(claims, '.', token, size, &n);
	return r < 0 ? r : add_signature(key, token, size, n);
}

int jwt_thumbprint(const char *pem, size_t pem_size, char text[static 32])
{
	_cleanup_(free_bio) BIO *bio = BIO_new_mem_buf(pem, (int)pem_size);
	_cleanup_(free_x509) X509 *certificate = NULL;
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned n;

	if (bio)
		certificate = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
	if (!certificate || X509_digest(certificate, EVP_sha1(), digest, &n) != 1 ||
	    BASE64_SIZE(n) > 32)
		return -EBADMSG;
	base64_encode(BASE64_URL, digest, n, text);
	return 0;
}
