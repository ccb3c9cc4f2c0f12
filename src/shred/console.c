/* SPDX-License-Identifier: Apache-2.0 */
/* Lines to the console that never block the one who has something to say. */
#include "shred/console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"

int console_open(struct console *console)
{
	_cleanup_close_ int fd = -1;
	bool is_kmsg = true;

	fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		is_kmsg = false;
		fd = open("/dev/console", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	}
	if (fd < 0)
		return -errno;
	console->is_kmsg = is_kmsg;
	console->fd = TAKE_FD(fd);
	return 0;
}

int console_start(struct console *console)
{
	/* Each process has its own: made after the fork. */
	console->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (console->done_fd < 0)
		return -errno;
	return worker_start(&console->worker, console->done_fd);
}

static void write_line(void *argument)
{
	struct console *console = argument;

	/* Whether it can be written or not: nothing here may depend on it. */
	if (write(console->fd, console->line, strlen(console->line)) < 0)
		return;
}

bool console_wait(struct console *console)
{
	return worker_wait(&console->worker, CONSOLE_WAIT_MS);
}

void console_say(struct console *console, const char *format, ...)
{
	/* "critical": shown on the console of a quiet boot too; printk(9) */
	const char *level = console->is_kmsg ? "<2>" : "";
	va_list arguments;
	int n;

	if (!console_wait(console))
		return;
	n = snprintf(console->line, sizeof(console->line) - 1, "%semberlock: ", level);
	va_start(arguments, format);
	(void)vsnprintf(console->line + n, sizeof(console->line) - 1 - (size_t)n, format,
			arguments);
	va_end(arguments);
	strcat(console->line, "\n");
	(void)worker_give(&console->worker, write_line, console);
}
