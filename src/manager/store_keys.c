/* SPDX-License-Identifier: Apache-2.0 */
/* Key configurations in the store. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/parse.h"
#include "manager/store_sql.h"

void store_key_defaults(struct store_key *ret_key)
{
	*ret_key = (struct store_key){
		.poll_ms = 10000,
		.lease_ms = 300000,
		.margin_ms = 60000,
		.max_staleness_ms = 120000,
		.probe_ms = 10000,
		.expiry = EXPIRY_SHRED,
	};
}

/* The client gives a parked request up after 60 s; a lease must leave room for a few polls. */
static const struct {
	const char *name;
	size_t offset;
	uint32_t min, max;
} ranges[] = {
	{"poll_ms", offsetof(struct store_key, poll_ms), 100, 30000},
	{"lease_ms", offsetof(struct store_key, lease_ms), 10000, 86400000},
	{"margin_ms", offsetof(struct store_key, margin_ms), 1000, 43200000},
	{"max_staleness_ms", offsetof(struct store_key, max_staleness_ms), 10000, 86400000},
	{"probe_ms", offsetof(struct store_key, probe_ms), 500, 3600000},
};

int store_key_check(const struct store_key *key, char error[static 256])
{
	const struct kms_provider *provider = kms_provider_find(key->kms.provider);

	if (!name_is_valid(key->name, ID_TEXT_MAX)) {
		snprintf(error, 256, "name: not 1 to %d characters of [A-Za-z0-9._-]", ID_TEXT_MAX);
		return -EINVAL;
	}
	if (!provider) {
		snprintf(error, 256, "provider: none of that name");
		return -EINVAL;
	}
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		uint32_t value;

		memcpy(&value, (const char *)key + ranges[i].offset, sizeof(value));
		if (value < ranges[i].min || value > ranges[i].max) {
			snprintf(error, 256, "%s: not between %u and %u", ranges[i].name,
				 ranges[i].min, ranges[i].max);
			return -EINVAL;
		}
	}
	if (key->expiry != EXPIRY_SHRED && key->expiry != EXPIRY_WARN) {
		snprintf(error, 256, "expiry: not one of shred, warn");
		return -EINVAL;
	}
	if (key->margin_ms >= key->lease_ms) {
		snprintf(error, 256, "margin_ms: not below lease_ms");
		return -EINVAL;
	}
	if (key->poll_ms > key->lease_ms / 3 || key->poll_ms > key->max_staleness_ms / 3) {
		snprintf(error, 256, "poll_ms: above a third of lease_ms or max_staleness_ms");
		return -EINVAL;
	}
	if (key->probe_ms > key->max_staleness_ms / 4) {
		snprintf(error, 256, "probe_ms: above a quarter of max_staleness_ms");
		return -EINVAL;
	}
	return provider->check(&key->kms, error);
}

int store_key_insert(struct store *store, struct store_key *key)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_KEY_INSERT);
	int r;

	if (!statement)
		return -EIO;
	sql_bind_text(statement, 1, key->name);
	sql_bind_text(statement, 2, key->kms.provider);
	sql_bind_text(statement, 3, key->kms.key_id);
	sql_bind_text(statement, 4, key->kms.directory);
	sql_bind_int(statement, 5, key->poll_ms);
	sql_bind_int(statement, 6, key->lease_ms);
	sql_bind_int(statement, 7, key->margin_ms);
	sql_bind_int(statement, 8, key->max_staleness_ms);
	sql_bind_int(statement, 9, key->probe_ms);
	sql_bind_int(statement, 10, key->expiry);
	sql_bind_int(statement, 11, key->confirm_boot);
	sql_bind_int(statement, 12, key->kms.proven);
	sql_bind_int(statement, 13, key->created_ms);
	r = sql_write(store, statement);
	if (r < 0)
		return r;
	key->id = sqlite3_last_insert_rowid(store->db);
	return 0;
}

static void key_from_row(sqlite3_stmt *row, struct store_key *key)
{
	*key = (struct store_key){
		.id = (int64_t)sql_column_int(row, 0),
		.poll_ms = (uint32_t)sql_column_int(row, 5),
		.lease_ms = (uint32_t)sql_column_int(row, 6),
		.margin_ms = (uint32_t)sql_column_int(row, 7),
		.max_staleness_ms = (uint32_t)sql_column_int(row, 8),
		.probe_ms = (uint32_t)sql_column_int(row, 9),
		.expiry = (enum expiry)sql_column_int(row, 10),
		.confirm_boot = sql_column_int(row, 11) != 0,
		.created_ms = sql_column_int(row, 13),
		.revoked_ms = sql_column_int(row, 14),
	};
	key->kms.proven = sql_column_int(row, 12) != 0;
	sql_column_text(row, 1, key->name, sizeof(key->name));
	sql_column_text(row, 2, key->kms.provider, sizeof(key->kms.provider));
	sql_column_text(row, 3, key->kms.key_id, sizeof(key->kms.key_id));
	sql_column_text(row, 4, key->kms.directory, sizeof(key->kms.directory));
	sql_column_text(row, 15, key->revoked_code, sizeof(key->revoked_code));
}

static int key_one(struct store *store, sqlite3_stmt *statement, struct store_key *ret_key)
{
	int r = sql_next(store, statement);

	if (r <= 0)
		return r == 0 ? -ENOENT : r;
	key_from_row(statement, ret_key);
	sqlite3_reset(statement);
	return 0;
}

int store_key_get(struct store *store, const char *name, struct store_key *ret_key)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_KEY_GET);

	if (!statement)
		return -EIO;
	sql_bind_text(statement, 1, name);
	return key_one(store, statement, ret_key);
}

int store_key_get_by_id(struct store *store, int64_t id, struct store_key *ret_key)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_KEY_GET_BY_ID);

	if (!statement)
		return -EIO;
	sql_bind_int(statement, 1, (uint64_t)id);
	return key_one(store, statement, ret_key);
}

int store_key_delete(struct store *store, const char *name)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_KEY_DELETE);
	int r;

	if (!statement)
		return -EIO;
	sql_bind_text(statement, 1, name);
	r = sql_write(store, statement);
	return r == 0 ? -ENOENT : r < 0 ? r : 0;
}

int store_key_set_revoked(struct store *store, int64_t id, uint64_t revoked_ms, const char *code)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_KEY_SET_REVOKED);
	int r;

	if (!statement)
		return -EIO;
	sql_bind_int(statement, 1, (uint64_t)id);
	sql_bind_int(statement, 2, revoked_ms);
	sql_bind_text(statement, 3, code);
	r = sql_write(store, statement);
	return r == 0 ? -ENOENT : r < 0 ? r : 0;
}

int store_key_set_proven(struct store *store, int64_t id)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_KEY_SET_PROVEN);
	int r;

	if (!statement)
		return -EIO;
	sql_bind_int(statement, 1, (uint64_t)id);
	r = sql_write(store, statement);
	return r == 0 ? -ENOENT : r < 0 ? r : 0;
}

int store_keys(struct store *store, store_key_each each, void *userdata)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_KEYS);
	struct store_key key;
	int r;

	while ((r = sql_next(store, statement)) > 0) {
		key_from_row(statement, &key);
		r = each(&key, userdata);
		if (r != 0) {
			sqlite3_reset(statement);
			return r;
		}
	}
	return r;
}
