/* SPDX-License-Identifier: Apache-2.0 */
/* Stops PID 1 for the time of a shred. */
#include "shred/freezer.h"

#include <fcntl.h>
#include <unistd.h>

void freezer_open(struct freezer *freezer)
{
	freezer->fd = open(FREEZER_FILE, O_WRONLY | O_CLOEXEC);
}

int freezer_start(struct freezer *freezer, int done_fd)
{
	return freezer->fd < 0 ? 0 : worker_start(&freezer->worker, done_fd);
}

static void write_state(struct freezer *freezer, const char *state)
{
	/* Whether it can be or not: without it a panic ends the machine, which is an end too. */
	if (write(freezer->fd, state, 1) < 0)
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

void freezer_thaw(struct freezer *freezer)
{
	(void)worker_give(&freezer->worker, thaw, freezer);
}
