/* SPDX-License-Identifier: Apache-2.0 */
/* The decoder of lease requests: what it takes is encoded to the same bytes. */
#include "core/message.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	uint8_t again[LEASE_REQUEST_SIZE];
	struct lease_request record;

	if (lease_request_decode(bytes, size, &record) < 0)
		return 0;
	must(size == LEASE_REQUEST_SIZE);
	lease_request_encode(&record, again);
	must(memcmp(bytes, again, LEASE_REQUEST_SIZE) == 0);
	return 0;
}
