/* SPDX-License-Identifier: Apache-2.0 */
/* Names of the classes, and the table of providers. */
#include "manager/kms/kms.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

static const struct kms_provider *const providers[] = {
	&kms_file,
	&kms_aws,
	&kms_azure,
	&kms_google,
};

const char *kms_class_name(enum kms_class class)
{
	static const char *const names[KMS_CLASS__MAX] = {
		[KMS_OK] = "ok",
		[KMS_REVOKED_STATE] = "revoked by key state",
		[KMS_REVOKED_ACCESS] = "revoked by access",
		[KMS_IDENTITY] = "identity",
		[KMS_UNAVAILABLE] = "unavailable",
		[KMS_MISCONFIGURED] = "misconfigured",
		[KMS_CORRUPT] = "corrupt",
	};

	return names[class];
}

const char *kms_follow_name(enum kms_follow follow)
{
	static const char *const names[KMS_FOLLOW__MAX] = {
		[KMS_FOLLOW_GO] = "go on",
		[KMS_FOLLOW_DESCRIBE] = "revoked if described so",
		[KMS_FOLLOW_PROBE_AGAIN] = "revoked if refused again",
		[KMS_FOLLOW_WAIT] = "evidence ages",
		[KMS_FOLLOW_ALARM] = "alarm; evidence ages",
	};

	return names[follow];
}

enum kms_follow kms_follow_of(const struct kms_outcome *outcome)
{
	switch (outcome->class) {
	case KMS_OK:
		return KMS_FOLLOW_GO;
	case KMS_REVOKED_STATE:
		return KMS_FOLLOW_DESCRIBE;
	case KMS_REVOKED_ACCESS:
		return KMS_FOLLOW_PROBE_AGAIN;
	case KMS_UNAVAILABLE:
		return outcome->alarm ? KMS_FOLLOW_ALARM : KMS_FOLLOW_WAIT;
	default:
		return KMS_FOLLOW_ALARM;
	}
}

void kms_outcome_set(struct kms_outcome *outcome, enum kms_class class, bool alarm,
		     const char *format, ...)
{
	va_list list;

	outcome->class = class;
	outcome->alarm = alarm;
	outcome->lacks = NULL;
	va_start(list, format);
	vsnprintf(outcome->code, sizeof(outcome->code), format, list);
	va_end(list);
	for (char *c = outcome->code; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
}

void kms_outcome_tell(const struct kms_outcome *outcome, char text[static 256])
{
	snprintf(text, 256, "the KMS: %s (%s)%s%s", kms_class_name(outcome->class), outcome->code,
		 outcome->lacks ? "; what is missing is the right to " : "",
		 outcome->lacks ? outcome->lacks : "");
}

void kms_first_success(bool proven, struct kms_outcome *outcome)
{
	if (!proven &&
	    (outcome->class == KMS_REVOKED_STATE || outcome->class == KMS_REVOKED_ACCESS))
		outcome->class = KMS_MISCONFIGURED;
}

const struct kms_provider *kms_provider_find(const char *name)
{
	for (size_t i = 0; i < ELEMENTSOF(providers); i++) {
		if (strcmp(providers[i]->name, name) == 0)
			return providers[i];
	}
	return NULL;
}

bool kms_key_same(const struct kms_key *a, const struct kms_key *b)
{
	const struct kms_provider *provider = kms_provider_find(a->provider);

	return provider && strcmp(a->provider, b->provider) == 0 && provider->same(a, b);
}

void kms_version(const struct kms_key *key, const uint8_t *blob, size_t n,
		 char version[static KMS_VERSION_MAX])
{
	const struct kms_provider *provider = kms_provider_find(key->provider);

	*version = '\0';
	if (provider && provider->version)
		provider->version(key, blob, n, version);
}
