/* SPDX-License-Identifier: Apache-2.0 */
/* Names of the classes, and the table of providers. */
#include "manager/kms/kms.h"

#include <string.h>

#include "base/cleanup.h"

static const struct kms_provider *const providers[] = {
	&kms_file,
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

const struct kms_provider *kms_provider_find(const char *name)
{
	for (size_t i = 0; i < ELEMENTSOF(providers); i++) {
		if (strcmp(providers[i]->name, name) == 0)
			return providers[i];
	}
	return NULL;
}
