/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the store share: the statements, and a narrow way to run them. */
#pragma once

#include <sqlite3.h>

#include "manager/store.h"

enum store_statement {
	SQL_BEGIN,
	SQL_COMMIT,
	SQL_ROLLBACK,
	SQL_SAVEPOINT,
	SQL_SAVEPOINT_KEEP,
	SQL_SAVEPOINT_UNDO,
	SQL_SETTING_GET,
	SQL_SETTING_SET,
	SQL_SIGNING_KEYS,
	SQL_KEY_INSERT,
	SQL_KEY_GET,
	SQL_KEY_GET_BY_ID,
	SQL_KEY_DELETE,
	SQL_KEY_SET_REVOKED,
	SQL_KEY_SET_PROVEN,
	SQL_KEY_ROTATE,
	SQL_KEY_ROTATED,
	SQL_KEY_COUNT_KEKS,
	SQL_KEYS,
	SQL_WORKSPACE_INSERT,
	SQL_WORKSPACE_GET,
	SQL_WORKSPACE_GET_BY_ID,
	SQL_WORKSPACE_FORGET_VMS,
	SQL_WORKSPACE_FORGET_NODES,
	SQL_WORKSPACE_DELETE,
	SQL_WORKSPACE_BIND,
	SQL_WORKSPACE_SET_ROLLED_BACK,
	SQL_WORKSPACES_ADOPT,
	SQL_WORKSPACES_HIGHEST,
	SQL_WORKSPACES,
	SQL_WORKSPACES_TO_WRAP,
	SQL_KEK_INSERT,
	SQL_KEK_GET,
	SQL_KEK_CURRENT,
	SQL_KEK_SET_WRAPPED,
	SQL_KEK_SET_RETIRED,
	SQL_KEKS,
	SQL_KEKS_TO_WRAP,
	SQL_KEKS_OF_KEY,
	SQL_NODE_INSERT,
	SQL_NODE_RENEW,
	SQL_NODE_GET,
	SQL_NODE_GET_BY_KEY,
	SQL_NODE_REMOVE,
	SQL_NODES,
	SQL_VM_INSERT,
	SQL_VM_RENEW,
	SQL_VM_GET,
	SQL_VM_REMOVE,
	SQL_VMS,
	SQL_BOOT_INSERT,
	SQL_BOOT_GET,
	SQL_BOOT_GET_BY_BOOT_ID,
	SQL_BOOT_UPDATE,
	SQL_BOOTS_FORGET_CLOCK,
	SQL_BOOT_SET_PAIR,
	SQL_BOOTS_END_OF_VM,
	SQL_BOOTS_ENDED_OF_VM,
	SQL_BOOTS_END_OF_KEY,
	SQL_BOOTS_CURRENT,
	SQL_BOOTS_WITH_RECEIPT,
	SQL_BOOTS_SINCE,
	SQL_RECEIPT_INSERT,
	SQL_RECEIPTS_COUNT,
	SQL_RECEIPTS,
	SQL_BOOTS_TO_END,
	SQL_BOOT_SET_ENDED,
	SQL_AUDIT_HEAD,
	SQL_AUDIT_APPEND,
	SQL_AUDIT,
	SQL__MAX
};
extern const char *const store_sql[SQL__MAX];

struct store {
	sqlite3 *db;
	sqlite3_stmt *statements[SQL__MAX];
	bool dirty;  /* a transaction is open */
	bool lost;   /* what was written in this turn was rolled back by an early commit */
	bool spoilt; /* the turn must not be committed */
	void (*opened)(void *userdata);
	void *opened_userdata;
	uint64_t epoch, adopted_epoch;
	char credentials_dir[256]; /* beside the database */
};

/* The statement, reset and without bindings; prepared at its first use. NULL on error (logged). */
sqlite3_stmt *sql_statement(struct store *store, enum store_statement which);

/* Parameters and columns count from 1 and 0, as in SQLite. Blobs and texts must live until the
 * statement has run. NULL blobs are NULL. */
void sql_bind_int(sqlite3_stmt *statement, int at, uint64_t value);
void sql_bind_text(sqlite3_stmt *statement, int at, const char *text);
void sql_bind_blob(sqlite3_stmt *statement, int at, const void *bytes, size_t n);
uint64_t sql_column_int(sqlite3_stmt *statement, int at);
/* Zero-filled to SIZE; a longer value is cut (texts keep their NUL). */
void sql_column_text(sqlite3_stmt *statement, int at, char *text, size_t size);
size_t sql_column_blob(sqlite3_stmt *statement, int at, void *bytes, size_t size);

/* Opens the turn's transaction where none is open, runs, resets. The number of rows changed, or
 * -EEXIST, -EBUSY, -EIO. */
int sql_write(struct store *store, sqlite3_stmt *statement);
/* The same where a row must change: 0, or -ENOENT too. */
int sql_write_one(struct store *store, sqlite3_stmt *statement);
/* One step of a query: 1 with a row to be read, 0 at the end, -EIO. Reset at 0 and on error; where
 * the walk ends early, call sqlite3_reset(). */
int sql_next(struct store *store, sqlite3_stmt *statement);

/* -EIO, after the error has been logged. */
int sql_failed(struct store *store, const char *what);
