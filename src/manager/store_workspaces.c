/* SPDX-License-Identifier: Apache-2.0 */
/* Workspaces and their VMs in the store. */
#include <errno.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "manager/store_sql.h"

static uint64_t now_ms(void)
{
	return clock_realtime_s() * 1000;
}

int store_workspace_insert(struct store *store, const char *name, int64_t *ret_id)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_WORKSPACE_INSERT);
	int r;

	if (!statement)
		return -EIO;
	sql_bind_text(statement, 1, name);
	sql_bind_int(statement, 2, now_ms());
	r = sql_write(store, statement);
	if (r < 0)
		return r;
	*ret_id = sqlite3_last_insert_rowid(store->db);
	return 0;
}

static void workspace_from_row(sqlite3_stmt *row, struct store_workspace *workspace)
{
	workspace->id = (int64_t)sql_column_int(row, 0);
	sql_column_text(row, 1, workspace->name, sizeof(workspace->name));
	workspace->key = (int64_t)sql_column_int(row, 2);
	sql_column_text(row, 3, workspace->key_name, sizeof(workspace->key_name));
	workspace->kek_size = sql_column_blob(row, 4, workspace->kek, sizeof(workspace->kek));
	sql_column_blob(row, 5, workspace->kek_check, sizeof(workspace->kek_check));
	workspace->created_ms = sql_column_int(row, 6);
	workspace->rolled_back.epoch = sql_column_int(row, 7);
	workspace->rolled_back.counter = sql_column_int(row, 8);
	workspace->kek_generation = (uint32_t)sql_column_int(row, 9);
}

static int workspace_one(struct store *store, sqlite3_stmt *statement, struct store_workspace *ret)
{
	int r = sql_next(store, statement);

	if (r <= 0)
		return r == 0 ? -ENOENT : r;
	workspace_from_row(statement, ret);
	sqlite3_reset(statement);
	return 0;
}

int store_workspace_get(struct store *store, const char *name, struct store_workspace *ret)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_WORKSPACE_GET);

	if (!statement)
		return -EIO;
	sql_bind_text(statement, 1, name);
	return workspace_one(store, statement, ret);
}

int store_workspace_get_by_id(struct store *store, int64_t id, struct store_workspace *ret)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_WORKSPACE_GET_BY_ID);

	if (!statement)
		return -EIO;
	sql_bind_int(statement, 1, (uint64_t)id);
	return workspace_one(store, statement, ret);
}

int store_workspace_delete(struct store *store, const char *name)
{
	static const enum store_statement steps[] = {
		SQL_WORKSPACE_FORGET_VMS, SQL_WORKSPACE_FORGET_NODES, SQL_WORKSPACE_DELETE};
	int r = 0;

	for (size_t i = 0; i < ELEMENTSOF(steps); i++) {
		sqlite3_stmt *statement = sql_statement(store, steps[i]);

		if (!statement)
			return -EIO;
		sql_bind_text(statement, 1, name);
		r = sql_write(store, statement);
		if (r < 0)
			return r;
	}
	return r == 0 ? -ENOENT : 0;
}

int store_workspace_bind(struct store *store, const struct store_workspace *workspace)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_WORKSPACE_BIND);

	if (!statement)
		return -EIO;
	sql_bind_int(statement, 1, (uint64_t)workspace->id);
	sql_bind_int(statement, 2, (uint64_t)workspace->key);
	sql_bind_blob(statement, 3, workspace->kek, workspace->kek_size);
	sql_bind_blob(statement, 4, workspace->kek_check, HASH_SIZE);
	sql_bind_int(statement, 5, workspace->kek_generation);
	return sql_write_one(store, statement);
}

int store_workspace_set_rolled_back(struct store *store, int64_t id, struct sequence shown)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_WORKSPACE_SET_ROLLED_BACK);

	if (!statement)
		return -EIO;
	sql_bind_int(statement, 1, (uint64_t)id);
	sql_bind_int(statement, 2, shown.epoch);
	sql_bind_int(statement, 3, shown.counter);
	return sql_write_one(store, statement);
}

static int each_workspace(struct store *store, sqlite3_stmt *statement, store_workspace_each each,
			  void *userdata)
{
	struct store_workspace workspace;
	int r;

	while ((r = sql_next(store, statement)) > 0) {
		workspace_from_row(statement, &workspace);
		r = each(&workspace, userdata);
		if (r != 0) {
			sqlite3_reset(statement);
			return r;
		}
	}
	return r;
}

int store_workspaces(struct store *store, store_workspace_each each, void *userdata)
{
	return each_workspace(store, sql_statement(store, SQL_WORKSPACES), each, userdata);
}

int store_workspaces_to_wrap(struct store *store, int64_t key, uint32_t generation, int64_t after,
			     unsigned max, store_workspace_each each, void *userdata)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_WORKSPACES_TO_WRAP);

	if (!statement)
		return -EIO;
	sql_bind_int(statement, 1, (uint64_t)key);
	sql_bind_int(statement, 2, generation);
	sql_bind_int(statement, 3, (uint64_t)after);
	sql_bind_int(statement, 4, max);
	return each_workspace(store, statement, each, userdata);
}

static int vm_write(struct store *store, enum store_statement which, int64_t workspace,
		    const char *name, const uint8_t *public_key)
{
	sqlite3_stmt *statement = sql_statement(store, which);

	if (!statement)
		return -EIO;
	sql_bind_int(statement, 1, (uint64_t)workspace);
	sql_bind_text(statement, 2, name);
	sql_bind_blob(statement, 3, public_key, PUBLIC_KEY_SIZE);
	sql_bind_int(statement, 4, now_ms());
	return sql_write(store, statement);
}

int store_vm_enrol(struct store *store, int64_t workspace, const char *name,
		   const uint8_t public_key[static PUBLIC_KEY_SIZE])
{
	int r = vm_write(store, SQL_VM_RENEW, workspace, name, public_key);

	if (r != 0)
		return r < 0 ? r : 0;
	r = vm_write(store, SQL_VM_INSERT, workspace, name, public_key);
	return r < 0 ? r : 0;
}

static void vm_from_row(sqlite3_stmt *row, struct store_vm *vm)
{
	vm->id = (int64_t)sql_column_int(row, 0);
	vm->workspace = (int64_t)sql_column_int(row, 1);
	sql_column_text(row, 2, vm->workspace_name, sizeof(vm->workspace_name));
	sql_column_text(row, 3, vm->name, sizeof(vm->name));
	sql_column_blob(row, 4, vm->public_key, sizeof(vm->public_key));
	vm->enrolled_ms = sql_column_int(row, 5);
	vm->removed_ms = sql_column_int(row, 6);
}

int store_vm_get(struct store *store, const char *workspace, const char *name,
		 struct store_vm *ret_vm)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_VM_GET);
	int r;

	if (!statement)
		return -EIO;
	sql_bind_text(statement, 1, workspace);
	sql_bind_text(statement, 2, name);
	r = sql_next(store, statement);
	if (r <= 0)
		return r == 0 ? -ENOENT : r;
	vm_from_row(statement, ret_vm);
	sqlite3_reset(statement);
	return 0;
}

int store_vm_remove(struct store *store, int64_t id)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_VM_REMOVE);

	if (!statement)
		return -EIO;
	sql_bind_int(statement, 1, (uint64_t)id);
	sql_bind_int(statement, 2, now_ms());
	return sql_write_one(store, statement);
}

int store_vms(struct store *store, const char *workspace, store_vm_each each, void *userdata)
{
	sqlite3_stmt *statement = sql_statement(store, SQL_VMS);
	struct store_vm vm;
	int r;

	if (!statement)
		return -EIO;
	sql_bind_text(statement, 1, workspace);
	while ((r = sql_next(store, statement)) > 0) {
		vm_from_row(statement, &vm);
		r = each(&vm, userdata);
		if (r != 0) {
			sqlite3_reset(statement);
			return r;
		}
	}
	return r;
}
