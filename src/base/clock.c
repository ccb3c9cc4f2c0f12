/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks: read at the edge, handed to policy as arguments. */
#include "base/clock.h"

#include <time.h>

uint64_t clock_boottime_ns(void)
{
	struct timespec t;

	/* Cannot fail: the clock exists since Linux 2.6.39 and the address is ours. */
	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

uint64_t clock_realtime_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec;
}
