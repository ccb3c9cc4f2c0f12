/* SPDX-License-Identifier: Apache-2.0 */
/* The decoder of ending notes: what it takes is encoded to the same bytes. */
#include "core/message.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	uint8_t again[ENDING_SIZE];
	struct ending record;

	if (ending_decode(bytes, size, &record) < 0)
		return 0;
	must(size == ENDING_SIZE);
	ending_encode(&record, again);
	must(memcmp(bytes, again, ENDING_SIZE) == 0);
	return 0;
}
