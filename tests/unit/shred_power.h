/* SPDX-License-Identifier: Apache-2.0 */
/* In place of src/shred/power.c, which no test is ever linked to: counts what was asked. */
#pragma once

#include "shred/power.h"

static struct {
	int offs, reboots, kexecs, resets;
} power_asked;

int power_open(struct power *power)
{
	fail_msg("a test opens the power switch");
	return 0;
}

int power_start(struct power *power)
{
	fail_msg("a test starts the power switch");
	return 0;
}

bool power_go(struct power *power, enum power_verb verb)
{
	int *asked[POWER_VERB__MAX] = {
		[POWER_OFF] = &power_asked.offs,
		[POWER_REBOOT] = &power_asked.reboots,
		[POWER_KEXEC] = &power_asked.kexecs,
	};

	++*asked[verb];
	return power->armed;
}

void power_reset(struct power *power)
{
	power_asked.resets++;
}
