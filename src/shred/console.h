/* SPDX-License-Identifier: Apache-2.0 */
/* Lines to the console that never block the one who has something to say: a thread writes them and
 * is left behind where a serial line stalls. */
#pragma once

#include <stdint.h>

#include "shred/workers.h"

struct console {
	int fd;	      /* /dev/kmsg, whose lines the kernel puts out at once; or /dev/console */
	int done_fd;  /* eventfd of the worker */
	bool is_kmsg; /* lines bear a level */
	char line[256];
	struct worker worker;
};

/* Opens the descriptors. 0 or negative errno. */
int console_open(struct console *console);
/* Starts the thread of this process. */
int console_start(struct console *console);

/* Says "emberlock: …". A line before it that is still on its way is waited for, at most
 * CONSOLE_WAIT_MS; then this one is lost. */
void console_say(struct console *console, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Waits for the last line to be out, at most CONSOLE_WAIT_MS. Twice that, and PLAINTEXT_FINISH_MS, is less
 * than the other process takes for stuck. */
#define CONSOLE_WAIT_MS 1000
bool console_wait(struct console *console);
