/* SPDX-License-Identifier: Apache-2.0 */
/* The store as a whole: opening, schema, transactions, epochs, settings. */
#include "manager/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "manager/audit.h"
#include "manager/store_sql.h"

/* What makes version N + 1 of version N. */
static const char *const schema[] = {
	"CREATE TABLE settings (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT;"
	"CREATE TABLE keys (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
	" provider TEXT NOT NULL, key_id TEXT NOT NULL, directory TEXT NOT NULL,"
	" poll_ms INTEGER NOT NULL, lease_ms INTEGER NOT NULL, margin_ms INTEGER NOT NULL,"
	" max_staleness_ms INTEGER NOT NULL, probe_ms INTEGER NOT NULL, expiry INTEGER NOT NULL,"
	" confirm_boot INTEGER NOT NULL, proven INTEGER NOT NULL, created_ms INTEGER NOT NULL,"
	" revoked_ms INTEGER NOT NULL, revoked_code TEXT NOT NULL) STRICT;"
	"CREATE TABLE workspaces (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
	" key INTEGER REFERENCES keys (id), kek BLOB, kek_check BLOB, created_ms INTEGER NOT NULL,"
	" shown_epoch INTEGER NOT NULL, shown_counter INTEGER NOT NULL) STRICT;"
	"CREATE TABLE vms (id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" workspace INTEGER NOT NULL REFERENCES workspaces (id), name TEXT NOT NULL,"
	" public_key BLOB NOT NULL, enrolled_ms INTEGER NOT NULL, removed_ms INTEGER NOT NULL,"
	" UNIQUE (workspace, name)) STRICT;"
	"CREATE TABLE boots (admission BLOB PRIMARY KEY, boot_id BLOB NOT NULL UNIQUE,"
	" vm INTEGER NOT NULL REFERENCES vms (id),"
	" workspace INTEGER NOT NULL REFERENCES workspaces (id), vm_key BLOB NOT NULL,"
	" report BLOB NOT NULL, first_ms INTEGER NOT NULL, state INTEGER NOT NULL DEFAULT 1,"
	" reason INTEGER NOT NULL DEFAULT 0, confirmed INTEGER NOT NULL DEFAULT 0,"
	" paired INTEGER NOT NULL DEFAULT 0, was_admitted INTEGER NOT NULL DEFAULT 0,"
	" unbounded INTEGER NOT NULL DEFAULT 0, last_ms INTEGER NOT NULL DEFAULT 0,"
	" granted_ms INTEGER NOT NULL DEFAULT 0, lease_ms INTEGER NOT NULL DEFAULT 0,"
	" fence_ms INTEGER NOT NULL DEFAULT 0, fence_boot_ms INTEGER NOT NULL DEFAULT 0, number "
	"INTEGER NOT NULL DEFAULT 0, challenge BLOB,"
	" issued_epoch INTEGER NOT NULL DEFAULT 0, issued_counter INTEGER NOT NULL DEFAULT 0,"
	" passed INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,"
	" pauses INTEGER NOT NULL DEFAULT 0, keys_gone INTEGER NOT NULL DEFAULT 0, token BLOB,"
	" admit_token BLOB, shred_token BLOB, pair BLOB) STRICT;"
	"CREATE INDEX boots_of_vm ON boots (vm, state);"
	"CREATE INDEX boots_of_workspace ON boots (workspace, state);"
	"CREATE INDEX boots_by_age ON boots (first_ms);"
	"CREATE INDEX boots_by_state ON boots (state, last_ms);"
	"CREATE TABLE receipts (admission BLOB NOT NULL REFERENCES boots (admission),"
	" kind INTEGER NOT NULL, bytes BLOB NOT NULL, received_ms INTEGER NOT NULL) STRICT;"
	"CREATE INDEX receipts_of_boot ON receipts (admission);",

	/* Settings of a provider are one JSON object, {} of none. */
	"ALTER TABLE keys ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';"
	"ALTER TABLE keys ADD COLUMN proven_by BLOB;",

	/* KEKs of DEKs, as the CMK wrapped them; who may have DEKs, by the hash of their key. */
	"CREATE TABLE keks (id BLOB PRIMARY KEY, workspace INTEGER NOT NULL REFERENCES workspaces "
	"(id),"
	" use TEXT NOT NULL, version INTEGER NOT NULL, wrapped BLOB NOT NULL,"
	" created_ms INTEGER NOT NULL) STRICT;"
	"CREATE INDEX keks_of_workspace ON keks (workspace, use, version);"
	"CREATE TABLE storage_nodes (id INTEGER PRIMARY KEY AUTOINCREMENT,"
	" workspace INTEGER NOT NULL REFERENCES workspaces (id), name TEXT NOT NULL,"
	" public_key BLOB NOT NULL UNIQUE, enrolled_ms INTEGER NOT NULL,"
	" removed_ms INTEGER NOT NULL, UNIQUE (workspace, name)) STRICT;",

	/* The note of a boot that ends in good order. */
	"ALTER TABLE boots ADD COLUMN ending BLOB;"
	"ALTER TABLE boots ADD COLUMN ending_ms INTEGER NOT NULL DEFAULT 0;",

	/* The audit log. WORKSPACE and KEY say who may read a record: audit.h. */
	"CREATE TABLE audit (number INTEGER PRIMARY KEY, workspace INTEGER NOT NULL,"
	" key INTEGER NOT NULL, content TEXT NOT NULL, hash BLOB NOT NULL) STRICT;"
	"CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit"
	" BEGIN SELECT RAISE (ABORT, 'the audit log is append-only'); END;"
	"CREATE TRIGGER audit_is_final BEFORE UPDATE ON audit"
	" BEGIN SELECT RAISE (ABORT, 'the audit log is append-only'); END;"
	/* REPLACE deletes without the trigger above. */
	"CREATE TRIGGER audit_goes_on BEFORE INSERT ON audit"
	" WHEN NEW.number <> (SELECT coalesce(max(number), 0) + 1 FROM audit)"
	" BEGIN SELECT RAISE (ABORT, 'the audit log is append-only'); END;"
	/* What the KMS called the two requests of an admission's pair. */
	"ALTER TABLE boots ADD COLUMN encrypt_id TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE boots ADD COLUMN decrypt_id TEXT NOT NULL DEFAULT '';"
	/* The end of its last lease is on record. */
	"ALTER TABLE boots ADD COLUMN ended INTEGER NOT NULL DEFAULT 0;"
	"CREATE INDEX boots_to_end ON boots (fence_ms) WHERE ended = 0 AND fence_ms > 0;",

	/* Rotation of a CMK: which of its generations has wrapped what, and where it stands. */
	"ALTER TABLE keys ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE keys ADD COLUMN rotation_ms INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE keys ADD COLUMN successor INTEGER REFERENCES keys (id);"
	"ALTER TABLE keys ADD COLUMN rotated_ms INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE workspaces ADD COLUMN kek_generation INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE keks ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;"
	"CREATE INDEX workspaces_of_key ON workspaces (key);"
	"CREATE INDEX keks_by_generation ON keks (workspace, generation);",

	/* Nothing under it is unwrapped any more. */
	"ALTER TABLE keks ADD COLUMN retired_ms INTEGER NOT NULL DEFAULT 0;",

	/* What the key may be used for: enum key_use. Until now, everything. */
	"ALTER TABLE keys ADD COLUMN uses INTEGER NOT NULL DEFAULT 7;",

	/* What a boot's share of the keys of its bound volumes is sealed for, and that share. */
	"ALTER TABLE boots ADD COLUMN bind_key BLOB;"
	"ALTER TABLE boots ADD COLUMN share BLOB;",
};
#define SCHEMA_VERSION ((int)ELEMENTSOF(schema))

static int execute(struct store *store, const char *text)
{
	if (sqlite3_exec(store->db, text, NULL, NULL, NULL) != SQLITE_OK)
		return sql_failed(store, "cannot prepare the database");
	return 0;
}

static int schema_version(struct store *store, int *ret_version)
{
	sqlite3_stmt *statement;

	if (sqlite3_prepare_v2(store->db, "PRAGMA user_version", -1, &statement, NULL) != SQLITE_OK)
		return sql_failed(store, "cannot read the schema's version");
	if (sqlite3_step(statement) != SQLITE_ROW) {
		sqlite3_finalize(statement);
		return sql_failed(store, "cannot read the schema's version");
	}
	*ret_version = sqlite3_column_int(statement, 0);
	sqlite3_finalize(statement);
	return 0;
}

static int upgrade_schema(struct store *store, int version)
{
	char text[64];
	int r;

	snprintf(text, sizeof(text), "PRAGMA user_version = %d; COMMIT", version + 1);
	r = execute(store, "BEGIN IMMEDIATE");
	if (r == 0)
		r = execute(store, schema[version]);
	return r < 0 ? r : execute(store, text);
}

static int ensure_schema(struct store *store)
{
	int version = 0, r;

	r = schema_version(store, &version);
	if (r < 0)
		return r;
	if (version < 0 || version > SCHEMA_VERSION) {
		log_error("store: the schema is version %d, this program knows %d", version,
			  SCHEMA_VERSION);
		return -EPROTONOSUPPORT;
	}
	for (; r == 0 && version < SCHEMA_VERSION; version++)
		r = upgrade_schema(store, version);
	return r;
}

static int setting_get_int(struct store *store, const char *name, uint64_t *ret_value)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_SETTING_GET);
	int r;

	if (!statement)
		return -EIO;
	sql_bind_text(statement, 1, name);
	r = sql_next(store, statement);
	if (r == 0)
		return -ENOENT;
	if (r < 0)
		return r;
	*ret_value = sql_column_int(statement, 0);
	sqlite3_reset(statement);
	return 0;
}

static int setting_set_int(struct store *store, const char *name, uint64_t value)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_SETTING_SET);
	int r;

	if (!statement)
		return -EIO;
	sql_bind_text(statement, 1, name);
	sql_bind_int(statement, 2, value);
	r = sql_write(store, statement);
	return r < 0 ? r : 0;
}

static int setting_get_blob(struct store *store, const char *name, void *bytes, size_t n)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_SETTING_GET);
	size_t got;
	int r;

	if (!statement)
		return -EIO;
	sql_bind_text(statement, 1, name);
	r = sql_next(store, statement);
	if (r == 0)
		return -ENOENT;
	if (r < 0)
		return r;
	got = sql_column_blob(statement, 0, bytes, n);
	sqlite3_reset(statement);
	return got == n ? 0 : -EIO;
}

static int setting_set_blob(struct store *store, const char *name, const void *bytes, size_t n)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_SETTING_SET);
	int r;

	if (!statement)
		return -EIO;
	sql_bind_text(statement, 1, name);
	sql_bind_blob(statement, 2, bytes, n);
	r = sql_write(store, statement);
	return r < 0 ? r : 0;
}

int store_root_public_get(struct store *store, uint8_t ret_public[static PUBLIC_KEY_SIZE])
{
	return setting_get_blob(store, "root public key", ret_public, PUBLIC_KEY_SIZE);
}

int store_root_public_set(struct store *store, const uint8_t public_key[static PUBLIC_KEY_SIZE])
{
	return setting_set_blob(store, "root public key", public_key, PUBLIC_KEY_SIZE);
}

int store_signing_keys_get(struct store *store, uint8_t ret_set[static SIGNING_KEYS_SIZE])
{
	return setting_get_blob(store, "signing keys", ret_set, SIGNING_KEYS_SIZE);
}

int store_signing_keys_set(struct store *store, const uint8_t set[static SIGNING_KEYS_SIZE])
{
	struct signing_keys decoded;
	char name[32];
	int r;

	if (signing_keys_decode(set, SIGNING_KEYS_SIZE, &decoded) < 0)
		return -EINVAL;
	snprintf(name, sizeof(name), "signing keys %016" PRIx64, decoded.epoch);
	r = setting_set_blob(store, name, set, SIGNING_KEYS_SIZE);
	return r < 0 ? r : setting_set_blob(store, "signing keys", set, SIGNING_KEYS_SIZE);
}

int store_signing_keys_all(struct store *store, store_signing_keys_each each, void *userdata)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_SIGNING_KEYS);
	uint8_t set[SIGNING_KEYS_SIZE];
	int r;

	if (!statement)
		return -EIO;
	while ((r = sql_next(store, statement)) > 0) {
		sql_column_blob(statement, 0, set, sizeof(set));
		r = each(set, userdata);
		if (r != 0) {
			sqlite3_reset(statement);
			return r;
		}
	}
	return r;
}

/* What was measured with CLOCK_BOOTTIME means nothing after the machine has booted. */
static int note_machine_boot(struct store *store)
{
	char now[37] = "", before[37] = "";
	sqlite3_stmt *forget;
	int r;

	if (file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", now, sizeof(now)) < 0)
		return log_errno(-EIO, "store: cannot read the boot id of this machine");
	r = setting_get_blob(store, "machine boot", before, sizeof(before));
	if (r < 0 && r != -ENOENT)
		return r;
	if (memcmp(now, before, sizeof(now)) == 0)
		return 0;
	forget = sql_statement(store, SQL_BOOTS_FORGET_CLOCK);
	r = sql_write(store, forget);
	return r < 0 ? r : setting_set_blob(store, "machine boot", now, sizeof(now));
}

static int load_epochs(struct store *store)
{
	int r;

	store->adopted_epoch = 0;
	r = setting_get_int(store, "epoch", &store->epoch);
	if (r < 0 && r != -ENOENT)
		return r;
	r = setting_get_int(store, "adopted epoch", &store->adopted_epoch);
	return r == -ENOENT ? 0 : r;
}

/* The epoch rises before anything is issued, so that no sequence is ever issued twice. */
static int raise_epoch(struct store *store)
{
	int r;

	r = load_epochs(store);
	if (r < 0)
		return r;
	store->epoch++;
	r = setting_set_int(store, "epoch", store->epoch);
	if (r == 0)
		r = note_machine_boot(store);
	if (r == 0)
		audit_add(store, (struct audit_about){0}, "started",
			  json_pack("{s:I, s:s}", "epoch", (json_int_t)store->epoch, "version",
				    EMBERLOCK_VERSION));
	return r < 0 ? r : store_commit(store);
}

/* SQLite would make the file with the umask's mode. */
static int make_file(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	return fd < 0 ? -errno : 0;
}

static void cleanup_store(struct store **store)
{
	*store = store_free(*store);
}

/* Beside the database. */
static int set_credentials_dir(struct store *store, const char *path)
{
	const char *end = strrchr(path, '/');
	int n;

	if (!end)
		return -EINVAL;
	n = snprintf(store->credentials_dir, sizeof(store->credentials_dir), "%.*s/credentials",
		     (int)(end - path), path);
	return (size_t)n < sizeof(store->credentials_dir) ? 0 : -ENAMETOOLONG;
}

int store_open(const char *path, struct store **ret_store)
{
	_cleanup_(cleanup_store) struct store *store = NULL;
	int r;

	r = make_file(path);
	if (r < 0)
		return log_errno(r, "store: cannot open %s", path);
	store = calloc(1, sizeof(*store));
	if (!store)
		return -ENOMEM;
	r = set_credentials_dir(store, path);
	if (r < 0)
		return log_errno(r, "store: %s", path);
	if (sqlite3_open_v2(path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
	    SQLITE_OK)
		return sql_failed(store, path);
	sqlite3_extended_result_codes(store->db, 1);
	sqlite3_busy_timeout(store->db, 2000);
	/* FULL: in WAL mode the default would lose the last commits with the machine's power, and
	 * with them what was promised to VMs. */
	r = execute(store, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
			   "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;");
	if (r < 0)
		return r;
	r = ensure_schema(store);
	if (r < 0)
		return r;
	r = raise_epoch(store);
	if (r < 0)
		return r;
	*ret_store = TAKE_PTR(store);
	return 0;
}

struct store *store_free(struct store *store)
{
	if (!store)
		return NULL;
	for (int i = 0; i < SQL__MAX; i++)
		sqlite3_finalize(store->statements[i]);
	sqlite3_close(store->db);
	free(store);
	return NULL;
}

void store_on_open(struct store *store, void (*opened)(void *userdata), void *userdata)
{
	store->opened = opened;
	store->opened_userdata = userdata;
}

static int run_plain(struct store *store, enum store_statement which)
{
	sqlite3_stmt *statement = sql_statement(store, which);
	int r;

	if (!statement)
		return -EIO;
	r = sqlite3_step(statement);
	sqlite3_reset(statement);
	return r == SQLITE_DONE ? 0 : sql_failed(store, store_sql[which]);
}

int store_commit(struct store *store)
{
	int r = store->lost || store->spoilt ? -EIO : 0;

	store->lost = false;
	if (!store->dirty) {
		store->spoilt = false;
		return r;
	}
	if (store->spoilt || run_plain(store, SQL_COMMIT) < 0) {
		store_rollback(store);
		return -EIO;
	}
	store->dirty = false;
	return r;
}

int store_commit_early(struct store *store)
{
	int r = store_commit(store);

	store->lost = r < 0;
	return r;
}

void store_rollback(struct store *store)
{
	if (!store->dirty)
		return;
	/* After some errors (a full disk) SQLite has rolled back by itself. */
	if (!sqlite3_get_autocommit(store->db))
		run_plain(store, SQL_ROLLBACK);
	store->dirty = false;
	store->spoilt = false;
	/* An adoption may have been undone. */
	load_epochs(store);
}

void store_spoil(struct store *store)
{
	store->spoilt = true;
}

bool store_is_dirty(const struct store *store)
{
	return store->dirty;
}

int store_savepoint(struct store *store)
{
	int r = sql_write(store, sql_statement(store, SQL_SAVEPOINT));

	return r < 0 ? r : 0;
}

int store_settle(struct store *store, int r)
{
	int released;

	if (r < 0)
		run_plain(store, SQL_SAVEPOINT_UNDO);
	released = run_plain(store, SQL_SAVEPOINT_KEEP);
	return r < 0 || released == 0 ? r : released;
}

uint64_t store_epoch(const struct store *store)
{
	return store->epoch;
}

uint64_t store_adopted_epoch(const struct store *store)
{
	return store->adopted_epoch;
}

static int highest_shown(struct store *store, uint64_t *ret_epoch)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_WORKSPACES_HIGHEST);
	int r = sql_next(store, statement);

	if (r < 0)
		return r;
	*ret_epoch = r > 0 ? sql_column_int(statement, 0) : 0;
	if (r > 0)
		sqlite3_reset(statement);
	return 0;
}

int store_adopt(struct store *store)
{
	uint64_t epoch;
	int r;

	r = highest_shown(store, &epoch);
	if (r < 0)
		return r;
	if (epoch < store->epoch)
		epoch = store->epoch;
	epoch++;
	r = setting_set_int(store, "epoch", epoch);
	if (r == 0)
		r = setting_set_int(store, "adopted epoch", epoch);
	if (r == 0)
		r = sql_write(store, sql_statement(store, SQL_WORKSPACES_ADOPT));
	if (r < 0)
		return r;
	store->epoch = epoch;
	store->adopted_epoch = epoch;
	return 0;
}
