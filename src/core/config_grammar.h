/* SPDX-License-Identifier: Apache-2.0 */
/* One grammar for all configuration files, driven by tables of keys; for core/config_*.c alone. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/config.h"

#define CONFIG_KEYS_MAX 32
/* Of a line with its NUL: SigningKeys= is 704 hex digits. */
#define CONFIG_LINE_MAX 1024

struct config_key {
	const char *section, *name;
	/* Reads VALUE into FIELD, which is KEY->size bytes of the struct; whether it could. */
	bool (*set)(const struct config_key *key, const char *value, void *field);
	const char *expects; /* what a good value is: "Use=: 'ext5' is not EXPECTS" */
	size_t offset, size; /* of the field in the struct */
	uint64_t min, max;   /* of a number */
	const char *const *words;
	bool required;
	bool secret; /* the value is never in a message */
};

#define CONFIG_FIELD(type, field)                                                                  \
	.offset = offsetof(struct type, field), .size = sizeof(((struct type *)NULL)->field)

struct config_table {
	const struct config_key *keys;
	size_t n_keys;
};

/* The line of each key of the table, 0 where it was not given. */
struct config_lines {
	unsigned of[CONFIG_KEYS_MAX];
};

/* Reads LEN bytes of TEXT into TARGET by TABLE. 0, or -EBADMSG with *ret_error; TARGET may then be
 * half filled. Required keys are checked. */
int config_read(const char *text, size_t len, const struct config_table *table, void *target,
		struct config_lines *ret_lines, struct config_error *ret_error);

/* The line of the key NAME, 0 where it was not given. */
unsigned config_line(const struct config_table *table, const struct config_lines *lines,
		     const char *name);

/* Fills *RET_ERROR, with '?' for what cannot be printed; returns -EBADMSG. */
int config_fail(struct config_error *ret_error, unsigned line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Setters. Numbers are bounded by min and max. */
bool config_set_bool(const struct config_key *key, const char *value, void *field);
bool config_set_u32(const struct config_key *key, const char *value, void *field);
bool config_set_priority(const struct config_key *key, const char *value, void *field);
/* Milliseconds; "infinity" is UINT64_MAX where max is. */
bool config_set_duration(const struct config_key *key, const char *value, void *field);
/* The index in WORDS (ends with NULL) plus min, as an int-sized enum. */
bool config_set_word(const struct config_key *key, const char *value, void *field);
/* The index in WORDS, as a bool. */
bool config_set_choice(const struct config_key *key, const char *value, void *field);
bool config_set_mode(const struct config_key *key, const char *value, void *field);
/* Any text that fits. */
bool config_set_text(const struct config_key *key, const char *value, void *field);
/* A text for which name_is_valid(). */
bool config_set_name(const struct config_key *key, const char *value, void *field);
/* size bytes from 2 × size hex digits. */
bool config_set_hex(const struct config_key *key, const char *value, void *field);
