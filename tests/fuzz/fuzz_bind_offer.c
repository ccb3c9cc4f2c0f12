/* SPDX-License-Identifier: Apache-2.0 */
/* The decoder of bind offers: what it takes is encoded to the same bytes. */
#include "core/message.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	uint8_t again[BIND_OFFER_SIZE];
	struct bind_offer record;

	if (bind_offer_decode(bytes, size, &record) < 0)
		return 0;
	must(size == BIND_OFFER_SIZE);
	bind_offer_encode(&record, again);
	must(memcmp(bytes, again, BIND_OFFER_SIZE) == 0);
	return 0;
}
