/* SPDX-License-Identifier: Apache-2.0 */
/* KEKs of DEKs, and storage nodes, in the store. */
#include <errno.h>

#include "base/clock.h"
#include "manager/store_sql.h"

static uint64_t now_ms(void)
{
	return clock_realtime_s() * 1000;
}

int store_kek_insert(struct store *store, const struct store_kek *kek)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_KEK_INSERT);
	int r;

	if (!statement)
		return -EIO;
	sql_bind_blob(statement, 1, kek->wrapped.id, KEK_ID_SIZE);
	sql_bind_int(statement, 2, (uint64_t)kek->workspace);
	sql_bind_text(statement, 3, kek->wrapped.use);
	sql_bind_int(statement, 4, kek->wrapped.version);
	sql_bind_blob(statement, 5, kek->wrapped.blob, kek->wrapped.size);
	sql_bind_int(statement, 6, kek->created_ms);
	sql_bind_int(statement, 7, kek->generation);
	r = sql_write(store, statement);
	return r < 0 ? r : 0;
}

static void kek_from_row(sqlite3_stmt *row, struct store_kek *kek)
{
	sql_column_blob(row, 0, kek->wrapped.id, KEK_ID_SIZE);
	kek->workspace = (int64_t)sql_column_int(row, 1);
	sql_column_text(row, 2, kek->wrapped.use, sizeof(kek->wrapped.use));
	kek->wrapped.version = (uint32_t)sql_column_int(row, 3);
	kek->wrapped.size = sql_column_blob(row, 4, kek->wrapped.blob, sizeof(kek->wrapped.blob));
	kek->created_ms = sql_column_int(row, 5);
	kek->generation = (uint32_t)sql_column_int(row, 6);
	kek->retired_ms = sql_column_int(row, 7);
}

static int kek_one(struct store *store, sqlite3_stmt *statement, struct store_kek *ret_kek)
{
	int r = sql_next(store, statement);

	if (r <= 0)
		return r == 0 ? -ENOENT : r;
	kek_from_row(statement, ret_kek);
	sqlite3_reset(statement);
	return 0;
}

int store_kek_get(struct store *store, const uint8_t id[static KEK_ID_SIZE],
		  struct store_kek *ret_kek)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_KEK_GET);

	if (!statement)
		return -EIO;
	sql_bind_blob(statement, 1, id, KEK_ID_SIZE);
	return kek_one(store, statement, ret_kek);
}

int store_kek_current(struct store *store, int64_t workspace, const char *use,
		      struct store_kek *ret_kek)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_KEK_CURRENT);

	if (!statement)
		return -EIO;
	sql_bind_int(statement, 1, (uint64_t)workspace);
	sql_bind_text(statement, 2, use);
	return kek_one(store, statement, ret_kek);
}

int store_kek_set_wrapped(struct store *store, const struct kek_wrapped *wrapped,
			  uint32_t generation)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_KEK_SET_WRAPPED);

	if (!statement)
		return -EIO;
	sql_bind_blob(statement, 1, wrapped->id, KEK_ID_SIZE);
	sql_bind_blob(statement, 2, wrapped->blob, wrapped->size);
	sql_bind_int(statement, 3, generation);
	return sql_write_one(store, statement);
}

int store_kek_set_retired(struct store *store, const uint8_t id[static KEK_ID_SIZE],
			  uint64_t retired_ms)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_KEK_SET_RETIRED);

	if (!statement)
		return -EIO;
	sql_bind_blob(statement, 1, id, KEK_ID_SIZE);
	sql_bind_int(statement, 2, retired_ms);
	return sql_write_one(store, statement);
}

static int each_kek(struct store *store, sqlite3_stmt *statement, store_kek_each each,
		    void *userdata)
{
	struct store_kek kek;
	int r;

	while ((r = sql_next(store, statement)) > 0) {
		kek_from_row(statement, &kek);
		r = each(&kek, userdata);
		if (r != 0) {
			sqlite3_reset(statement);
			return r;
		}
	}
	return r;
}

int store_keks(struct store *store, int64_t workspace, store_kek_each each, void *userdata)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_KEKS);

	if (!statement)
		return -EIO;
	sql_bind_int(statement, 1, (uint64_t)workspace);
	return each_kek(store, statement, each, userdata);
}

int store_keks_to_wrap(struct store *store, int64_t key, uint32_t generation,
		       const uint8_t after[static KEK_ID_SIZE], unsigned max, store_kek_each each,
		       void *userdata)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_KEKS_TO_WRAP);

	if (!statement)
		return -EIO;
	sql_bind_int(statement, 1, (uint64_t)key);
	sql_bind_int(statement, 2, generation);
	sql_bind_blob(statement, 3, after, KEK_ID_SIZE);
	sql_bind_int(statement, 4, max);
	return each_kek(store, statement, each, userdata);
}

int store_keks_of_key(struct store *store, int64_t key, store_kek_each each, void *userdata)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_KEKS_OF_KEY);

	if (!statement)
		return -EIO;
	sql_bind_int(statement, 1, (uint64_t)key);
	return each_kek(store, statement, each, userdata);
}

static int node_write(struct store *store, enum store_statement which, int64_t workspace,
		      const char *name, const uint8_t *public_key)
{
	sqlite3_stmt *statement = sql_statement(store, which);

	if (!statement)
		return -EIO;
	sql_bind_int(statement, 1, (uint64_t)workspace);
	sql_bind_text(statement, 2, name);
	sql_bind_blob(statement, 3, public_key, HASH_SIZE);
	sql_bind_int(statement, 4, now_ms());
	return sql_write(store, statement);
}

int store_node_enrol(struct store *store, int64_t workspace, const char *name,
		     const uint8_t public_key[static HASH_SIZE])
{
	int r = node_write(store, SQL_NODE_RENEW, workspace, name, public_key);

	if (r != 0)
		return r < 0 ? r : 0;
	r = node_write(store, SQL_NODE_INSERT, workspace, name, public_key);
	return r < 0 ? r : 0;
}

static void node_from_row(sqlite3_stmt *row, struct store_node *node)
{
	node->id = (int64_t)sql_column_int(row, 0);
	node->workspace = (int64_t)sql_column_int(row, 1);
	sql_column_text(row, 2, node->workspace_name, sizeof(node->workspace_name));
	sql_column_text(row, 3, node->name, sizeof(node->name));
	sql_column_blob(row, 4, node->public_key, sizeof(node->public_key));
	node->enrolled_ms = sql_column_int(row, 5);
	node->removed_ms = sql_column_int(row, 6);
}

static int node_one(struct store *store, sqlite3_stmt *statement, struct store_node *ret_node)
{
	int r = sql_next(store, statement);

	if (r <= 0)
		return r == 0 ? -ENOENT : r;
	node_from_row(statement, ret_node);
	sqlite3_reset(statement);
	return 0;
}

int store_node_get(struct store *store, const char *workspace, const char *name,
		   struct store_node *ret_node)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_NODE_GET);

	if (!statement)
		return -EIO;
	sql_bind_text(statement, 1, workspace);
	sql_bind_text(statement, 2, name);
	return node_one(store, statement, ret_node);
}

int store_node_get_by_key(struct store *store, const uint8_t public_key[static HASH_SIZE],
			  struct store_node *ret_node)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_NODE_GET_BY_KEY);

	if (!statement)
		return -EIO;
	sql_bind_blob(statement, 1, public_key, HASH_SIZE);
	return node_one(store, statement, ret_node);
}

int store_node_remove(struct store *store, int64_t id)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_NODE_REMOVE);

	if (!statement)
		return -EIO;
	sql_bind_int(statement, 1, (uint64_t)id);
	sql_bind_int(statement, 2, now_ms());
	return sql_write_one(store, statement);
}

int store_nodes(struct store *store, store_node_each each, void *userdata)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_NODES);
	struct store_node node;
	int r;

	while ((r = sql_next(store, statement)) > 0) {
		node_from_row(statement, &node);
		r = each(&node, userdata);
		if (r != 0) {
			sqlite3_reset(statement);
			return r;
		}
	}
	return r;
}
