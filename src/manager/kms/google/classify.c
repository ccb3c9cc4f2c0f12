/* SPDX-License-Identifier: Apache-2.0 */
/* What Google says, and what it means: the reason in the error's details first, then its status. */
#include <string.h>

#include "base/cleanup.h"
#include "manager/kms/google/google.h"

struct row {
	const char *name;
	enum kms_class class;
};

/* google.rpc.ErrorInfo.reason, google.rpc.PreconditionFailure violations' type. */
static const struct row reasons[] = {
	{"KEY_DISABLED", KMS_REVOKED_STATE},
	{"IAM_PERMISSION_DENIED", KMS_REVOKED_ACCESS},
	{"SERVICE_DISABLED", KMS_MISCONFIGURED},
	{"BILLING_DISABLED", KMS_MISCONFIGURED},
};

static const struct row statuses[] = {
	{"NOT_FOUND", KMS_REVOKED_ACCESS}, {"INVALID_ARGUMENT", KMS_MISCONFIGURED},
	{"UNAUTHENTICATED", KMS_IDENTITY}, {"RESOURCE_EXHAUSTED", KMS_UNAVAILABLE},
	{"UNAVAILABLE", KMS_UNAVAILABLE},  {"DEADLINE_EXCEEDED", KMS_UNAVAILABLE},
};

static const struct row states[] = {
	{"ENABLED", KMS_OK},
	{"DISABLED", KMS_REVOKED_STATE},
	{"DESTROY_SCHEDULED", KMS_REVOKED_STATE},
	{"DESTROYED", KMS_REVOKED_STATE},
};

/* OAuth errors of the token endpoint that say the request is wrong, rather than who asks. */
static const char *const bad_requests[] = {"invalid_request", "invalid_scope",
					   "unsupported_grant_type"};

static const struct row *find(const struct row *rows, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(rows[i].name, name) == 0)
			return &rows[i];
	return NULL;
}

/* The first reason known in one element of error.details. */
static const struct row *find_reason(const json_t *detail)
{
	const json_t *violations = json_object_get(detail, "violations");
	const struct row *row = find(reasons, ELEMENTSOF(reasons), kms_json_text(detail, "reason"));

	for (size_t i = 0; !row && i < json_array_size(violations); i++)
		row = find(reasons, ELEMENTSOF(reasons),
			   kms_json_text(json_array_get(violations, i), "type"));
	return row;
}

static const struct row *find_in_details(const json_t *json)
{
	const json_t *details = json_object_get(json_object_get(json, "error"), "details");
	const struct row *row = NULL;

	for (size_t i = 0; !row && i < json_array_size(details); i++)
		row = find_reason(json_array_get(details, i));
	return row;
}

static void classify_error(const struct kms_reply *reply, struct kms_outcome *ret)
{
	_cleanup_json_ json_t *json = kms_json(reply->body, reply->n);
	const char *status = kms_json_text(json, "error.status");
	const struct row *row = find_in_details(json);

	if (!row)
		row = find(statuses, ELEMENTSOF(statuses), status);
	/* The status of HTTP first: an overloaded front refuses for no reason of the key's. */
	if (reply->status == 429 || reply->status >= 500)
		kms_outcome_set(ret, KMS_UNAVAILABLE, false, "%ld %s", reply->status, status);
	else if (!row)
		kms_outcome_set(ret, KMS_UNAVAILABLE, true, "%ld %s: not known", reply->status,
				status[0] ? status : "without a status");
	else if (reply->op == KMS_UNWRAP && strcmp(row->name, "INVALID_ARGUMENT") == 0)
		kms_outcome_set(ret, KMS_CORRUPT, false, "%ld %s", reply->status, row->name);
	else
		kms_outcome_set(ret, row->class, false, "%ld %s", reply->status, row->name);
}

/* A key's, by its primary version; or a version's own. */
static void classify_state(const struct kms_reply *reply, struct kms_outcome *ret)
{
	_cleanup_json_ json_t *json = kms_json(reply->body, reply->n);
	const char *state = kms_json_text(json, "state");
	const struct row *row;

	if (!state[0])
		state = kms_json_text(json, "primary.state");
	row = find(states, ELEMENTSOF(states), state);
	if (row)
		kms_outcome_set(ret, row->class, false, "state %s", state);
	else
		kms_outcome_set(ret, KMS_UNAVAILABLE, true, "state %s: not known", state);
}

static void classify_identity(const struct kms_reply *reply, struct kms_outcome *ret)
{
	_cleanup_json_ json_t *json = kms_json(reply->body, reply->n);
	const char *error = kms_json_text(json, "error");
	enum kms_class class = KMS_IDENTITY;

	for (size_t i = 0; i < ELEMENTSOF(bad_requests); i++)
		if (reply->status < 500 && strcmp(error, bad_requests[i]) == 0)
			class = KMS_MISCONFIGURED;
	kms_outcome_set(ret, class, true, "token: %ld %s", reply->status, error);
}

static const struct kms_classifier classifier = {
	.identity_name = "token",
	.identity = classify_identity,
	.error = classify_error,
	.state = classify_state,
	.rights =
		{
			[KMS_WRAP] = "cloudkms.cryptoKeyVersions.useToEncrypt",
			[KMS_UNWRAP] = "cloudkms.cryptoKeyVersions.useToDecrypt",
			[KMS_DESCRIBE] = "cloudkms.cryptoKeys.get, cloudkms.cryptoKeyVersions.get",
		},
	.absent = "NOT_FOUND",
};

void google_classify(const struct kms_reply *reply, struct kms_outcome *ret_outcome)
{
	kms_classify(&classifier, reply, ret_outcome);
}
