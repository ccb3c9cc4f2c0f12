/* SPDX-License-Identifier: Apache-2.0 */
/* Tells a hypervisor's pause from three clocks. */
#include "core/drift.h"

#include <stdlib.h>

enum drift_result drift_look(struct drift *drift, int64_t rtc_s, int64_t realtime_s,
			     uint64_t boottime_ns)
{
	int64_t boottime_ms = (int64_t)(boottime_ns / 1000000);
	int64_t difference = rtc_s * 1000 - boottime_ms, clock = realtime_s * 1000 - boottime_ms;
	bool agrees = llabs(rtc_s - realtime_s) * 1000 <= DRIFT_LIMIT_MS;
	bool clock_set = llabs(clock - drift->clock_ms) > DRIFT_LIMIT_MS;
	bool written = agrees && !clock_set;
	bool grew = drift->known && difference - drift->difference_ms > DRIFT_LIMIT_MS && !written;
	bool confirmed = grew && drift->suspected;

	drift->suspected = grew && !confirmed;
	if (drift->suspected)
		return DRIFT_SUSPECTED;

	drift->known = true;
	drift->difference_ms = difference;
	drift->clock_ms = clock;
	return confirmed ? DRIFT_PAUSE : DRIFT_NONE;
}
