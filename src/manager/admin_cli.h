/* SPDX-License-Identifier: Apache-2.0 */
/* emberlock-admin: commands as a table, and what they share.
 *
 * A command returns 0 or a negative errno after it has said why on standard error; main() turns
 * that into the exit code. Secrets are files, never arguments. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/message.h"

#define ADMIN_ARGUMENTS_MAX 2
#define ADMIN_OPTIONS_MAX   26

#define EXIT_USAGE 2

struct admin_option {
	const char *name;     /* without "--"; NULL ends the list */
	const char *argument; /* NULL: a switch */
	const char *help;
	bool required;
};

struct admin_call;

struct admin_command {
	const char *object, *verb; /* verb NULL: a command of one word */
	const char *arguments[ADMIN_ARGUMENTS_MAX];
	const char *help;
	int (*run)(const struct admin_call *call);
	struct admin_option options[ADMIN_OPTIONS_MAX];
};

struct admin_call {
	const struct admin_command *command;
	const char *identity; /* directory of cert.pem, key.pem, ca.pem, url */
	bool json;
	const char *arguments[ADMIN_ARGUMENTS_MAX];
	const char *values[ADMIN_OPTIONS_MAX]; /* as command->options; "" for a switch given */
};

/* The tables, one an area; each ends with an entry whose object is NULL. */
extern const struct admin_command admin_key_commands[];
extern const struct admin_command admin_workspace_commands[];
extern const struct admin_command admin_kek_commands[];
extern const struct admin_command admin_vm_commands[];
extern const struct admin_command admin_fleet_commands[];
extern const struct admin_command admin_drill_commands[];
extern const struct admin_command admin_storage_commands[];
extern const struct admin_command admin_receipt_commands[];
extern const struct admin_command admin_signing_commands[];
extern const struct admin_command admin_audit_commands[];
extern const struct admin_command admin_file_kms_commands[];

/* The value of option NAME of the command's table: NULL where it was not given. */
const char *admin_value(const struct admin_call *call, const char *name);

/* One line on standard error; returns R. */
int admin_refuse(int r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* --- to the manager: one request of the admin API, over mutual TLS as the identity says.
 * PATH begins with '/'; its parts come from admin_path(). BODY NULL: none. *ret_answer is the
 * caller's (json_decref), NULL where the answer has no body; ret_answer NULL: it is not wanted.
 * What the manager refuses is printed with its message: -EACCES for 401 and 403, -ENOENT for 404,
 * -EREMOTEIO for the rest. */
int admin_http(const struct admin_call *call, const char *method, const char *path,
	       const json_t *body, json_t **ret_answer);

/* GET, and the answer as it is, N bytes without NUL; NULL where it has none. The caller's. */
int admin_http_text(const struct admin_call *call, const char *path, char **ret_text,
		    size_t *ret_n);

/* Fills FORMAT, where each %s is a name that is checked first; refuses others by WHAT. */
int admin_path(char path[static 256], const char *prefix, const char *what, const char *name,
	       const char *suffix);

/* The manager's set of signing keys, refused unless ROOT_PUBLIC signed it; FILE names where that
 * came from. */
int admin_fetch_signing_keys(const struct admin_call *call, const char *file,
			     const uint8_t root_public[static PUBLIC_KEY_SIZE],
			     struct signing_keys *ret_set,
			     uint8_t ret_bytes[static SIGNING_KEYS_SIZE]);

/* The records of the manager's log from number FROM on, as the command's --workspace may see them. EACH
 * returning a negative errno, which it has said why, ends the walk. */
struct audit_record;
typedef int (*admin_audit_each)(const struct audit_record *record, void *userdata);
int admin_audit_walk(const struct admin_call *call, uint64_t from, admin_audit_each each,
		     void *userdata);
/* The number of its last record. */
int admin_audit_last(const struct admin_call *call, uint64_t *ret_number);

/* The rows of GET /v1/fleet, of the command's --workspace where that is given; the caller's. */
int admin_fleet_fetch(const struct admin_call *call, json_t **ret_rows);

/* The command `vm enrol`. */
int admin_vm_enrol(const struct admin_call *call);

/* --- tables for people. FORMAT of a column says how its member is shown. */
enum admin_column_format {
	ADMIN_COLUMN_TEXT,
	ADMIN_COLUMN_NUMBER,
	ADMIN_COLUMN_DURATION, /* milliseconds */
	ADMIN_COLUMN_TIME,     /* seconds since 1970, local time; 0 as "-" */
	ADMIN_COLUMN_ID,       /* the first 12 characters */
	ADMIN_COLUMN_VOLUMES,  /* "name:state, name:state" */
};
struct admin_column {
	const char *title, *member;
	enum admin_column_format format;
};

/* ROWS: a JSON array of objects. With --json: ROWS as it is. */
void admin_print_table(const struct admin_call *call, const json_t *rows,
		       const struct admin_column *columns, size_t n_columns);
/* One object, a line a member. */
void admin_print_object(const struct admin_call *call, const json_t *object,
			const struct admin_column *columns, size_t n_columns);

/* --- files */
/* 32 bytes as 64 hex digits and a newline; SECRET: refused where others may read it. */
int admin_read_key_file(const char *path, bool secret, uint8_t ret_key[static 32]);
int admin_write_key_file(const char *path, const uint8_t key[static 32], unsigned mode);
/* Makes DIRECTORY (0700) where it is missing. */
int admin_make_directory(const char *directory);
