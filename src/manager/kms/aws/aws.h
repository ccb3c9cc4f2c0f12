/* SPDX-License-Identifier: Apache-2.0 */
/* AWS KMS: the parts of the provider. */
#pragma once

#include "manager/kms/call.h"

extern const struct kms_dialect aws_dialect;

/* "arn:PARTITION:kms:REGION:ACCOUNT:key/ID" taken apart. */
struct aws_arn {
	char partition[16], region[32], account[16];
};
/* -EINVAL where KEY_ID is none. */
int aws_arn_parse(const char *key_id, struct aws_arn *ret_arn);

void aws_classify(const struct kms_reply *reply, struct kms_outcome *ret_outcome);

/* dialect.fetch: static, instance (IMDSv2), web-identity; then the customer's role. */
void aws_fetch(struct kms_call *call, struct kms_outcome *ret_outcome);
/* Whether METHOD can be carried out with what the credentials hold; NULL, or the missing member. */
const char *aws_missing(const struct credentials *credentials);

/* The text of the one element NAME in the XML reply of STS into TEXT; -EBADMSG where there is none,
 * more than one, or markup in it. */
int aws_xml_text(const char *xml, const char *name, char *text, size_t size);
