/* SPDX-License-Identifier: Apache-2.0 */
/* The decoder of receipts: what it takes is encoded to the same bytes. */
#include "core/message.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	uint8_t again[RECEIPT_SIZE];
	struct receipt record;

	if (receipt_decode(bytes, size, &record) < 0)
		return 0;
	must(size == RECEIPT_SIZE);
	receipt_encode(&record, again);
	must(memcmp(bytes, again, RECEIPT_SIZE) == 0);
	return 0;
}
