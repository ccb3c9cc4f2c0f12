/* SPDX-License-Identifier: Apache-2.0 */
/* The hardware watchdog (or softdog) below the keeper: resets the machine unless it is petted. */
#pragma once

#include <stdint.h>

struct watchdog {
	int fd; /* -1: there is none */
	uint64_t timeout_ms;
	uint64_t petted_ns;
};

/* Opens PATH and so starts it. From now on only watchdog_pet() keeps the machine up, whatever
 * becomes of this process. 0 or negative errno; WATCHDOG then says that there is none. */
int watchdog_open(struct watchdog *watchdog, const char *path, uint64_t timeout_ms,
		  uint64_t now_ns);

/* Pets it where a quarter of its time has passed since the last time. */
void watchdog_pet(struct watchdog *watchdog, uint64_t now_ns);
