/* SPDX-License-Identifier: Apache-2.0 */
/* Google Cloud KMS: encrypt and decrypt with additional data, CRC-32C both ways.
 *
 *	blob: magic "EMBGCP01" 8 · length 2 · name of the version · ciphertext
 *
 * The version is for describe alone: the ciphertext names its own to KMS. */
#include "manager/kms/google/google.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/parse.h"

#define ENDPOINT     "https://cloudkms.googleapis.com"
#define MAGIC	     "EMBGCP01"
#define MAGIC_SIZE   8
#define RESOURCE_MAX 400

/* One segment of a resource's name at *TEXT, after "WORD/". */
static bool next_segment(const char **text, const char *word)
{
	static const char characters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-";
	size_t len = strlen(word), n;

	if (strncmp(*text, word, len) != 0)
		return false;
	n = strspn(*text + len, characters);
	/* "." and ".." would be another path. */
	if (n == 0 || n > 63 || strspn(*text + len, ".") == n)
		return false;
	*text += len + n;
	return true;
}

static bool name_of_key(const char *key_id)
{
	return next_segment(&key_id, "projects/") && next_segment(&key_id, "/locations/") &&
	       next_segment(&key_id, "/keyRings/") && next_segment(&key_id, "/cryptoKeys/") &&
	       !*key_id;
}

static int google_check(const struct kms_key *key, char error[static 256])
{
	if (!name_of_key(key->key_id)) {
		snprintf(error, 256,
			 "kms_key_id: not projects/P/locations/L/keyRings/R/cryptoKeys/K of "
			 "segments "
			 "of [A-Za-z0-9._~-]");
		return -EINVAL;
	}
	if (key->role_arn[0] || key->external_id[0] || key->tenant_id[0]) {
		snprintf(error, 256,
			 "role_arn, external_id, tenant_id: not of the google provider");
		return -EINVAL;
	}
	return credentials_check(key, error);
}

/* A project has a number beside its name, and nobody here knows which is whose. */
static bool google_same(const struct kms_key *a, const struct kms_key *b)
{
	return strcmp(a->key_id, b->key_id) == 0;
}

/* Whether NAME is KEY's, or a version's of it. */
static bool name_is_under(const struct kms_key *key, const char *name)
{
	static const char versions[] = "/cryptoKeyVersions/";
	size_t n = strlen(key->key_id);

	if (strncmp(name, key->key_id, n) != 0)
		return false;
	name += n;
	if (!*name)
		return true;
	return strncmp(name, versions, strlen(versions)) == 0 &&
	       name_is_valid(name + strlen(versions), 20);
}

/* --- asking --- */

const struct kms_dialect google_dialect = {
	.fetch = google_fetch,
	.authorise = kms_call_bearer,
	.classify = google_classify,
};

/* One operation on the resource NAME. */
static void ask(struct kms_call *call, enum kms_op op, const char *name, const char *verb,
		const json_t *request, struct kms_outcome *ret)
{
	struct kms_http *http = &call->http;
	const char *base = call->credentials.endpoint;
	size_t n = 0;

	if (request)
		n = json_dumpb(request, http->request, sizeof(http->request), JSON_COMPACT);
	if (n > sizeof(http->request) || (op != KMS_DESCRIBE && n == 0)) {
		kms_outcome_set(ret, KMS_MISCONFIGURED, true, "the request cannot be made");
		return;
	}
	http->request_size = n;
	http->method = request ? "POST" : "GET";
	snprintf(http->url, sizeof(http->url), "%s/v1/%s%s", base[0] ? base : ENDPOINT, name, verb);
	http->headers[1] = "Content-Type: application/json";
	kms_call_ask(call, &google_dialect, op, ret);
}

/* int64 is a text in this wire. */
static const char *crc_text(const void *bytes, size_t n, char text[static 16])
{
	snprintf(text, 16, "%" PRIu32, crc32c(bytes, n));
	return text;
}

/* The fields that both directions have: NAME of the bytes, and the context. */
static json_t *request_json(struct kms_call *call, const struct kms_context *context,
			    const char *name, const char *crc_name, const uint8_t *bytes, size_t n)
{
	uint8_t aad[KMS_AAD_MAX];
	char crc[16], aad_crc[16];
	size_t aad_size;

	if (kms_context_bytes(call->key, context, aad, sizeof(aad), &aad_size) < 0)
		return NULL;
	base64_encode(BASE64, bytes, n, call->text);
	base64_encode(BASE64, aad, aad_size, call->aad);
	return json_pack("{s:s, s:s, s:s, s:s}", name, call->text, crc_name,
			 crc_text(bytes, n, crc), "additionalAuthenticatedData", call->aad,
			 "additionalAuthenticatedDataCrc32c", crc_text(aad, aad_size, aad_crc));
}

/* Whether the reply says, under NAME, the CRC of BYTES. */
static bool crc_agrees(const json_t *json, const char *name, const void *bytes, size_t n)
{
	char crc[16];

	return strcmp(kms_json_text(json, name), crc_text(bytes, n, crc)) == 0;
}

static bool is_true(const json_t *json, const char *name)
{
	return json_is_true(json_object_get(json, name));
}

/* --- the provider --- */

/* What came is of this key, whole, and of what was sent. */
static const char *take_wrapped(struct kms_call *call, uint8_t *blob, size_t *ret_n)
{
	_cleanup_json_ json_t *json = kms_json(call->http.reply, call->http.reply_size);
	const char *name = kms_json_text(json, "name");
	size_t head = MAGIC_SIZE + 2 + strlen(name), n;

	if (!name_is_under(call->key, name) || head > RESOURCE_MAX)
		return "the reply is of another key";
	if (!is_true(json, "verifiedPlaintextCrc32c") ||
	    !is_true(json, "verifiedAdditionalAuthenticatedDataCrc32c"))
		return "KMS did not verify the CRC of the request";
	if (kms_json_bytes(json, "ciphertext", blob + head, KMS_BLOB_MAX - head, &n) < 0 || n == 0)
		return "200 without a ciphertext";
	if (!crc_agrees(json, "ciphertextCrc32c", blob + head, n))
		return "the ciphertext does not have its CRC";
	memcpy(blob, MAGIC, MAGIC_SIZE);
	put_be16(blob + MAGIC_SIZE, (uint16_t)strlen(name));
	memcpy(blob + MAGIC_SIZE + 2, name, strlen(name));
	*ret_n = head + n;
	return NULL;
}

static void google_wrap(const struct kms_key *key, const struct kms_context *context,
			const uint8_t *plain, size_t n, uint8_t *blob, size_t *ret_n,
			struct kms_outcome *ret_outcome)
{
	_cleanup_(kms_call_free) struct kms_call *call = kms_call_new(key, ret_outcome);
	_cleanup_json_ json_t *request = NULL;
	const char *wrong;

	if (!call)
		return;
	if (n > KMS_PLAIN_MAX) {
		kms_outcome_set(ret_outcome, KMS_MISCONFIGURED, false, "the plaintext is too long");
		return;
	}
	request = request_json(call, context, "plaintext", "plaintextCrc32c", plain, n);
	ask(call, KMS_WRAP, key->key_id, ":encrypt", request, ret_outcome);
	if (ret_outcome->class != KMS_OK)
		return;
	wrong = take_wrapped(call, blob, ret_n);
	if (wrong)
		kms_outcome_set(ret_outcome, KMS_UNAVAILABLE, true, "%s", wrong);
}

/* The length of what stands before the ciphertext; the version's name into NAME. 0: no blob. */
static size_t take_apart(const struct kms_key *key, const uint8_t *blob, size_t n,
			 char name[static RESOURCE_MAX])
{
	size_t len;

	if (n < MAGIC_SIZE + 2 || memcmp(blob, MAGIC, MAGIC_SIZE) != 0)
		return 0;
	len = get_be16(blob + MAGIC_SIZE);
	if (len >= RESOURCE_MAX || n - MAGIC_SIZE - 2 <= len)
		return 0;
	snprintf(name, RESOURCE_MAX, "%.*s", (int)len, (const char *)blob + MAGIC_SIZE + 2);
	return strlen(name) == len && name_is_under(key, name) ? MAGIC_SIZE + 2 + len : 0;
}

static const char *take_plain(struct kms_call *call, uint8_t *plain, size_t *ret_n)
{
	_cleanup_json_ json_t *json = kms_json(call->http.reply, call->http.reply_size);

	if (kms_json_bytes(json, "plaintext", plain, KMS_PLAIN_MAX, ret_n) < 0)
		return "200 without a plaintext";
	if (!crc_agrees(json, "plaintextCrc32c", plain, *ret_n))
		return "the plaintext does not have its CRC";
	return NULL;
}

static void google_unwrap(const struct kms_key *key, const struct kms_context *context,
			  const uint8_t *blob, size_t n, uint8_t *plain, size_t *ret_n,
			  struct kms_outcome *ret_outcome)
{
	_cleanup_(kms_call_free) struct kms_call *call = kms_call_new(key, ret_outcome);
	_cleanup_json_ json_t *request = NULL;
	const char *wrong = NULL;
	char name[RESOURCE_MAX];
	size_t head = call ? take_apart(key, blob, n, name) : 0;

	if (head > 0) {
		request = request_json(call, context, "ciphertext", "ciphertextCrc32c", blob + head,
				       n - head);
		ask(call, KMS_UNWRAP, key->key_id, ":decrypt", request, ret_outcome);
		if (ret_outcome->class == KMS_OK)
			wrong = take_plain(call, plain, ret_n);
		if (wrong)
			kms_outcome_set(ret_outcome, KMS_UNAVAILABLE, true, "%s", wrong);
	} else if (call) {
		kms_outcome_set(ret_outcome, KMS_CORRUPT, false, "the blob is not of this key");
	}
	if (ret_outcome->class != KMS_OK)
		bytes_wipe(plain, KMS_PLAIN_MAX);
}

static void google_describe(const struct kms_key *key, const uint8_t *blob, size_t n,
			    struct kms_outcome *ret_outcome)
{
	_cleanup_(kms_call_free) struct kms_call *call = kms_call_new(key, ret_outcome);
	char name[RESOURCE_MAX];

	if (!call)
		return;
	if (!blob)
		ask(call, KMS_DESCRIBE, key->key_id, "", NULL, ret_outcome);
	else if (take_apart(key, blob, n, name) > 0)
		ask(call, KMS_DESCRIBE, name, "", NULL, ret_outcome);
	else
		kms_outcome_set(ret_outcome, KMS_CORRUPT, false, "the blob is not of this key");
}

static void google_version(const struct kms_key *key, const uint8_t *blob, size_t n,
			   char version[static KMS_VERSION_MAX])
{
	char name[RESOURCE_MAX];
	const char *last = NULL;

	if (take_apart(key, blob, n, name) > 0)
		last = strrchr(name, '/');
	snprintf(version, KMS_VERSION_MAX, "%.20s", last ? last + 1 : "");
}

const struct kms_provider kms_google = {
	.name = "google",
	.check = google_check,
	.same = google_same,
	.wrap = google_wrap,
	.unwrap = google_unwrap,
	.describe = google_describe,
	.version = google_version,
	.classify = google_classify,
};
