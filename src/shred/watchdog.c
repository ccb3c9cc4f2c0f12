/* SPDX-License-Identifier: Apache-2.0 */
/* The hardware watchdog (Documentation/watchdog/watchdog-api.rst). */
#include "shred/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/watchdog.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "base/clock.h"

int watchdog_open(struct watchdog *watchdog, const char *path, uint64_t timeout_ms, uint64_t now_ns)
{
	_cleanup_close_ int fd = -1;
	int seconds = (int)(timeout_ms / 1000);

	*watchdog = (struct watchdog){.fd = -1};
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* A device that cannot be set keeps its own time, which it says. */
	if (ioctl(fd, WDIOC_SETTIMEOUT, &seconds) < 0 && ioctl(fd, WDIOC_GETTIMEOUT, &seconds) < 0)
		seconds = 10;
	watchdog->timeout_ms = (uint64_t)seconds * 1000;
	watchdog->petted_ns = now_ns;
	watchdog->fd = TAKE_FD(fd);
	return 0;
}

void watchdog_pet(struct watchdog *watchdog, uint64_t now_ns)
{
	if (watchdog->fd < 0)
		return;
	if (now_ns - watchdog->petted_ns < watchdog->timeout_ms * NSEC_PER_MSEC / 4)
		return;
	if (ioctl(watchdog->fd, WDIOC_KEEPALIVE, 0) == 0)
		watchdog->petted_ns = now_ns;
}
