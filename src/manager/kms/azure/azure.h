/* SPDX-License-Identifier: Apache-2.0 */
/* Azure Key Vault: the parts of the provider. */
#pragma once

#include "manager/kms/call.h"

#define AZURE_API "api-version=7.4"

extern const struct kms_dialect azure_dialect;

void azure_classify(const struct kms_reply *reply, struct kms_outcome *ret_outcome);

/* dialect.fetch: client-secret, assertion, managed-identity. */
void azure_fetch(struct kms_call *call, struct kms_outcome *ret_outcome);
/* NULL, or the missing member of the credentials. */
const char *azure_missing(const struct credentials *credentials);
