/* SPDX-License-Identifier: Apache-2.0 */
/* The one line that says why something failed, for people. */
#pragma once

#define REASON_SIZE 256

/* Writes the text, cut at REASON_SIZE - 1 bytes, and returns R, for `return reason_set(...)`. */
int reason_set(char reason[static REASON_SIZE], int r, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same with ": strerror(-R)" after it. */
int reason_errno(char reason[static REASON_SIZE], int r, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
