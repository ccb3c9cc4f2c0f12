/* SPDX-License-Identifier: Apache-2.0 */
/* A VM under a CMK in each cloud, with a real manager: what ends its lease, how soon, and what never
 * does. */
#include "manager_clouds.h"

#include <sqlite3.h>

#include "base/cleanup.h"

#define AWS_ROLE "arn:aws:iam::111122223333:role/customer"

/* Leases that outlast a test of another cloud. */
#define SETTINGS                                                                                   \
	",\"poll_ms\":5000,\"lease_ms\":120000,\"margin_ms\":10000,\"max_staleness_ms\":90000,"    \
	"\"probe_ms\":500"
#define PROBE_MS   500	/* of SETTINGS; a tenth either way */
#define CONFIRM_MS 2000 /* between two refusals of access */

/* One way for each cloud that has to ask somebody for a token. */
static const struct cloud {
	const char *name, *provider, *settings, *token_place;
	const char *disable, *forbid; /* orders to the stand-in */
} clouds[] = {
	{"aws", "aws",
	 "\"aws_key_info\":{\"key_arn\":\"" AWS_KEY "\",\"role_arn\":\"" AWS_ROLE
	 "\",\"external_id\":\"tenant-4711\"},\"credentials\":\"aws-static\"",
	 "sts", "{\"state\":{\"aws\":\"Disabled\"}}", "{\"allowed\":{\"aws\":[]}}"},
	{"azure", "azure",
	 "\"azure_key_info\":{\"key_vault_uri\":\"" AZURE_VAULT
	 "\",\"key_name\":\"k\"},\"credentials\":\"azure-assertion\"",
	 "azure-token", "{\"state\":{\"azure\":\"disabled\"}}", "{\"allowed\":{\"azure\":[]}}"},
	{"google", "google",
	 "\"gcp_key_info\":{\"kms_key_id\":\"" GOOGLE_KEY "\"},\"credentials\":\"google-account\"",
	 "google-token", "{\"state\":{\"google\":\"DISABLED\"}}", "{\"allowed\":{\"google\":[]}}"},
};
#define N_CLOUDS (sizeof(clouds) / sizeof(clouds[0]))
static struct vm vms[N_CLOUDS];

/* The member of GET /v1/keys/NAME; the caller's. */
static char *key_text(const char *name, const char *member)
{
	char path[64];
	json_t *key;
	char *text;

	snprintf(path, sizeof(path), "/v1/keys/%s", name);
	key = admin("operator", "GET", path, NULL, 200);
	text = strdup(json_string_value(json_object_get(key, member)));
	json_decref(key);
	return text;
}

static bool key_is(const char *name, const char *member, const char *expected)
{
	char *text = key_text(name, member);
	bool is = strcmp(text, expected) == 0;

	free(text);
	return is;
}

static void await_key(const char *name, const char *member, const char *expected)
{
	for (int i = 0; i < 120 && !key_is(name, member, expected); i++)
		pause_ms(100);
	if (!key_is(name, member, expected)) {
		char *text = key_text(name, member), *code = key_text(name, "code");

		print_error("key %s: %s is %s (%s), not %s\n", name, member, text, code, expected);
		free(text);
		free(code);
	}
	assert_true(key_is(name, member, expected));
}

/* The admission's record names both requests, where the cloud does. */
static void assert_requests(const struct cloud *cloud)
{
	size_t expected = strcmp(cloud->provider, "google") == 0 ? 0 : 36;
	const char *encrypt, *decrypt;
	sqlite3_stmt *statement;
	char path[96];
	json_t *record;
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/manager.db", state_dir);
	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db,
					    "SELECT content FROM audit WHERE "
					    "content ->> 'event' = 'admitted' AND "
					    "content ->> 'workspace' = ?1",
					    -1, &statement, NULL),
			 SQLITE_OK);
	sqlite3_bind_text(statement, 1, cloud->name, -1, SQLITE_STATIC);
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
	record = json_loads((const char *)sqlite3_column_text(statement, 0), 0, NULL);
	assert_int_equal(json_unpack(record, "{s:{s:s, s:s}}", "kms_requests", "encrypt", &encrypt,
				     "decrypt", &decrypt),
			 0);
	assert_int_equal(strlen(encrypt), expected);
	assert_int_equal(strlen(decrypt), expected);
	assert_true(expected == 0 || strcmp(encrypt, decrypt) != 0);
	json_decref(record);
	sqlite3_finalize(statement);
	sqlite3_close(db);
}

static void test_admitted(void **state)
{
	for (size_t i = 0; i < N_CLOUDS; i++) {
		const struct cloud *cloud = &clouds[i];
		char body[1024];

		snprintf(body, sizeof(body), "{\"name\":\"%s\",%s" SETTINGS "}", cloud->name,
			 cloud->settings);
		key_admin("POST", "/v1/keys", body, 204);
		make_workspace(cloud->name, cloud->name);
		vm_enrol(&vms[i], cloud->name, "db1");
		vm_admit(&vms[i]);
		assert_true(key_is(cloud->name, "state", "healthy"));
		assert_true(key_is(cloud->name, "class", "ok"));
		assert_true(key_is(cloud->name, "follow", "go on"));
		assert_requests(cloud);
	}
}

/* Each VM asks for its next lease, and is parked. */
static void park_all(struct parked *parked[static N_CLOUDS])
{
	for (size_t i = 0; i < N_CLOUDS; i++)
		parked[i] = park(&vms[i], false);
}

/* They all get it. */
static void continue_all(struct parked *parked[static N_CLOUDS])
{
	for (size_t i = 0; i < N_CLOUDS; i++) {
		parked_wait(parked[i]);
		vm_take(&vms[i], &parked[i]->answer, VERDICT_CONTINUE, REASON_NONE);
		new_challenge(&vms[i]);
		free(parked[i]);
	}
}

static void await_all(const char *member, const char *expected)
{
	for (size_t i = 0; i < N_CLOUDS; i++)
		await_key(clouds[i].name, member, expected);
}

/* FAULT at the identity provider, or at the KMS, of each cloud. */
static void break_all(bool identity, const char *fault)
{
	for (size_t i = 0; i < N_CLOUDS; i++)
		standin("{\"faults\":{\"%s\":%s}}",
			identity ? clouds[i].token_place : clouds[i].name, fault);
}

/* What the stand-in does now goes on for six probes and two confirmations: the keys are in CLASS,
 * and their VMs' leases go on. */
static void outlives(const char *what, const char *class)
{
	struct parked *parked[N_CLOUDS];

	print_message("%s\n", what);
	standin("{\"forget_tokens\":true}");
	await_all("class", class);
	park_all(parked);
	pause_ms(6 * PROBE_MS + 2 * CONFIRM_MS);
	continue_all(parked); /* by the evidence of before */
	await_all("class", class);
	for (size_t i = 0; i < N_CLOUDS; i++)
		assert_false(key_is(clouds[i].name, "state", "revoked"));
	standin("{\"reset\":true}");
	await_all("state", "healthy");
	for (size_t i = 0; i < N_CLOUDS; i++)
		assert_fleet(&vms[i], "admitted", "live");
}

static void test_never_revoked(void **state)
{
	static const char out[] = "{\"status\":503}", hang_up[] = "{\"drop\":true}";

	break_all(true, out);
	outlives("the identity providers are out", "identity");
	break_all(true, hang_up);
	outlives("the identity providers hang up", "identity");
	standin("{\"known\":false}");
	outlives("our secrets have expired", "identity");
	standin("{\"skew_s\":4000}");
	outlives("our clock is wrong", "identity");
	break_all(false, out);
	outlives("the KMSes are out", "unavailable");
	break_all(false, hang_up);
	outlives("the KMSes hang up", "unavailable");
	break_all(false, "{\"status\":403,\"body\":\"<html>\"}");
	outlives("an answer that nobody knows", "unavailable");
}

/* A disabled key that describe calls enabled, and one refusal of access: lag, not a decision. */
static void test_unconfirmed(void **state)
{
	static const char *const described[N_CLOUDS] = {
		"{\"faults\":{\"aws\":{\"status\":400,\"times\":1,\"body\":{\"__type\":"
		"\"DisabledException\"}}}}",
		"{\"faults\":{\"azure\":{\"status\":403,\"times\":1,\"body\":{\"error\":{"
		"\"innererror\":{\"code\":\"KeyDisabled\"}}}}}}",
		"{\"faults\":{\"google\":{\"status\":400,\"times\":1,\"body\":{\"error\":{"
		"\"details\":[{\"violations\":[{\"type\":\"KEY_DISABLED\"}]}]}}}}}",
	};

	struct parked *parked[N_CLOUDS];

	for (size_t i = 0; i < N_CLOUDS; i++)
		standin("%s", described[i]);
	pause_ms(4 * PROBE_MS + CONFIRM_MS);
	await_all("state", "healthy");
	for (size_t i = 0; i < N_CLOUDS; i++) {
		standin("%s", clouds[i].forbid);
		await_key(clouds[i].name, "class", "revoked by access");
		assert_true(key_is(clouds[i].name, "follow", "revoked if refused again"));
		standin("{\"reset\":true}");
	}
	park_all(parked);
	pause_ms(2 * CONFIRM_MS);
	await_all("state", "healthy");
	continue_all(parked);
}

/* The lease requests of VM, from the one that is parked on, up to the verdict. Returns when that came. */
static uint64_t await_shred(struct vm *vm, struct parked *parked)
{
	static struct answer answer;
	uint64_t ended_ms;
	struct token token;

	parked_wait(parked);
	answer = parked->answer;
	ended_ms = parked->ended_ms;
	free(parked);
	for (int i = 0; i < 12; i++) {
		assert_int_equal(answer.status, 200);
		assert_int_equal(token_verify(answer.body, answer.size, &trusted, &token), 0);
		if (token.verdict == VERDICT_SHRED)
			break;
		vm_take(vm, &answer, VERDICT_CONTINUE, REASON_NONE);
		new_challenge(vm);
		vm_post_lease(vm, &answer);
		ended_ms = now_ms();
	}
	vm_take(vm, &answer, VERDICT_SHRED, REASON_REVOKED);
	return ended_ms;
}

/* Each customer says no: the KMS is asked no more than CALLS times from then to the verdict, which is in
 * the VM's hand so soon that the print says how soon. ORDERS: NULL, not this cloud. */
static void withdraw(const char *const *orders, int calls)
{
	struct parked *parked[N_CLOUDS];
	uint64_t start[N_CLOUDS];
	int asked[N_CLOUDS];

	/* Fresh leases: the next requests are parked for the poll interval. */
	park_all(parked);
	continue_all(parked);
	park_all(parked);
	for (size_t i = 0; i < N_CLOUDS; i++) {
		start[i] = now_ms();
		if (orders[i])
			standin("%s", orders[i]);
		asked[i] = standin_count(clouds[i].name);
	}
	for (size_t i = 0; i < N_CLOUDS; i++) {
		if (!orders[i]) {
			parked_wait(parked[i]);
			vm_take(&vms[i], &parked[i]->answer, VERDICT_CONTINUE, REASON_NONE);
			new_challenge(&vms[i]);
			free(parked[i]);
			continue;
		}
		print_message("%s: T1 to T2 %u ms\n", clouds[i].name,
			      (unsigned)(await_shred(&vms[i], parked[i]) - start[i]));
		assert_true(key_is(clouds[i].name, "state", "revoked"));
	}
	pause_ms(3 * PROBE_MS);
	for (size_t i = 0; i < N_CLOUDS; i++)
		if (orders[i])
			assert_in_range(standin_count(clouds[i].name) - asked[i], 0, calls);
	standin("{\"reset\":true}");
	pause_ms(3 * PROBE_MS);
	for (size_t i = 0; i < N_CLOUDS; i++) {
		char path[64];

		if (!orders[i])
			continue;
		/* Sticky, until the key administrator has looked. */
		assert_true(key_is(clouds[i].name, "state", "revoked"));
		snprintf(path, sizeof(path), "/v1/keys/%s/clear", clouds[i].name);
		key_admin("POST", path, NULL, 204);
		vm_boot(&vms[i]);
		vm_admit(&vms[i]);
	}
}

static void test_revoked_by_state(void **state)
{
	withdraw((const char *[]){clouds[0].disable, clouds[1].disable, clouds[2].disable}, 2);
}

/* Where the state may not be described, a second probe confirms. */
static void test_revoked_undescribed(void **state)
{
	withdraw(
		(const char *[]){
			"{\"state\":{\"aws\":\"Disabled\"},\"allowed\":{\"aws\":[\"kms:Encrypt\","
			"\"kms:Decrypt\"]}}",
			"{\"state\":{\"azure\":\"disabled\"},\"allowed\":{\"azure\":[\"wrapkey\","
			"\"unwrapkey\"]}}",
			"{\"state\":{\"google\":\"DISABLED\"},\"allowed\":{\"google\":[\"encrypt\","
			"\"decrypt\"]}}"},
		4);
}

static void test_revoked_by_access(void **state)
{
	withdraw((const char *[]){clouds[0].forbid, clouds[1].forbid, clouds[2].forbid}, 2);
}

/* The role that the customer lends, while STS knows us; nobody else minds. */
static void test_revoked_by_role(void **state)
{
	withdraw((const char *[]){"{\"role_allowed\":false,\"forget_tokens\":true}", NULL, NULL},
		 2);
}

/* Nothing succeeded yet: a setting is wrong, nobody is revoked, and the administrator reads which right
 * is missing. */
static void test_refused_at_set_up(void **state)
{
	static const struct {
		unsigned cloud;
		const char *order, *says, *says_not;
	} rows[] = {
		{0, "{\"allowed\":{\"aws\":[\"kms:Decrypt\"]}}", "kms:Encrypt", "kms:Decrypt"},
		{0, "{\"allowed\":{\"aws\":[\"kms:Encrypt\"]}}", "kms:Decrypt", "kms:Encrypt"},
		{0, "{\"role_allowed\":false,\"forget_tokens\":true}", "sts:AssumeRole", "kms:"},
		{0, "{\"state\":{\"aws\":\"Disabled\"}}", "DisabledException", "right"},
		{1, "{\"allowed\":{\"azure\":[\"unwrapkey\"]}}", "to wrapKey", "unwrapKey"},
		{1, "{\"allowed\":{\"azure\":[\"wrapkey\"]}}", "to unwrapKey", "to wrapKey"},
		{1, "{\"state\":{\"azure\":\"deleted\"}}", "KeyNotFound", "right"},
		{2, "{\"allowed\":{\"google\":[\"decrypt\"]}}", "useToEncrypt", "useToDecrypt"},
		{2, "{\"allowed\":{\"google\":[\"encrypt\"]}}", "useToDecrypt", "useToEncrypt"},
		{2, "{\"state\":{\"google\":\"GONE\"}}", "NOT_FOUND", "right"},
	};
	char body[1024];

	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		const struct cloud *cloud = &clouds[rows[i].cloud];
		const char *message;
		json_t *answer;

		snprintf(body, sizeof(body), "{\"name\":\"new\",%s" SETTINGS "}", cloud->settings);
		standin("%s", rows[i].order);
		answer = admin("key-administrator", "POST", "/v1/keys", body, 409);
		message = json_string_value(json_object_get(answer, "message"));
		assert_non_null(message);
		if (!strstr(message, rows[i].says) || strstr(message, rows[i].says_not))
			print_error("%s: %s\n", rows[i].order, message);
		assert_non_null(strstr(message, rows[i].says));
		assert_null(strstr(message, rows[i].says_not));
		json_decref(answer);
		standin("{\"reset\":true}");
	}
	for (size_t i = 0; i < N_CLOUDS; i++)
		vm_done(&vms[i]);
}

static int tests(void)
{
	const struct CMUnitTest list[] = {
		cmocka_unit_test(test_admitted),
		cmocka_unit_test(test_never_revoked),
		cmocka_unit_test(test_unconfirmed),
		cmocka_unit_test(test_revoked_by_state),
		cmocka_unit_test(test_revoked_undescribed),
		cmocka_unit_test(test_revoked_by_access),
		cmocka_unit_test(test_revoked_by_role),
		cmocka_unit_test(test_refused_at_set_up),
	};

	return cmocka_run_group_tests(list, clouds_set_up, clouds_tear_down);
}

int main(int argc, char **argv)
{
	return world_main(argc, argv, tests);
}
