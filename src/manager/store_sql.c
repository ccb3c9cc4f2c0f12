/* SPDX-License-Identifier: Apache-2.0 */
/* Every statement of the store, and running them. */
#include "manager/store_sql.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

#define KEY_COLUMNS                                                                                \
	"id, name, provider, key_id, directory, poll_ms, lease_ms, margin_ms, max_staleness_ms, "  \
	"probe_ms, expiry, confirm_boot, proven, created_ms, revoked_ms, revoked_code, settings, " \
	"proven_by, generation, rotation_ms, successor, rotated_ms, uses"
#define WORKSPACES                                                                                 \
	"SELECT w.id, w.name, w.key, k.name, w.kek, w.kek_check, w.created_ms, w.shown_epoch, "    \
	"w.shown_counter, w.kek_generation FROM workspaces w LEFT JOIN keys k ON k.id = w.key "
#define KEKS                                                                                       \
	"SELECT id, workspace, use, version, wrapped, created_ms, generation, retired_ms FROM "    \
	"keks "
#define NODES                                                                                      \
	"SELECT n.id, n.workspace, w.name, n.name, n.public_key, n.enrolled_ms, n.removed_ms "     \
	"FROM storage_nodes n JOIN workspaces w ON w.id = n.workspace "
#define VMS                                                                                        \
	"SELECT v.id, v.workspace, w.name, v.name, v.public_key, v.enrolled_ms, v.removed_ms "     \
	"FROM vms v JOIN workspaces w ON w.id = v.workspace "
#define BOOTS                                                                                      \
	"SELECT b.admission, b.vm, b.workspace, v.name, w.name, b.vm_key, b.report, b.state, "     \
	"b.reason, b.confirmed, b.paired, b.was_admitted, b.unbounded, b.first_ms, b.last_ms, "    \
	"b.granted_ms, b.lease_ms, b.fence_ms, b.number, b.challenge, b.issued_epoch, "            \
	"b.issued_counter, b.passed, b.failed, b.pauses, b.keys_gone, b.token, b.admit_token, "    \
	"b.shred_token, b.fence_boot_ms, w.shown_epoch, b.ending, b.ending_ms, b.encrypt_id, "     \
	"b.decrypt_id, b.ended, b.bind_key, b.share FROM boots b JOIN vms v ON v.id = b.vm "       \
	"JOIN workspaces w ON w.id = b.workspace "
/* BOOT_WAITING, BOOT_HELD, BOOT_LIVE; BOOT_ENDING is 5. */
#define CURRENT "state IN (1, 2, 4)"

const char *const store_sql[SQL__MAX] = {
	[SQL_BEGIN] = "BEGIN IMMEDIATE",
	[SQL_COMMIT] = "COMMIT",
	[SQL_ROLLBACK] = "ROLLBACK",
	[SQL_SAVEPOINT] = "SAVEPOINT handler",
	[SQL_SAVEPOINT_KEEP] = "RELEASE handler",
	[SQL_SAVEPOINT_UNDO] = "ROLLBACK TO handler",
	[SQL_SETTING_GET] = "SELECT value FROM settings WHERE name = ?1",
	[SQL_SETTING_SET] = "INSERT INTO settings (name, value) VALUES (?1, ?2) "
			    "ON CONFLICT (name) DO UPDATE SET value = ?2",
	[SQL_SIGNING_KEYS] = "SELECT value FROM settings WHERE name > 'signing keys '"
			     " AND name < 'signing keys g' ORDER BY name DESC",
	[SQL_KEY_INSERT] =
		"INSERT INTO keys (name, provider, key_id, directory, poll_ms, lease_ms, "
		"margin_ms, max_staleness_ms, probe_ms, expiry, confirm_boot, proven, "
		"created_ms, revoked_ms, revoked_code, settings, proven_by, uses) "
		"VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, 0, '', ?14, ?15, "
		"?16)",
	[SQL_KEY_GET] = "SELECT " KEY_COLUMNS " FROM keys WHERE name = ?1",
	[SQL_KEY_GET_BY_ID] = "SELECT " KEY_COLUMNS " FROM keys WHERE id = ?1",
	[SQL_KEY_DELETE] = "DELETE FROM keys WHERE name = ?1",
	[SQL_KEY_SET_REVOKED] = "UPDATE keys SET revoked_ms = ?2, revoked_code = ?3 WHERE id = ?1",
	[SQL_KEY_SET_PROVEN] = "UPDATE keys SET proven = 1, proven_by = ?2 WHERE id = ?1",
	[SQL_KEY_ROTATE] = "UPDATE keys SET generation = generation + (?2 = 0), "
			   "successor = nullif(?2, 0), rotation_ms = ?3 WHERE id = ?1",
	[SQL_KEY_ROTATED] = "UPDATE keys SET rotation_ms = 0, successor = NULL, rotated_ms = ?2 "
			    "WHERE id = ?1",
	[SQL_KEY_COUNT_KEKS] =
		"SELECT count(*), count(generation < ?2 OR NULL) FROM (SELECT kek_generation AS "
		"generation FROM workspaces WHERE key = ?1 UNION ALL SELECT k.generation FROM "
		"workspaces w JOIN keks k ON k.workspace = w.id WHERE w.key = ?1)",
	[SQL_KEYS] = "SELECT " KEY_COLUMNS " FROM keys ORDER BY name",
	[SQL_WORKSPACE_INSERT] = "INSERT INTO workspaces (name, created_ms, shown_epoch, "
				 "shown_counter) VALUES (?1, ?2, 0, 0)",
	[SQL_WORKSPACE_GET] = WORKSPACES "WHERE w.name = ?1",
	[SQL_WORKSPACE_GET_BY_ID] = WORKSPACES "WHERE w.id = ?1",
	[SQL_WORKSPACE_FORGET_VMS] =
		"DELETE FROM vms WHERE removed_ms > 0 AND workspace = (SELECT id FROM workspaces "
		"WHERE name = ?1) AND NOT EXISTS (SELECT 1 FROM boots b WHERE b.vm = vms.id)",
	[SQL_WORKSPACE_FORGET_NODES] =
		"DELETE FROM storage_nodes WHERE removed_ms > 0 AND workspace = (SELECT id FROM "
		"workspaces WHERE name = ?1)",
	[SQL_WORKSPACE_DELETE] = "DELETE FROM workspaces WHERE name = ?1",
	[SQL_WORKSPACE_BIND] =
		"UPDATE workspaces SET key = ?2, kek = ?3, kek_check = ?4, kek_generation = ?5 "
		"WHERE id = ?1",
	[SQL_WORKSPACE_SET_ROLLED_BACK] =
		"UPDATE workspaces SET shown_epoch = ?2, shown_counter = ?3 WHERE id = ?1",
	[SQL_WORKSPACES_ADOPT] = "UPDATE workspaces SET shown_epoch = 0, shown_counter = 0",
	[SQL_WORKSPACES_HIGHEST] = "SELECT max(shown_epoch) FROM workspaces",
	[SQL_WORKSPACES] = WORKSPACES "ORDER BY w.name",
	[SQL_WORKSPACES_TO_WRAP] =
		WORKSPACES "WHERE w.key = ?1 AND w.kek_generation < ?2 AND w.id > ?3 "
			   "ORDER BY w.id LIMIT ?4",
	[SQL_KEK_INSERT] = "INSERT INTO keks (id, workspace, use, version, wrapped, created_ms, "
			   "generation) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
	[SQL_KEK_GET] = KEKS "WHERE id = ?1",
	[SQL_KEK_CURRENT] = KEKS "WHERE workspace = ?1 AND use = ?2 "
				 "ORDER BY version DESC, created_ms DESC, id LIMIT 1",
	[SQL_KEK_SET_WRAPPED] = "UPDATE keks SET wrapped = ?2, generation = ?3 WHERE id = ?1",
	[SQL_KEK_SET_RETIRED] = "UPDATE keks SET retired_ms = ?2 WHERE id = ?1",
	[SQL_KEKS] = KEKS "WHERE workspace = ?1 ORDER BY use, version, id",
	[SQL_KEKS_TO_WRAP] = KEKS "WHERE id > ?3 AND +generation < ?2 AND +workspace IN "
				  "(SELECT id FROM workspaces WHERE key = ?1) "
				  "ORDER BY id LIMIT ?4",
	[SQL_KEKS_OF_KEY] = KEKS "WHERE workspace IN (SELECT id FROM workspaces WHERE key = ?1)",
	[SQL_NODE_INSERT] = "INSERT INTO storage_nodes (workspace, name, public_key, enrolled_ms, "
			    "removed_ms) VALUES (?1, ?2, ?3, ?4, 0)",
	[SQL_NODE_RENEW] = "UPDATE storage_nodes SET public_key = ?3, enrolled_ms = ?4, "
			   "removed_ms = 0 WHERE workspace = ?1 AND name = ?2 AND removed_ms > 0",
	[SQL_NODE_GET] = NODES "WHERE w.name = ?1 AND n.name = ?2",
	[SQL_NODE_GET_BY_KEY] = NODES "WHERE n.public_key = ?1",
	[SQL_NODE_REMOVE] =
		"UPDATE storage_nodes SET removed_ms = ?2 WHERE id = ?1 AND removed_ms = 0",
	[SQL_NODES] = NODES "WHERE n.removed_ms = 0 ORDER BY w.name, n.name",
	[SQL_VM_INSERT] = "INSERT INTO vms (workspace, name, public_key, enrolled_ms, removed_ms) "
			  "VALUES (?1, ?2, ?3, ?4, 0)",
	[SQL_VM_RENEW] = "UPDATE vms SET public_key = ?3, enrolled_ms = ?4, removed_ms = 0 "
			 "WHERE workspace = ?1 AND name = ?2 AND removed_ms > 0",
	[SQL_VM_GET] = VMS "WHERE w.name = ?1 AND v.name = ?2",
	[SQL_VM_REMOVE] = "UPDATE vms SET removed_ms = ?2 WHERE id = ?1 AND removed_ms = 0",
	[SQL_VMS] = VMS "WHERE v.removed_ms = 0 AND (?1 IS NULL OR w.name = ?1) "
			"ORDER BY w.name, v.name",
	[SQL_BOOT_INSERT] = "INSERT INTO boots (admission, boot_id, vm, workspace, vm_key, report, "
			    "first_ms, bind_key) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
	[SQL_BOOT_GET] = BOOTS "WHERE b.admission = ?1",
	[SQL_BOOT_GET_BY_BOOT_ID] = BOOTS "WHERE b.boot_id = ?1",
	[SQL_BOOT_UPDATE] =
		"UPDATE boots SET state = ?2, reason = ?3, confirmed = ?4, paired = ?5, "
		"was_admitted = ?6, unbounded = ?7, last_ms = ?8, granted_ms = ?9, lease_ms = ?10, "
		"fence_ms = ?11, number = ?12, challenge = ?13, issued_epoch = ?14, "
		"issued_counter = ?15, passed = ?16, failed = ?17, pauses = ?18, keys_gone = ?19, "
		"token = ?20, admit_token = ?21, shred_token = ?22, fence_boot_ms = ?23, "
		"ending = ?24, ending_ms = ?25, ended = ?26 WHERE admission = ?1",
	[SQL_BOOTS_FORGET_CLOCK] = "UPDATE boots SET fence_boot_ms = 0",
	[SQL_BOOT_SET_PAIR] =
		"UPDATE boots SET pair = ?2, encrypt_id = ?3, decrypt_id = ?4, share = ?5 "
		"WHERE admission = ?1",
	[SQL_BOOTS_END_OF_VM] = "UPDATE boots SET state = 5, reason = ?3 "
				"WHERE vm = ?1 AND admission IS NOT ?2 AND " CURRENT,
	[SQL_BOOTS_ENDED_OF_VM] = "UPDATE boots SET state = 5, reason = ?3 WHERE vm = ?1 AND "
				  "admission IS NOT ?2 AND ending_ms > 0 AND " CURRENT,
	[SQL_BOOTS_END_OF_KEY] = "UPDATE boots SET state = 5, reason = ?2 WHERE workspace IN "
				 "(SELECT id FROM workspaces WHERE key = ?1) AND " CURRENT,
	[SQL_BOOTS_CURRENT] = "SELECT count(*) FROM boots WHERE workspace = ?1 AND "
			      "((state = 4 AND (unbounded OR fence_ms >= ?2)) OR "
			      "(state IN (1, 2) AND first_ms >= ?2 - 86400000))",
	/* By the index of states: boots are kept for ever, and the loop waits. */
	[SQL_BOOTS_SINCE] = BOOTS
	"WHERE (?1 IS NULL OR w.name = ?1) AND b.rowid IN (SELECT rowid FROM boots WHERE " CURRENT
	" UNION ALL SELECT rowid FROM boots WHERE state IN (3, 5, 6) AND last_ms >= ?2) "
	"ORDER BY +b.first_ms DESC, b.rowid DESC",
	[SQL_BOOTS_WITH_RECEIPT] =
		BOOTS "WHERE (?1 IS NULL OR w.name = ?1) AND (?2 IS NULL OR v.name = ?2) AND "
		      "EXISTS (SELECT 1 FROM receipts r WHERE r.admission = b.admission) "
		      "ORDER BY b.first_ms DESC, b.rowid DESC",
	[SQL_RECEIPT_INSERT] = "INSERT INTO receipts (admission, kind, bytes, received_ms) "
			       "VALUES (?1, ?2, ?3, ?4)",
	[SQL_RECEIPTS_COUNT] = "SELECT count(*), count(bytes = ?2 OR NULL) FROM receipts "
			       "WHERE admission = ?1",
	[SQL_RECEIPTS] = "SELECT admission, kind, bytes, received_ms FROM receipts "
			 "WHERE admission = ?1 ORDER BY rowid",
	[SQL_BOOTS_TO_END] = BOOTS "WHERE b.ended = 0 AND b.fence_ms > 0 AND b.fence_ms < ?1 "
				   "ORDER BY b.fence_ms LIMIT ?2",
	[SQL_BOOT_SET_ENDED] = "UPDATE boots SET ended = 1 WHERE admission = ?1",
	[SQL_AUDIT_HEAD] = "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1",
	[SQL_AUDIT_APPEND] = "INSERT INTO audit (number, workspace, key, content, hash) "
			     "VALUES (?1, ?2, ?3, ?4, ?5)",
	/* -1: AUDIT_PUBLIC. */
	[SQL_AUDIT] =
		"SELECT a.number, p.hash, a.hash, a.content, ?2 = 0 OR a.workspace IN (?2, -1) "
		"OR (a.workspace = 0 AND a.key > 0 AND a.key = ?3) FROM audit a "
		"LEFT JOIN audit p ON p.number = a.number - 1 WHERE a.number >= ?1 "
		"ORDER BY a.number LIMIT ?4",
};

int sql_failed(struct store *store, const char *what)
{
	log_error("store: %s: %s", what, sqlite3_errmsg(store->db));
	return -EIO;
}

sqlite3_stmt *sql_statement(struct store *store, enum store_statement which)
{
	sqlite3_stmt **statement = &store->statements[which];

	if (*statement) {
		sqlite3_reset(*statement);
		sqlite3_clear_bindings(*statement);
		return *statement;
	}
	if (sqlite3_prepare_v3(store->db, store_sql[which], -1, SQLITE_PREPARE_PERSISTENT,
			       statement, NULL) != SQLITE_OK)
		sql_failed(store, store_sql[which]);
	return *statement;
}

void sql_bind_int(sqlite3_stmt *statement, int at, uint64_t value)
{
	sqlite3_bind_int64(statement, at, (sqlite3_int64)value);
}

void sql_bind_text(sqlite3_stmt *statement, int at, const char *text)
{
	sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC);
}

void sql_bind_blob(sqlite3_stmt *statement, int at, const void *bytes, size_t n)
{
	sqlite3_bind_blob64(statement, at, bytes, n, SQLITE_STATIC);
}

uint64_t sql_column_int(sqlite3_stmt *statement, int at)
{
	return (uint64_t)sqlite3_column_int64(statement, at);
}

void sql_column_text(sqlite3_stmt *statement, int at, char *text, size_t size)
{
	const char *value = (const char *)sqlite3_column_text(statement, at);
	size_t n = value ? strnlen(value, size - 1) : 0;

	memset(text, 0, size);
	if (n > 0)
		memcpy(text, value, n);
}

size_t sql_column_blob(sqlite3_stmt *statement, int at, void *bytes, size_t size)
{
	const void *value = sqlite3_column_blob(statement, at);
	size_t n = (size_t)sqlite3_column_bytes(statement, at);

	if (n > size)
		n = size;
	memset(bytes, 0, size);
	if (value && n > 0)
		memcpy(bytes, value, n);
	return n;
}

static int begin(struct store *store)
{
	sqlite3_stmt *statement;
	int r;

	if (store->dirty)
		return 0;
	statement = sql_statement(store, SQL_BEGIN);
	if (!statement)
		return -EIO;
	r = sqlite3_step(statement);
	sqlite3_reset(statement);
	if (r != SQLITE_DONE)
		return sql_failed(store, "cannot begin a transaction");
	store->dirty = true;
	if (store->opened)
		store->opened(store->opened_userdata);
	return 0;
}

int sql_write(struct store *store, sqlite3_stmt *statement)
{
	int r;

	if (!statement)
		return -EIO;
	r = begin(store);
	if (r < 0)
		return r;
	r = sqlite3_step(statement);
	sqlite3_reset(statement);
	switch (r) {
	case SQLITE_DONE:
		return sqlite3_changes(store->db);
	case SQLITE_CONSTRAINT_UNIQUE:
	case SQLITE_CONSTRAINT_PRIMARYKEY:
		return -EEXIST;
	case SQLITE_CONSTRAINT_FOREIGNKEY:
		return -EBUSY;
	default:
		return sql_failed(store, sqlite3_sql(statement));
	}
}

int sql_write_one(struct store *store, sqlite3_stmt *statement)
{
	int r = sql_write(store, statement);

	return r == 0 ? -ENOENT : r < 0 ? r : 0;
}

int sql_next(struct store *store, sqlite3_stmt *statement)
{
	int r;

	if (!statement)
		return -EIO;
	r = sqlite3_step(statement);
	if (r == SQLITE_ROW)
		return 1;
	sqlite3_reset(statement);
	return r == SQLITE_DONE ? 0 : sql_failed(store, sqlite3_sql(statement));
}
