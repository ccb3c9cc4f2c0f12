/* SPDX-License-Identifier: Apache-2.0 */
/* The lease request: one challenge. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "core/field.h"

#define MAGIC "EMBREQ01"

void lease_request_encode(const struct lease_request *request,
			  uint8_t bytes[static LEASE_REQUEST_SIZE])
{
	memset(bytes, 0, LEASE_REQUEST_SIZE);
	memcpy(bytes, MAGIC, MAGIC_SIZE);
	memcpy(bytes + 8, request->admission, HASH_SIZE);
	put_be64(bytes + 40, request->number);
	memcpy(bytes + 48, request->challenge, CHALLENGE_SIZE);
	field_put_sequence(bytes + 80, request->highest);
	put_be32(bytes + 96, request->self_test_passed);
	put_be32(bytes + 100, request->self_test_failed);
	put_be32(bytes + 104, request->pauses);
	memcpy(bytes + 128, request->signature, SIGNATURE_SIZE);
}

int lease_request_decode(const uint8_t *bytes, size_t size, struct lease_request *ret_request)
{
	struct lease_request request = {};

	if (!field_starts(bytes, size, LEASE_REQUEST_SIZE, MAGIC) ||
	    !bytes_are_zero(bytes + 108, 20))
		return -EBADMSG;
	request.number = get_be64(bytes + 40);
	if (request.number == 0)
		return -EBADMSG;
	memcpy(request.admission, bytes + 8, HASH_SIZE);
	memcpy(request.challenge, bytes + 48, CHALLENGE_SIZE);
	request.highest = field_get_sequence(bytes + 80);
	request.self_test_passed = get_be32(bytes + 96);
	request.self_test_failed = get_be32(bytes + 100);
	request.pauses = get_be32(bytes + 104);
	memcpy(request.signature, bytes + 128, SIGNATURE_SIZE);
	*ret_request = request;
	return 0;
}
