/* SPDX-License-Identifier: Apache-2.0 */
/* Stops PID 1 for the time of a shred. */
#include "shred/freezer.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"

/* Whether this process is in the group: "0::/init.scope" (cgroups(7), /proc/PID/cgroup). Where it
 * cannot be told: yes. */
static bool is_own_group(int proc_fd)
{
	char text[512];
	ssize_t n = file_read(proc_fd, "self/cgroup", text, sizeof(text) - 1);

	if (n < 0)
		return true;
	text[n] = '\0';
	return strstr(text, "/" FREEZER_GROUP) != NULL;
}

void freezer_open(struct freezer *freezer, int proc_fd, int sys_fd)
{
	int fd;

	if (freezer->fd >= 0)
		return;
	fd = openat(sys_fd, FREEZER_FILE, O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && is_own_group(proc_fd)) {
		close(fd);
		return;
	}
	freezer->fd = fd;
}

int freezer_start(struct freezer *freezer, int done_fd)
{
	return worker_start(&freezer->worker, done_fd);
}

static void write_state(struct freezer *freezer, const char *state)
{
	/* Whether it can be or not: without it a panic ends the machine, which is an end too. */
	if (freezer->fd >= 0 && write(freezer->fd, state, 1) < 0)
		return;
}

static void freeze(void *argument)
{
	write_state(argument, "1");
}

static void thaw(void *argument)
{
	write_state(argument, "0");
}

void freezer_freeze(struct freezer *freezer)
{
	(void)worker_give(&freezer->worker, freeze, freezer);
}

bool freezer_is_busy(struct freezer *freezer)
{
	return worker_is_busy(&freezer->worker);
}

void freezer_thaw(struct freezer *freezer)
{
	(void)worker_give(&freezer->worker, thaw, freezer);
}
