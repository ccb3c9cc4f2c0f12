/* SPDX-License-Identifier: Apache-2.0 */
/* What Azure says, and what it means: the inner error's code first, then the error's. */
#include <string.h>

#include "base/cleanup.h"
#include "manager/kms/azure/azure.h"

static const struct {
	const char *code;
	enum kms_class class;
} codes[] = {
	{"KeyDisabled", KMS_REVOKED_STATE},
	{"KeyNotFound", KMS_REVOKED_STATE},
	{"ObjectIsDeletedButRecoverable", KMS_REVOKED_STATE},

	{"AccessDenied", KMS_REVOKED_ACCESS},
	{"ForbiddenByPolicy", KMS_REVOKED_ACCESS},
	{"ForbiddenByRbac", KMS_REVOKED_ACCESS},

	{"Unauthorized", KMS_MISCONFIGURED},
	{"BadParameter", KMS_MISCONFIGURED},
	{"ForbiddenByFirewall", KMS_MISCONFIGURED},
	{"KeyExpired", KMS_MISCONFIGURED},
	{"KeyNotYetValid", KMS_MISCONFIGURED},
};

static bool classify_code(const struct kms_reply *reply, const char *code, struct kms_outcome *ret)
{
	for (size_t i = 0; i < ELEMENTSOF(codes); i++) {
		if (strcmp(code, codes[i].code) == 0) {
			kms_outcome_set(ret, codes[i].class, false, "%ld %s", reply->status, code);
			return true;
		}
	}
	return false;
}

static void classify_error(const struct kms_reply *reply, struct kms_outcome *ret)
{
	_cleanup_json_ json_t *json = kms_json(reply->body, reply->n);
	const char *inner = kms_json_text(json, "error.innererror.code");
	const char *code = kms_json_text(json, "error.code");

	if (!inner[0])
		inner = kms_json_text(json, "error.innerError.code");
	/* The status first: a throttled request was refused by no policy. */
	if (reply->status == 429 || reply->status >= 500)
		kms_outcome_set(ret, KMS_UNAVAILABLE, false, "%ld %s", reply->status, code);
	else if (classify_code(reply, inner, ret) || classify_code(reply, code, ret))
		return;
	else if (reply->status == 401)
		kms_outcome_set(ret, KMS_MISCONFIGURED, true, "401 %s", code);
	else
		kms_outcome_set(ret, KMS_UNAVAILABLE, true, "%ld %s: not known", reply->status,
				inner[0]  ? inner
				: code[0] ? code
					  : "without a code");
}

static void classify_state(const struct kms_reply *reply, struct kms_outcome *ret)
{
	_cleanup_json_ json_t *json = kms_json(reply->body, reply->n);
	const json_t *enabled = json_object_get(json_object_get(json, "attributes"), "enabled");

	if (json_is_true(enabled))
		kms_outcome_set(ret, KMS_OK, false, "enabled");
	else if (json_is_false(enabled))
		kms_outcome_set(ret, KMS_REVOKED_STATE, false, "attributes.enabled=false");
	else
		kms_outcome_set(ret, KMS_UNAVAILABLE, true, "attributes.enabled: not known");
}

/* The OAuth error, never the AADSTS numbers of its description. */
static void classify_identity(const struct kms_reply *reply, struct kms_outcome *ret)
{
	_cleanup_json_ json_t *json = kms_json(reply->body, reply->n);

	kms_outcome_set(ret, KMS_IDENTITY, true, "token: %ld %s", reply->status,
			kms_json_text(json, "error"));
}

static const struct kms_classifier classifier = {
	.identity_name = "token",
	.identity = classify_identity,
	.error = classify_error,
	.state = classify_state,
	.rights =
		{
			[KMS_WRAP] = "wrapKey",
			[KMS_UNWRAP] = "unwrapKey",
			[KMS_DESCRIBE] = "get",
		},
};

void azure_classify(const struct kms_reply *reply, struct kms_outcome *ret_outcome)
{
	kms_classify(&classifier, reply, ret_outcome);
}
