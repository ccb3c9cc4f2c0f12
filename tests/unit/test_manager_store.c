/* SPDX-License-Identifier: Apache-2.0 */
/* The store: rows go in and come out the same, also after it was closed; transactions; epochs. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manager/store_sql.h"

static char directory[] = "/tmp/emberlock-store-XXXXXX";
static char path[64];

static int make_directory(void **state)
{
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/manager.db", directory);
	return 0;
}

static void remove_files(void)
{
	static const char *const suffixes[] = {"", "-wal", "-shm"};
	char name[128];

	for (size_t i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
		unlink(name);
	}
}

static int remove_directory(void **state)
{
	remove_files();
	return rmdir(directory);
}

static int fresh(void **state)
{
	struct store *store;

	remove_files();
	if (store_open(path, &store) < 0)
		return -1;
	*state = store;
	return 0;
}

static int done(void **state)
{
	store_free(*state);
	return 0;
}

static struct store *reopen(void **state)
{
	struct store *store;

	store_free(*state);
	*state = NULL;
	assert_int_equal(store_open(path, &store), 0);
	*state = store;
	return store;
}

static void make_key(struct store *store, const char *name, struct store_key *key)
{
	store_key_defaults(key);
	strcpy(key->name, name);
	strcpy(key->kms.provider, "file");
	strcpy(key->kms.key_id, "k");
	strcpy(key->kms.directory, "/keys");
	key->expiry = EXPIRY_WARN;
	key->confirm_boot = true;
	key->kms.proven = true;
	key->created_ms = 77;
	assert_int_equal(store_key_insert(store, key), 0);
}

static int64_t make_vm(struct store *store, const char *workspace, const char *vm)
{
	uint8_t public_key[PUBLIC_KEY_SIZE];
	struct store_workspace row;
	struct store_vm vm_row;
	int64_t id;

	memset(public_key, 9, sizeof(public_key));
	if (store_workspace_get(store, workspace, &row) == -ENOENT)
		assert_int_equal(store_workspace_insert(store, workspace, &id), 0);
	assert_int_equal(store_workspace_get(store, workspace, &row), 0);
	assert_int_equal(store_vm_enrol(store, row.id, vm, public_key), 0);
	assert_int_equal(store_vm_get(store, workspace, vm, &vm_row), 0);
	return vm_row.id;
}

static void make_boot(struct store_boot *boot, int64_t workspace, int64_t vm, uint8_t mark)
{
	struct boot_report report = {.n_volumes = 0};

	strcpy(report.workspace, "w");
	strcpy(report.vm, "v");
	strcpy(report.version, "1");
	strcpy(report.kernel, "6.1");
	memset(report.boot_id, mark, BOOT_ID_SIZE);
	*boot = (struct store_boot){.state = BOOT_WAITING, .vm = vm, .workspace = workspace};
	boot->first_ms = mark;
	memset(boot->admission, mark, HASH_SIZE);
	boot_report_encode(&report, boot->report);
}

static void test_mode_and_epoch(void **state)
{
	struct store *store = *state;
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(store_epoch(store), 1);
	store = reopen(state);
	assert_int_equal(store_epoch(store), 2);
	assert_int_equal(store_adopted_epoch(store), 0);
}

/* A file that another boot of this machine has written. */
static void test_machine_boot(void **state)
{
	struct store *store = *state;
	struct store_boot boot, got;
	struct store_vm vm;
	sqlite3 *db;

	make_vm(store, "w", "v");
	assert_int_equal(store_vm_get(store, "w", "v", &vm), 0);
	make_boot(&boot, vm.workspace, vm.id, 5);
	boot.fence_ms = 14;
	boot.fence_boot_ms = 24;
	assert_int_equal(store_boot_insert(store, &boot), 0);
	assert_int_equal(store_commit(store), 0);
	store_free(store);
	*state = NULL;
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db,
				      "UPDATE settings SET value = zeroblob(37) "
				      "WHERE name = 'machine boot'",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_changes(db), 1);
	sqlite3_close(db);
	assert_int_equal(store_open(path, &store), 0);
	*state = store;
	assert_int_equal(store_boot_get(store, boot.admission, &got), 0);
	assert_int_equal(got.fence_boot_ms, 0);
	assert_int_equal(got.fence_ms, 14);
}

static void test_newer_schema(void **state)
{
	struct store *store;
	sqlite3 *db;

	store_free(*state);
	*state = NULL;
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL);
	sqlite3_close(db);
	assert_int_equal(store_open(path, &store), -EPROTONOSUPPORT);
}

static void test_keys(void **state)
{
	struct store *store = *state;
	struct store_key key, got, other;

	make_key(store, "main", &key);
	assert_int_equal(store_key_insert(store, &key), -EEXIST);
	assert_int_equal(store_key_set_revoked(store, key.id, 123, "disabled"), 0);
	assert_int_equal(store_commit(store), 0);
	store = reopen(state);
	assert_int_equal(store_key_get(store, "main", &got), 0);
	assert_int_equal(got.id, key.id);
	assert_string_equal(got.kms.provider, "file");
	assert_string_equal(got.kms.key_id, "k");
	assert_string_equal(got.kms.directory, "/keys");
	assert_true(got.kms.proven && got.confirm_boot);
	assert_int_equal(got.expiry, EXPIRY_WARN);
	assert_int_equal(got.lease_ms, 300000);
	assert_int_equal(got.poll_ms, 10000);
	assert_int_equal(got.margin_ms, 60000);
	assert_int_equal(got.max_staleness_ms, 120000);
	assert_int_equal(got.probe_ms, 10000);
	assert_int_equal(got.created_ms, 77);
	assert_int_equal(got.revoked_ms, 123);
	assert_string_equal(got.revoked_code, "disabled");
	assert_int_equal(store_key_get(store, "mai", &other), -ENOENT);
	assert_int_equal(store_key_delete(store, "main"), 0);
	assert_int_equal(store_key_delete(store, "main"), -ENOENT);
	/* A row id is never used again: what names the old key must not find a new one. */
	make_key(store, "next", &other);
	assert_true(other.id > key.id);
}

static void test_key_check(void **state)
{
	struct store_key good, key;
	char error[256];

	store_key_defaults(&good);
	strcpy(good.name, "main");
	strcpy(good.kms.provider, "file");
	strcpy(good.kms.key_id, "k");
	strcpy(good.kms.directory, "/keys");
	assert_int_equal(store_key_check(&good, error), 0);
#define REFUSED(change, word)                                                                      \
	do {                                                                                       \
		key = good;                                                                        \
		change;                                                                            \
		assert_int_equal(store_key_check(&key, error), -EINVAL);                           \
		assert_non_null(strstr(error, word));                                              \
	} while (0)
	REFUSED(strcpy(key.name, "a/b"), "name");
	REFUSED(strcpy(key.kms.provider, "none"), "provider");
	REFUSED(strcpy(key.kms.key_id, "../k"), "key_id");
	REFUSED(strcpy(key.kms.directory, "keys"), "directory");
	REFUSED(key.poll_ms = 0, "poll_ms");
	REFUSED(key.poll_ms = 30001, "poll_ms");
	REFUSED(key.lease_ms = 9999, "lease_ms");
	REFUSED(key.margin_ms = 300000, "margin_ms");
	REFUSED(key.max_staleness_ms = 20000, "poll_ms");
	REFUSED(key.probe_ms = 30001, "probe_ms");
	REFUSED(key.expiry = EXPIRY__MAX, "expiry");
#undef REFUSED
}

static void test_workspaces(void **state)
{
	const uint8_t kek[3] = {1, 2, 3};
	struct store_workspace got, bound = {.kek = {1, 2, 3}, .kek_size = 3, .kek_generation = 6};
	struct store *store = *state;
	struct store_key key;
	int64_t id;

	memset(bound.kek_check, 4, sizeof(bound.kek_check));
	make_key(store, "main", &key);
	assert_int_equal(store_workspace_insert(store, "w", &id), 0);
	assert_int_equal(store_workspace_insert(store, "w", &id), -EEXIST);
	assert_int_equal(store_workspace_get(store, "w", &got), 0);
	assert_int_equal(got.key, 0);
	assert_string_equal(got.key_name, "");
	bound.id = got.id;
	bound.key = key.id;
	assert_int_equal(store_workspace_bind(store, &bound), 0);
	assert_int_equal(store_workspace_set_rolled_back(store, got.id, (struct sequence){9, 8}),
			 0);
	assert_int_equal(store_commit(store), 0);
	store = reopen(state);
	assert_int_equal(store_workspace_get(store, "w", &got), 0);
	assert_int_equal(got.key, key.id);
	assert_string_equal(got.key_name, "main");
	assert_int_equal(got.kek_size, 3);
	assert_memory_equal(got.kek, kek, 3);
	assert_memory_equal(got.kek_check, bound.kek_check, HASH_SIZE);
	assert_int_equal(got.kek_generation, 6);
	assert_int_equal(got.rolled_back.epoch, 9);
	assert_int_equal(got.rolled_back.counter, 8);
	assert_int_equal(store_key_delete(store, "main"), -EBUSY);
	assert_int_equal(store_workspace_delete(store, "w"), 0);
	assert_int_equal(store_key_delete(store, "main"), 0);
}

static void test_adopt(void **state)
{
	struct store *store = *state;
	struct store_workspace got;
	int64_t id;

	assert_int_equal(store_workspace_insert(store, "w", &id), 0);
	assert_int_equal(store_workspace_set_rolled_back(store, id, (struct sequence){40, 8}), 0);
	assert_int_equal(store_adopt(store), 0);
	assert_int_equal(store_epoch(store), 41);
	assert_int_equal(store_adopted_epoch(store), 41);
	assert_int_equal(store_workspace_get(store, "w", &got), 0);
	assert_int_equal(got.rolled_back.epoch, 0);
	/* Undone with its transaction. */
	store_rollback(store);
	assert_int_equal(store_epoch(store), 1);
	assert_int_equal(store_adopt(store), 0);
	assert_int_equal(store_commit(store), 0);
	assert_int_equal(store_epoch(store), 2);
	store = reopen(state);
	assert_int_equal(store_epoch(store), 3);
	assert_int_equal(store_adopted_epoch(store), 2);
}

static void test_vms(void **state)
{
	uint8_t other[PUBLIC_KEY_SIZE] = {1};
	struct store *store = *state;
	struct store_vm vm;
	int64_t id = make_vm(store, "w", "v");

	assert_int_equal(store_vm_get(store, "w", "v", &vm), 0);
	assert_int_equal(vm.removed_ms, 0);
	assert_int_equal(store_vm_enrol(store, vm.workspace, "v", other), -EEXIST);
	assert_int_equal(store_workspace_delete(store, "w"), -EBUSY);
	assert_int_equal(store_vm_remove(store, id), 0);
	assert_int_equal(store_vm_remove(store, id), -ENOENT);
	assert_int_equal(store_vm_get(store, "w", "v", &vm), 0);
	assert_true(vm.removed_ms > 0);
	/* Enrolled anew: the same row, another key. */
	assert_int_equal(store_vm_enrol(store, vm.workspace, "v", other), 0);
	assert_int_equal(store_vm_get(store, "w", "v", &vm), 0);
	assert_int_equal(vm.id, id);
	assert_memory_equal(vm.public_key, other, PUBLIC_KEY_SIZE);
	assert_int_equal(store_vm_get(store, "x", "v", &vm), -ENOENT);
	/* A removed VM that never booted does not keep its workspace. */
	assert_int_equal(store_vm_remove(store, id), 0);
	assert_int_equal(store_workspace_delete(store, "w"), 0);
}

static struct store_kek make_kek(int64_t workspace, const char *use, uint32_t version, uint8_t mark)
{
	struct store_kek kek = {.workspace = workspace, .created_ms = mark, .generation = mark};

	memset(kek.wrapped.id, mark, KEK_ID_SIZE);
	kek.wrapped.version = version;
	strcpy(kek.wrapped.use, use);
	memset(kek.wrapped.blob, mark, mark);
	kek.wrapped.size = mark;
	return kek;
}

static void assert_kek(const struct store_kek *got, const struct store_kek *expected)
{
	assert_int_equal(got->workspace, expected->workspace);
	assert_int_equal(got->created_ms, expected->created_ms);
	assert_int_equal(got->generation, expected->generation);
	assert_memory_equal(got->wrapped.id, expected->wrapped.id, KEK_ID_SIZE);
	assert_int_equal(got->wrapped.version, expected->wrapped.version);
	assert_string_equal(got->wrapped.use, expected->wrapped.use);
	assert_int_equal(got->wrapped.size, expected->wrapped.size);
	assert_memory_equal(got->wrapped.blob, expected->wrapped.blob, KEK_WRAPPED_MAX);
}

static int append_id(const struct store_kek *kek, void *userdata)
{
	char *text = userdata;

	text[strlen(text)] = (char)kek->wrapped.id[0];
	return 0;
}

static void test_keks(void **state)
{
	struct store *store = *state;
	struct store_kek kek, got;
	char ids[8] = "";
	int64_t w, v;

	assert_int_equal(store_workspace_insert(store, "w", &w), 0);
	assert_int_equal(store_workspace_insert(store, "v", &v), 0);
	assert_int_equal(store_kek_current(store, w, "data", &got), -ENOENT);
	kek = make_kek(w, "data", 2, 'b');
	assert_int_equal(store_kek_insert(store, &kek), 0);
	assert_int_equal(store_kek_insert(store, &kek), -EEXIST);
	kek = make_kek(w, "data", 1, 'a');
	assert_int_equal(store_kek_insert(store, &kek), 0);
	kek = make_kek(w, "wal", 7, 'c');
	assert_int_equal(store_kek_insert(store, &kek), 0);
	kek = make_kek(v, "data", 9, 'd');
	assert_int_equal(store_kek_insert(store, &kek), 0);
	kek = make_kek(77, "data", 1, 'e');
	assert_int_equal(store_kek_insert(store, &kek), -EBUSY); /* no such workspace */
	assert_int_equal(store_commit(store), 0);
	store = reopen(state);
	kek = make_kek(w, "data", 2, 'b');
	assert_int_equal(store_kek_current(store, w, "data", &got), 0);
	assert_kek(&got, &kek);
	memset(kek.wrapped.blob, 'x', kek.wrapped.size = 200);
	kek.generation = 12;
	assert_int_equal(store_kek_set_wrapped(store, &kek.wrapped, 12), 0);
	assert_int_equal(store_kek_get(store, kek.wrapped.id, &got), 0);
	assert_kek(&got, &kek);
	kek.wrapped.id[0] = 'z';
	assert_int_equal(store_kek_get(store, kek.wrapped.id, &got), -ENOENT);
	assert_int_equal(store_kek_set_wrapped(store, &kek.wrapped, 0), -ENOENT);
	assert_int_equal(store_keks(store, w, append_id, ids), 0);
	assert_string_equal(ids, "abc");
	assert_int_equal(store_workspace_delete(store, "v"), -EBUSY);
}

static int append_name(const struct store_workspace *workspace, void *userdata)
{
	char *text = userdata;

	text[strlen(text)] = workspace->name[0];
	return 0;
}

/* What is left of KEY's rotation after WORKSPACE and KEK, at most two at once. */
static void assert_left(struct store *store, const struct store_key *key, int64_t workspace,
			uint8_t kek, const char *names, const char *ids)
{
	uint8_t after[KEK_ID_SIZE];
	char got[8] = "";

	assert_int_equal(store_workspaces_to_wrap(store, key->id, key->generation, workspace, 2,
						  append_name, got),
			 0);
	assert_string_equal(got, names);
	memset(got, 0, sizeof(got));
	memset(after, kek, sizeof(after));
	assert_int_equal(
		store_keks_to_wrap(store, key->id, key->generation, after, 2, append_id, got), 0);
	assert_string_equal(got, ids);
}

static void assert_counts(struct store *store, const struct store_key *key, unsigned n,
			  unsigned left)
{
	struct store_key_keks keks;

	assert_int_equal(store_key_count_keks(store, key, &keks), 0);
	assert_int_equal(keks.n, n);
	assert_int_equal(keks.left, left);
}

/* Two workspaces of three KEKs under "main", one of one under "other". */
static void make_rotating(struct store *store, struct store_key *key, struct store_key *other,
			  int64_t ids[static 3])
{
	static const char *const names[] = {"a", "b", "c"};
	struct store_workspace bound = {.kek = {1}, .kek_size = 1};
	struct store_kek kek;

	make_key(store, "main", key);
	make_key(store, "other", other);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(store_workspace_insert(store, names[i], &ids[i]), 0);
		bound.id = ids[i];
		bound.key = i < 2 ? key->id : other->id;
		assert_int_equal(store_workspace_bind(store, &bound), 0);
	}
	for (uint8_t mark = 'A'; mark <= 'D'; mark++) {
		kek = make_kek(ids[mark == 'A' ? 0 : mark == 'D' ? 2 : 1], "data", mark, mark);
		kek.generation = 0;
		assert_int_equal(store_kek_insert(store, &kek), 0);
	}
}

static void test_rotation(void **state)
{
	struct store *store = *state;
	struct store_workspace workspace;
	struct store_key key, other;
	struct store_kek kek;
	int64_t ids[3];
	char all[8] = "";

	make_rotating(store, &key, &other, ids);
	assert_left(store, &key, 0, 0, "", "");
	assert_counts(store, &key, 5, 0);
	assert_int_equal(store_key_rotate(store, key.id, 0, 77), 0);
	assert_int_equal(store_key_rotate(store, 99, 0, 77), -ENOENT);
	assert_int_equal(store_commit(store), 0);
	/* It is there after a restart, with what is left of it. */
	store = reopen(state);
	assert_int_equal(store_key_get(store, "main", &key), 0);
	assert_int_equal(key.generation, 1);
	assert_int_equal(key.rotation_ms, 77);
	assert_int_equal(key.successor, 0);
	assert_counts(store, &key, 5, 5);
	assert_left(store, &key, 0, 0, "ab", "AB");
	assert_left(store, &key, ids[0], 'B', "b", "C");
	assert_int_equal(store_kek_get(store, (const uint8_t *)"BBBBBBBBBBBBBBBB", &kek), 0);
	assert_int_equal(store_kek_set_wrapped(store, &kek.wrapped, 1), 0);
	assert_int_equal(store_workspace_get_by_id(store, ids[0], &workspace), 0);
	workspace.kek_generation = 1;
	assert_int_equal(store_workspace_bind(store, &workspace), 0);
	assert_counts(store, &key, 5, 3);
	assert_left(store, &key, 0, 0, "b", "AC");
	assert_int_equal(store_keks_of_key(store, key.id, append_id, all), 0);
	assert_int_equal(strlen(all), 3);
	/* To another key: the generation stays. In its place, one of the key itself. */
	assert_int_equal(store_key_rotate(store, key.id, other.id, 78), 0);
	assert_int_equal(store_key_get(store, "main", &key), 0);
	assert_int_equal(key.generation, 1);
	assert_int_equal(key.successor, other.id);
	assert_int_equal(store_key_rotate(store, key.id, 0, 79), 0);
	assert_int_equal(store_key_rotated(store, key.id, 80), 0);
	assert_int_equal(store_key_get(store, "main", &key), 0);
	assert_int_equal(key.generation, 2);
	assert_int_equal(key.successor, 0);
	assert_int_equal(key.rotation_ms, 0);
	assert_int_equal(key.rotated_ms, 80);
	/* Nobody deletes where a rotation goes. */
	make_key(store, "goal", &other);
	assert_int_equal(store_key_rotate(store, key.id, other.id, 81), 0);
	assert_int_equal(store_key_delete(store, "goal"), -EBUSY);
}

static int append_node(const struct store_node *node, void *userdata)
{
	char *text = userdata;

	text[strlen(text)] = node->name[0];
	return 0;
}

static void test_nodes(void **state)
{
	struct store *store = *state;
	uint8_t key[HASH_SIZE], other[HASH_SIZE];
	struct store_node node;
	char names[8] = "";
	int64_t w, v;

	memset(key, 1, sizeof(key));
	memset(other, 2, sizeof(other));
	assert_int_equal(store_workspace_insert(store, "w", &w), 0);
	assert_int_equal(store_workspace_insert(store, "v", &v), 0);
	assert_int_equal(store_node_enrol(store, w, "n", key), 0);
	assert_int_equal(store_node_enrol(store, w, "n", other), -EEXIST);
	assert_int_equal(store_node_enrol(store, v, "m", key), -EEXIST);
	assert_int_equal(store_node_enrol(store, 77, "m", other), -EBUSY);
	assert_int_equal(store_node_get_by_key(store, key, &node), 0);
	assert_string_equal(node.workspace_name, "w");
	assert_string_equal(node.name, "n");
	assert_int_equal(node.workspace, w);
	assert_int_equal(node.removed_ms, 0);
	assert_int_equal(store_node_get_by_key(store, other, &node), -ENOENT);
	assert_int_equal(store_workspace_delete(store, "w"), -EBUSY);
	assert_int_equal(store_node_enrol(store, v, "o", other), 0);
	assert_int_equal(store_nodes(store, append_node, names), 0);
	assert_string_equal(names, "on"); /* by workspace */
	assert_int_equal(store_node_get(store, "w", "n", &node), 0);
	assert_int_equal(store_node_remove(store, node.id), 0);
	assert_int_equal(store_node_remove(store, node.id), -ENOENT);
	assert_int_equal(store_node_get_by_key(store, key, &node), 0);
	assert_true(node.removed_ms > 0);
	/* A key that was a node's does not become another's. */
	assert_int_equal(store_node_enrol(store, v, "m", key), -EEXIST);
	memset(other, 3, sizeof(other));
	assert_int_equal(store_node_enrol(store, w, "n", other), 0);
	assert_int_equal(store_node_get(store, "w", "n", &node), 0);
	assert_memory_equal(node.public_key, other, sizeof(other));
	assert_int_equal(node.removed_ms, 0);
	assert_int_equal(store_node_remove(store, node.id), 0);
	assert_int_equal(store_workspace_delete(store, "w"), 0);
	assert_int_equal(store_node_get(store, "w", "n", &node), -ENOENT);
}

static void test_boots(void **state)
{
	struct store *store = *state;
	struct store_boot boot, got;
	struct store_vm vm;

	make_vm(store, "w", "v");
	assert_int_equal(store_vm_get(store, "w", "v", &vm), 0);
	make_boot(&boot, vm.workspace, vm.id, 5);
	assert_int_equal(store_boot_insert(store, &boot), 0);
	assert_int_equal(store_boot_insert(store, &boot), -EEXIST);
	boot.state = BOOT_LIVE;
	boot.reason = REASON_CLONE;
	boot.confirmed = boot.paired = boot.was_admitted = boot.unbounded = boot.keys_gone = true;
	boot.last_ms = 11;
	boot.granted_ms = 12;
	boot.lease_ms = 13;
	boot.fence_ms = 14;
	boot.fence_boot_ms = 24;
	boot.number = 15;
	memset(boot.challenge, 16, CHALLENGE_SIZE);
	boot.issued = (struct sequence){17, 18};
	boot.self_test_passed = 19;
	boot.self_test_failed = 20;
	boot.pauses = 21;
	memset(boot.token, 22, TOKEN_SIZE);
	memset(boot.shred_token, 23, TOKEN_SIZE);
	assert_int_equal(store_boot_update(store, &boot), 0);
	assert_int_equal(store_commit(store), 0);
	store = reopen(state);
	assert_int_equal(store_boot_get(store, boot.admission, &got), 0);
	assert_string_equal(got.vm_name, "v");
	assert_string_equal(got.workspace_name, "w");
	memcpy(boot.vm_name, got.vm_name, sizeof(boot.vm_name));
	memcpy(boot.workspace_name, got.workspace_name, sizeof(boot.workspace_name));
	/* All of it, padding apart. */
	assert_int_equal(got.state, boot.state);
	assert_int_equal(got.reason, boot.reason);
	assert_true(got.confirmed && got.paired && got.was_admitted && got.unbounded &&
		    got.keys_gone);
	assert_int_equal(got.first_ms, 5);
	assert_int_equal(got.last_ms, 11);
	assert_int_equal(got.granted_ms, 12);
	assert_int_equal(got.lease_ms, 13);
	assert_int_equal(got.fence_ms, 14);
	assert_int_equal(got.fence_boot_ms, 24);
	assert_int_equal(got.number, 15);
	assert_memory_equal(got.challenge, boot.challenge, CHALLENGE_SIZE);
	assert_int_equal(got.issued.epoch, 17);
	assert_int_equal(got.issued.counter, 18);
	assert_int_equal(got.self_test_passed, 19);
	assert_int_equal(got.self_test_failed, 20);
	assert_int_equal(got.pauses, 21);
	assert_memory_equal(got.token, boot.token, TOKEN_SIZE);
	assert_memory_equal(got.admit_token, boot.admit_token, TOKEN_SIZE);
	assert_memory_equal(got.shred_token, boot.shred_token, TOKEN_SIZE);
	assert_memory_equal(got.report, boot.report, BOOT_REPORT_SIZE);
	/* The boot id is used once, for ever. */
	memset(boot.admission, 99, HASH_SIZE);
	assert_int_equal(store_boot_insert(store, &boot), -EEXIST);
	assert_int_equal(store_boot_get_by_boot_id(store,
						   (const uint8_t[16]){5, 5, 5, 5, 5, 5, 5, 5, 5, 5,
								       5, 5, 5, 5, 5, 5},
						   &got),
			 0);
	/* A workspace with records stays. */
	assert_int_equal(store_vm_remove(store, vm.id), 0);
	assert_int_equal(store_workspace_delete(store, "w"), -EBUSY);
}

static void test_ends(void **state)
{
	static const enum boot_state before[] = {BOOT_WAITING, BOOT_HELD,   BOOT_REFUSED,
						 BOOT_LIVE,    BOOT_ENDING, BOOT_OFF};
	static const bool ends[] = {true, true, false, true, false, false};
	struct store *store = *state;
	struct store_boot boot, got;
	struct store_vm vm;

	make_vm(store, "w", "v");
	assert_int_equal(store_vm_get(store, "w", "v", &vm), 0);
	for (uint8_t i = 0; i < 6; i++) {
		make_boot(&boot, vm.workspace, vm.id, (uint8_t)(i + 1));
		boot.state = before[i];
		boot.fence_ms = 1000;
		assert_int_equal(store_boot_insert(store, &boot), 0);
	}
	assert_int_equal(store_boots_current(store, vm.workspace, 1000), 3);
	/* The fence of the live one has passed; the waiting ones are a day old. */
	assert_int_equal(store_boots_current(store, vm.workspace, 1001), 2);
	assert_int_equal(store_boots_current(store, vm.workspace, 86500000), 0);
	memset(boot.admission, 4, HASH_SIZE);
	assert_int_equal(store_boots_end_of_vm(store, vm.id, boot.admission, REASON_SUPERSEDED), 2);
	for (uint8_t i = 0; i < 6; i++) {
		memset(boot.admission, i + 1, HASH_SIZE);
		assert_int_equal(store_boot_get(store, boot.admission, &got), 0);
		if (ends[i] && i != 3) {
			assert_int_equal(got.state, BOOT_ENDING);
			assert_int_equal(got.reason, REASON_SUPERSEDED);
		} else {
			assert_int_equal(got.state, before[i]);
			assert_int_equal(got.reason, REASON_NONE);
		}
	}
	assert_int_equal(store_boots_end_of_vm(store, vm.id, NULL, REASON_OPERATOR), 1);
	assert_int_equal(store_boots_current(store, vm.workspace, 1000), 0);
}

static void test_receipts(void **state)
{
	struct store_receipt receipt = {.kind = RECEIPT_KEYS, .received_ms = 5};
	struct store *store = *state;
	struct store_boot boot;
	struct store_vm vm;

	make_vm(store, "w", "v");
	assert_int_equal(store_vm_get(store, "w", "v", &vm), 0);
	make_boot(&boot, vm.workspace, vm.id, 5);
	assert_int_equal(store_boot_insert(store, &boot), 0);
	memcpy(receipt.admission, boot.admission, HASH_SIZE);
	for (uint8_t i = 0; i < RECEIPTS_PER_BOOT; i++) {
		receipt.bytes[0] = i;
		assert_int_equal(store_receipt_insert(store, &receipt), 1);
		assert_int_equal(store_receipt_insert(store, &receipt), 0);
	}
	receipt.bytes[0] = 77;
	assert_int_equal(store_receipt_insert(store, &receipt), -ENOSPC);
	receipt.bytes[0] = 1;
	assert_int_equal(store_receipt_insert(store, &receipt), 0);
}

static int count_key(const struct store_key *key, void *userdata)
{
	++*(int *)userdata;
	return 0;
}

static void test_transactions(void **state)
{
	struct store *store = *state;
	struct store_key key;
	int n = 0;

	assert_false(store_is_dirty(store));
	make_key(store, "one", &key);
	assert_true(store_is_dirty(store));
	assert_int_equal(store_savepoint(store), 0);
	make_key(store, "two", &key);
	assert_int_equal(store_settle(store, -EINVAL), -EINVAL);
	assert_int_equal(store_savepoint(store), 0);
	make_key(store, "three", &key);
	assert_int_equal(store_settle(store, 3), 3);
	assert_int_equal(store_commit(store), 0);
	assert_false(store_is_dirty(store));
	make_key(store, "four", &key);
	store = reopen(state); /* without a commit */
	assert_int_equal(store_keys(store, count_key, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(store_key_get(store, "one", &key), 0);
	assert_int_equal(store_key_get(store, "three", &key), 0);
}

static int refuse_commit(void *userdata)
{
	return 1;
}

/* What a failed commit undid is undone in memory too, and nobody is told otherwise. */
static void test_failed_commits(void **state)
{
	struct store *store = *state;
	uint64_t epoch = store_epoch(store);
	struct store_key key;

	sqlite3_commit_hook(store->db, refuse_commit, NULL);
	assert_int_equal(store_adopt(store), 0);
	assert_int_equal(store_adopted_epoch(store), epoch + 1);
	assert_int_equal(store_commit(store), -EIO);
	assert_int_equal(store_epoch(store), epoch);
	assert_int_equal(store_adopted_epoch(store), 0);
	/* Lost early: the end of the turn says so as well, once. */
	make_key(store, "one", &key);
	assert_int_equal(store_commit_early(store), -EIO);
	sqlite3_commit_hook(store->db, NULL, NULL);
	assert_int_equal(store_commit(store), -EIO);
	assert_int_equal(store_commit(store), 0);
	assert_int_equal(store_key_get(store, "one", &key), -ENOENT);
	make_key(store, "one", &key);
	assert_int_equal(store_commit_early(store), 0);
	assert_int_equal(store_commit(store), 0);
	assert_int_equal(store_key_get(store, "one", &key), 0);
}

static void test_signing_keys(void **state)
{
	const struct signing_keys keys = {.epoch = 1, .n_keys = 1, .keys = {{7}}};
	uint8_t set[SIGNING_KEYS_SIZE], root[PUBLIC_KEY_SIZE], got[SIGNING_KEYS_SIZE];
	struct store *store = *state;

	assert_int_equal(store_signing_keys_get(store, got), -ENOENT);
	assert_int_equal(store_root_public_get(store, got), -ENOENT);
	signing_keys_encode(&keys, set);
	memset(root, 4, sizeof(root));
	assert_int_equal(store_signing_keys_set(store, set), 0);
	assert_int_equal(store_root_public_set(store, root), 0);
	assert_int_equal(store_commit(store), 0);
	store = reopen(state);
	assert_int_equal(store_signing_keys_get(store, got), 0);
	assert_memory_equal(got, set, sizeof(set));
	assert_int_equal(store_root_public_get(store, got), 0);
	assert_memory_equal(got, root, sizeof(root));
}

int main(void)
{
#define STORE_TEST(f) cmocka_unit_test_setup_teardown(f, fresh, done)
	const struct CMUnitTest tests[] = {
		STORE_TEST(test_mode_and_epoch),
		STORE_TEST(test_newer_schema),
		STORE_TEST(test_rotation),
		STORE_TEST(test_machine_boot),
		STORE_TEST(test_keys),
		cmocka_unit_test(test_key_check),
		STORE_TEST(test_workspaces),
		STORE_TEST(test_keks),
		STORE_TEST(test_nodes),
		STORE_TEST(test_adopt),
		STORE_TEST(test_vms),
		STORE_TEST(test_boots),
		STORE_TEST(test_ends),
		STORE_TEST(test_receipts),
		STORE_TEST(test_transactions),
		STORE_TEST(test_failed_commits),
		STORE_TEST(test_signing_keys),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
