/* SPDX-License-Identifier: Apache-2.0 */
/* When to try again: exponential with full jitter, capped. Pure. */
#pragma once

#include <stdint.h>

struct retry {
	uint32_t first_ms, max_ms; /* 1 ≤ first ≤ max */
	uint32_t attempts;	   /* failures in a row */
};

/* Counts a failure and returns the delay: uniform in [d/2, d], d = min(first × 2^attempts, max);
 * RANDOM is 32 fresh random bits. */
uint32_t retry_failed(struct retry *retry, uint32_t random);
void retry_succeeded(struct retry *retry);
