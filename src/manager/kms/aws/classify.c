/* SPDX-License-Identifier: Apache-2.0 */
/* What AWS says, and what it means: by the error's name, not by the status, which differs. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "manager/kms/aws/aws.h"

static const struct {
	const char *name;
	enum kms_class class;
} names[] = {
	{"DisabledException", KMS_REVOKED_STATE},
	{"AccessDeniedException", KMS_REVOKED_ACCESS},
	{"NotFoundException", KMS_REVOKED_ACCESS},

	{"UnrecognizedClientException", KMS_IDENTITY},
	{"InvalidClientTokenId", KMS_IDENTITY},
	{"InvalidAccessKeyId", KMS_IDENTITY},
	{"InvalidSignatureException", KMS_IDENTITY},
	{"SignatureDoesNotMatch", KMS_IDENTITY},
	{"IncompleteSignature", KMS_IDENTITY},
	{"IncompleteSignatureException", KMS_IDENTITY},
	{"MissingAuthenticationToken", KMS_IDENTITY},
	{"MissingAuthenticationTokenException", KMS_IDENTITY},
	{"ExpiredToken", KMS_IDENTITY},
	{"ExpiredTokenException", KMS_IDENTITY},
	{"RequestExpired", KMS_IDENTITY},
	{"RequestTimeTooSkewed", KMS_IDENTITY},
	{"AuthFailure", KMS_IDENTITY},
	{"NotAuthorized", KMS_IDENTITY},
	{"OptInRequired", KMS_IDENTITY},

	{"KMSInternalException", KMS_UNAVAILABLE},
	{"DependencyTimeoutException", KMS_UNAVAILABLE},
	{"KeyUnavailableException", KMS_UNAVAILABLE},
	{"ThrottledException", KMS_UNAVAILABLE},
	{"TooManyRequestsException", KMS_UNAVAILABLE},
	{"RequestLimitExceeded", KMS_UNAVAILABLE},
	{"LimitExceededException", KMS_UNAVAILABLE},
	{"SlowDown", KMS_UNAVAILABLE},

	{"InvalidArnException", KMS_MISCONFIGURED},
	{"InvalidKeyUsageException", KMS_MISCONFIGURED},

	{"InvalidCiphertextException", KMS_CORRUPT},
	{"IncorrectKeyException", KMS_CORRUPT},
};

static const struct {
	const char *state;
	enum kms_class class;
} states[] = {
	{"Enabled", KMS_OK},
	{"Disabled", KMS_REVOKED_STATE},
	{"PendingDeletion", KMS_REVOKED_STATE},
	{"PendingImport", KMS_REVOKED_STATE},
	{"PendingReplicaDeletion", KMS_REVOKED_STATE},
	{"Unavailable", KMS_UNAVAILABLE},
	{"Creating", KMS_UNAVAILABLE},
	{"Updating", KMS_UNAVAILABLE},
};

/* "ns#Name:url" without the ends. */
static void bare_name(const char *type, char name[static 96])
{
	const char *start = strrchr(type, '#');
	size_t len;

	start = start ? start + 1 : type;
	len = strcspn(start, ":");
	snprintf(name, 96, "%.*s", (int)(len < 95 ? len : 95), start);
}

/* The error's name, "" where the reply tells none. */
static void error_name(const struct kms_reply *reply, char name[static 96])
{
	_cleanup_json_ json_t *json = kms_json(reply->body, reply->n);
	const char *type = kms_json_text(json, "__type");

	bare_name(type[0] ? type : reply->error_type ? reply->error_type : "", name);
}

/* The state is in the message alone: "… is pending deletion." */
static enum kms_class invalid_state(const struct kms_reply *reply)
{
	static const char *const revoked[] = {"pending deletion", "pending import",
					      "PendingDeletion", "PendingImport",
					      "PendingReplicaDeletion"};
	_cleanup_json_ json_t *json = kms_json(reply->body, reply->n);
	const char *message = kms_json_text(json, "message");

	if (!message[0])
		message = kms_json_text(json, "Message");
	for (size_t i = 0; i < ELEMENTSOF(revoked); i++)
		if (strstr(message, revoked[i]))
			return KMS_REVOKED_STATE;
	/* In other words, then by what describe said. */
	return reply->described == KMS_REVOKED_STATE ? KMS_REVOKED_STATE : KMS_UNAVAILABLE;
}

static void classify_error(const struct kms_reply *reply, struct kms_outcome *ret)
{
	char name[96];

	error_name(reply, name);
	for (size_t i = 0; i < ELEMENTSOF(names); i++) {
		if (strcmp(name, names[i].name) == 0) {
			kms_outcome_set(ret, names[i].class, false, "%ld %s", reply->status, name);
			return;
		}
	}
	if (strcmp(name, "KMSInvalidStateException") == 0)
		kms_outcome_set(ret, invalid_state(reply), false, "%ld %s", reply->status, name);
	else if (strncmp(name, "Throttling", 10) == 0 || reply->status == 429 ||
		 reply->status >= 500)
		kms_outcome_set(ret, KMS_UNAVAILABLE, false, "%ld %s", reply->status, name);
	else
		kms_outcome_set(ret, KMS_UNAVAILABLE, true, "%ld %s: not known", reply->status,
				name[0] ? name : "without a name");
}

static void classify_state(const struct kms_reply *reply, struct kms_outcome *ret)
{
	_cleanup_json_ json_t *json = kms_json(reply->body, reply->n);
	const char *state = kms_json_text(json, "KeyMetadata.KeyState");

	for (size_t i = 0; i < ELEMENTSOF(states); i++) {
		if (strcmp(state, states[i].state) == 0) {
			kms_outcome_set(ret, states[i].class, false, "KeyState %s", state);
			return;
		}
	}
	kms_outcome_set(ret, KMS_UNAVAILABLE, true, "KeyState %s: not known", state);
}

/* STS, IMDS. Only the customer's refusal to lend the role is the customer's. */
static void classify_identity(const struct kms_reply *reply, struct kms_outcome *ret)
{
	char code[64] = "";

	(void)aws_xml_text(reply->body, "Code", code, sizeof(code));
	if (reply->op == KMS_ASSUME && reply->identity_answers && reply->status == 403 &&
	    strcmp(code, "AccessDenied") == 0)
		kms_outcome_set(ret, KMS_REVOKED_ACCESS, false, "STS: %ld %s", reply->status, code);
	else
		kms_outcome_set(ret, KMS_IDENTITY, true, "STS or IMDS: %ld %s", reply->status,
				code);
}

static const struct kms_classifier classifier = {
	.identity_name = "STS or IMDS",
	.identity = classify_identity,
	.error = classify_error,
	.state = classify_state,
	.rights =
		{
			[KMS_WRAP] = "kms:Encrypt",
			[KMS_UNWRAP] = "kms:Decrypt",
			[KMS_DESCRIBE] = "kms:DescribeKey",
			[KMS_ASSUME] = "sts:AssumeRole",
		},
	.absent = "NotFoundException",
};

void aws_classify(const struct kms_reply *reply, struct kms_outcome *ret_outcome)
{
	kms_classify(&classifier, reply, ret_outcome);
}
