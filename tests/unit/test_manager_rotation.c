/* SPDX-License-Identifier: Apache-2.0 */
/* CMKs that are rotated in each cloud, at a real manager: KEKs wrapped anew in the background, while
 * storage nodes and VMs go on; who may, and when. */
#include "manager_clouds.h"
#include "manager_node.h"

#include <sqlite3.h>

#define AZURE_NAME "k"

#define SETTINGS                                                                                   \
	",\"poll_ms\":1000,\"lease_ms\":120000,\"margin_ms\":10000,\"max_staleness_ms\":90000,"    \
	"\"probe_ms\":500"
#define USES 4

static const struct cloud {
	const char *name;
	const char *info; /* up to where the CMK's own name ends */
	const char *credentials;
	bool tells_version;
} clouds[] = {
	{"aws", "\"aws_key_info\":{\"key_arn\":\"" AWS_KEY, "aws-static", false},
	{"azure",
	 "\"azure_key_info\":{\"key_vault_uri\":\"" AZURE_VAULT "/\",\"key_name\":\"" AZURE_NAME,
	 "azure-secret", true},
	{"google", "\"gcp_key_info\":{\"kms_key_id\":\"" GOOGLE_KEY, "google-account", true},
};
#define GOOGLE (&clouds[2])

static int reset(void **state)
{
	standin("{\"reset\":true}");
	return 0;
}

/* Key configuration and workspace of one name; a CMK of its own, where the name is not the cloud's. */
static void make_cloud_workspace(const struct cloud *cloud, const char *name)
{
	bool first = strcmp(name, cloud->name) == 0;
	char body[1024];

	snprintf(body, sizeof(body),
		 "{\"name\":\"%s\",%s%s%s\"},\"credentials\":\"%s\"" SETTINGS "}", name,
		 cloud->info, first ? "" : "-", first ? "" : name, cloud->credentials);
	key_admin("POST", "/v1/keys", body, 204);
	make_workspace(name, name);
}

static void generate_all(const struct node *node, struct dek *deks, size_t n)
{
	char use[32];

	for (size_t i = 0; i < n; i++) {
		snprintf(use, sizeof(use), "use%zu", i);
		deks[i] = generate(node, use, use);
	}
}

static void unwrap_all(const struct node *node, const struct dek *deks, size_t n, bool rewrap)
{
	char use[32];

	for (size_t i = 0; i < n; i++) {
		struct dek got;

		snprintf(use, sizeof(use), "use%zu", i);
		got = unwrap(node, deks[i].blob, use);
		assert_string_equal(got.text, deks[i].text);
		assert_int_equal(got.rewrap, rewrap);
	}
}

static json_t *progress(const char *key)
{
	char path[64];

	snprintf(path, sizeof(path), "/v1/keys/%s/rotation", key);
	return admin("operator", "GET", path, NULL, 200);
}

static json_int_t progress_int(const char *key, const char *member)
{
	json_t *answer = progress(key);
	json_int_t value = json_integer_value(json_object_get(answer, member));

	json_decref(answer);
	return value;
}

static bool progress_is(const char *key, const char *member, const char *expected)
{
	json_t *answer = progress(key);
	bool is = strcmp(text_of(answer, member), expected) == 0;

	json_decref(answer);
	return is;
}

static bool others_are_free(const char *key)
{
	json_t *answer = progress(key);
	bool free = json_is_true(json_object_get(answer, "others_safe_to_disable"));

	json_decref(answer);
	return free;
}

/* For what has no event: asked until it holds. */
static void await_state(const char *key, const char *state)
{
	for (int i = 0; i < 600 && !progress_is(key, "state", state); i++)
		pause_ms(100);
	if (!progress_is(key, "state", state)) {
		json_t *answer = progress(key);

		json_dumpf(answer, stderr, 0);
		json_decref(answer);
		fail();
	}
}

static void rotate(const char *key, const char *to, long status)
{
	char path[64], body[96];

	snprintf(path, sizeof(path), "/v1/keys/%s/rotate", key);
	snprintf(body, sizeof(body), to ? "{\"to\":\"%s\"}" : "{}", to);
	key_admin("POST", path, body, status);
}

/* The one version that is in use, or "" where there is none, or the provider does not tell. */
static void the_version(const char *key, char version[static 80])
{
	json_t *answer = progress(key), *rows = json_object_get(answer, "versions");

	assert_true(json_array_size(rows) <= 1);
	*version = '\0';
	if (json_array_size(rows) == 1)
		snprintf(version, 80, "%s", text_of(json_array_get(rows, 0), "version"));
	json_decref(answer);
}

/* How many records of EVENT about key configuration KEY there are, in the store itself. */
static int audited(const char *event, const char *key)
{
	sqlite3_stmt *statement;
	char path[96];
	sqlite3 *db;
	int n;

	snprintf(path, sizeof(path), "%s/manager.db", state_dir);
	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	sqlite3_busy_timeout(db, 5000);
	assert_int_equal(sqlite3_prepare_v2(db,
					    "SELECT count(*) FROM audit WHERE "
					    "json_extract(content, '$.event') = ?1 AND "
					    "json_extract(content, '$.key') = ?2",
					    -1, &statement, NULL),
			 SQLITE_OK);
	sqlite3_bind_text(statement, 1, event, -1, SQLITE_STATIC);
	sqlite3_bind_text(statement, 2, key, -1, SQLITE_STATIC);
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
	n = sqlite3_column_int(statement, 0);
	sqlite3_finalize(statement);
	sqlite3_close(db);
	return n;
}

/* --- in each cloud --- */

static void restart(void)
{
	manager_stop();
	manager_start();
}

static void disable_version(const struct cloud *cloud, const char *version)
{
	standin("{\"disabled\":{\"%s\":[\"%s\"]}}", cloud->name, version);
}

/* The customer rotates; all is wrapped anew; the version before is disabled, and nobody notices. */
static void rotate_in(const struct cloud *cloud)
{
	const char *name = cloud->name;
	struct dek deks[USES], again;
	char old[80], new[80];
	struct node node;
	struct vm vm;
	uint64_t asked;

	make_cloud_workspace(cloud, name);
	node_enrol(&node, name, name);
	vm_enrol(&vm, name, name);
	vm_admit(&vm);
	generate_all(&node, deks, USES);
	the_version(name, old);
	assert_int_equal(*old != '\0', cloud->tells_version);
	assert_true(progress_is(name, "state", "none"));
	assert_int_equal(others_are_free(name), cloud->tells_version);
	standin("{\"rotate\":[\"%s\"]}", name);
	/* Old and new side by side: the old one is needed. */
	again = generate(&node, "late", NULL);
	assert_false(others_are_free(name));
	asked = metric("keks_asked");
	rotate(name, NULL, 204);
	await_state(name, "complete");
	assert_int_equal(progress_int(name, "keks"), USES + 2);
	assert_int_equal(progress_int(name, "left"), 0);
	assert_int_equal(audited("kek-rewrapped", name), USES + 1);
	assert_int_equal(audited("kek-made", name), USES + 1);
	assert_int_equal(audited("key-rotated", name), 1);
	assert_true(others_are_free(name));
	the_version(name, new);
	if (cloud->tells_version) {
		assert_string_not_equal(new, old);
		disable_version(cloud, old);
	}
	/* What was unwrapped is so still; each blob should be rewrapped, none must be. */
	unwrap_all(&node, deks, USES, true);
	assert_int_equal(metric("keks_asked"), asked);
	again = rewrap(&node, &deks[0], "use0");
	assert_false(unwrap(&node, again.blob, "use0").rewrap);
	/* No lease is shorter than evidence of this moment makes it. */
	vm_renew(&vm);
	assert_true(vm.token.ttl_ms > 60000);
	restart();
	unwrap_all(&node, deks, USES, true);
	assert_int_equal(metric("keks_asked"), USES);
	assert_string_equal(unwrap(&node, again.blob, "use0").text, deks[0].text);
	vm_renew(&vm);
	assert_int_equal(audited("revoked", name), 0);
	vm_done(&vm);
}

static void test_aws(void **state)
{
	rotate_in(&clouds[0]);
}

static void test_azure(void **state)
{
	rotate_in(&clouds[1]);
}

static void test_google(void **state)
{
	rotate_in(&clouds[2]);
}

/* --- what happens in between --- */

#define MANY 24
#define DONE 10

/* The customer rotates, and the KMS wraps DONE KEKs anew before it does FAULT. */
static void rotate_until(const char *key, const char *fault)
{
	/* One is wrapped before it begins. */
	standin("{\"rotate\":[\"google\"],\"faults\":{\"google-wrap\":{\"after\":%d,%s}}}",
		DONE + 1, fault);
	rotate(key, NULL, 204);
}

static void test_resumes_after_a_crash(void **state)
{
	struct dek deks[MANY];
	struct node node;
	char old[80];

	make_cloud_workspace(GOOGLE, "crash");
	node_enrol(&node, "crash", "crash");
	generate_all(&node, deks, MANY);
	the_version("crash", old);
	rotate_until("crash", "\"delay\":30");
	for (int i = 0; i < 600 && progress_int("crash", "left") > MANY + 1 - DONE; i++)
		pause_ms(50);
	/* The next ones are under way, and the KMS keeps them waiting. */
	manager_kill();
	standin("{\"reset\":true}");
	manager_start();
	await_state("crash", "complete");
	/* It went on: what was done is not done again. */
	assert_int_equal(metric("keks_rewrapped"), MANY + 1 - DONE);
	assert_int_equal(audited("kek-rewrapped", "crash"), MANY);
	disable_version(GOOGLE, old);
	unwrap_all(&node, deks, MANY, true);
}

/* While the KMS is away nothing is lost, and it goes on by itself. */
static void test_waits_for_the_kms(void **state)
{
	struct dek deks[MANY];
	struct node node;

	make_cloud_workspace(GOOGLE, "away");
	node_enrol(&node, "away", "away");
	generate_all(&node, deks, MANY);
	rotate_until("away", "\"status\":503,\"body\":\"\"");
	await_state("away", "waiting");
	assert_int_equal(progress_int("away", "left"), MANY + 1 - DONE);
	assert_false(progress_is("away", "trouble", ""));
	assert_false(others_are_free("away"));
	generate(&node, "use0", NULL);
	standin("{\"reset\":true}");
	await_state("away", "complete");
	unwrap_all(&node, deks, MANY, true);
}

static void await_key_state(const char *key, const char *expected)
{
	char path[64];
	bool is = false;

	snprintf(path, sizeof(path), "/v1/keys/%s", key);
	for (int i = 0; i < 300 && !is; i++) {
		json_t *answer = admin("operator", "GET", path, NULL, 200);

		is = strcmp(text_of(answer, "state"), expected) == 0;
		json_decref(answer);
		if (!is)
			pause_ms(100);
	}
	assert_true(is);
}

/* A revocation stops it; nothing goes on by itself before that is cleared. */
static void test_stops_at_a_revocation(void **state)
{
	struct dek deks[MANY];
	struct node node;

	make_cloud_workspace(GOOGLE, "taken");
	node_enrol(&node, "taken", "taken");
	generate_all(&node, deks, MANY);
	rotate_until("taken", "\"status\":503,\"body\":\"\"");
	await_state("taken", "waiting");
	standin("{\"state\":{\"google\":\"DISABLED\"}}");
	await_key_state("taken", "revoked");
	call_refused(&node, "/v1/deks/unwrap", one_blob(deks[0].blob, "use0"), 403, "revoked");
	rotate("taken", NULL, 409);
	standin("{\"reset\":true}");
	restart();
	pause_ms(1500); /* more than the first wait */
	assert_int_equal(progress_int("taken", "left"), MANY + 1 - DONE);
	key_admin("POST", "/v1/keys/taken/clear", NULL, 204);
	await_state("taken", "complete");
	unwrap_all(&node, deks, 1, true);
}

/* --- to another key configuration, in another cloud --- */

static void test_to_another_key(void **state)
{
	struct dek deks[USES], other;
	struct node node, second;
	struct vm vm;
	uint64_t asked;

	make_cloud_workspace(GOOGLE, "from");
	make_workspace("from2", "from");
	make_key("goal", SETTINGS);
	node_enrol(&node, "from", "from");
	node_enrol(&second, "from2", "from2");
	vm_enrol(&vm, "from", "from");
	vm_admit(&vm);
	generate_all(&node, deks, USES);
	generate_all(&second, &other, 1);
	asked = metric("keks_asked");
	rotate("from", "goal", 204);
	await_state("from", "complete");
	assert_int_equal(progress_int("from", "keks"), 0);
	assert_true(others_are_free("from"));
	assert_int_equal(progress_int("goal", "keks"), USES + 3);
	assert_int_equal(audited("kek-rewrapped", "goal"), USES + 1);
	assert_int_equal(audited("key-rotated", "from"), 1);
	/* The old CMK is gone for good. */
	standin("{\"state\":{\"google\":\"DESTROYED\"}}");
	unwrap_all(&node, deks, USES, true);
	unwrap_all(&second, &other, 1, true);
	assert_int_equal(metric("keks_asked"), asked);
	vm_renew(&vm);
	assert_true(vm.token.ttl_ms > 60000);
	key_admin("DELETE", "/v1/keys/from", NULL, 204);
	restart();
	unwrap_all(&node, deks, USES, true);
	vm_renew(&vm);
	/* The new one governs: what is out goes when it is taken back. */
	assert_int_equal(keyfile_set_state(key_dir, "goal", KEYFILE_DISABLED), 0);
	await_key_state("goal", "revoked");
	call_refused(&node, "/v1/deks/unwrap", one_blob(deks[0].blob, "use0"), 403, "revoked");
	vm_done(&vm);
}

/* --- who may, and when --- */

static void assert_untouched(const char *key)
{
	assert_true(progress_is(key, "state", "none"));
	assert_int_equal(progress_int(key, "generation"), 0);
	assert_int_equal(progress_int(key, "left"), 0);
}

static void test_who_may(void **state)
{
	struct node node;

	make_cloud_workspace(GOOGLE, "guarded");
	node_enrol(&node, "guarded", "guarded");
	json_decref(admin("operator", "POST", "/v1/keys/guarded/rotate", "{}", 403));
	json_decref(call(&node, "/v1/keys/guarded/rotate", json_object(), 404));
	rotate("absent", NULL, 404);
	rotate("guarded", "absent", 404);
	rotate("guarded", "guarded", 409);
	rotate("guarded", "../x", 400);
	key_admin("POST", "/v1/keys/guarded/rotate", "{\"key_id\":\"k\"}", 400);
	json_decref(admin("operator", "GET", "/v1/keys/absent/rotation", NULL, 404));
	assert_untouched("guarded");
}

static void test_while_the_old_one_is_not_healthy(void **state)
{
	make_cloud_workspace(GOOGLE, "sick");
	make_key("well", SETTINGS);
	standin("{\"faults\":{\"google\":{\"status\":503,\"body\":\"\"}}}");
	rotate("sick", NULL, 503);
	rotate("sick", "well", 503);
	standin("{\"reset\":true,\"known\":false,\"forget_tokens\":true}");
	rotate("sick", "well", 503);
	standin("{\"reset\":true,\"state\":{\"google\":\"DISABLED\"}}");
	rotate("sick", "well", 409);
	standin("{\"reset\":true}");
	/* It may wrap, but not unwrap: whoever stole the right to the one has not the other. */
	standin("{\"allowed\":{\"google\":[\"encrypt\",\"get\"]}}");
	rotate("sick", NULL, 409);
	rotate("sick", "well", 409);
	standin("{\"reset\":true}");
	/* And the other way round: the new one must wrap. */
	standin("{\"allowed\":{\"google\":[\"decrypt\",\"get\"]}}");
	rotate("sick", NULL, 409);
	standin("{\"reset\":true}");
	assert_untouched("sick");
	assert_int_equal(progress_int("well", "keks"), 0);
}

static void test_while_the_new_one_is_not_healthy(void **state)
{
	struct dek deks[1];
	struct node node;

	make_cloud_workspace(GOOGLE, "stays");
	make_key("lost", SETTINGS);
	node_enrol(&node, "stays", "stays");
	generate_all(&node, deks, 1);
	assert_int_equal(keyfile_set_state(key_dir, "lost", KEYFILE_DISABLED), 0);
	rotate("stays", "lost", 409);
	assert_untouched("stays");
	unwrap_all(&node, deks, 1, false);
	assert_int_equal(keyfile_set_state(key_dir, "lost", KEYFILE_ENABLED), 0);
	rotate("stays", "lost", 204);
	await_state("stays", "complete");
	/* Two that go to each other would never end. */
	standin("{\"faults\":{\"google-wrap\":{\"after\":1,\"status\":503,\"body\":\"\"}}}");
	rotate("lost", "stays", 204);
	await_state("lost", "waiting");
	rotate("stays", "lost", 409);
	standin("{\"reset\":true}");
	await_state("lost", "complete");
	assert_int_equal(progress_int("stays", "keks"), 2);
}

/* --- KEKs --- */

static void kek_order(const char *role, const char *workspace, const char *verb, const char *body,
		      long status)
{
	char path[96];

	snprintf(path, sizeof(path), "/v1/workspaces/%s/keks/%s", workspace, verb);
	json_decref(admin(role, "POST", path, body, status));
}

static void order(const char *verb, const char *body, long status)
{
	kek_order("key-administrator", "keks", verb, body, status);
}

static void test_rotate_a_kek(void **state)
{
	struct dek old, other, new, moved;
	struct node node;
	uint64_t asked;

	make_cloud_workspace(GOOGLE, "keks");
	node_enrol(&node, "keks", "keks");
	old = generate(&node, "data", NULL);
	other = generate(&node, "wal", NULL);
	order("rotate", "{\"use\":\"data\"}", 204);
	asked = metric("keks_asked");
	/* New DEKs at once under the next version, those of the one before go on. */
	new = generate(&node, "data", NULL);
	assert_memory_equal(old.blob + 2 * 24, "00000001", 8);
	assert_memory_equal(new.blob + 2 * 24, "00000002", 8);
	moved = unwrap(&node, old.blob, NULL);
	assert_string_equal(moved.text, old.text);
	assert_true(moved.rewrap);
	assert_false(unwrap(&node, new.blob, NULL).rewrap);
	assert_false(unwrap(&node, other.blob, NULL).rewrap);
	moved = rewrap(&node, &old, NULL);
	assert_memory_equal(moved.blob + 2 * 24, "00000002", 8);
	assert_string_equal(unwrap(&node, moved.blob, NULL).text, old.text);
	assert_int_equal(metric("keks_asked"), asked);
	assert_int_equal(audited("kek-made", "keks"), 3);
	/* Who has moved needs the old one no more. */
	order("retire", "{\"use\":\"data\",\"version\":1}", 204);
	assert_refused(&node, "/v1/deks/unwrap", old.blob, NULL, "retired", "is retired");
	assert_refused(&node, "/v1/deks/rewrap", old.blob, NULL, "retired", "is retired");
	assert_string_equal(unwrap(&node, moved.blob, NULL).text, old.text);
	restart();
	/* The blob carries its KEK; that does not bring it back. */
	assert_refused(&node, "/v1/deks/unwrap", old.blob, NULL, "retired", "is retired");
	order("restore", "{\"use\":\"data\",\"version\":1}", 204);
	assert_string_equal(unwrap(&node, old.blob, NULL).text, old.text);
	assert_int_equal(audited("kek-retired", "keks"), 1);
	assert_int_equal(audited("kek-restored", "keks"), 1);
}

static void test_who_may_on_keks(void **state)
{
	static const char one[] = "{\"use\":\"data\",\"version\":1}", use[] = "{\"use\":\"data\"}";
	struct node node;
	struct dek dek;

	make_cloud_workspace(GOOGLE, "mine");
	node_enrol(&node, "mine", "mine");
	dek = generate(&node, "data", NULL);
	kek_order("operator", "mine", "rotate", use, 403);
	kek_order("operator", "mine", "retire", one, 403);
	kek_order("operator", "mine", "restore", one, 403);
	json_decref(call(&node, "/v1/workspaces/mine/keks/rotate", json_object(), 404));
	kek_order("key-administrator", "absent", "rotate", use, 404);
	kek_order("key-administrator", "mine", "rotate", "{\"use\":\"other\"}", 404);
	kek_order("key-administrator", "mine", "rotate", "{}", 400);
	/* Not the one that new DEKs need; not one that is not there. */
	kek_order("key-administrator", "mine", "retire", one, 409);
	kek_order("key-administrator", "mine", "retire", "{\"use\":\"data\",\"version\":2}", 404);
	kek_order("key-administrator", "mine", "retire",
		  "{\"use\":\"data\",\"version\":4294967297}", 400);
	/* Nothing is made that the CMK does not agree to. */
	standin("{\"faults\":{\"google\":{\"status\":503,\"body\":\"\"}}}");
	kek_order("key-administrator", "mine", "rotate", use, 503);
	standin("{\"reset\":true,\"allowed\":{\"google\":[\"encrypt\",\"get\"]}}");
	kek_order("key-administrator", "mine", "rotate", use, 409);
	standin("{\"reset\":true}");
	assert_memory_equal(generate(&node, "data", NULL).blob + 2 * 24, "00000001", 8);
	assert_string_equal(unwrap(&node, dek.blob, NULL).text, dek.text);
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_aws, reset),
		cmocka_unit_test_setup(test_azure, reset),
		cmocka_unit_test_setup(test_google, reset),
		cmocka_unit_test_setup(test_resumes_after_a_crash, reset),
		cmocka_unit_test_setup(test_waits_for_the_kms, reset),
		cmocka_unit_test_setup(test_stops_at_a_revocation, reset),
		cmocka_unit_test_setup(test_to_another_key, reset),
		cmocka_unit_test_setup(test_who_may, reset),
		cmocka_unit_test_setup(test_rotate_a_kek, reset),
		cmocka_unit_test_setup(test_who_may_on_keks, reset),
		cmocka_unit_test_setup(test_while_the_old_one_is_not_healthy, reset),
		cmocka_unit_test_setup(test_while_the_new_one_is_not_healthy, reset),
	};

	return cmocka_run_group_tests(tests, clouds_set_up, clouds_tear_down);
}

int main(int argc, char **argv)
{
	return world_main(argc, argv, run);
}
