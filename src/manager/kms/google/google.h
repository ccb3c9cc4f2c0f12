/* SPDX-License-Identifier: Apache-2.0 */
/* Google Cloud KMS: the parts of the provider. */
#pragma once

#include "manager/kms/call.h"

extern const struct kms_dialect google_dialect;

void google_classify(const struct kms_reply *reply, struct kms_outcome *ret_outcome);

/* dialect.fetch: service-account, metadata. */
void google_fetch(struct kms_call *call, struct kms_outcome *ret_outcome);
/* NULL, or the missing member of the credentials. */
const char *google_missing(const struct credentials *credentials);
