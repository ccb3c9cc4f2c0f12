/* SPDX-License-Identifier: Apache-2.0 */
/* When to try again: exponential with full jitter, capped. */
#include "core/retry.h"

uint32_t retry_failed(struct retry *retry, uint32_t random)
{
	uint64_t delay = retry->max_ms, half, span;

	/* 32 doublings pass any maximum, so that the shift stays within 64 bits. */
	if (retry->attempts < 32 && (uint64_t)retry->first_ms << retry->attempts < delay)
		delay = (uint64_t)retry->first_ms << retry->attempts;
	if (retry->attempts < UINT32_MAX)
		retry->attempts++;
	half = delay / 2;
	span = delay - half + 1;
	/* Multiply and shift: uniform over the span without a division's bias. */
	return (uint32_t)(half + (random * span >> 32));
}

void retry_succeeded(struct retry *retry)
{
	retry->attempts = 0;
}
