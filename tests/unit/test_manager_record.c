/* SPDX-License-Identifier: Apache-2.0 */
/* What a real manager puts on record of the lives of VMs and of its administrators, and that it is
 * on record with what it records, whenever the manager is killed. */
#include "manager_world.h"

#include <sqlite3.h>

#include "base/cleanup.h"
#include "manager/audit.h"
#include "manager/audit_verify.h"

/* --- the log, read as an auditor would, and verified each time --- */

static char log_text[4 << 20];
static size_t log_size;

static void fetch(const char *query)
{
	static struct answer answer;
	char text[256];
	CURL *curl;

	snprintf(text, sizeof(text), "/v1/audit%s", query);
	curl = handle_for(admin_url, text, &answer);
	snprintf(text, sizeof(text), "%s/identities/operator/cert.pem", state_dir);
	curl_easy_setopt(curl, CURLOPT_SSLCERT, text);
	snprintf(text, sizeof(text), "%s/identities/operator/key.pem", state_dir);
	curl_easy_setopt(curl, CURLOPT_SSLKEY, text);
	perform(curl, &answer);
	assert_int_equal(answer.status, 200);
	assert_true(answer.size < sizeof(answer.body));
	assert_true(log_size + answer.size < sizeof(log_text));
	memcpy(log_text + log_size, answer.body, answer.size);
	log_size += answer.size;
}

static uint64_t verify_log(void)
{
	_cleanup_(audit_verifier_done) struct audit_verifier verifier = {0};
	char error[256] = "";

	if (audit_verifier_text(&verifier, log_text, log_size, error) < 0 ||
	    audit_verifier_end(&verifier, error) < 0)
		print_error("%s\n", error);
	assert_string_equal(error, "");
	return verifier.head.number;
}

static void read_log(const char *workspace)
{
	char query[128] = "";

	if (workspace)
		snprintf(query, sizeof(query), "?workspace=%s", workspace);
	log_size = 0;
	fetch(query);
	verify_log();
}

static bool has(const json_t *content, const char *name, const char *value)
{
	const json_t *member = json_object_get(content, name);

	return json_is_string(member) && strcmp(json_string_value(member), value) == 0;
}

/* The newest record that is not withheld, with EVENT, and NAME=VALUE where those are given; the
 * caller's. NULL: there is none. */
static json_t *find(const char *event, const char *name, const char *value)
{
	const char *at = log_text, *end;
	json_t *found = NULL;

	for (; (end = memchr(at, '\n', (size_t)(log_text + log_size - at))); at = end + 1) {
		struct audit_record record;
		json_t *content;

		assert_int_equal(audit_line_read(at, (size_t)(end - at), &record), 0);
		if (!record.content)
			continue;
		content = json_loadb(record.content, record.content_size, JSON_REJECT_DUPLICATES,
				     NULL);
		assert_non_null(content);
		if (has(content, "event", event) && (!name || has(content, name, value))) {
			json_decref(found);
			found = json_incref(content);
		}
		json_decref(content);
	}
	return found;
}

static json_t *must_find(const char *event, const char *name, const char *value)
{
	json_t *found = find(event, name, value);

	if (!found)
		print_error("no record '%s' of %s=%s in:\n%.*s\n", event, name, value,
			    (int)log_size, log_text);
	assert_non_null(found);
	return found;
}

static json_t *of_boot(const char *event, const struct vm *vm)
{
	char hex[2 * HASH_SIZE + 1];
	json_t *found;

	hex_encode(vm->admission, HASH_SIZE, hex);
	found = must_find(event, "admission", hex);
	assert_true(has(found, "workspace", vm->workspace) && has(found, "vm", vm->name));
	assert_int_equal(strlen(json_string_value(json_object_get(found, "boot_id"))), 32);
	return found;
}

static void boot_has(const char *event, const struct vm *vm, const char *name, const char *value)
{
	json_t *found = of_boot(event, vm);

	if (name && !has(found, name, value))
		print_error("%s: %s is not %s\n", event, name, value);
	assert_true(!name || has(found, name, value));
	json_decref(found);
}

/* --- administrators --- */

static json_t *request_to(const char *path)
{
	json_t *found = must_find("request", "path", path);

	assert_int_equal(strlen(json_string_value(json_object_get(found, "certificate"))), 64);
	return found;
}

static json_int_t status_of(const json_t *record)
{
	return json_integer_value(json_object_get(record, "status"));
}

static void test_requests(void **state)
{
	json_t *record;

	/* Done by set_up(): with what was asked for. */
	read_log(NULL);
	record = request_to("/v1/keys");
	assert_int_equal(status_of(record), 204);
	assert_true(has(record, "by", "key-administrator") &&
		    has(record, "role", "key-administrator") && has(record, "method", "POST"));
	assert_true(has(json_object_get(json_object_get(record, "request"), "file_key_info"),
			"key_id", "main"));
	json_decref(record);
	/* Refused: for the role, by the handler, for what the body says, which is not kept. */
	json_decref(admin("operator", "DELETE", "/v1/keys/main", NULL, 403));
	key_admin("DELETE", "/v1/keys/absent", NULL, 404);
	key_admin("POST", "/v1/workspaces", "{\"name\":\"w\",\"canary\":\"seen\"}", 400);
	json_decref(admin("operator", "GET", "/v1/keys", NULL, 200));
	read_log(NULL);
	record = request_to("/v1/keys/main");
	assert_int_equal(status_of(record), 403);
	assert_true(has(record, "by", "operator") && has(record, "role", "operator"));
	assert_non_null(strstr(json_string_value(json_object_get(record, "refused")), "role"));
	json_decref(record);
	record = request_to("/v1/keys/absent");
	assert_int_equal(status_of(record), 404);
	json_decref(record);
	record = request_to("/v1/workspaces");
	assert_int_equal(status_of(record), 400);
	assert_null(json_object_get(record, "request"));
	json_decref(record);
	assert_null(memmem(log_text, log_size, "seen", 4));
	/* Questions are not. */
	record = find("request", "method", "GET");
	assert_null(record);
}

static void test_start(void **state)
{
	json_t *record;

	read_log(NULL);
	json_decref(must_find("started", "version", EMBERLOCK_VERSION));
	record = must_find("signing-keys", NULL, NULL);
	assert_int_equal(strlen(json_string_value(json_object_get(record, AUDIT_SIGNING_KEYS))),
			 2 * SIGNING_KEYS_SIZE);
	json_decref(record);
}

/* --- boots --- */

static void send_receipt(const struct vm *vm)
{
	static struct answer answer;
	struct receipt receipt = {
		.kind = RECEIPT_KEYS,
		.reason = REASON_SUPERSEDED,
		.start_ns = 1000,
		.keys_gone_ns = 2000,
		.n_segments = 1,
		.segments = {{.volume = "data", .fate = SEGMENT_WIPED, .wiped_us = 5}},
	};
	uint8_t bytes[RECEIPT_SIZE];

	memcpy(receipt.admission, vm->admission, HASH_SIZE);
	assert_int_equal(sha256(vm->token_bytes, TOKEN_SIZE, receipt.previous), 0);
	assert_int_equal(receipt_sign(vm->boot_key, &receipt, bytes), 0);
	for (int i = 0; i < 2; i++) {
		post("/v1/receipt", bytes, sizeof(bytes), &answer);
		assert_int_equal(answer.status, 200);
	}
}

static unsigned count(const char *text)
{
	const char *at = log_text;
	unsigned n = 0;

	while ((at = memmem(at, (size_t)(log_text + log_size - at), text, strlen(text)))) {
		at++;
		n++;
	}
	return n;
}

static void test_life(void **state)
{
	static struct answer answer;
	struct vm old, new;
	json_t *record;

	vm_enrol(&old, "w", "life");
	vm_admit(&old);
	new = old;
	new.boot_key = NULL;
	vm_boot(&new);
	vm_admit(&new);
	vm_post_boot(&old, &answer);
	vm_take(&old, &answer, VERDICT_SHRED, REASON_SUPERSEDED);
	vm_post_boot(&old, &answer);
	send_receipt(&old);
	read_log(NULL);
	boot_has("boot-reported", &old, "version", "0.1.0");
	record = of_boot("admitted", &old);
	/* The file KMS has no names of requests; those that have are in test_manager_clouds.c. */
	assert_non_null(json_object_get(json_object_get(record, "kms_requests"), "encrypt"));
	json_decref(record);
	record = of_boot("superseded", &new);
	assert_int_equal(json_integer_value(json_object_get(record, "boots")), 1);
	json_decref(record);
	boot_has("verdict-shred", &old, "reason", "superseded");
	record = of_boot("receipt", &old);
	assert_true(json_is_true(json_object_get(record, "keys_gone")));
	assert_true(has(record, "kind", "keys"));
	json_decref(record);
	/* What was asked or sent again is on record once. */
	assert_int_equal(count("\"event\":\"receipt\""), 1);
	assert_int_equal(count("\"event\":\"verdict-shred\""), 1);
	/* Leases are not. */
	vm_renew(&new);
	read_log(NULL);
	assert_int_equal(count("\"event\":\"admitted\",\"workspace\":\"w\",\"vm\":\"life\""), 2);
	new.key = NULL;
	vm_done(&old);
	vm_done(&new);
}

static void test_refusals(void **state)
{
	static struct answer answer;
	struct vm vm, clone;

	vm_enrol(&vm, "w", "clone");
	vm_admit(&vm);
	clone = vm;
	clone.number--;
	vm_post_lease(&clone, &answer);
	vm_take(&clone, &answer, VERDICT_SHRED, REASON_CLONE);
	read_log(NULL);
	boot_has("clone", &vm, NULL, NULL);
	boot_has("verdict-shred", &vm, "reason", "clone");
	strcpy(vm.failure, "volume data: no disk");
	vm_boot(&vm);
	vm_post_boot(&vm, &answer);
	assert_int_equal(answer.status, 403);
	vm_post_boot(&vm, &answer);
	read_log(NULL);
	boot_has("boot-refused", &vm, "failure", "volume data: no disk");
	assert_int_equal(count("\"event\":\"boot-refused\""), 1);
	/* Unsigned, nothing happens, and so nothing is on record. */
	vm.report[BOOT_REPORT_SIZE - 1] ^= 1;
	vm_post_boot(&vm, &answer);
	assert_int_equal(answer.status, 401);
	read_log(NULL);
	assert_int_equal(count("\"event\":\"boot-refused\""), 1);
	vm_done(&vm);
}

static void test_operator(void **state)
{
	struct vm vm;
	json_t *record;

	vm_enrol(&vm, "w", "ended");
	vm_admit(&vm);
	operate("POST", "/v1/vms/w/ended/shred", 204);
	operate("POST", "/v1/vms/w/ended/shred", 409);
	read_log(NULL);
	record = request_to("/v1/vms/w/ended/shred");
	assert_int_equal(status_of(record), 409);
	json_decref(record);
	assert_int_equal(count("\"status\":204,\"result\":{\"boots\":1}"), 1);
	key_admin("POST", "/v1/store/adopt", "", 204);
	read_log(NULL);
	record = request_to("/v1/store/adopt");
	assert_true(json_integer_value(
			    json_object_get(json_object_get(record, "result"), "epoch")) > 0);
	json_decref(record);
	vm_done(&vm);
}

static void await(const char *event)
{
	json_t *found = NULL;

	for (int i = 0; i < 200 && !found; i++) {
		pause_ms(100);
		read_log(NULL);
		found = find(event, NULL, NULL);
	}
	assert_non_null(found);
	json_decref(found);
}

static void test_revocation(void **state)
{
	struct vm vm;
	json_t *record;

	make_key("taken", QUICK);
	make_workspace("t", "taken");
	vm_enrol(&vm, "t", "revoked");
	vm_admit(&vm);
	assert_int_equal(keyfile_set_state(key_dir, "taken", KEYFILE_DISABLED), 0);
	await("revoked");
	record = must_find("revoked", "key", "taken");
	assert_true(has(record, "class", "revoked by key state"));
	assert_int_equal(json_integer_value(json_object_get(record, "boots")), 1);
	assert_true(json_integer_value(json_object_get(record, "last_evidence_ms")) > 0);
	assert_true(json_integer_value(json_object_get(record, "asked_ms")) >=
		    json_integer_value(json_object_get(record, "last_evidence_ms")));
	json_decref(record);
	key_admin("POST", "/v1/keys/taken/clear", "", 409);
	assert_int_equal(keyfile_set_state(key_dir, "taken", KEYFILE_ENABLED), 0);
	key_admin("POST", "/v1/keys/taken/clear", "", 204);
	read_log(NULL);
	record = request_to("/v1/keys/taken/clear");
	assert_int_equal(status_of(record), 204);
	json_decref(record);
	vm_done(&vm);
}

/* --- tenants --- */

static void test_tenants(void **state)
{
	json_t *record;
	struct vm vm;

	make_key("secret-key", QUICK);
	make_workspace("secret-tenant", "secret-key");
	vm_enrol(&vm, "secret-tenant", "secret-vm");
	vm_admit(&vm);
	read_log("w");
	assert_null(memmem(log_text, log_size, "secret-", 7));
	json_decref(must_find("admitted", "workspace", "w"));
	read_log("secret-tenant");
	record = must_find("admitted", "vm", "secret-vm");
	json_decref(record);
	json_decref(request_to("/v1/keys"));
	assert_null(find("admitted", "workspace", "w"));
	/* A new workspace of an old one's name is somebody else. */
	operate("DELETE", "/v1/vms/secret-tenant/secret-vm", 204);
	key_admin("POST", "/v1/workspaces", "{\"name\":\"brief\"}", 204);
	key_admin("DELETE", "/v1/workspaces/brief", NULL, 204);
	key_admin("POST", "/v1/workspaces", "{\"name\":\"brief\"}", 204);
	read_log("brief");
	assert_int_equal(count("\"event\":\"request\""), 1);
	vm_done(&vm);
}

static void test_queries(void **state)
{
	static const char *const bad[] = {
		"/v1/audit?from=0",	     "/v1/audit?from=x",
		"/v1/audit?from=-1",	     "/v1/audit?tenant=w",
		"/v1/audit?from=1&tenant=w", "/v1/audit?from=1&workspace=%77",
		"/v1/audit?from=1&from=2",   "/v1/audit?&",
		"/v1/audit?workspace=",
	};
	uint64_t n;

	for (size_t i = 0; i < ELEMENTSOF(bad); i++)
		json_decref(admin("operator", "GET", bad[i], NULL, 400));
	json_decref(admin("operator", "GET", "/v1/audit?workspace=absent", NULL, 404));
	read_log(NULL);
	n = verify_log();
	/* In two parts, the same. */
	log_size = 0;
	fetch("?from=1");
	log_size = 0;
	fetch("?from=4");
	assert_memory_equal(log_text, "{\"number\":4,", 12);
	log_size = 0;
	fetch("?from=999999");
	assert_int_equal(log_size, 0);
	assert_true(n > 4);
}

/* --- ends --- */

static void change_store(const char *statement)
{
	char path[96];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/manager.db", state_dir);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, statement, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void test_lease_end(void **state)
{
	struct vm vm;

	vm_enrol(&vm, "w", "silent");
	vm_admit(&vm);
	manager_stop();
	change_store("UPDATE boots SET fence_ms = 1");
	manager_start();
	await("lease-ended");
	boot_has("lease-ended", &vm, "class", "lease ended");
	/* Once; and once more where it went on after all. */
	manager_stop();
	manager_start();
	vm_renew(&vm);
	read_log(NULL);
	assert_int_equal(count("\"event\":\"lease-ended\",\"workspace\":\"w\",\"vm\":\"silent\""),
			 1);
	vm_done(&vm);
}

/* Whatever a killed manager had answered is on record, and the chain goes on. */
static void test_killed(void **state)
{
	char path[64], body[64];

	for (int i = 0; i < 10; i++) {
		snprintf(body, sizeof(body), "{\"name\":\"killed-%d\"}", i);
		key_admin("POST", "/v1/workspaces", body, 204);
		manager_kill();
		manager_start();
		snprintf(path, sizeof(path), "?workspace=killed-%d", i);
		log_size = 0;
		fetch(path);
		verify_log();
		assert_int_equal(count("\"event\":\"request\""), 1);
	}
}

static int tests(void)
{
	const struct CMUnitTest list[] = {
		cmocka_unit_test(test_requests),  cmocka_unit_test(test_start),
		cmocka_unit_test(test_life),	  cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_operator),  cmocka_unit_test(test_revocation),
		cmocka_unit_test(test_tenants),	  cmocka_unit_test(test_queries),
		cmocka_unit_test(test_lease_end), cmocka_unit_test(test_killed),
	};

	return cmocka_run_group_tests(list, set_up, tear_down);
}

int main(int argc, char **argv)
{
	return world_main(argc, argv, tests);
}
