/* SPDX-License-Identifier: Apache-2.0 */
/* The audit log in the store: appended to, and read. */
#include <errno.h>
#include <string.h>

#include "manager/store_sql.h"

int store_audit_head(struct store *store, struct audit_head *ret_head)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_AUDIT_HEAD);
	struct audit_head head = {0};
	int r = sql_next(store, statement);

	if (r < 0)
		return r;
	if (r > 0) {
		head.number = sql_column_int(statement, 0);
		sql_column_blob(statement, 1, head.hash, sizeof(head.hash));
		sqlite3_reset(statement);
	}
	*ret_head = head;
	return 0;
}

int store_audit_append(struct store *store, struct audit_about about, const char *content, size_t n)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_AUDIT_APPEND);
	uint8_t content_hash[HASH_SIZE];
	struct audit_head head;
	int r;

	if (!statement)
		return -EIO;
	r = store_audit_head(store, &head);
	if (r == 0)
		r = audit_content_hash(content, n, content_hash);
	if (r == 0)
		r = audit_head_add(&head, content_hash);
	if (r < 0)
		return r;
	sql_bind_int(statement, 1, head.number);
	sql_bind_int(statement, 2, (uint64_t)about.workspace);
	sql_bind_int(statement, 3, (uint64_t)about.key);
	sql_bind_text(statement, 4, content);
	sql_bind_blob(statement, 5, head.hash, sizeof(head.hash));
	r = sql_write(store, statement);
	return r < 0 ? r : 0;
}

/* Whoever may not read the content gets its hash. */
static int record_from_row(sqlite3_stmt *row, struct audit_record *record)
{
	const char *content = (const char *)sqlite3_column_text(row, 3);
	size_t n = (size_t)sqlite3_column_bytes(row, 3);

	if (!content || n > AUDIT_CONTENT_MAX)
		return -EIO;
	*record = (struct audit_record){.number = sql_column_int(row, 0)};
	sql_column_blob(row, 1, record->previous, sizeof(record->previous));
	sql_column_blob(row, 2, record->hash, sizeof(record->hash));
	if (sql_column_int(row, 4) == 0)
		return audit_content_hash(content, n, record->content_hash);
	record->content = content;
	record->content_size = n;
	return 0;
}

int store_audit(struct store *store, uint64_t from, unsigned max,
		const struct store_workspace *workspace, store_audit_each each, void *userdata)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_AUDIT);
	struct audit_record record;
	int r;

	if (!statement)
		return -EIO;
	sql_bind_int(statement, 1, from);
	sql_bind_int(statement, 2, workspace ? (uint64_t)workspace->id : 0);
	sql_bind_int(statement, 3, workspace ? (uint64_t)workspace->key : 0);
	sql_bind_int(statement, 4, max);
	while ((r = sql_next(store, statement)) > 0) {
		r = record_from_row(statement, &record);
		if (r == 0)
			r = each(&record, userdata);
		if (r != 0) {
			sqlite3_reset(statement);
			return r;
		}
	}
	return r;
}
