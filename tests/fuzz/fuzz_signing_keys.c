/* SPDX-License-Identifier: Apache-2.0 */
/* The decoder of sets of signing keys: what it takes is encoded to the same bytes. */
#include "core/message.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	uint8_t again[SIGNING_KEYS_SIZE];
	struct signing_keys record;

	if (signing_keys_decode(bytes, size, &record) < 0)
		return 0;
	must(size == SIGNING_KEYS_SIZE);
	signing_keys_encode(&record, again);
	must(memcmp(bytes, again, SIGNING_KEYS_SIZE) == 0);
	return 0;
}
