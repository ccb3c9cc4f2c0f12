/* SPDX-License-Identifier: Apache-2.0 */
/* The one file that can power a machine off: reboot(2) and sysrq. Linked into the keeper alone. */
#include "shred/power.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/reboot.h>
#include <sys/eventfd.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

int power_open(struct power *power)
{
	char cmdline[4096 + 1]; /* COMMAND_LINE_SIZE is 2048 or 4096 */
	ssize_t n;

	*power = (struct power){.sysrq_fd = -1, .done_fd = -1};
	n = file_read(AT_FDCWD, "/proc/cmdline", cmdline, sizeof(cmdline) - 1);
	if (n < 0)
		return (int)n;
	cmdline[n] = 0;
	if (!power_is_armed_by(cmdline))
		return 0;

	power->sysrq_fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
	if (power->sysrq_fd < 0)
		return -errno;
	power->armed = true;
	return 0;
}

int power_start(struct power *power)
{
	power->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (power->done_fd < 0)
		return -errno;
	return worker_start(&power->worker, power->done_fd);
}

static void call_reboot(void *argument)
{
	static const int commands[POWER_VERB__MAX] = {
		[POWER_OFF] = RB_POWER_OFF,
		[POWER_REBOOT] = RB_AUTOBOOT,
		[POWER_KEXEC] = RB_KEXEC,
	};
	struct power *power = argument;

	/* It returns where no kernel is loaded: EINVAL. */
	if (reboot(commands[power->verb]) < 0 && power->verb == POWER_KEXEC)
		(void)reboot(RB_AUTOBOOT);
}

bool power_go(struct power *power, enum power_verb verb)
{
	if (!power->armed)
		return false;
	power->verb = verb;
	(void)worker_give(&power->worker, call_reboot, power);
	return true;
}

void power_reset(struct power *power)
{
	if (power->armed && write(power->sysrq_fd, "b", 1) < 0)
		return; /* the hardware watchdog is next */
}
