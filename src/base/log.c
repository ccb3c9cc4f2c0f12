/* SPDX-License-Identifier: Apache-2.0 */
/* One line a message on standard error, with the journal's level prefix when it goes there. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"

#define LINE_MAX_BYTES 1000

/* 0: not set yet, the environment is asked at the first line. */
static enum log_level max_level;
static int errors_fd = -1; /* log_copy_errors() */

void log_copy_errors(int fd)
{
	errors_fd = fd;
}

void log_set_level(enum log_level level)
{
	max_level = level;
}

static enum log_level level_from_environment(void)
{
	static const char *const names[] = {"error", "warning", "notice", "info", "debug"};
	const char *text = getenv("EMBERLOCK_LOG_LEVEL");

	for (size_t i = 0; text && i < ELEMENTSOF(names); i++)
		if (strcmp(text, names[i]) == 0)
			return (enum log_level)(LOG_LEVEL_ERROR + i);
	return LOG_LEVEL_INFO;
}

/* $JOURNAL_STREAM is "DEVICE:INODE" of the journal's socket; a redirected stderr does not match. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char own[64];
	struct stat st;

	if (!stream || fstat(STDERR_FILENO, &st) < 0)
		return false;
	snprintf(own, sizeof(own), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(stream, own) == 0;
}

/* kmsg is character device 1:11 (Documentation/admin-guide/devices.txt in the kernel's source). */
static bool stderr_is_kmsg(void)
{
	struct stat st;

	return fstat(STDERR_FILENO, &st) == 0 && S_ISCHR(st.st_mode) &&
	       st.st_rdev == makedev(1, 11);
}

/* Writes "<N>" where the journal or the kernel reads it, who it is where nobody else says so;
 * returns the length. */
static size_t put_prefix(char *line, enum log_level level)
{
	static const char name[] = "emberlock: ";
	bool kmsg = stderr_is_kmsg();

	if (!kmsg && !stderr_is_journal())
		return 0;
	line[0] = '<';
	line[1] = (char)('0' + level);
	line[2] = '>';
	if (!kmsg)
		return 3;
	memcpy(line + 3, name, sizeof(name) - 1);
	return 3 + sizeof(name) - 1;
}

/* One write(2) a line, as the kernel's log takes it. TEXT ends in a newline. */
static void copy_error(const char *text)
{
	char line[LINE_MAX_BYTES + 32];
	int n = snprintf(line, sizeof(line), "<%d>emberlock: %s", LOG_LEVEL_ERROR, text);

	if (write(errors_fd, line, (size_t)n) < 0)
		return;
}

/* Adds to LINE, which holds LEN bytes and has room for LINE_MAX_BYTES and a NUL. */
__attribute__((format(printf, 3, 0))) static size_t add(char *line, size_t len, const char *format,
							va_list arguments)
{
	int n = vsnprintf(line + len, LINE_MAX_BYTES + 1 - len, format, arguments);

	if (n < 0)
		return len;
	return (size_t)n > LINE_MAX_BYTES - len ? LINE_MAX_BYTES : len + (size_t)n;
}

static void write_line(enum log_level level, char *line, size_t prefix, size_t len)
{
	for (size_t i = prefix; i < len; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	line[len] = '\n';
	/* A log that cannot be written has nowhere to complain. */
	(void)!write(STDERR_FILENO, line, len + 1);
	if (level == LOG_LEVEL_ERROR && errors_fd >= 0 && !stderr_is_kmsg()) {
		line[len + 1] = '\0';
		copy_error(line + prefix);
	}
}

static bool wanted(enum log_level level)
{
	if (max_level == 0)
		max_level = level_from_environment();
	return level <= max_level;
}

void log_write(enum log_level level, const char *format, ...)
{
	char line[LINE_MAX_BYTES + 2];
	int saved = errno;
	size_t prefix;
	va_list arguments;

	if (!wanted(level))
		return;
	prefix = put_prefix(line, level);
	va_start(arguments, format);
	write_line(level, line, prefix, add(line, prefix, format, arguments));
	va_end(arguments);
	errno = saved;
}

int log_errno(int r, const char *format, ...)
{
	char line[LINE_MAX_BYTES + 2], text[128];
	int saved = errno;
	size_t prefix, len;
	va_list arguments;

	if (!wanted(LOG_LEVEL_ERROR))
		return r;
	prefix = put_prefix(line, LOG_LEVEL_ERROR);
	va_start(arguments, format);
	len = add(line, prefix, format, arguments);
	va_end(arguments);
	len += (size_t)snprintf(line + len, LINE_MAX_BYTES + 1 - len, ": %s",
				strerror_r(-r, text, sizeof(text)));
	write_line(LOG_LEVEL_ERROR, line, prefix, len > LINE_MAX_BYTES ? LINE_MAX_BYTES : len);
	errno = saved;
	return r;
}
