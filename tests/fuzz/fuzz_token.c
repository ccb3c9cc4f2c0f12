/* SPDX-License-Identifier: Apache-2.0 */
/* The decoder of tokens: what it takes is encoded to the same bytes. */
#include "core/message.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	uint8_t again[TOKEN_SIZE];
	struct token record;

	if (token_decode(bytes, size, &record) < 0)
		return 0;
	must(size == TOKEN_SIZE);
	token_encode(&record, again);
	must(memcmp(bytes, again, TOKEN_SIZE) == 0);
	return 0;
}
