/* SPDX-License-Identifier: Apache-2.0 */
/* One line a message on standard error, with the journal's "<N>" level prefix (sd-daemon(3)) when
 * it goes to the journal ($JOURNAL_STREAM) or to /dev/kmsg. Programs log at their edge; libraries log at debug at
 * most. */
#pragma once

#include <stdbool.h>

enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_NOTICE,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG
};

/* Sets the most verbose level that is written. Default: LOG_LEVEL_INFO, or $EMBERLOCK_LOG_LEVEL
 * (error, warning, notice, info, debug). */
void log_set_level(enum log_level level);

/* Errors go to FD too, which is /dev/kmsg: on the console of a quiet boot; -1: no more. */
void log_copy_errors(int fd);

/* Never allocates; lines are cut at 1,000 bytes; control characters are written as '?'. */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)	 log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...)	 log_write(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)	 log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)	 log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* As log_write() at error level with ": strerror(-R)" after it; returns R, for `return
 * log_errno(...)`. */
int log_errno(int r, const char *format, ...) __attribute__((format(printf, 2, 3)));
