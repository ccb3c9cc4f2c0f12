/* SPDX-License-Identifier: Apache-2.0 */
/* Strict parsing of values: the whole text or an error, never a prefix. No system call. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All: 0, -EINVAL where the text is not of the form, -ERANGE where it does not fit; *ret_x is
 * written only on success. */

/* Decimal digits only: no sign, no space, no base prefix. */
int parse_u64(const char *text, uint64_t *ret_value);
int parse_u32(const char *text, uint32_t *ret_value);

/* yes/no, true/false, on/off, 1/0 (systemd's words). */
int parse_bool(const char *text, bool *ret_value);

/* Digits with an optional K, M, G, T (powers of 1024). Bytes. */
int parse_size(const char *text, uint64_t *ret_bytes);

/* Digits with an optional ms, s, min, h; without a unit: seconds. Milliseconds. */
int parse_duration(const char *text, uint64_t *ret_ms);

/* Three or four octal digits. */
int parse_mode(const char *text, uint32_t *ret_mode);

/* Whether TEXT is 1 to MAX characters of [A-Za-z0-9._-] and does not begin with '.' or '-':
 * what a volume, workspace, VM or key may be called. */
bool name_is_valid(const char *text, size_t max);

/* Copies TEXT and its NUL into TO (SIZE bytes), zero-filled; -ENAMETOOLONG where it does not fit.
 */
int copy_text(char *to, size_t size, const char *text);
