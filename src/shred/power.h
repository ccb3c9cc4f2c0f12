/* SPDX-License-Identifier: Apache-2.0 */
/* The switch: power.c is the one file of the project that can power a machine off, and is linked
 * into emberlock-keeper alone. */
#pragma once

#include <stdbool.h>

#include "shred/workers.h"

enum power_verb { POWER_OFF, POWER_REBOOT, POWER_KEXEC, POWER_VERB__MAX };

#define POWER_ARMED_WORD "emberlock.power=armed"

struct power {
	bool armed;
	int sysrq_fd;
	enum power_verb verb;
	int done_fd;
	struct worker worker;
};

/* Whether POWER_ARMED_WORD is a word of a kernel command line; pure (cmdline.c). */
bool power_is_armed_by(const char *cmdline);

/* Reads /proc/cmdline, and where it arms the switch opens /proc/sysrq-trigger: for both processes.
 * 0 or negative errno. */
int power_open(struct power *power);
/* Starts the thread of this process. */
int power_start(struct power *power);

/* Tells the kernel, from the thread, to do VERB, or to reboot where no kernel is loaded to be started;
 * never syncs. Returns at once: false where the switch is not armed, and nothing happens. */
bool power_go(struct power *power, enum power_verb verb);

/* The rung below, from the caller's own thread: an immediate reset by sysrq 'b'. */
void power_reset(struct power *power);
