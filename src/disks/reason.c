/* SPDX-License-Identifier: Apache-2.0 */
/* The one line that says why something failed, for people. */
#include "disks/reason.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int reason_set(char reason[static REASON_SIZE], int r, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(reason, REASON_SIZE, format, arguments);
	va_end(arguments);
	return r;
}

int reason_errno(char reason[static REASON_SIZE], int r, const char *format, ...)
{
	va_list arguments;
	size_t n;

	va_start(arguments, format);
	(void)vsnprintf(reason, REASON_SIZE, format, arguments);
	va_end(arguments);
	n = strlen(reason);
	(void)snprintf(reason + n, REASON_SIZE - n, ": %s", strerror(-r));
	return r;
}
