/* SPDX-License-Identifier: Apache-2.0 */
/* The decoder of bind shares: what it takes is encoded to the same bytes. */
#include "core/message.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	uint8_t again[BIND_SHARE_RECORD_SIZE];
	struct bind_share record;

	if (bind_share_decode(bytes, size, &record) < 0)
		return 0;
	must(size == BIND_SHARE_RECORD_SIZE);
	bind_share_encode(&record, again);
	must(memcmp(bytes, again, BIND_SHARE_RECORD_SIZE) == 0);
	return 0;
}
