/* SPDX-License-Identifier: Apache-2.0 */
/* Did the hypervisor stop us? No guest clock counts a pause, the machine's RTC does. Pure.
 *
 * A write to the RTC moves it too: the kernel's, once a time service has set the clock, and
 * hwclock's. It makes the RTC agree with CLOCK_REALTIME, from which a pause parts it, until somebody
 * sets that after the pause (a guest agent does at once). So only a write alone is no pause: where
 * CLOCK_REALTIME was set as well since the look before, nobody can tell, and it counts as one.
 *
 * The RTC tells whole seconds, so the difference between it and the boot clock moves by up to one
 * second without any pause: only growth of more than two counts, and only where a second look
 * confirms it (a set clock in mid-step does not). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define DRIFT_LOOK_NS	 10000000000ull /* between looks */
#define DRIFT_CONFIRM_NS 1000000000ull	/* to the look that confirms */
#define DRIFT_LIMIT_MS	 2000

enum drift_result { DRIFT_NONE, DRIFT_SUSPECTED, DRIFT_PAUSE };

struct drift {
	bool known, suspected;
	/* At the last look that was no suspicion: RTC − boot clock, CLOCK_REALTIME − boot clock. */
	int64_t difference_ms, clock_ms;
};

/* One look: RTC_S and REALTIME_S in seconds since 1970, BOOTTIME_NS beside them. DRIFT_SUSPECTED asks for the
 * next look after DRIFT_CONFIRM_NS; DRIFT_PAUSE is told once for a pause. */
enum drift_result drift_look(struct drift *drift, int64_t rtc_s, int64_t realtime_s,
			     uint64_t boottime_ns);
