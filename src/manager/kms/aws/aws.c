/* SPDX-License-Identifier: Apache-2.0 */
/* AWS KMS: Encrypt, Decrypt and DescribeKey of the JSON 1.1 protocol, signed by libcurl.
 *
 * The blob is KMS's own; the context is KMS's EncryptionContext, and so in the customer's trail. */
#include "manager/kms/aws/aws.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/parse.h"

/* The next part of *TEXT up to ':' into PART, of letters, digits and '-'. */
static bool next_part(const char **text, char *part, size_t size)
{
	size_t n = strcspn(*text, ":");

	if (n == 0 || n >= size || (*text)[n] != ':' ||
	    strspn(*text, "abcdefghijklmnopqrstuvwxyz0123456789-") < n)
		return false;
	memcpy(part, *text, n);
	part[n] = '\0';
	*text += n + 1;
	return true;
}

int aws_arn_parse(const char *key_id, struct aws_arn *ret_arn)
{
	const char *text = key_id;
	struct aws_arn arn = {0};
	char word[8];

	if (!next_part(&text, word, sizeof(word)) || strcmp(word, "arn") != 0 ||
	    !next_part(&text, arn.partition, sizeof(arn.partition)) ||
	    strncmp(arn.partition, "aws", 3) != 0 || !next_part(&text, word, sizeof(word)) ||
	    strcmp(word, "kms") != 0 || !next_part(&text, arn.region, sizeof(arn.region)) ||
	    !next_part(&text, arn.account, sizeof(arn.account)) || strncmp(text, "key/", 4) != 0 ||
	    !name_is_valid(text + 4, 64))
		return -EINVAL;
	*ret_arn = arn;
	return 0;
}

static int aws_check(const struct kms_key *key, char error[static 256])
{
	struct aws_arn arn;

	if (aws_arn_parse(key->key_id, &arn) < 0) {
		snprintf(error, 256, "key_arn: not arn:aws:kms:REGION:ACCOUNT:key/ID");
		return -EINVAL;
	}
	if (key->tenant_id[0]) {
		snprintf(error, 256, "tenant_id: of the azure provider alone");
		return -EINVAL;
	}
	if (key->role_arn[0] && strncmp(key->role_arn, "arn:aws", 7) != 0) {
		snprintf(error, 256, "role_arn: not arn:aws:iam::ACCOUNT:role/NAME");
		return -EINVAL;
	}
	/* Without it whoever knows another customer's role has us use it for them. */
	if (!key->role_arn[0] != !key->external_id[0]) {
		snprintf(error, 256, "role_arn, external_id: each needs the other");
		return -EINVAL;
	}
	return credentials_check(key, error);
}

/* The replicas of a multi-Region key are one key: they differ in the region alone. */
static bool aws_same(const struct kms_key *a, const struct kms_key *b)
{
	const char *id_a = strstr(a->key_id, ":key/"), *id_b = strstr(b->key_id, ":key/");
	struct aws_arn arn_a, arn_b;

	if (strcmp(a->key_id, b->key_id) == 0)
		return true;
	if (aws_arn_parse(a->key_id, &arn_a) < 0 || aws_arn_parse(b->key_id, &arn_b) < 0)
		return false;
	return strncmp(id_a, ":key/mrk-", 9) == 0 && strcmp(id_a, id_b) == 0 &&
	       strcmp(arn_a.account, arn_b.account) == 0;
}

static void authorise(struct kms_call *call)
{
	call->http.user = call->token.user;
	call->http.password = call->token.secret;
	if (!call->token.bearer[0])
		return;
	snprintf(call->header, sizeof(call->header), "X-Amz-Security-Token: %s",
		 call->token.bearer);
	call->http.headers[2] = call->header;
}

const struct kms_dialect aws_dialect = {
	.fetch = aws_fetch,
	.authorise = authorise,
	.classify = aws_classify,
};

/* One operation: TARGET is its header, REQUEST its JSON. */
static void ask(struct kms_call *call, enum kms_op op, const char *target, const json_t *request,
		struct kms_outcome *ret)
{
	struct kms_http *http = &call->http;
	struct aws_arn arn;
	char signer[64];
	size_t n;

	n = request ? json_dumpb(request, http->request, sizeof(http->request), JSON_COMPACT) : 0;
	if (n == 0 || n > sizeof(http->request) || aws_arn_parse(call->key->key_id, &arn) < 0) {
		kms_outcome_set(ret, KMS_MISCONFIGURED, true, "the request cannot be made");
		return;
	}
	http->request_size = n;
	http->method = "POST";
	if (call->credentials.endpoint[0])
		snprintf(http->url, sizeof(http->url), "%s/", call->credentials.endpoint);
	else
		snprintf(http->url, sizeof(http->url), "https://kms.%s.amazonaws.com%s/",
			 arn.region, strcmp(arn.partition, "aws-cn") == 0 ? ".cn" : "");
	snprintf(signer, sizeof(signer), "aws:amz:%s:kms", arn.region);
	http->sigv4 = signer;
	http->headers[0] = "Content-Type: application/x-amz-json-1.1";
	http->headers[1] = target;
	kms_call_ask(call, &aws_dialect, op, ret);
	http->sigv4 = NULL;
}

static json_t *context_json(const struct kms_context *context)
{
	json_t *json = json_object();

	for (size_t i = 0; i < context->n; i++)
		json_object_set_new(json, context->pairs[i].name,
				    json_string(context->pairs[i].value));
	return json;
}

static bool answered_by_key(const struct kms_call *call, const json_t *json,
			    struct kms_outcome *ret)
{
	if (strcmp(kms_json_text(json, "KeyId"), call->key->key_id) == 0)
		return true;
	kms_outcome_set(ret, KMS_UNAVAILABLE, true, "the reply is of another key");
	return false;
}

static void aws_describe(const struct kms_key *key, const uint8_t *blob, size_t n,
			 struct kms_outcome *ret_outcome)
{
	_cleanup_(kms_call_free) struct kms_call *call = kms_call_new(key, ret_outcome);
	_cleanup_json_ json_t *request = json_pack("{s:s}", "KeyId", key->key_id);

	if (call)
		ask(call, KMS_DESCRIBE, "X-Amz-Target: TrentService.DescribeKey", request,
		    ret_outcome);
}

static void aws_wrap(const struct kms_key *key, const struct kms_context *context,
		     const uint8_t *plain, size_t n, uint8_t *blob, size_t *ret_n,
		     struct kms_outcome *ret_outcome)
{
	_cleanup_(kms_call_free) struct kms_call *call = kms_call_new(key, ret_outcome);
	_cleanup_json_ json_t *request = NULL, *json = NULL;

	if (!call)
		return;
	if (n > KMS_PLAIN_MAX) {
		kms_outcome_set(ret_outcome, KMS_MISCONFIGURED, false, "the plaintext is too long");
		return;
	}
	base64_encode(BASE64, plain, n, call->text);
	request = json_pack("{s:s, s:s, s:o}", "KeyId", key->key_id, "Plaintext", call->text,
			    "EncryptionContext", context_json(context));
	ask(call, KMS_WRAP, "X-Amz-Target: TrentService.Encrypt", request, ret_outcome);
	if (ret_outcome->class != KMS_OK)
		return;
	json = kms_json(call->http.reply, call->http.reply_size);
	if (answered_by_key(call, json, ret_outcome) &&
	    kms_json_bytes(json, "CiphertextBlob", blob, KMS_BLOB_MAX, ret_n) < 0)
		kms_outcome_set(ret_outcome, KMS_UNAVAILABLE, true, "200 without a ciphertext");
}

static void take_plain(struct kms_call *call, uint8_t *plain, size_t *ret_n,
		       struct kms_outcome *ret)
{
	_cleanup_json_ json_t *json = kms_json(call->http.reply, call->http.reply_size);

	if (answered_by_key(call, json, ret) &&
	    kms_json_bytes(json, "Plaintext", plain, KMS_PLAIN_MAX, ret_n) < 0)
		kms_outcome_set(ret, KMS_UNAVAILABLE, true, "200 without a plaintext");
}

/* KMS names some states in its message alone: in words not known, describe decides. */
static void ask_again_described(struct kms_call *call, const struct kms_key *key,
				const json_t *request, struct kms_outcome *ret)
{
	struct kms_outcome description;

	if (ret->class != KMS_UNAVAILABLE || !strstr(ret->code, "KMSInvalidStateException"))
		return;
	aws_describe(key, NULL, 0, &description);
	call->described = description.class;
	ask(call, KMS_UNWRAP, "X-Amz-Target: TrentService.Decrypt", request, ret);
}

static void aws_unwrap(const struct kms_key *key, const struct kms_context *context,
		       const uint8_t *blob, size_t n, uint8_t *plain, size_t *ret_n,
		       struct kms_outcome *ret_outcome)
{
	_cleanup_(kms_call_free) struct kms_call *call = kms_call_new(key, ret_outcome);
	_cleanup_json_ json_t *request = NULL;

	if (!call)
		return;
	base64_encode(BASE64, blob, n < KMS_BLOB_MAX ? n : KMS_BLOB_MAX, call->text);
	request = json_pack("{s:s, s:s, s:o}", "KeyId", key->key_id, "CiphertextBlob", call->text,
			    "EncryptionContext", context_json(context));
	ask(call, KMS_UNWRAP, "X-Amz-Target: TrentService.Decrypt", request, ret_outcome);
	ask_again_described(call, key, request, ret_outcome);
	if (ret_outcome->class == KMS_OK)
		take_plain(call, plain, ret_n, ret_outcome);
	if (ret_outcome->class != KMS_OK)
		bytes_wipe(plain, KMS_PLAIN_MAX);
}

const struct kms_provider kms_aws = {
	.name = "aws",
	.check = aws_check,
	.same = aws_same,
	.wrap = aws_wrap,
	.unwrap = aws_unwrap,
	.describe = aws_describe,
	.classify = aws_classify,
};
