/* SPDX-License-Identifier: Apache-2.0 */
/* Azure Key Vault: wrapkey and unwrapkey by RSA-OAEP-256.
 *
 *	blob: magic "EMBAZU01" 8 · length 2 · kid · length 2 · wrapped key · nonce 12 · ciphertext ·
 *	tag 16
 *
 * A vault wraps a few bytes and no context, so it wraps a fresh AES-256-GCM key, under which lie the
 * plaintext and, as additional data, all before the nonce and the context. The kid names the version
 * that wrapped; it must be one of the configured key. */
#include "manager/kms/azure/azure.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/parse.h"

#define MAGIC	    "EMBAZU01"
#define MAGIC_SIZE  8
#define NONCE_SIZE  12
#define TAG_SIZE    16
#define KEY_SIZE    32
#define KID_MAX	    400
#define WRAPPED_MAX 1024 /* RSA-8192; vaults have 2048 to 4096 */

/* A blob taken apart; the pointers are into it. */
struct parts {
	const uint8_t *kid, *wrapped, *nonce, *text;
	size_t kid_size, wrapped_size, text_size; /* of the text without its tag */
};

/* --- names --- */

/* Hosts that a token for vault.azure.net may be shown to. */
static bool is_vault(const char *host, size_t n)
{
	static const char *const suffixes[] = {".vault.azure.net", ".vault.azure.cn",
					       ".vault.usgovcloudapi.net"};

	for (size_t i = 0; i < ELEMENTSOF(suffixes); i++) {
		size_t len = strlen(suffixes[i]);

		if (n > len && memcmp(host + n - len, suffixes[i], len) == 0)
			return true;
	}
	return false;
}

/* "https://VAULT/keys/NAME": the length of what stands before "/keys/", 0 where it is none. */
static size_t vault_size(const char *key_id)
{
	static const char scheme[] = "https://", keys[] = "/keys/";
	const char *host = key_id + strlen(scheme);
	size_t n;

	if (strncmp(key_id, scheme, strlen(scheme)) != 0)
		return 0;
	n = strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789.-");
	if (!is_vault(host, n) || strncmp(host + n, keys, strlen(keys)) != 0 ||
	    !name_is_valid(host + n + strlen(keys), 127))
		return 0;
	return strlen(scheme) + n;
}

static int azure_check(const struct kms_key *key, char error[static 256])
{
	if (vault_size(key->key_id) == 0) {
		snprintf(error, 256,
			 "key_vault_uri, key_name: not https://VAULT.vault.azure.net and NAME");
		return -EINVAL;
	}
	if (key->role_arn[0] || key->external_id[0]) {
		snprintf(error, 256, "role_arn, external_id: of the aws provider alone");
		return -EINVAL;
	}
	if (key->tenant_id[0] && !name_is_valid(key->tenant_id, sizeof(key->tenant_id) - 1)) {
		snprintf(error, 256, "tenant_id: not the id of a tenant");
		return -EINVAL;
	}
	return credentials_check(key, error);
}

/* A vault's names are the same in small letters and in capitals. */
static bool azure_same(const struct kms_key *a, const struct kms_key *b)
{
	return strcasecmp(a->key_id, b->key_id) == 0;
}

/* The version in KID, which must be KEY_ID "/" VERSION; NULL where it is of another key. */
static const char *version_of(const struct kms_key *key, const char *kid)
{
	size_t n = strlen(key->key_id);

	if (strncmp(kid, key->key_id, n) != 0 || kid[n] != '/' || !name_is_valid(kid + n + 1, 64))
		return NULL;
	return kid + n + 1;
}

/* --- asking --- */

const struct kms_dialect azure_dialect = {
	.fetch = azure_fetch,
	.authorise = kms_call_bearer,
	.classify = azure_classify,
};

/* One operation: PATH after the key's name. */
static void ask(struct kms_call *call, enum kms_op op, const char *path, const json_t *request,
		struct kms_outcome *ret)
{
	struct kms_http *http = &call->http;
	const char *key_id = call->key->key_id;
	size_t vault = vault_size(key_id), n = 0;

	if (request)
		n = json_dumpb(request, http->request, sizeof(http->request), JSON_COMPACT);
	if (vault == 0 || n > sizeof(http->request) || (op != KMS_DESCRIBE && n == 0)) {
		kms_outcome_set(ret, KMS_MISCONFIGURED, true, "the request cannot be made");
		return;
	}
	http->request_size = n;
	http->method = request ? "POST" : "GET";
	if (call->credentials.endpoint[0])
		snprintf(http->url, sizeof(http->url), "%s%s%s?" AZURE_API,
			 call->credentials.endpoint, key_id + vault, path);
	else
		snprintf(http->url, sizeof(http->url), "%s%s?" AZURE_API, key_id, path);
	http->headers[1] = "Content-Type: application/json";
	kms_call_ask(call, &azure_dialect, op, ret);
}

/* {kid, value} of a reply: the kid into KID, the value into BYTES. */
static int take(struct kms_call *call, char kid[static KID_MAX], uint8_t *bytes, size_t max,
		size_t *ret_n)
{
	_cleanup_json_ json_t *json = kms_json(call->http.reply, call->http.reply_size);
	const char *value = kms_json_text(json, "value");

	if (copy_text(kid, KID_MAX, kms_json_text(json, "kid")) < 0 ||
	    !version_of(call->key, kid) ||
	    base64_decode(BASE64_URL, value, strlen(value), bytes, max, ret_n) < 0)
		return -EBADMSG;
	return 0;
}

static json_t *wrap_json(struct kms_call *call, const uint8_t *bytes, size_t n)
{
	base64_encode(BASE64_URL, bytes, n, call->text);
	return json_pack("{s:s, s:s}", "alg", "RSA-OAEP-256", "value", call->text);
}

/* --- the blob --- */

static void free_cipher(EVP_CIPHER_CTX **context)
{
	EVP_CIPHER_CTX_free(*context);
}

/* HEAD is what stands before the nonce. */
static EVP_CIPHER_CTX *cipher_new(const struct kms_key *key, const struct kms_context *context,
				  const uint8_t *data_key, const uint8_t *nonce,
				  const uint8_t *head, size_t head_size, bool encrypt)
{
	_cleanup_(free_cipher) EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
	uint8_t aad[KMS_AAD_MAX];
	size_t n;
	int ignored;

	if (!cipher || kms_context_bytes(key, context, aad, sizeof(aad), &n) < 0 ||
	    EVP_CipherInit_ex(cipher, EVP_aes_256_gcm(), NULL, data_key, nonce, encrypt) != 1 ||
	    EVP_CipherUpdate(cipher, NULL, &ignored, head, (int)head_size) != 1 ||
	    EVP_CipherUpdate(cipher, NULL, &ignored, aad, (int)n) != 1)
		return NULL;
	return TAKE_PTR(cipher);
}

/* Writes a length and BYTES; returns what comes after. */
static uint8_t *put_part(uint8_t *to, const void *bytes, size_t n)
{
	put_be16(to, (uint16_t)n);
	memcpy(to + 2, bytes, n);
	return to + 2 + n;
}

static bool seal(const struct kms_key *key, const struct kms_context *context,
		 const uint8_t *data_key, const uint8_t *plain, size_t n, uint8_t *blob,
		 uint8_t *nonce, size_t *ret_n)
{
	_cleanup_(free_cipher) EVP_CIPHER_CTX *cipher = NULL;
	uint8_t *text = nonce + NONCE_SIZE;
	int length, last;

	if (RAND_bytes(nonce, NONCE_SIZE) != 1)
		return false;
	cipher = cipher_new(key, context, data_key, nonce, blob, (size_t)(nonce - blob), true);
	if (!cipher || EVP_CipherUpdate(cipher, text, &length, plain, (int)n) != 1 ||
	    EVP_CipherFinal_ex(cipher, text + length, &last) != 1 ||
	    EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, text + n) != 1)
		return false;
	*ret_n = (size_t)(text - blob) + n + TAG_SIZE;
	return true;
}

static bool unseal(const struct kms_key *key, const struct kms_context *context,
		   const uint8_t *data_key, const uint8_t *blob, const struct parts *parts,
		   uint8_t *plain)
{
	_cleanup_(free_cipher) EVP_CIPHER_CTX *cipher = cipher_new(
		key, context, data_key, parts->nonce, blob, (size_t)(parts->nonce - blob), false);
	uint8_t tag[TAG_SIZE];
	int length, last;

	memcpy(tag, parts->text + parts->text_size, TAG_SIZE);
	return cipher && EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, tag) == 1 &&
	       EVP_CipherUpdate(cipher, plain, &length, parts->text, (int)parts->text_size) == 1 &&
	       EVP_CipherFinal_ex(cipher, plain + length, &last) == 1;
}

/* The part of at most MAX bytes at *AT; NULL where BLOB ends before. */
static const uint8_t *next_part(const uint8_t *blob, size_t n, size_t *at, size_t max,
				size_t *ret_size)
{
	size_t size;

	if (n - *at < 2)
		return NULL;
	size = get_be16(blob + *at);
	if (size == 0 || size > max || size > n - *at - 2)
		return NULL;
	*ret_size = size;
	*at += 2 + size;
	return blob + *at - size;
}

static bool take_apart(const uint8_t *blob, size_t n, struct parts *ret)
{
	size_t at = MAGIC_SIZE;

	if (n < MAGIC_SIZE || memcmp(blob, MAGIC, MAGIC_SIZE) != 0)
		return false;
	ret->kid = next_part(blob, n, &at, KID_MAX - 1, &ret->kid_size);
	ret->wrapped = ret->kid ? next_part(blob, n, &at, WRAPPED_MAX, &ret->wrapped_size) : NULL;
	if (!ret->wrapped || n - at < NONCE_SIZE + TAG_SIZE ||
	    n - at - NONCE_SIZE - TAG_SIZE > KMS_PLAIN_MAX)
		return false;
	ret->nonce = blob + at;
	ret->text = ret->nonce + NONCE_SIZE;
	ret->text_size = n - at - NONCE_SIZE - TAG_SIZE;
	return true;
}

/* "/VERSION" of the key that wrapped BLOB. */
static bool path_of(const struct kms_key *key, const uint8_t *blob, size_t n, struct parts *parts,
		    char path[static 80])
{
	char kid[KID_MAX];
	const char *version;

	if (!take_apart(blob, n, parts))
		return false;
	snprintf(kid, sizeof(kid), "%.*s", (int)parts->kid_size, (const char *)parts->kid);
	version = version_of(key, kid);
	if (!version)
		return false;
	snprintf(path, 80, "/%s", version);
	return true;
}

/* --- the provider --- */

/* The fresh key is in CALL->secret. */
static void wrap(struct kms_call *call, const struct kms_context *context, const uint8_t *plain,
		 size_t n, uint8_t *blob, size_t *ret_n, struct kms_outcome *ret)
{
	_cleanup_json_ json_t *request = wrap_json(call, call->secret, KEY_SIZE);
	uint8_t wrapped[WRAPPED_MAX], *nonce;
	char kid[KID_MAX];
	size_t size;

	/* No version: the newest. */
	ask(call, KMS_WRAP, "//wrapkey", request, ret);
	if (ret->class != KMS_OK)
		return;
	if (take(call, kid, wrapped, sizeof(wrapped), &size) < 0) {
		kms_outcome_set(ret, KMS_UNAVAILABLE, true,
				"200 without a wrapped key of this key");
		return;
	}
	memcpy(blob, MAGIC, MAGIC_SIZE);
	nonce = put_part(blob + MAGIC_SIZE, kid, strlen(kid));
	nonce = put_part(nonce, wrapped, size);
	if (!seal(call->key, context, call->secret, plain, n, blob, nonce, ret_n))
		kms_outcome_set(ret, KMS_UNAVAILABLE, true, "encryption failed");
}

static void azure_wrap(const struct kms_key *key, const struct kms_context *context,
		       const uint8_t *plain, size_t n, uint8_t *blob, size_t *ret_n,
		       struct kms_outcome *ret_outcome)
{
	_cleanup_(kms_call_free) struct kms_call *call = kms_call_new(key, ret_outcome);

	if (!call)
		return;
	if (n > KMS_PLAIN_MAX)
		kms_outcome_set(ret_outcome, KMS_MISCONFIGURED, false, "the plaintext is too long");
	else if (RAND_priv_bytes(call->secret, KEY_SIZE) != 1)
		kms_outcome_set(ret_outcome, KMS_UNAVAILABLE, true, "no random bytes");
	else
		wrap(call, context, plain, n, blob, ret_n, ret_outcome);
}

static void unwrap(struct kms_call *call, const struct kms_context *context, const uint8_t *blob,
		   const struct parts *parts, uint8_t *plain, size_t *ret_n,
		   struct kms_outcome *ret)
{
	char kid[KID_MAX];
	size_t size;

	if (take(call, kid, call->secret, sizeof(call->secret), &size) < 0)
		kms_outcome_set(ret, KMS_UNAVAILABLE, true, "200 without a key of this key");
	else if (size != KEY_SIZE || !unseal(call->key, context, call->secret, blob, parts, plain))
		kms_outcome_set(ret, KMS_CORRUPT, false, "the blob is not of this key and context");
	else
		*ret_n = parts->text_size;
}

static void azure_unwrap(const struct kms_key *key, const struct kms_context *context,
			 const uint8_t *blob, size_t n, uint8_t *plain, size_t *ret_n,
			 struct kms_outcome *ret_outcome)
{
	_cleanup_(kms_call_free) struct kms_call *call = kms_call_new(key, ret_outcome);
	_cleanup_json_ json_t *request = NULL;
	struct parts parts = {0};
	char path[96];

	if (call && path_of(key, blob, n, &parts, path)) {
		strcat(path, "/unwrapkey");
		request = wrap_json(call, parts.wrapped, parts.wrapped_size);
		ask(call, KMS_UNWRAP, path, request, ret_outcome);
		if (ret_outcome->class == KMS_OK)
			unwrap(call, context, blob, &parts, plain, ret_n, ret_outcome);
	} else if (call) {
		kms_outcome_set(ret_outcome, KMS_CORRUPT, false, "the blob is not of this key");
	}
	if (ret_outcome->class != KMS_OK)
		bytes_wipe(plain, KMS_PLAIN_MAX);
}

static void azure_describe(const struct kms_key *key, const uint8_t *blob, size_t n,
			   struct kms_outcome *ret_outcome)
{
	_cleanup_(kms_call_free) struct kms_call *call = kms_call_new(key, ret_outcome);
	struct parts parts;
	char path[80] = "";

	if (!call)
		return;
	if (blob && !path_of(key, blob, n, &parts, path))
		kms_outcome_set(ret_outcome, KMS_CORRUPT, false, "the blob is not of this key");
	else
		ask(call, KMS_DESCRIBE, path, NULL, ret_outcome);
}

static void azure_version(const struct kms_key *key, const uint8_t *blob, size_t n,
			  char version[static KMS_VERSION_MAX])
{
	struct parts parts;
	char path[80] = "/";

	(void)path_of(key, blob, n, &parts, path);
	snprintf(version, KMS_VERSION_MAX, "%s", path + strspn(path, "/"));
}

const struct kms_provider kms_azure = {
	.name = "azure",
	.check = azure_check,
	.same = azure_same,
	.wrap = azure_wrap,
	.unwrap = azure_unwrap,
	.describe = azure_describe,
	.version = azure_version,
	.classify = azure_classify,
};
