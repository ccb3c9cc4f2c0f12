/* SPDX-License-Identifier: Apache-2.0 */
/* Key configurations in the store. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/parse.h"
#include "manager/json.h"
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
		.uses = KEY_USE_MANAGED_SERVICES | KEY_USE_STORAGE | KEY_USE_CLUSTER_VOLUMES,
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
	for (size_t i = 0; i < ELEMENTSOF(ranges); i++) {
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

/* The settings of a provider, in the store as one JSON object. */
#define SETTINGS(key)                                                                              \
	{                                                                                          \
		{"key_alias", JSON_MEMBER_TEXT, (key)->alias, sizeof((key)->alias), true},         \
			{"credentials", JSON_MEMBER_NAME, (key)->kms.credentials,                  \
			 sizeof((key)->kms.credentials), true},                                    \
			{"role_arn", JSON_MEMBER_TEXT, (key)->kms.role_arn,                        \
			 sizeof((key)->kms.role_arn), true},                                       \
			{"external_id", JSON_MEMBER_TEXT, (key)->kms.external_id,                  \
			 sizeof((key)->kms.external_id), true},                                    \
			{"tenant_id", JSON_MEMBER_NAME, (key)->kms.tenant_id,                      \
			 sizeof((key)->kms.tenant_id), true},                                      \
	}

/* malloc'd; NULL out of memory. */
static char *settings_text(const struct store_key *key)
{
	const struct json_member members[] = SETTINGS((struct store_key *)key);
	json_t *json = json_object();
	char *text;

	for (size_t i = 0; i < ELEMENTSOF(members); i++) {
		const char *value = members[i].to;

		if (*value)
			json_object_set_new(json, members[i].name, json_string(value));
	}
	text = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	return text;
}

static void settings_read(const char *text, struct store_key *key)
{
	const struct json_member members[] = SETTINGS(key);
	char error[256];

	if (json_read_object(text, strlen(text), members, ELEMENTSOF(members), error) < 0)
		log_error("key %s: its settings in the store: %s", key->name, error);
}

void store_credentials_dir(const struct store *store, struct kms_key *kms)
{
	memcpy(kms->credentials_dir, store->credentials_dir, sizeof(kms->credentials_dir));
}

int store_key_insert(struct store *store, struct store_key *key)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_KEY_INSERT);
	_cleanup_free_ char *settings = settings_text(key);
	int r;

	if (!statement || !settings)
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
	sql_bind_text(statement, 14, settings);
	sql_bind_blob(statement, 15, key->kms.proven_by, sizeof(key->kms.proven_by));
	sql_bind_int(statement, 16, key->uses);
	r = sql_write(store, statement);
	if (r < 0)
		return r;
	key->id = sqlite3_last_insert_rowid(store->db);
	return 0;
}

static void key_from_row(struct store *store, sqlite3_stmt *row, struct store_key *key)
{
	char settings[2048];

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
	sql_column_text(row, 16, settings, sizeof(settings));
	settings_read(settings, key);
	sql_column_blob(row, 17, key->kms.proven_by, sizeof(key->kms.proven_by));
	key->generation = (uint32_t)sql_column_int(row, 18);
	key->rotation_ms = sql_column_int(row, 19);
	key->successor = (int64_t)sql_column_int(row, 20);
	key->rotated_ms = sql_column_int(row, 21);
	key->uses = (unsigned)sql_column_int(row, 22);
	store_credentials_dir(store, &key->kms);
}

static int key_one(struct store *store, sqlite3_stmt *statement, struct store_key *ret_key)
{
	int r = sql_next(store, statement);

	if (r <= 0)
		return r == 0 ? -ENOENT : r;
	key_from_row(store, statement, ret_key);
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

	if (!statement)
		return -EIO;
	sql_bind_text(statement, 1, name);
	return sql_write_one(store, statement);
}

int store_key_set_revoked(struct store *store, int64_t id, uint64_t revoked_ms, const char *code)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_KEY_SET_REVOKED);

	if (!statement)
		return -EIO;
	sql_bind_int(statement, 1, (uint64_t)id);
	sql_bind_int(statement, 2, revoked_ms);
	sql_bind_text(statement, 3, code);
	return sql_write_one(store, statement);
}

int store_key_set_proven(struct store *store, int64_t id, const uint8_t by[static 32])
{
	sqlite3_stmt *statement = sql_statement(store, SQL_KEY_SET_PROVEN);

	if (!statement)
		return -EIO;
	sql_bind_int(statement, 1, (uint64_t)id);
	sql_bind_blob(statement, 2, by, 32);
	return sql_write_one(store, statement);
}

int store_key_rotate(struct store *store, int64_t id, int64_t successor, uint64_t now_ms)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_KEY_ROTATE);

	if (!statement)
		return -EIO;
	sql_bind_int(statement, 1, (uint64_t)id);
	sql_bind_int(statement, 2, (uint64_t)successor);
	sql_bind_int(statement, 3, now_ms);
	return sql_write_one(store, statement);
}

int store_key_rotated(struct store *store, int64_t id, uint64_t now_ms)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_KEY_ROTATED);

	if (!statement)
		return -EIO;
	sql_bind_int(statement, 1, (uint64_t)id);
	sql_bind_int(statement, 2, now_ms);
	return sql_write_one(store, statement);
}

int store_key_count_keks(struct store *store, const struct store_key *key,
			 struct store_key_keks *ret_keks)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_KEY_COUNT_KEKS);
	int r;

	if (!statement)
		return -EIO;
	sql_bind_int(statement, 1, (uint64_t)key->id);
	sql_bind_int(statement, 2, key->generation);
	r = sql_next(store, statement);
	if (r <= 0)
		return r == 0 ? -EIO : r;
	*ret_keks = (struct store_key_keks){.n = (unsigned)sql_column_int(statement, 0),
					    .left = (unsigned)sql_column_int(statement, 1)};
	sqlite3_reset(statement);
	return 0;
}

int store_keys(struct store *store, store_key_each each, void *userdata)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_KEYS);
	struct store_key key;
	int r;

	while ((r = sql_next(store, statement)) > 0) {
		key_from_row(store, statement, &key);
		r = each(&key, userdata);
		if (r != 0) {
			sqlite3_reset(statement);
			return r;
		}
	}
	return r;
}
