/* SPDX-License-Identifier: Apache-2.0 */
/* Boots and their receipts in the store. */
#include <errno.h>

#include "base/bytes.h"
#include "manager/store_sql.h"

int store_boot_insert(struct store *store, const struct store_boot *boot)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_BOOT_INSERT);
	struct boot_report report;
	int r;

	if (!statement)
		return -EIO;
	r = boot_report_decode(boot->report, sizeof(boot->report), &report);
	if (r < 0)
		return r;
	sql_bind_blob(statement, 1, boot->admission, HASH_SIZE);
	sql_bind_blob(statement, 2, report.boot_id, BOOT_ID_SIZE);
	sql_bind_int(statement, 3, (uint64_t)boot->vm);
	sql_bind_int(statement, 4, (uint64_t)boot->workspace);
	sql_bind_blob(statement, 5, boot->vm_key, PUBLIC_KEY_SIZE);
	sql_bind_blob(statement, 6, boot->report, BOOT_REPORT_SIZE);
	sql_bind_int(statement, 7, boot->first_ms);
	if (!bytes_are_zero(boot->bind_key, BIND_KEY_SIZE))
		sql_bind_blob(statement, 8, boot->bind_key, BIND_KEY_SIZE);
	r = store_savepoint(store);
	if (r < 0)
		return r;
	r = sql_write(store, statement);
	return store_settle(store, r < 0 ? r : store_boot_update(store, boot));
}

static void boot_from_row(sqlite3_stmt *row, struct store_boot *boot)
{
	*boot = (struct store_boot){
		.vm = (int64_t)sql_column_int(row, 1),
		.workspace = (int64_t)sql_column_int(row, 2),
		.state = (enum boot_state)sql_column_int(row, 7),
		.reason = (enum reason)sql_column_int(row, 8),
		.confirmed = sql_column_int(row, 9) != 0,
		.paired = sql_column_int(row, 10) != 0,
		.was_admitted = sql_column_int(row, 11) != 0,
		.unbounded = sql_column_int(row, 12) != 0,
		.first_ms = sql_column_int(row, 13),
		.last_ms = sql_column_int(row, 14),
		.granted_ms = sql_column_int(row, 15),
		.lease_ms = sql_column_int(row, 16),
		.fence_ms = sql_column_int(row, 17),
		.number = sql_column_int(row, 18),
		.issued = {sql_column_int(row, 20), sql_column_int(row, 21)},
		.self_test_passed = (uint32_t)sql_column_int(row, 22),
		.self_test_failed = (uint32_t)sql_column_int(row, 23),
		.pauses = (uint32_t)sql_column_int(row, 24),
		.keys_gone = sql_column_int(row, 25) != 0,
		.fence_boot_ms = sql_column_int(row, 29),
		.frozen = sql_column_int(row, 30) > 0,
		.ending_ms = sql_column_int(row, 32),
		.ended = sql_column_int(row, 35) != 0,
	};
	sql_column_blob(row, 0, boot->admission, sizeof(boot->admission));
	sql_column_text(row, 3, boot->vm_name, sizeof(boot->vm_name));
	sql_column_text(row, 4, boot->workspace_name, sizeof(boot->workspace_name));
	sql_column_blob(row, 5, boot->vm_key, sizeof(boot->vm_key));
	sql_column_blob(row, 6, boot->report, sizeof(boot->report));
	sql_column_blob(row, 19, boot->challenge, sizeof(boot->challenge));
	sql_column_blob(row, 26, boot->token, sizeof(boot->token));
	sql_column_blob(row, 27, boot->admit_token, sizeof(boot->admit_token));
	sql_column_blob(row, 28, boot->shred_token, sizeof(boot->shred_token));
	sql_column_blob(row, 31, boot->ending, sizeof(boot->ending));
	sql_column_text(row, 33, boot->encrypt_id, sizeof(boot->encrypt_id));
	sql_column_text(row, 34, boot->decrypt_id, sizeof(boot->decrypt_id));
	sql_column_blob(row, 36, boot->bind_key, sizeof(boot->bind_key));
	sql_column_blob(row, 37, boot->share, sizeof(boot->share));
}

static int boot_one(struct store *store, enum store_statement which, const uint8_t *id, size_t n,
		    struct store_boot *ret_boot)
{
	sqlite3_stmt *statement = sql_statement(store, which);
	int r;

	if (!statement)
		return -EIO;
	sql_bind_blob(statement, 1, id, n);
	r = sql_next(store, statement);
	if (r <= 0)
		return r == 0 ? -ENOENT : r;
	boot_from_row(statement, ret_boot);
	sqlite3_reset(statement);
	return 0;
}

int store_boot_get(struct store *store, const uint8_t admission[static HASH_SIZE],
		   struct store_boot *ret_boot)
{
	return boot_one(store, SQL_BOOT_GET, admission, HASH_SIZE, ret_boot);
}

int store_boot_get_by_boot_id(struct store *store, const uint8_t boot_id[static BOOT_ID_SIZE],
			      struct store_boot *ret_boot)
{
	return boot_one(store, SQL_BOOT_GET_BY_BOOT_ID, boot_id, BOOT_ID_SIZE, ret_boot);
}

/* A token that is not there is NULL in the row. */
static void bind_token(sqlite3_stmt *statement, int at, const uint8_t token[static TOKEN_SIZE])
{
	if (!bytes_are_zero(token, TOKEN_SIZE))
		sql_bind_blob(statement, at, token, TOKEN_SIZE);
}

int store_boot_update(struct store *store, const struct store_boot *boot)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_BOOT_UPDATE);

	if (!statement)
		return -EIO;
	sql_bind_blob(statement, 1, boot->admission, HASH_SIZE);
	sql_bind_int(statement, 2, boot->state);
	sql_bind_int(statement, 3, boot->reason);
	sql_bind_int(statement, 4, boot->confirmed);
	sql_bind_int(statement, 5, boot->paired);
	sql_bind_int(statement, 6, boot->was_admitted);
	sql_bind_int(statement, 7, boot->unbounded);
	sql_bind_int(statement, 8, boot->last_ms);
	sql_bind_int(statement, 9, boot->granted_ms);
	sql_bind_int(statement, 10, boot->lease_ms);
	sql_bind_int(statement, 11, boot->fence_ms);
	sql_bind_int(statement, 12, boot->number);
	sql_bind_blob(statement, 13, boot->challenge, CHALLENGE_SIZE);
	sql_bind_int(statement, 14, boot->issued.epoch);
	sql_bind_int(statement, 15, boot->issued.counter);
	sql_bind_int(statement, 16, boot->self_test_passed);
	sql_bind_int(statement, 17, boot->self_test_failed);
	sql_bind_int(statement, 18, boot->pauses);
	sql_bind_int(statement, 19, boot->keys_gone);
	bind_token(statement, 20, boot->token);
	bind_token(statement, 21, boot->admit_token);
	bind_token(statement, 22, boot->shred_token);
	sql_bind_int(statement, 23, boot->fence_boot_ms);
	if (boot->ending_ms > 0)
		sql_bind_blob(statement, 24, boot->ending, ENDING_SIZE);
	sql_bind_int(statement, 25, boot->ending_ms);
	sql_bind_int(statement, 26, boot->ended);
	return sql_write_one(store, statement);
}

int store_boot_set_pair(struct store *store, const uint8_t admission[static HASH_SIZE],
			const uint8_t *blob, size_t n, const char *encrypt_id,
			const char *decrypt_id, const uint8_t *share)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_BOOT_SET_PAIR);

	if (!statement)
		return -EIO;
	sql_bind_blob(statement, 1, admission, HASH_SIZE);
	sql_bind_blob(statement, 2, blob, n);
	sql_bind_text(statement, 3, encrypt_id);
	sql_bind_text(statement, 4, decrypt_id);
	if (share)
		sql_bind_blob(statement, 5, share, BIND_SHARE_RECORD_SIZE);
	return sql_write_one(store, statement);
}

static int boots_end(struct store *store, enum store_statement which, int64_t vm,
		     const uint8_t *except, enum reason reason)
{
	sqlite3_stmt *statement = sql_statement(store, which);

	if (!statement)
		return -EIO;
	sql_bind_int(statement, 1, (uint64_t)vm);
	if (except)
		sql_bind_blob(statement, 2, except, HASH_SIZE);
	sql_bind_int(statement, 3, reason);
	return sql_write(store, statement);
}

int store_boots_end_of_vm(struct store *store, int64_t vm, const uint8_t *except,
			  enum reason reason)
{
	return boots_end(store, SQL_BOOTS_END_OF_VM, vm, except, reason);
}

int store_boots_ended_of_vm(struct store *store, int64_t vm, const uint8_t *except)
{
	return boots_end(store, SQL_BOOTS_ENDED_OF_VM, vm, except, REASON_END);
}

int store_boots_end_of_key(struct store *store, int64_t key, enum reason reason)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_BOOTS_END_OF_KEY);

	if (!statement)
		return -EIO;
	sql_bind_int(statement, 1, (uint64_t)key);
	sql_bind_int(statement, 2, reason);
	return sql_write(store, statement);
}

int store_boots_current(struct store *store, int64_t workspace, uint64_t now_ms)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_BOOTS_CURRENT);
	int r;

	if (!statement)
		return -EIO;
	sql_bind_int(statement, 1, (uint64_t)workspace);
	sql_bind_int(statement, 2, now_ms);
	r = sql_next(store, statement);
	if (r <= 0)
		return r;
	r = (int)sql_column_int(statement, 0);
	sqlite3_reset(statement);
	return r;
}

static int boots_walk(struct store *store, sqlite3_stmt *statement, store_boot_each each,
		      void *userdata)
{
	struct store_boot boot;
	int r;

	while ((r = sql_next(store, statement)) > 0) {
		boot_from_row(statement, &boot);
		r = each(&boot, userdata);
		if (r != 0) {
			sqlite3_reset(statement);
			return r;
		}
	}
	return r;
}

int store_boots_with_receipt(struct store *store, const char *workspace, const char *vm,
			     store_boot_each each, void *userdata)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_BOOTS_WITH_RECEIPT);

	if (!statement)
		return -EIO;
	sql_bind_text(statement, 1, workspace);
	sql_bind_text(statement, 2, vm);
	return boots_walk(store, statement, each, userdata);
}

int store_boots_since(struct store *store, const char *workspace, uint64_t since_ms,
		      store_boot_each each, void *userdata)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_BOOTS_SINCE);

	if (!statement)
		return -EIO;
	sql_bind_text(statement, 1, workspace);
	sql_bind_int(statement, 2, since_ms);
	return boots_walk(store, statement, each, userdata);
}

int store_boots_to_end(struct store *store, uint64_t now_ms, unsigned max, store_boot_each each,
		       void *userdata)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_BOOTS_TO_END);

	if (!statement)
		return -EIO;
	sql_bind_int(statement, 1, now_ms);
	sql_bind_int(statement, 2, max);
	return boots_walk(store, statement, each, userdata);
}

int store_boot_set_ended(struct store *store, const uint8_t admission[static HASH_SIZE])
{
	sqlite3_stmt *statement = sql_statement(store, SQL_BOOT_SET_ENDED);

	if (!statement)
		return -EIO;
	sql_bind_blob(statement, 1, admission, HASH_SIZE);
	return sql_write_one(store, statement);
}

/* 1 where these bytes are stored already, 0 where they may be added, -ENOSPC. */
static int receipt_room(struct store *store, const struct store_receipt *receipt)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_RECEIPTS_COUNT);
	uint64_t all, same;
	int r;

	if (!statement)
		return -EIO;
	sql_bind_blob(statement, 1, receipt->admission, HASH_SIZE);
	sql_bind_blob(statement, 2, receipt->bytes, RECEIPT_SIZE);
	r = sql_next(store, statement);
	if (r < 0)
		return r;
	all = sql_column_int(statement, 0);
	same = sql_column_int(statement, 1);
	sqlite3_reset(statement);
	if (same > 0)
		return 1;
	return all >= RECEIPTS_PER_BOOT ? -ENOSPC : 0;
}

int store_receipt_insert(struct store *store, const struct store_receipt *receipt)
{
	sqlite3_stmt *statement;
	int r;

	r = receipt_room(store, receipt);
	if (r != 0)
		return r < 0 ? r : 0;
	statement = sql_statement(store, SQL_RECEIPT_INSERT);
	if (!statement)
		return -EIO;
	sql_bind_blob(statement, 1, receipt->admission, HASH_SIZE);
	sql_bind_int(statement, 2, receipt->kind);
	sql_bind_blob(statement, 3, receipt->bytes, RECEIPT_SIZE);
	sql_bind_int(statement, 4, receipt->received_ms);
	return sql_write(store, statement);
}

int store_receipts(struct store *store, const uint8_t admission[static HASH_SIZE],
		   store_receipt_each each, void *userdata)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_RECEIPTS);
	struct store_receipt receipt;
	int r;

	if (!statement)
		return -EIO;
	sql_bind_blob(statement, 1, admission, HASH_SIZE);
	while ((r = sql_next(store, statement)) > 0) {
		sql_column_blob(statement, 0, receipt.admission, sizeof(receipt.admission));
		receipt.kind = (enum receipt_kind)sql_column_int(statement, 1);
		sql_column_blob(statement, 2, receipt.bytes, sizeof(receipt.bytes));
		receipt.received_ms = sql_column_int(statement, 3);
		r = each(&receipt, userdata);
		if (r != 0) {
			sqlite3_reset(statement);
			return r;
		}
	}
	return r;
}
