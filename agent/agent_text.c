/* SPDX-License-Identifier: Apache-2.0 */
/* What people read: console lines, the failure of a boot, text of others made harmless. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "base/clock.h"
#include "base/log.h"

#define RATE_WINDOW_NS (60 * NSEC_PER_SEC)

void console_write(const struct agent *a, const char *format, ...)
{
	char line[512] = "emberlock: ";
	size_t n = strlen(line);
	va_list args;

	if (a->console < 0)
		return;
	va_start(args, format);
	vsnprintf(line + n, sizeof(line) - n - 1, format, args);
	va_end(args);
	n = strlen(line);
	line[n++] = '\n';
	/* Non-blocking: a console that does not take the line does without it. */
	if (write(a->console, line, n) < 0)
		log_debug("console: %m");
}

void agent_fail(struct agent *a, const char *format, ...)
{
	char text[320];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (a->state.reported) { /* what the report says of this boot stands */
		log_error("%s", text);
		return;
	}
	log_error("this boot will not be admitted: %s", text);
	console_write(a, "failed: %s", text);
	if (a->failure[0] == '\0')
		text_escape(a->failure, sizeof(a->failure), text, sizeof(text));
}

bool rate_allow(struct rate *rate, unsigned burst, uint64_t now_ns)
{
	if (now_ns - rate->window_ns >= RATE_WINDOW_NS) {
		rate->window_ns = now_ns;
		rate->n = 0;
	}
	if (rate->n >= burst)
		return false;
	rate->n++;
	return true;
}

void text_escape(char *to, size_t size, const char *from, size_t n)
{
	size_t i = 0;

	memset(to, 0, size);
	for (; i < n && i < size - 1 && from[i]; i++)
		to[i] = from[i] >= 0x20 && from[i] < 0x7f ? from[i] : '?';
}
