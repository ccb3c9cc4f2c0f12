/* SPDX-License-Identifier: Apache-2.0 */
/* A VM's life with a real manager, from the key to the receipt that verifies from the root key. */
#include "manager_server.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "keys/sign.h"
#include "manager/admin_receipt.h"
#include "manager/kms/file/keyfile.h"

/* One boot of a VM, as its agent would hold it. */
struct machine {
	const char *name;
	struct signing_key *vm, *boot;
	uint8_t report[BOOT_REPORT_SIZE];
	uint8_t admission[HASH_SIZE];
	uint64_t number;
	struct sequence highest;
	uint8_t token[TOKEN_SIZE]; /* the last one */
	uint8_t request[LEASE_REQUEST_SIZE];
};

static uint8_t root_public[PUBLIC_KEY_SIZE];

static void read_hex(const char *name, uint8_t *bytes)
{
	char path[PATH_MAX], text[66];

	snprintf(path, sizeof(path), "%s/offline/%s", directory, name);
	assert_int_equal(file_read(AT_FDCWD, path, text, sizeof(text)), 65);
	assert_int_equal(hex_decode(text, 64, bytes, 32), 0);
}

static const char *kms(void)
{
	static char path[sizeof(directory) + 4];

	snprintf(path, sizeof(path), "%s/kms", directory);
	return path;
}

static struct signing_key *new_key(void)
{
	uint8_t seed[IDENTITY_SEED_SIZE];
	struct signing_key *key;

	assert_int_equal(signing_key_generate(seed), 0);
	assert_int_equal(signing_key_new_from_seed(seed, &key), 0);
	return key;
}

static void does(unsigned role, const char *method, const char *path, const char *body)
{
	struct reply reply = ask(role, method, path, body);

	if (reply.status != 204)
		print_message("%s %s: %d, %ld %s\n", method, path, reply.code, reply.status,
			      reply.body);
	assert_int_equal(reply.status, 204);
}

static int make_tenant(void **state)
{
	char body[1024];

	if (start_server(state) < 0)
		return -1;
	read_hex("root.pub", root_public);
	assert_int_equal(keyfile_create(kms(), "cmk"), 0);
	snprintf(body, sizeof(body),
		 "{\"name\":\"main\",\"file_key_info\":{\"key_id\":\"cmk\",\"directory\":\"%s\"},"
		 "\"poll_ms\":1000,\"lease_ms\":60000,\"margin_ms\":10000,\"probe_ms\":1000}",
		 kms());
	does(ROLE_KEY_ADMINISTRATOR, "POST", "/v1/keys", body);
	does(ROLE_KEY_ADMINISTRATOR, "POST", "/v1/workspaces", "{\"name\":\"acme\"}");
	does(ROLE_KEY_ADMINISTRATOR, "PUT", "/v1/workspaces/acme/key", "{\"key\":\"main\"}");
	return 0;
}

static void enrol(struct machine *machine, const char *name)
{
	uint8_t public_key[PUBLIC_KEY_SIZE];
	char hex[2 * PUBLIC_KEY_SIZE + 1], body[256];

	*machine = (struct machine){.name = name, .vm = new_key()};
	signing_key_public(machine->vm, public_key);
	hex_encode(public_key, sizeof(public_key), hex);
	snprintf(body, sizeof(body), "{\"workspace\":\"acme\",\"vm\":\"%s\",\"public_key\":\"%s\"}",
		 name, hex);
	does(ROLE_OPERATOR, "POST", "/v1/vms", body);
}

static void machine_done(struct machine *machine)
{
	signing_key_free(machine->vm);
	signing_key_free(machine->boot);
}

static void request_next(struct machine *machine, uint8_t *bytes)
{
	struct lease_request request = {.number = ++machine->number, .highest = machine->highest};

	memcpy(request.admission, machine->admission, HASH_SIZE);
	assert_int_equal(signing_key_generate(request.challenge), 0);
	assert_int_equal(lease_request_sign(machine->boot, &request, bytes), 0);
	memcpy(machine->request, bytes, LEASE_REQUEST_SIZE);
}

static struct signing_keys present_set(void)
{
	struct reply reply = ask_as(NULL, NULL, false, "GET", "/v1/signing-keys", NULL);
	struct signing_keys set;

	assert_int_equal(reply.status, 200);
	assert_int_equal(
		signing_keys_verify((const uint8_t *)reply.body, reply.n, root_public, &set), 0);
	return set;
}

/* Posts until a token comes; what the manager parks it may answer with 202 or later with 503. */
static struct token ask_token(struct machine *machine, const char *path, const uint8_t *body,
			      size_t n)
{
	struct signing_keys set;
	struct reply reply;
	struct token token;

	for (int tries = 0; tries < 30; tries++) {
		reply = ask_bytes(NULL, NULL, false, "POST", path, body, n);
		assert_int_equal(reply.code, CURLE_OK);
		if (reply.status == 200)
			break;
		usleep(200000);
	}
	if (reply.status != 200)
		print_message("%s: %ld %s\n", path, reply.status, reply.body);
	assert_int_equal(reply.status, 200);
	set = present_set();
	assert_int_equal(token_verify((const uint8_t *)reply.body, reply.n, &set, &token), 0);
	assert_memory_equal(token.admission, machine->admission, HASH_SIZE);
	memcpy(machine->token, reply.body, TOKEN_SIZE);
	machine->highest = token.sequence;
	return token;
}

static struct token boot(struct machine *machine)
{
	struct boot_report report = {
		.workspace = "acme",
		.version = "0.1.0",
		.kernel = "6.1.0",
		.n_volumes = 1,
		.volumes = {{.name = "data",
			     .use = VOLUME_EXT4,
			     .state = VOLUME_READY,
			     .n_segments = 1,
			     .bytes = 1 << 20}},
	};
	uint8_t seed[IDENTITY_SEED_SIZE], body[BOOT_BODY_SIZE];

	signing_key_free(machine->boot);
	machine->boot = new_key();
	machine->number = 0;
	machine->highest = (struct sequence){0};
	assert_int_equal(signing_key_generate(seed), 0);
	memcpy(report.boot_id, seed, BOOT_ID_SIZE);
	snprintf(report.vm, sizeof(report.vm), "%s", machine->name);
	assert_int_equal(boot_report_sign(machine->vm, machine->boot, &report, machine->report), 0);
	assert_int_equal(sha256(machine->report, BOOT_REPORT_SIZE, machine->admission), 0);
	memcpy(body, machine->report, BOOT_REPORT_SIZE);
	request_next(machine, body + BOOT_REPORT_SIZE);
	return ask_token(machine, "/v1/boot", body, sizeof(body));
}

static struct token renew(struct machine *machine)
{
	uint8_t body[LEASE_REQUEST_SIZE];

	request_next(machine, body);
	return ask_token(machine, "/v1/lease", body, sizeof(body));
}

/* Renews until the verdict is shred; no more than a few leases may come before. */
static struct token renew_to_the_end(struct machine *machine)
{
	struct token token;

	for (int i = 0; i < 10; i++) {
		token = renew(machine);
		if (token.verdict == VERDICT_SHRED)
			break;
	}
	assert_int_equal(token.verdict, VERDICT_SHRED);
	return token;
}

static void post_receipt(struct machine *machine, struct receipt *receipt, uint8_t *previous)
{
	uint8_t bytes[RECEIPT_SIZE];
	struct reply reply;

	memcpy(receipt->admission, machine->admission, HASH_SIZE);
	memcpy(receipt->previous, previous, HASH_SIZE);
	assert_int_equal(receipt_sign(machine->boot, receipt, bytes), 0);
	reply = ask_bytes(NULL, NULL, false, "POST", "/v1/receipt", bytes, sizeof(bytes));
	if (reply.status != 200)
		print_message("%ld %s\n", reply.status, reply.body);
	assert_int_equal(reply.status, 200);
	assert_int_equal(sha256(bytes, sizeof(bytes), previous), 0);
}

static void shred(struct machine *machine, enum reason reason)
{
	struct receipt receipt = {
		.kind = RECEIPT_KEYS,
		.reason = reason,
		.verdict_ns = 1000,
		.start_ns = 2000,
		.keys_gone_ns = 3000,
		.n_segments = 1,
		.segments = {{.volume = "data", .fate = SEGMENT_WIPED, .wiped_us = 1}},
	};
	uint8_t previous[HASH_SIZE];

	assert_int_equal(sha256(machine->token, TOKEN_SIZE, previous), 0);
	post_receipt(machine, &receipt, previous);
	receipt.kind = RECEIPT_CLOSING;
	receipt.blocked_io_ns = 4000;
	post_receipt(machine, &receipt, previous);
}

static struct receipt_proof proof_of(const struct machine *machine)
{
	static struct receipt_bundle bundle;
	struct receipt_proof proof;
	char hex[2 * HASH_SIZE + 1], path[128], error[256] = "";
	struct reply reply;
	int r;

	hex_encode(machine->admission, HASH_SIZE, hex);
	snprintf(path, sizeof(path), "/v1/receipts/%s", hex);
	reply = ask(ROLE_OPERATOR, "GET", path, NULL);
	assert_int_equal(reply.status, 200);
	assert_int_equal(receipt_bundle_read(reply.body, reply.n, &bundle, error), 0);
	r = receipt_bundle_verify(&bundle, root_public, &proof, error);
	if (r < 0)
		print_message("%s\n", error);
	assert_int_equal(r, 0);
	return proof;
}

/* The member NAME of the fleet's only boot of MACHINE that has this admission. */
static void fleet_says(const struct machine *machine, const char *name, const char *value)
{
	struct reply reply = ask(ROLE_OPERATOR, "GET", "/v1/fleet?workspace=acme", NULL);
	json_t *rows = json_loads(reply.body, 0, NULL), *row;
	char hex[2 * HASH_SIZE + 1];
	const char *said = NULL;
	size_t i;

	hex_encode(machine->admission, HASH_SIZE, hex);
	json_array_foreach(rows, i, row)
	{
		const char *admission = json_string_value(json_object_get(row, "admission"));

		if (admission && strcmp(admission, hex) == 0)
			said = json_string_value(json_object_get(row, name));
	}
	assert_non_null(said);
	assert_string_equal(said, value);
	json_decref(rows);
}

/* --- the stories; they share the manager, in this order --- */

static void boot_without_receipt_has_no_bundle(void **state)
{
	char hex[2 * HASH_SIZE + 1], path[128];
	struct machine machine;

	enrol(&machine, "quiet");
	assert_int_equal(boot(&machine).verdict, VERDICT_ADMIT);
	fleet_says(&machine, "state", "admitted");
	fleet_says(&machine, "class", "live");
	hex_encode(machine.admission, HASH_SIZE, hex);
	snprintf(path, sizeof(path), "/v1/receipts/%s", hex);
	assert_int_equal(ask(ROLE_OPERATOR, "GET", path, NULL).status, 404);
	assert_string_equal(ask(ROLE_OPERATOR, "GET", "/v1/receipts?vm=quiet", NULL).body, "[]");
	machine_done(&machine);
}

static void operator_shreds(void **state)
{
	struct machine machine;
	struct token token;

	enrol(&machine, "db1");
	assert_int_equal(boot(&machine).verdict, VERDICT_ADMIT);
	assert_int_equal(renew(&machine).verdict, VERDICT_CONTINUE);
	does(ROLE_OPERATOR, "POST", "/v1/vms/acme/db1/shred", "");
	token = renew_to_the_end(&machine);
	assert_int_equal(token.reason, REASON_OPERATOR);
	shred(&machine, REASON_OPERATOR);
	assert_true(proof_of(&machine).keys_gone);
	assert_int_equal(proof_of(&machine).anchor, RECEIPT_ANCHOR_VERDICT);
	fleet_says(&machine, "state", "off");
	fleet_says(&machine, "class", "receipt");
	machine_done(&machine);
}

static void second_boot_supersedes_the_first(void **state)
{
	struct machine first, second;

	enrol(&first, "db2");
	assert_int_equal(boot(&first).verdict, VERDICT_ADMIT);
	second = first;
	second.boot = NULL;
	assert_int_equal(boot(&second).verdict, VERDICT_ADMIT);
	assert_int_equal(renew_to_the_end(&first).reason, REASON_SUPERSEDED);
	shred(&first, REASON_SUPERSEDED);
	assert_true(proof_of(&first).keys_gone);
	fleet_says(&second, "state", "admitted");
	signing_key_free(second.boot);
	machine_done(&first);
}

static void removed_vm_ends(void **state)
{
	struct machine machine;

	enrol(&machine, "db3");
	assert_int_equal(boot(&machine).verdict, VERDICT_ADMIT);
	does(ROLE_OPERATOR, "DELETE", "/v1/vms/acme/db3", NULL);
	assert_int_equal(renew_to_the_end(&machine).reason, REASON_REMOVED);
	machine_done(&machine);
}

static void lease_that_ran_out_is_anchored_to_it(void **state)
{
	struct machine machine;

	enrol(&machine, "db4");
	assert_int_equal(boot(&machine).verdict, VERDICT_ADMIT);
	assert_int_equal(renew(&machine).verdict, VERDICT_CONTINUE);
	shred(&machine, REASON_LEASE);
	assert_int_equal(proof_of(&machine).anchor, RECEIPT_ANCHOR_LEASE);
	machine_done(&machine);
}

static void customer_revokes(void **state)
{
	struct machine machine, late;

	enrol(&machine, "db5");
	enrol(&late, "db6");
	assert_int_equal(boot(&machine).verdict, VERDICT_ADMIT);
	assert_int_equal(keyfile_set_state(kms(), "cmk", KEYFILE_DISABLED), 0);
	assert_int_equal(renew_to_the_end(&machine).reason, REASON_REVOKED);
	shred(&machine, REASON_REVOKED);
	assert_true(proof_of(&machine).keys_gone);
	/* Refused at once: never admitted, and its receipt verifies by the verdict alone. */
	assert_int_equal(boot(&late).verdict, VERDICT_SHRED);
	shred(&late, REASON_REVOKED);
	assert_int_equal(proof_of(&late).token.verdict, 0);
	/* Enabled again, it stays revoked until it is cleared. */
	assert_int_equal(keyfile_set_state(kms(), "cmk", KEYFILE_ENABLED), 0);
	assert_int_equal(boot(&late).verdict, VERDICT_SHRED);
	does(ROLE_KEY_ADMINISTRATOR, "POST", "/v1/keys/main/clear", "");
	assert_int_equal(boot(&late).verdict, VERDICT_ADMIT);
	machine_done(&machine);
	machine_done(&late);
}

static void install(struct signing_keys *set)
{
	_cleanup_signing_key_ struct signing_key *root = NULL;
	uint8_t seed[IDENTITY_SEED_SIZE], bytes[SIGNING_KEYS_SIZE];
	char hex[2 * SIGNING_KEYS_SIZE + 1], body[1024];

	read_hex("root.key", seed);
	assert_int_equal(signing_key_new_from_seed(seed, &root), 0);
	set->epoch++;
	assert_int_equal(signing_keys_sign(root, set, bytes), 0);
	hex_encode(bytes, sizeof(bytes), hex);
	snprintf(body, sizeof(body), "{\"set\":\"%s\"}", hex);
	does(ROLE_KEY_ADMINISTRATOR, "PUT", "/v1/signing-keys", body);
}

/* The manager makes a key; it is added to SET. */
static void add_signing_key(struct signing_keys *set)
{
	struct reply reply = ask(ROLE_KEY_ADMINISTRATOR, "POST", "/v1/signing-keys/new", "");
	json_t *answer = json_loads(reply.body, 0, NULL);

	assert_int_equal(reply.status, 200);
	assert_int_equal(hex_decode(json_string_value(json_object_get(answer, "public_key")), 64,
				    set->keys[set->n_keys++], PUBLIC_KEY_SIZE),
			 0);
	json_decref(answer);
	install(set);
}

static void revoke_first_signing_key(struct signing_keys *set)
{
	memcpy(set->keys[0], set->keys[1], PUBLIC_KEY_SIZE);
	memset(set->keys[1], 0, PUBLIC_KEY_SIZE);
	set->n_keys = 1;
	install(set);
}

static void receipts_outlive_a_rotation(void **state)
{
	struct signing_keys set = present_set();
	struct machine machine;

	enrol(&machine, "db7");
	assert_int_equal(boot(&machine).verdict, VERDICT_ADMIT);
	shred(&machine, REASON_END);
	add_signing_key(&set);
	assert_int_equal(proof_of(&machine).set.epoch, set.epoch);
	revoke_first_signing_key(&set);
	assert_int_equal(proof_of(&machine).set.epoch, set.epoch - 1);
	/* New tokens are by the new key: present_set() inside verifies them. */
	assert_int_equal(boot(&machine).verdict, VERDICT_ADMIT);
	machine_done(&machine);
}

/* What was signed by a key that is revoked since is of no use to a VM that has the newest set: a
 * retry, and a verdict that is asked for again, are signed anew. */
static void answers_outlive_a_rotation(void **state)
{
	struct signing_keys set = present_set();
	struct machine machine, ended;
	uint8_t body[BOOT_BODY_SIZE], before[TOKEN_SIZE];
	struct token token;

	enrol(&machine, "db8");
	enrol(&ended, "db9");
	assert_int_equal(boot(&machine).verdict, VERDICT_ADMIT);
	assert_int_equal(boot(&ended).verdict, VERDICT_ADMIT);
	does(ROLE_OPERATOR, "POST", "/v1/vms/acme/db9/shred", NULL);
	token = renew_to_the_end(&ended);
	add_signing_key(&set);
	revoke_first_signing_key(&set);
	memcpy(body, machine.report, BOOT_REPORT_SIZE);
	memcpy(body + BOOT_REPORT_SIZE, machine.request, LEASE_REQUEST_SIZE);
	assert_int_equal(ask_token(&machine, "/v1/boot", body, sizeof(body)).verdict,
			 VERDICT_ADMIT);
	memcpy(before, machine.token, TOKEN_SIZE);
	ask_token(&machine, "/v1/boot", body, sizeof(body));
	assert_memory_equal(machine.token, before, TOKEN_SIZE);
	assert_int_equal(renew(&ended).reason, token.reason);
	shred(&ended, REASON_OPERATOR);
	assert_true(proof_of(&ended).keys_gone);
	assert_int_equal(proof_of(&ended).anchor, RECEIPT_ANCHOR_VERDICT);
	machine_done(&machine);
	machine_done(&ended);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(boot_without_receipt_has_no_bundle),
		cmocka_unit_test(operator_shreds),
		cmocka_unit_test(second_boot_supersedes_the_first),
		cmocka_unit_test(removed_vm_ends),
		cmocka_unit_test(lease_that_ran_out_is_anchored_to_it),
		cmocka_unit_test(customer_revokes),
		cmocka_unit_test(receipts_outlive_a_rotation),
		cmocka_unit_test(answers_outlive_a_rotation),
	};

	return cmocka_run_group_tests(tests, make_tenant, stop_server);
}
