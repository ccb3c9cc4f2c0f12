/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded provider: a CMK that is a file, switched by `emberlock-admin file-kms`.
 *
 *	blob: magic "EMBFIL01" 8 · nonce 12 · ciphertext · tag 16
 *
 * AES-256-GCM; additional data: the magic, then key id and context, each text after its length. */
#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/parse.h"
#include "manager/kms/file/keyfile.h"
#include "manager/kms/kms.h"

#define MAGIC	   "EMBFIL01"
#define MAGIC_SIZE 8
#define NONCE_SIZE 12
#define TAG_SIZE   16
#define OVERHEAD   (MAGIC_SIZE + NONCE_SIZE + TAG_SIZE)

static void outcome(struct kms_outcome *ret, enum kms_class class, const char *code)
{
	kms_outcome_set(ret, class, false, "%s", code);
	memset(ret->by, 0, sizeof(ret->by));
}

/* Of one spelling, so that a directory is known by it. */
static bool path_is_plain(const char *path)
{
	if (path[0] != '/')
		return false;
	while (*path) {
		size_t n = strcspn(++path, "/");

		if (n == 0 || (n <= 2 && strspn(path, ".") >= n))
			return false;
		path += n;
	}
	return true;
}

static int file_check(const struct kms_key *key, char error[static 256])
{
	if (!name_is_valid(key->key_id, KEYFILE_ID_MAX)) {
		snprintf(error, 256,
			 "key_id: not a name of at most %d characters of [A-Za-z0-9._-]",
			 KEYFILE_ID_MAX);
		return -EINVAL;
	}
	if (key->credentials[0] || key->role_arn[0] || key->external_id[0] || key->tenant_id[0]) {
		snprintf(error, 256,
			 "credentials, role_arn, external_id, tenant_id: not of the file provider");
		return -EINVAL;
	}
	if (!path_is_plain(key->directory)) {
		snprintf(error, 256, "directory: not an absolute path without '//', '.' and '..'");
		return -EINVAL;
	}
	return 0;
}

static bool file_same(const struct kms_key *a, const struct kms_key *b)
{
	return strcmp(a->directory, b->directory) == 0 && strcmp(a->key_id, b->key_id) == 0;
}

/* A key that is gone is a decision of the customer's; a directory that is gone (not mounted, say)
 * is none. */
static void classify_missing(const struct kms_key *key, struct kms_outcome *ret)
{
	struct stat st;

	if (stat(key->directory, &st) < 0)
		outcome(ret, key->proven ? KMS_UNAVAILABLE : KMS_MISCONFIGURED,
			"the directory is missing");
	else
		outcome(ret, key->proven ? KMS_REVOKED_STATE : KMS_MISCONFIGURED, "no such key");
}

static void classify_error(const struct kms_key *key, int r, struct kms_outcome *ret)
{
	switch (r) {
	case -ENOENT:
		classify_missing(key, ret);
		break;
	case -EACCES:
	case -EPERM:
		outcome(ret, key->proven ? KMS_REVOKED_ACCESS : KMS_MISCONFIGURED, strerror(-r));
		break;
	case -EINVAL:
	case -ENAMETOOLONG:
		outcome(ret, KMS_MISCONFIGURED, "bad key id or directory");
		break;
	case -EBADMSG:
		outcome(ret, key->proven ? KMS_UNAVAILABLE : KMS_MISCONFIGURED,
			"the key file is not of the form");
		break;
	default:
		outcome(ret, KMS_UNAVAILABLE, strerror(-r));
	}
}

/* Fills KEYFILE only where the class is KMS_OK. */
static void load(const struct kms_key *key, struct keyfile *keyfile, struct kms_outcome *ret)
{
	int r = keyfile_read(key->directory, key->key_id, keyfile);

	if (key->calls)
		(*key->calls)++;
	if (r < 0) {
		classify_error(key, r, ret);
		return;
	}
	if (keyfile->state == KEYFILE_ENABLED) {
		outcome(ret, KMS_OK, "enabled");
		return;
	}
	outcome(ret, key->proven ? KMS_REVOKED_STATE : KMS_MISCONFIGURED,
		keyfile_state_name(keyfile->state));
	bytes_wipe(keyfile, sizeof(*keyfile));
}

static void free_cipher(EVP_CIPHER_CTX **context)
{
	EVP_CIPHER_CTX_free(*context);
}

static int add_text(EVP_CIPHER_CTX *cipher, const char *text)
{
	size_t n = strlen(text);
	uint8_t length[4];
	int ignored;

	if (n > INT_MAX)
		return 0;
	put_be32(length, (uint32_t)n);
	return EVP_CipherUpdate(cipher, NULL, &ignored, length, sizeof(length)) == 1 &&
	       EVP_CipherUpdate(cipher, NULL, &ignored, (const uint8_t *)text, (int)n) == 1;
}

static EVP_CIPHER_CTX *cipher_new(const struct kms_key *key, const struct kms_context *context,
				  const struct keyfile *keyfile, const uint8_t *nonce, bool encrypt)
{
	_cleanup_(free_cipher) EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();

	if (!cipher ||
	    EVP_CipherInit_ex(cipher, EVP_aes_256_gcm(), NULL, keyfile->key, nonce, encrypt) != 1)
		return NULL;
	if (!add_text(cipher, MAGIC) || !add_text(cipher, key->key_id))
		return NULL;
	for (size_t i = 0; i < context->n; i++) {
		if (!add_text(cipher, context->pairs[i].name) ||
		    !add_text(cipher, context->pairs[i].value))
			return NULL;
	}
	return TAKE_PTR(cipher);
}

static bool seal(const struct kms_key *key, const struct kms_context *context,
		 const struct keyfile *keyfile, const uint8_t *plain, size_t n, uint8_t *blob)
{
	_cleanup_(free_cipher) EVP_CIPHER_CTX *cipher = NULL;
	uint8_t *nonce = blob + MAGIC_SIZE, *text = nonce + NONCE_SIZE;
	int length, last;

	memcpy(blob, MAGIC, MAGIC_SIZE);
	if (RAND_bytes(nonce, NONCE_SIZE) != 1)
		return false;
	cipher = cipher_new(key, context, keyfile, nonce, true);
	return cipher && EVP_CipherUpdate(cipher, text, &length, plain, (int)n) == 1 &&
	       EVP_CipherFinal_ex(cipher, text + length, &last) == 1 &&
	       EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, text + n) == 1;
}

static bool unseal(const struct kms_key *key, const struct kms_context *context,
		   const struct keyfile *keyfile, const uint8_t *blob, size_t n, uint8_t *plain)
{
	_cleanup_(free_cipher) EVP_CIPHER_CTX *cipher = NULL;
	const uint8_t *nonce = blob + MAGIC_SIZE, *text = nonce + NONCE_SIZE;
	uint8_t tag[TAG_SIZE];
	int length, last;

	memcpy(tag, text + n, TAG_SIZE);
	cipher = cipher_new(key, context, keyfile, nonce, false);
	return cipher && EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, tag) == 1 &&
	       EVP_CipherUpdate(cipher, plain, &length, text, (int)n) == 1 &&
	       EVP_CipherFinal_ex(cipher, plain + length, &last) == 1;
}

static void file_wrap(const struct kms_key *key, const struct kms_context *context,
		      const uint8_t *plain, size_t n, uint8_t *blob, size_t *ret_n,
		      struct kms_outcome *ret_outcome)
{
	struct keyfile keyfile;

	if (n > KMS_PLAIN_MAX) {
		outcome(ret_outcome, KMS_MISCONFIGURED, "the plaintext is too long");
		return;
	}
	load(key, &keyfile, ret_outcome);
	if (ret_outcome->class != KMS_OK)
		return;
	if (seal(key, context, &keyfile, plain, n, blob))
		*ret_n = n + OVERHEAD;
	else
		outcome(ret_outcome, KMS_UNAVAILABLE, "encryption failed");
	bytes_wipe(&keyfile, sizeof(keyfile));
}

static void file_unwrap(const struct kms_key *key, const struct kms_context *context,
			const uint8_t *blob, size_t n, uint8_t *plain, size_t *ret_n,
			struct kms_outcome *ret_outcome)
{
	struct keyfile keyfile;

	/* The key's state first: a customer who disabled it gets that answer, whatever the blob. */
	load(key, &keyfile, ret_outcome);
	if (ret_outcome->class != KMS_OK)
		return;
	if (n >= OVERHEAD && n - OVERHEAD <= KMS_PLAIN_MAX &&
	    memcmp(blob, MAGIC, MAGIC_SIZE) == 0 &&
	    unseal(key, context, &keyfile, blob, n - OVERHEAD, plain)) {
		*ret_n = n - OVERHEAD;
	} else {
		bytes_wipe(plain, KMS_PLAIN_MAX);
		outcome(ret_outcome, KMS_CORRUPT, "the blob is not of this key and context");
	}
	bytes_wipe(&keyfile, sizeof(keyfile));
}

static void file_describe(const struct kms_key *key, const uint8_t *blob, size_t n,
			  struct kms_outcome *ret_outcome)
{
	struct keyfile keyfile;

	load(key, &keyfile, ret_outcome);
	if (ret_outcome->class == KMS_OK)
		bytes_wipe(&keyfile, sizeof(keyfile));
}

const struct kms_provider kms_file = {
	.name = "file",
	.check = file_check,
	.same = file_same,
	.wrap = file_wrap,
	.unwrap = file_unwrap,
	.describe = file_describe,
};
