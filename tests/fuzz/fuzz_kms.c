/* SPDX-License-Identifier: Apache-2.0 */
/* Replies of a KMS: the first byte chooses provider and call, the second the status; the rest is the
 * body. Whatever it is, it has a class, and code that can be printed. */
#include "fuzz.h"

#include "manager/kms/aws/aws.h"
#include "manager/kms/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes_in, size_t size)
{
	static const struct kms_provider *const providers[] = {&kms_aws, &kms_azure, &kms_google};
	static const long statuses[] = {200, 400, 401, 403, 404, 409, 429, 503};
	struct kms_outcome outcome = {.class = KMS_CLASS__MAX};
	struct kms_reply reply = {.error_type = "", .described = KMS_CLASS__MAX};
	uint8_t bytes[64];
	char text[64], *body;
	size_t n;

	if (size < 2)
		return 0;
	body = malloc(size - 1);
	must(body != NULL);
	memcpy(body, bytes_in + 2, size - 2);
	body[size - 2] = '\0';
	reply.op = (enum kms_op)(bytes_in[0] / 3 % 5);
	reply.identity_answers = bytes_in[0] & 0x80;
	reply.status = statuses[bytes_in[1] % 8];
	reply.body = body;
	reply.n = size - 2;
	providers[bytes_in[0] % 3]->classify(&reply, &outcome);
	must(outcome.class < KMS_CLASS__MAX && outcome.code[0]);
	for (const char *c = outcome.code; *c; c++)
		must(*c >= ' ' && *c <= '~');
	/* An identity provider's word is never the state of a key. */
	must(reply.op != KMS_TOKEN ||
	     (outcome.class != KMS_REVOKED_STATE && outcome.class != KMS_REVOKED_ACCESS));
	(void)aws_xml_text(body, "Code", text, sizeof(text));
	if (base64_decode(bytes_in[0] & 1 ? BASE64_URL : BASE64, body, reply.n, bytes,
			  sizeof(bytes), &n) == 0 &&
	    n < 40) {
		char again[BASE64_SIZE(64)];
		uint8_t decoded[64];
		size_t m, len = base64_encode(BASE64, bytes, n, again);

		must(base64_decode(BASE64, again, len, decoded, sizeof(decoded), &m) == 0);
		must(m == n && memcmp(bytes, decoded, n) == 0);
	}
	free(body);
	return 0;
}
