/* SPDX-License-Identifier: Apache-2.0 */
/* Lives of VMs at a real manager: admitted, leased, superseded, cloned, revoked, restarted. */
#include "manager_world.h"

#include <sqlite3.h>

static void test_admit_and_renew(void **state)
{
	static struct answer answer;
	uint8_t first[TOKEN_SIZE];
	struct vm vm;
	json_t *row;

	vm_enrol(&vm, "w", "renew");
	vm_post_boot(&vm, &answer);
	vm_take(&vm, &answer, VERDICT_ADMIT, REASON_NONE);
	assert_int_equal(vm.token.cmk_state, CMK_HEALTHY);
	assert_int_equal(vm.token.expiry, EXPIRY_SHRED);
	assert_in_range(vm.token.ttl_ms, 15000, 20000); /* max_staleness, not the lease */
	/* Again: the same bytes. */
	memcpy(first, vm.token_bytes, TOKEN_SIZE);
	vm_post_boot(&vm, &answer);
	assert_int_equal(answer.status, 200);
	assert_memory_equal(answer.body, first, TOKEN_SIZE);
	assert_fleet(&vm, "admitted", "live");
	row = fleet_of(&vm);
	assert_string_equal(json_string_value(json_object_get(
				    json_array_get(json_object_get(row, "volumes"), 0), "name")),
			    "data");
	json_decref(row);
	/* The next is held for the poll interval. */
	new_challenge(&vm);
	vm_post_lease(&vm, &answer);
	vm_take(&vm, &answer, VERDICT_CONTINUE, REASON_NONE);
	assert_in_range(answer.took_ms, 4500, 9000);
	memcpy(first, vm.token_bytes, TOKEN_SIZE);
	vm_post_lease(&vm, &answer);
	assert_memory_equal(answer.body, first, TOKEN_SIZE);
	assert_true(answer.took_ms < 4000);
	/* An older one is ignored. */
	vm.number--;
	vm_post_lease(&vm, &answer);
	assert_int_equal(answer.status, 409);
	assert_fleet(&vm, "admitted", "live");
	vm_done(&vm);
}

static void test_clone(void **state)
{
	static struct answer answer;
	struct parked *parked;
	struct vm vm, clone;

	vm_enrol(&vm, "w", "clone");
	vm_admit(&vm);
	/* Two with one number: the one that is parked, and the one that comes. */
	parked = park(&vm, false);
	clone = vm;
	clone.challenge[0] ^= 1;
	vm_post_lease(&clone, &answer);
	vm_take(&clone, &answer, VERDICT_SHRED, REASON_CLONE);
	parked_wait(parked);
	vm_take(&vm, &parked->answer, VERDICT_SHRED, REASON_CLONE);
	assert_true(parked->answer.took_ms < 4000);
	/* For ever, and in the same bytes. */
	vm.number += 10;
	vm_post_lease(&vm, &answer);
	assert_memory_equal(answer.body, clone.token_bytes, TOKEN_SIZE);
	assert_fleet(&vm, "shredding", "live");
	/* Against a lease that was issued. */
	vm_boot(&vm);
	vm_admit(&vm);
	vm.number--;
	vm_post_lease(&vm, &answer);
	vm_take(&vm, &answer, VERDICT_SHRED, REASON_CLONE);
	free(parked);
	vm_done(&vm);
}

static void test_supersede(void **state)
{
	static struct answer answer;
	struct parked *parked;
	struct vm old, new, other;

	vm_enrol(&old, "w", "supersede");
	vm_admit(&old);
	parked = park(&old, false);
	new = old;
	new.boot_key = NULL;
	vm_boot(&new);
	vm_admit(&new);
	parked_wait(parked);
	vm_take(&old, &parked->answer, VERDICT_SHRED, REASON_SUPERSEDED);
	assert_true(parked->answer.took_ms < 4000);
	assert_fleet(&old, "superseded", "live");
	vm_renew(&new);
	/* The old report again: no way back. */
	vm_post_boot(&old, &answer);
	vm_take(&old, &answer, VERDICT_SHRED, REASON_SUPERSEDED);
	/* A boot id is used once: by this VM ... */
	vm_boot(&old);
	memcpy(old.boot_id, new.boot_id, BOOT_ID_SIZE);
	{
		struct boot_report report;

		assert_int_equal(boot_report_decode(old.report, sizeof(old.report), &report), 0);
		memcpy(report.boot_id, new.boot_id, BOOT_ID_SIZE);
		assert_int_equal(boot_report_sign(old.key, old.boot_key, &report, old.report), 0);
		assert_int_equal(sha256(old.report, sizeof(old.report), old.admission), 0);
		vm_post_boot(&old, &answer);
		assert_int_equal(answer.status, 409);
		/* ... and by no other. */
		vm_enrol(&other, "w", "other");
		strcpy(report.vm, "other");
		assert_int_equal(boot_report_sign(other.key, other.boot_key, &report, other.report),
				 0);
		assert_int_equal(sha256(other.report, sizeof(other.report), other.admission), 0);
		vm_post_boot(&other, &answer);
		assert_int_equal(answer.status, 409);
	}
	free(parked);
	new.key = NULL;
	vm_done(&old);
	vm_done(&new);
	vm_done(&other);
}

static void sign_ending(const struct vm *vm, const struct signing_key *key, enum end_verb verb,
			uint8_t bytes[static ENDING_SIZE])
{
	struct ending ending = {.verb = verb, .bound_ms = 120000, .began_ns = 1};

	memcpy(ending.admission, vm->admission, HASH_SIZE);
	assert_int_equal(ending_sign(key, &ending, bytes), 0);
}

static void assert_ending(const struct vm *vm, const char *verb)
{
	json_t *row = fleet_of(vm);

	assert_string_equal(json_string_value(json_object_get(row, "ending")), verb);
	json_decref(row);
}

/* A note is the boot's own; leases go on after it; the next boot follows, and supersedes nothing. */
static void test_ending(void **state)
{
	static struct answer answer;
	uint8_t bytes[ENDING_SIZE];
	struct signing_key *stranger;
	struct vm vm, next;

	vm_enrol(&vm, "w", "ending");
	vm_admit(&vm);
	assert_ending(&vm, "");
	random_key(&stranger);
	sign_ending(&vm, stranger, END_REBOOT, bytes);
	post("/v1/ending", bytes, sizeof(bytes), &answer);
	assert_int_equal(answer.status, 401);
	/* What counts for a boot report does not count here: it is the VM's, not the boot's. */
	sign_ending(&vm, vm.key, END_REBOOT, bytes);
	post("/v1/ending", bytes, sizeof(bytes), &answer);
	assert_int_equal(answer.status, 401);
	post("/v1/ending", bytes, sizeof(bytes) - 1, &answer);
	assert_int_equal(answer.status, 400);
	next = vm;
	memset(next.admission, 0x5a, HASH_SIZE);
	sign_ending(&next, vm.boot_key, END_REBOOT, bytes);
	post("/v1/ending", bytes, sizeof(bytes), &answer);
	assert_int_equal(answer.status, 409);
	assert_fleet(&vm, "admitted", "live");

	sign_ending(&vm, vm.boot_key, END_REBOOT, bytes);
	post("/v1/ending", bytes, sizeof(bytes), &answer);
	assert_int_equal(answer.status, 200);
	assert_fleet(&vm, "ending", "ending");
	assert_ending(&vm, "reboot");
	post("/v1/ending", bytes, sizeof(bytes), &answer); /* again */
	assert_int_equal(answer.status, 200);
	/* The first counts. */
	sign_ending(&vm, vm.boot_key, END_POWEROFF, bytes);
	post("/v1/ending", bytes, sizeof(bytes), &answer);
	assert_int_equal(answer.status, 200);
	assert_ending(&vm, "reboot");
	vm_renew(&vm);
	assert_fleet(&vm, "ending", "ending");

	next = vm;
	next.boot_key = NULL;
	vm_boot(&next);
	vm_admit(&next);
	assert_fleet(&vm, "ending", "ending");
	vm_post_lease(&vm, &answer);
	vm_take(&vm, &answer, VERDICT_SHRED, REASON_END);
	signing_key_free(stranger);
	next.key = NULL;
	vm_done(&vm);
	vm_done(&next);
}

static void vm_receipt(const struct vm *vm, enum receipt_kind kind, const uint8_t *previous,
		       const char *volume, uint8_t bytes[static RECEIPT_SIZE])
{
	struct receipt receipt = {
		.kind = kind,
		.reason = REASON_REVOKED,
		.start_ns = 1000,
		.keys_gone_ns = 2000,
		.n_segments = 1,
		.segments = {{.fate = SEGMENT_WIPED, .wiped_us = 5}},
	};

	strcpy(receipt.segments[0].volume, volume);
	memcpy(receipt.admission, vm->admission, HASH_SIZE);
	memcpy(receipt.previous, previous, HASH_SIZE);
	assert_int_equal(receipt_sign(vm->boot_key, &receipt, bytes), 0);
}

static void send_receipts(struct vm *vm)
{
	static struct answer answer;
	uint8_t bytes[RECEIPT_SIZE], hash[HASH_SIZE];
	struct signing_key *own = vm->boot_key;

	assert_int_equal(sha256(vm->token_bytes, TOKEN_SIZE, hash), 0);
	random_key(&vm->boot_key);
	vm_receipt(vm, RECEIPT_KEYS, hash, "data", bytes);
	signing_key_free(vm->boot_key);
	vm->boot_key = own;
	post("/v1/receipt", bytes, sizeof(bytes), &answer); /* forged */
	assert_int_equal(answer.status, 401);
	/* One that leaves out a volume of the report is no "keys gone", and not of the chain. */
	vm_receipt(vm, RECEIPT_KEYS, hash, "other", bytes);
	post("/v1/receipt", bytes, sizeof(bytes), &answer);
	assert_int_equal(answer.status, 200);
	assert_fleet(vm, "off", "live");
	vm_receipt(vm, RECEIPT_KEYS, hash, "data", bytes);
	post("/v1/receipt", bytes, sizeof(bytes), &answer);
	assert_int_equal(answer.status, 200);
	assert_int_equal(sha256(bytes, sizeof(bytes), hash), 0);
	vm_receipt(vm, RECEIPT_CLOSING, hash, "data", bytes);
	post("/v1/receipt", bytes, sizeof(bytes), &answer);
	assert_int_equal(answer.status, 200);
	post("/v1/receipt", bytes, sizeof(bytes), &answer); /* again */
	assert_int_equal(answer.status, 200);
}

static void test_revoke(void **state)
{
	static struct answer answer;
	char hex[2 * HASH_SIZE + 1], path[128];
	struct parked *parked;
	struct vm vm, bystander, late;
	uint64_t start;
	json_t *json;

	make_key("revocable", QUICK);
	make_workspace("r", "revocable");
	vm_enrol(&vm, "r", "revoke");
	vm_enrol(&late, "r", "late");
	vm_enrol(&bystander, "w", "bystander");
	vm_admit(&vm);
	vm_admit(&bystander);
	parked = park(&vm, false);
	start = now_ms();
	assert_int_equal(keyfile_set_state(key_dir, "revocable", KEYFILE_DISABLED), 0);
	parked_wait(parked);
	vm_take(&vm, &parked->answer, VERDICT_SHRED, REASON_REVOKED);
	assert_int_equal(vm.token.cmk_state, CMK_REVOKED);
	print_message("revoked → verdict in %d ms\n", (int)(parked->ended_ms - start));
	assert_true(parked->ended_ms - start < 4000);
	/* A boot that comes later; and again when the CMK is back: sticky. */
	vm_post_boot(&late, &answer);
	vm_take(&late, &answer, VERDICT_SHRED, REASON_REVOKED);
	assert_int_equal(keyfile_set_state(key_dir, "revocable", KEYFILE_ENABLED), 0);
	vm_boot(&late);
	vm_post_boot(&late, &answer);
	vm_take(&late, &answer, VERDICT_SHRED, REASON_REVOKED);
	send_receipts(&vm);
	assert_fleet(&vm, "off", "receipt");
	vm_post_lease(&vm, &answer);
	vm_take(&vm, &answer, VERDICT_SHRED, REASON_REVOKED);
	assert_fleet(&vm, "off", "receipt");
	hex_encode(vm.admission, HASH_SIZE, hex);
	snprintf(path, sizeof(path), "/v1/receipts/%s", hex);
	json = admin("operator", "GET", path, NULL, 200);
	assert_int_equal(json_array_size(json_object_get(json, "receipts")), 2);
	json_decref(json);
	/* Others do not notice. */
	vm_renew(&bystander);
	json = admin("operator", "GET", "/v1/keys/revocable", NULL, 200);
	assert_string_equal(json_string_value(json_object_get(json, "state")), "revoked");
	json_decref(json);
	/* Only with a live key is it cleared. */
	assert_int_equal(keyfile_set_state(key_dir, "revocable", KEYFILE_DISABLED), 0);
	key_admin("POST", "/v1/keys/revocable/clear", NULL, 409);
	assert_int_equal(keyfile_set_state(key_dir, "revocable", KEYFILE_ENABLED), 0);
	operate("POST", "/v1/keys/revocable/clear", 403);
	key_admin("POST", "/v1/keys/revocable/clear", NULL, 204);
	vm_boot(&late);
	vm_admit(&late);
	/* What was told to shred stays so. */
	vm_post_lease(&vm, &answer);
	vm_take(&vm, &answer, VERDICT_SHRED, REASON_REVOKED);
	free(parked);
	vm_done(&vm);
	vm_done(&late);
	vm_done(&bystander);
}

static void give_to(unsigned owner)
{
	char command[128];

	snprintf(command, sizeof(command), "chown -R %u:%u %s", owner, owner, top);
	assert_int_equal(system(command), 0);
}

/* Refused access counts when it is refused again after two seconds, not before. */
static void test_revoked_access(void **state)
{
	static struct answer answer;
	struct parked *parked;
	struct vm vm;

	make_key("access", QUICK);
	make_workspace("x", "access");
	vm_enrol(&vm, "x", "access");
	manager_stop();
	give_to(65534);
	as_nobody = true;
	manager_start();
	vm_admit(&vm);
	/* Once, shortly: nothing follows. */
	assert_int_equal(chmod(key_dir, 0), 0);
	pause_ms(1000);
	assert_int_equal(chmod(key_dir, 0700), 0);
	pause_ms(2500);
	vm_renew(&vm);
	parked = park(&vm, false);
	assert_int_equal(chmod(key_dir, 0), 0);
	parked_wait(parked);
	if (parked->answer.status == 200) {
		/* The poll interval was over before the second look. */
		vm_take(&vm, &parked->answer, parked->answer.body[100], parked->answer.body[103]);
		if (vm.token.verdict != VERDICT_SHRED)
			new_challenge(&vm);
	}
	vm_post_lease(&vm, &answer);
	vm_take(&vm, &answer, VERDICT_SHRED, REASON_REVOKED);
	assert_int_equal(chmod(key_dir, 0700), 0);
	/* All keys of this directory were refused; they are live again. */
	key_admin("POST", "/v1/keys/access/clear", NULL, 204);
	key_admin("POST", "/v1/keys/main/clear", NULL, 204);
	manager_stop();
	as_nobody = false;
	give_to(0);
	manager_start();
	free(parked);
	vm_done(&vm);
}

#define MANY 24

/* All that are parked hear of it in one turn. */
static void test_revoke_many(void **state)
{
	struct parked *parked[MANY];
	static char names[MANY][16];
	static struct vm vms[MANY];
	uint64_t start, last = 0;

	/* So slow that nothing but the revocation answers. */
	make_key("many", ",\"poll_ms\":20000,\"lease_ms\":300000,\"max_staleness_ms\":120000,"
			 "\"probe_ms\":500");
	make_workspace("m", "many");
	for (int i = 0; i < MANY; i++) {
		snprintf(names[i], sizeof(names[i]), "v%d", i);
		vm_enrol(&vms[i], "m", names[i]);
		vm_admit(&vms[i]);
	}
	for (int i = 0; i < MANY; i++) {
		parked[i] = calloc(1, sizeof(*parked[i]));
		parked[i]->vm = &vms[i];
		assert_int_equal(pthread_create(&parked[i]->thread, NULL, parked_main, parked[i]),
				 0);
	}
	pause_ms(700);
	start = now_ms();
	assert_int_equal(keyfile_set_state(key_dir, "many", KEYFILE_PENDING_DELETION), 0);
	for (int i = 0; i < MANY; i++) {
		parked_wait(parked[i]);
		vm_take(&vms[i], &parked[i]->answer, VERDICT_SHRED, REASON_REVOKED);
		if (parked[i]->ended_ms > last)
			last = parked[i]->ended_ms;
		free(parked[i]);
		vm_done(&vms[i]);
	}
	print_message("revoked → %d verdicts in %d ms\n", MANY, (int)(last - start));
	assert_true(last - start < 8000);
}

/* The customer takes the key away between a boot's report and its pair. */
static void test_revoked_before_boot(void **state)
{
	static struct answer answer;
	struct vm vm;

	make_key("gone", QUICK);
	make_workspace("g", "gone");
	vm_enrol(&vm, "g", "first");
	assert_int_equal(keyfile_delete(key_dir, "gone"), 0);
	vm_post_boot(&vm, &answer);
	vm_take(&vm, &answer, VERDICT_SHRED, REASON_REVOKED);
	vm_done(&vm);
}

static void test_evidence_ages(void **state)
{
	static struct answer answer;
	char away[96];
	uint64_t start;
	struct vm vm;

	make_key("absent", ",\"poll_ms\":1000,\"lease_ms\":30000,\"margin_ms\":2000,"
			   "\"max_staleness_ms\":10000,\"probe_ms\":500");
	make_workspace("a", "absent");
	vm_enrol(&vm, "a", "stale");
	vm_admit(&vm);
	/* Not reachable is not revoked: leases get shorter, then there are none. */
	snprintf(away, sizeof(away), "%s.away", key_dir);
	assert_int_equal(rename(key_dir, away), 0);
	start = now_ms();
	do {
		vm_post_lease(&vm, &answer);
		if (answer.status != 200)
			break;
		vm_take(&vm, &answer, VERDICT_CONTINUE, REASON_NONE);
		assert_true(now_ms() + vm.token.ttl_ms <= start + 10000 + 1500);
		new_challenge(&vm);
	} while (now_ms() - start < 15000);
	assert_int_equal(answer.status, 503);
	assert_true(answer.retry_after > 0);
	assert_int_equal(vm.token.cmk_state, CMK_UNAVAILABLE);
	assert_int_equal(rename(away, key_dir), 0);
	pause_ms(1500);
	vm_renew(&vm);
	vm_done(&vm);
}

static void test_confirm(void **state)
{
	char hex[2 * HASH_SIZE + 1], path[128];
	struct parked *parked;
	struct vm vm;

	make_key("held", QUICK ",\"confirm_boot\":true");
	make_workspace("h", "held");
	vm_enrol(&vm, "h", "held");
	parked = park(&vm, true);
	parked_wait(parked);
	assert_int_equal(parked->answer.status, 202);
	assert_in_range(parked->answer.took_ms, 4500, 9000);
	assert_fleet(&vm, "held", "not admitted");
	free(parked);
	parked = park(&vm, true);
	hex_encode(vm.admission, HASH_SIZE, hex);
	snprintf(path, sizeof(path), "/v1/boots/%s/confirm", hex);
	operate("POST", path, 204);
	parked_wait(parked);
	vm_take(&vm, &parked->answer, VERDICT_ADMIT, REASON_NONE);
	assert_true(parked->answer.took_ms < 4000);
	operate("POST", path, 409);
	free(parked);
	vm_done(&vm);
}

static void test_drill(void **state)
{
	char hex[2 * HASH_SIZE + 1], path[128];
	struct parked *parked;
	struct vm vm;

	vm_enrol(&vm, "w", "drilled");
	hex_encode(vm.admission, HASH_SIZE, hex);
	snprintf(path, sizeof(path), "/v1/boots/%s/drill", hex);
	operate("POST", path, 404);
	operate("POST", "/v1/boots/7/drill", 400);
	vm_admit(&vm);
	key_admin("POST", path, NULL, 403);
	parked = park(&vm, false);
	operate("POST", path, 204);
	parked_wait(parked);
	vm_take(&vm, &parked->answer, VERDICT_SHRED, REASON_DRILL);
	assert_true(parked->answer.took_ms < 4000);
	free(parked);
	assert_fleet(&vm, "shredding", "live");
	operate("POST", path, 409);
	/* Nothing is revoked. */
	vm_boot(&vm);
	vm_admit(&vm);
	assert_fleet(&vm, "admitted", "live");
	vm_done(&vm);
}

static void test_operator_and_removal(void **state)
{
	static struct answer answer;
	struct parked *parked;
	struct vm vm;

	vm_enrol(&vm, "w", "removed");
	vm_admit(&vm);
	parked = park(&vm, false);
	operate("POST", "/v1/vms/w/removed/shred", 204);
	parked_wait(parked);
	vm_take(&vm, &parked->answer, VERDICT_SHRED, REASON_OPERATOR);
	free(parked);
	vm_boot(&vm);
	vm_admit(&vm);
	parked = park(&vm, false);
	operate("DELETE", "/v1/vms/w/removed", 204);
	parked_wait(parked);
	vm_take(&vm, &parked->answer, VERDICT_SHRED, REASON_REMOVED);
	vm_boot(&vm);
	vm_post_boot(&vm, &answer);
	assert_int_equal(answer.status, 403);
	free(parked);
	vm_done(&vm);
}

static void test_failed_boot(void **state)
{
	static struct answer answer;
	struct vm vm;

	vm_enrol(&vm, "w", "failed");
	strcpy(vm.failure, "volume data: no disk");
	vm_boot(&vm);
	for (int i = 0; i < 2; i++) {
		vm_post_boot(&vm, &answer);
		assert_int_equal(answer.status, 403);
	}
	assert_fleet(&vm, "failed", "not admitted");
	vm_done(&vm);
}

static void test_warn(void **state)
{
	struct vm vm;

	make_key("warn", QUICK ",\"expiry\":\"warn\"");
	make_workspace("n", "warn");
	vm_enrol(&vm, "n", "warn");
	vm_admit(&vm);
	assert_int_equal(vm.token.expiry, EXPIRY_WARN);
	vm_done(&vm);
}

/* What was sent had been committed. */
static void test_killed(void **state)
{
	static struct answer answer;
	struct vm vm;

	vm_enrol(&vm, "w", "killed");
	vm_post_boot(&vm, &answer);
	manager_kill();
	vm_take(&vm, &answer, VERDICT_ADMIT, REASON_NONE);
	manager_start();
	vm_post_boot(&vm, &answer);
	assert_int_equal(answer.status, 200);
	assert_memory_equal(answer.body, vm.token_bytes, TOKEN_SIZE);
	operate("POST", "/v1/vms/w/killed/shred", 204);
	vm_post_boot(&vm, &answer);
	manager_kill();
	vm_take(&vm, &answer, VERDICT_SHRED, REASON_OPERATOR);
	manager_start();
	vm_post_boot(&vm, &answer);
	assert_memory_equal(answer.body, vm.token_bytes, TOKEN_SIZE);
	vm_done(&vm);
}

static void copy_store(const char *from, const char *to)
{
	char command[256];

	snprintf(command, sizeof(command), "cp %s/%s %s/%s && rm -f %s/manager.db-*", state_dir,
		 from, state_dir, to, state_dir);
	assert_int_equal(system(command), 0);
}

static void test_restart_and_rollback(void **state)
{
	static struct answer answer;
	struct sequence before;
	struct vm vm, bystander;

	vm_enrol(&vm, "w", "restart");
	make_key("calm", QUICK);
	make_workspace("c", "calm");
	vm_enrol(&bystander, "c", "calm");
	vm_admit(&vm);
	vm_admit(&bystander);
	/* Restarted: the lease goes on, the epoch rises, a retry still gets its answer. */
	manager_stop();
	copy_store("manager.db", "old.db");
	manager_start();
	before = vm.highest;
	vm_renew(&vm);
	assert_true(vm.highest.epoch > before.epoch);
	/* An older copy is put back: it never issued what the VM shows. */
	manager_stop();
	copy_store("old.db", "manager.db");
	manager_start();
	vm_post_lease(&vm, &answer);
	assert_int_equal(answer.status, 503);
	assert_true(answer.retry_after > 0);
	vm_post_lease(&vm, &answer);
	assert_int_equal(answer.status, 503);
	assert_fleet(&vm, "rolled back", "live");
	/* A workspace that shows nothing of the kind is not held up by another's VM. */
	vm_renew(&bystander);
	key_admin("POST", "/v1/store/adopt", NULL, 204);
	assert_fleet(&vm, "admitted", "live");
	before = vm.highest;
	vm_renew(&vm);
	assert_true(sequence_compare(vm.highest, before) > 0);
	vm_renew(&bystander);
	/* Nobody issued this: no rollback, an invention. */
	vm.highest = (struct sequence){1ull << 60, 1};
	vm_post_lease(&vm, &answer);
	assert_int_equal(answer.status, 400);
	vm_done(&vm);
	vm_done(&bystander);
}

/* By the wall clock the lease in the store is long over, as after that clock was set, or in an older
 * store that was adopted: the CMK is probed all the same for a VM that asks. */
static void test_fence_of_another_clock(void **state)
{
	char path[96];
	sqlite3 *db;
	struct vm vm;

	make_key("clock", QUICK);
	make_workspace("k", "clock");
	vm_enrol(&vm, "k", "clock");
	vm_admit(&vm);
	manager_stop();
	snprintf(path, sizeof(path), "%s/manager.db", state_dir);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "UPDATE boots SET fence_ms = 1", NULL, NULL, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	manager_start();
	pause_ms(1000); /* the prober has looked for current boots, and sleeps */
	vm_renew(&vm);
	vm_done(&vm);
}

static int tests(void)
{
	const struct CMUnitTest list[] = {
		cmocka_unit_test(test_admit_and_renew),
		cmocka_unit_test(test_clone),
		cmocka_unit_test(test_supersede),
		cmocka_unit_test(test_ending),
		cmocka_unit_test(test_revoke),
		cmocka_unit_test(test_revoked_access),
		cmocka_unit_test(test_revoke_many),
		cmocka_unit_test(test_revoked_before_boot),
		cmocka_unit_test(test_evidence_ages),
		cmocka_unit_test(test_confirm),
		cmocka_unit_test(test_drill),
		cmocka_unit_test(test_operator_and_removal),
		cmocka_unit_test(test_failed_boot),
		cmocka_unit_test(test_warn),
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_restart_and_rollback),
		cmocka_unit_test(test_fence_of_another_clock),
	};

	return cmocka_run_group_tests(list, set_up, tear_down);
}

int main(int argc, char **argv)
{
	return world_main(argc, argv, tests);
}
