/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks: read at the edge, handed to policy as arguments. */
#pragma once

#include <stdint.h>

#define NSEC_PER_SEC  1000000000ull
#define NSEC_PER_MSEC 1000000ull

/* CLOCK_BOOTTIME in ns: counts suspend, has no steps. The clock of every deadline in the VM. */
uint64_t clock_boottime_ns(void);
/* CLOCK_REALTIME in seconds since 1970: for what people read, and beside the RTC; no deadline comes of it. */
uint64_t clock_realtime_s(void);
