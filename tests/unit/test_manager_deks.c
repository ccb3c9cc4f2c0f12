/* SPDX-License-Identifier: Apache-2.0 */
/* Storage nodes at a real manager: DEKs made, unwrapped, rewrapped; who gets none, and for how long. */
#include "manager_node.h"

#include "base/cleanup.h"
#include "manager/dek_engine.h"
#include "manager/lease_engine.h"
#include "storage/emberlock-storage.h"

_Static_assert(EMBERLOCK_DEK_BATCH_MAX == DEK_BATCH_MAX, "DEKs of a request");

/* --- policy, without a manager --- */

static void test_decisions(void **state)
{
	static const uint64_t times[] = {0,	 1,	 50000,	 99999, 100000,
					 100001, 115000, 115001, 120000};
	struct store_key key;

	store_key_defaults(&key);
	key.max_staleness_ms = 20000;
	key.lease_ms = 15000;
	for (size_t e = 0; e < ELEMENTSOF(times); e++)
		for (size_t n = 0; n < ELEMENTSOF(times); n++)
			for (int bits = 0; bits < 8; bits++) {
				struct dek_facts facts = {.key = bits & 1 ? &key : NULL,
							  .frozen = bits & 4,
							  .evidence_ms = times[e]};
				struct dek_decision d;
				uint64_t now = times[n];

				key.revoked_ms = bits & 2 ? 7 : 0;
				d = dek_decide(&facts, now);
				if (!facts.key)
					assert_int_equal(d.action, DEK_UNBOUND);
				else if (key.revoked_ms > 0)
					assert_int_equal(d.action, DEK_REVOKED);
				else if (facts.frozen)
					assert_int_equal(d.action, DEK_FROZEN);
				if (d.action != DEK_GRANT) {
					assert_int_equal(d.ttl_ms, 0);
					continue;
				}
				/* The rule: never beyond the evidence, which is of the past. */
				assert_true(facts.evidence_ms > 0 && facts.evidence_ms <= now);
				assert_true(now + d.ttl_ms <= facts.evidence_ms + 20000);
				assert_in_range(d.ttl_ms, ENGINE_TTL_MIN_MS, 15000);
			}
	key.revoked_ms = 0;
	assert_int_equal(
		dek_decide(&(struct dek_facts){.key = &key, .evidence_ms = 100000}, 100000).ttl_ms,
		15000);
	assert_int_equal(
		dek_decide(&(struct dek_facts){.key = &key, .evidence_ms = 100000}, 115000).ttl_ms,
		5000);
	assert_int_equal(
		dek_decide(&(struct dek_facts){.key = &key, .evidence_ms = 100000}, 115001).action,
		DEK_STALE);
}

/* --- at a manager --- */

static void test_round_trip(void **state)
{
	struct dek dek, other, again;
	struct node node;
	uint64_t asked;

	node_enrol(&node, "w", "round");
	dek = generate(&node, "data", "table=7");
	assert_in_range(dek.ttl_ms, ENGINE_TTL_MIN_MS, 20000);
	asked = metric("keks_asked");
	other = generate(&node, "data", "table=7");
	assert_string_not_equal(dek.text, other.text);
	assert_string_not_equal(dek.blob, other.blob);
	again = unwrap(&node, dek.blob, "table=7");
	assert_string_equal(again.text, dek.text);
	assert_in_range(again.ttl_ms, ENGINE_TTL_MIN_MS, 20000);
	assert_false(again.rewrap);
	/* The DEK stays, the blob changes. */
	other = rewrap(&node, &dek, "table=7");
	assert_string_not_equal(other.blob, dek.blob);
	assert_string_equal(unwrap(&node, other.blob, "table=7").text, dek.text);
	/* All under one KEK that was unwrapped once. */
	assert_int_equal(metric("keks_asked"), asked);
	dek = generate(&node, "wal", NULL);
	assert_string_equal(unwrap(&node, dek.blob, NULL).text, dek.text);
	assert_int_equal(metric("keks_asked"), asked + 1);
}

static void test_batch(void **state)
{
	json_t *items = json_array(), *answer, *blobs, *item, *unwrapped;
	struct node node;
	size_t i;

	node_enrol(&node, "w", "batch");
	for (i = 0; i < DEK_BATCH_MAX; i++)
		json_array_append_new(items, json_pack("{s:s}", "context", i % 2 ? "odd" : "even"));
	answer = call(&node, "/v1/deks/generate",
		      json_pack("{s:s, s:O}", "use", "data", "items", items), 200);
	json_array_append_new(items, json_object());
	call_refused(&node, "/v1/deks/generate",
		     json_pack("{s:s, s:o}", "use", "data", "items", items), 400, "malformed");
	blobs = json_array();
	json_array_foreach(json_object_get(answer, "items"), i, item) json_array_append_new(
		blobs, json_pack("{s:s, s:s}", "blob", text_of(item, "blob"), "context",
				 i % 2 && i != 5 ? "odd" : "even"));
	/* One with another's context: that one alone is refused. */
	unwrapped = call(&node, "/v1/deks/unwrap", json_pack("{s:o}", "items", blobs), 200);
	items = json_object_get(unwrapped, "items");
	assert_int_equal(json_array_size(items), DEK_BATCH_MAX);
	json_array_foreach(json_object_get(answer, "items"), i, item)
	{
		json_t *got = json_array_get(items, i);

		if (i == 5)
			assert_string_equal(text_of(got, "error"), "refused");
		else
			assert_string_equal(text_of(got, "dek"), text_of(item, "dek"));
	}
	json_decref(unwrapped);
	json_decref(answer);
}

static void test_bodies(void **state)
{
	static const struct {
		const char *path, *body, *words;
	} table[] = {
		{"generate", "{}", "member 'use' is missing"},
		{"generate", "{\"use\":\"data\"}", "member 'items' is missing"},
		{"generate", "{\"use\":\"../x\",\"items\":[{}]}", "member 'use' must be a name"},
		{"generate", "{\"use\":\"data\",\"items\":[]}", "array of 1 to 64 objects"},
		{"generate", "{\"use\":\"data\",\"items\":[7]}", "element 0: not an object"},
		{"generate", "{\"use\":\"data\",\"items\":[{},{\"x\":1}]}",
		 "element 1: unknown member 'x'"},
		{"generate", "{\"use\":\"data\",\"items\":[{\"context\":\"\"}]}",
		 "member 'context'"},
		{"unwrap", "{\"items\":[{}]}", "element 0: member 'blob' is missing"},
		{"unwrap", "{\"items\":[{\"blob\":\"4\"}]}", "member 'blob' must be hex"},
		{"unwrap", "{\"items\":[{\"blob\":\"4x\"}]}", "member 'blob' must be hex"},
		{"rewrap", "{\"items\":[{\"blob\":7}]}", "member 'blob' must be hex"},
		{"rewrap", "[]", "not a JSON object"},
	};
	struct node node;

	node_enrol(&node, "w", "bodies");
	for (size_t i = 0; i < ELEMENTSOF(table); i++) {
		json_t *answer;
		char path[64];

		snprintf(path, sizeof(path), "/v1/deks/%s", table[i].path);
		answer = call(&node, path, json_loads(table[i].body, 0, NULL), 400);
		assert_non_null(strstr(text_of(answer, "message"), table[i].words));
		json_decref(answer);
	}
}

/* Another digit in place AT of the hex text. */
static void flip(struct dek *dek, size_t at)
{
	dek->blob[at] = dek->blob[at] == '0' ? '1' : '0';
}

static void test_bad_blobs(void **state)
{
	static const char *const paths[] = {"/v1/deks/unwrap", "/v1/deks/rewrap"};
	struct dek dek, bad;
	struct node node;

	node_enrol(&node, "w", "bad");
	dek = generate(&node, "data", NULL);
	for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
		assert_refused(&node, paths[i], dek.blob, "other", "refused", "another workspace");
		bad = dek;
		bad.blob[strlen(bad.blob) - 2] = '\0';
		assert_refused(&node, paths[i], bad.blob, NULL, "malformed", "cut short");
		flip(&bad, 1);
		assert_refused(&node, paths[i], bad.blob, NULL, "malformed", "does not begin");
		bad = dek; /* in the DEK, the salt, the wrapped KEK */
		flip(&bad, strlen(bad.blob) - 70);
		assert_refused(&node, paths[i], bad.blob, NULL, "refused", "damaged");
		bad = dek;
		flip(&bad, 80);
		assert_refused(&node, paths[i], bad.blob, NULL, "refused", "damaged");
		bad = dek;
		flip(&bad, 210);
		assert_refused(&node, paths[i], bad.blob, NULL, "refused", "damaged");
		/* A KEK that nobody has: the KMS does not open it, and that says nothing of the CMK. */
		bad = dek;
		flip(&bad, 20);
		assert_refused(&node, paths[i], bad.blob, NULL, "refused", "damaged");
	}
	assert_string_equal(unwrap(&node, dek.blob, NULL).text, dek.text);
}

static void test_isolation(void **state)
{
	char hex[2 * HASH_SIZE + 1];
	struct node w, v, stranger;
	struct dek of_w, of_v;
	uint64_t asked;

	make_workspace("v", "main");
	node_enrol(&w, "w", "isolated-w");
	node_enrol(&v, "v", "isolated-v");
	of_w = generate(&w, "data", NULL);
	of_v = generate(&v, "data", NULL);
	asked = metric("keks_asked");
	assert_refused(&v, "/v1/deks/unwrap", of_w.blob, NULL, "refused", "another workspace");
	assert_refused(&w, "/v1/deks/unwrap", of_v.blob, NULL, "refused", "another workspace");
	assert_refused(&v, "/v1/deks/rewrap", of_w.blob, NULL, "refused", "another workspace");
	/* Not even the KMS was asked. */
	assert_int_equal(metric("keks_asked"), asked);
	node_make(&stranger, "w", "stranger", hex);
	call_refused(&stranger, "/v1/deks/generate", one_use("data", NULL), 403, "node");
	call_refused(&stranger, "/v1/deks/unwrap", one_blob(of_w.blob, NULL), 403, "node");
	/* A body of theirs is not even looked at. */
	call_refused(&stranger, "/v1/deks/unwrap", json_object(), 403, "node");
	node_announce(&stranger, hex);
	assert_string_equal(unwrap(&stranger, of_w.blob, NULL).text, of_w.text);
	operate("DELETE", "/v1/storage-nodes/w/stranger", 204);
	call_refused(&stranger, "/v1/deks/unwrap", one_blob(of_w.blob, NULL), 403, "node");
	call_refused(&stranger, "/v1/deks/rewrap", one_blob(of_w.blob, NULL), 403, "node");
	/* Whoever has no certificate does not get in, nor does a node among the VMs' routes. */
	{
		static struct answer answer;

		perform(handle_for(storage_url, "/healthz", &answer), &answer);
		assert_int_not_equal(answer.error, CURLE_OK);
	}
	json_decref(call(&w, "/v1/boot", json_object(), 404));
}

static void test_unbound(void **state)
{
	struct node node;

	key_admin("POST", "/v1/workspaces", "{\"name\":\"loose\"}", 204);
	node_enrol(&node, "loose", "loose");
	call_refused(&node, "/v1/deks/generate", one_use("data", NULL), 409, "unbound");
}

static void test_limits(void **state)
{
	json_t *items = json_array();
	char use[16], hex[9];
	struct node node;
	struct dek dek;
	uint64_t asked;

	make_workspace("many", "main");
	node_enrol(&node, "many", "many");
	for (int i = 0; i <= DEK_KEKS_MAX; i++) {
		snprintf(use, sizeof(use), "use%d", i);
		dek = generate(&node, use, NULL);
		json_array_append_new(items, json_pack("{s:s}", "blob", dek.blob));
	}
	call_refused(&node, "/v1/deks/unwrap", json_pack("{s:O}", "items", items), 400, "keks");
	json_array_remove(items, 0);
	json_decref(call(&node, "/v1/deks/unwrap", json_pack("{s:o}", "items", items), 200));
	/* KEKs that nobody has: soon no KMS is asked any more. */
	for (unsigned i = 0;; i++) {
		long status;

		assert_in_range(i, 0, 63);
		snprintf(hex, sizeof(hex), "%08x", 0xabcd0000 + i);
		memcpy(dek.blob + 16, hex, 8);
		asked = metric("keks_asked");
		json_decref(call_any(&node, "/v1/deks/unwrap", one_blob(dek.blob, NULL), &status));
		if (status == 429)
			break;
		assert_int_equal(status, 200);
		assert_int_equal(metric("keks_asked"), asked + 1);
	}
	assert_int_equal(metric("keks_asked"), asked);
	/* Who needs no KMS is not held up. */
	generate(&node, "use0", NULL);
}

/* Asks until the blob is unwrapped. */
static void wait_unwrap(const struct node *node, const char *blob)
{
	for (int i = 0; i < 200; i++) {
		json_t *answer;
		long got;

		answer = call_any(node, "/v1/deks/unwrap", one_blob(blob, NULL), &got);
		json_decref(answer);
		if (got == 200)
			return;
		pause_ms(50);
	}
	fail();
}

static void wait_revoked(const char *key)
{
	char path[64];

	snprintf(path, sizeof(path), "/v1/keys/%s", key);
	for (int i = 0; i < 200; i++) {
		json_t *answer = admin("operator", "GET", path, NULL, 200);
		bool revoked = strcmp(text_of(answer, "state"), "revoked") == 0;

		json_decref(answer);
		if (revoked)
			return;
		pause_ms(50);
	}
	fail();
}

static void test_revocation(void **state)
{
	struct node node, other;
	struct dek dek, of_main;

	make_key("taken", QUICK);
	make_workspace("taken", "taken");
	node_enrol(&node, "taken", "taken");
	node_enrol(&other, "w", "untouched");
	dek = generate(&node, "data", NULL);
	of_main = generate(&other, "data", NULL);
	assert_int_equal(keyfile_set_state(key_dir, "taken", KEYFILE_DISABLED), 0);
	/* No VM, no request: what is out keeps the prober awake. */
	wait_revoked("taken");
	call_refused(&node, "/v1/deks/unwrap", one_blob(dek.blob, NULL), 403, "revoked");
	call_refused(&node, "/v1/deks/generate", one_use("data", NULL), 403, "revoked");
	call_refused(&node, "/v1/deks/rewrap", one_blob(dek.blob, NULL), 403, "revoked");
	assert_string_equal(unwrap(&other, of_main.blob, NULL).text, of_main.text);
	/* It is sticky. */
	assert_int_equal(keyfile_set_state(key_dir, "taken", KEYFILE_ENABLED), 0);
	pause_ms(1200); /* more than a probe interval */
	call_refused(&node, "/v1/deks/unwrap", one_blob(dek.blob, NULL), 403, "revoked");
	key_admin("POST", "/v1/keys/taken/clear", NULL, 204);
	/* The KEK was dropped: it is unwrapped again. */
	{
		uint64_t asked = metric("keks_asked");

		assert_string_equal(unwrap(&node, dek.blob, NULL).text, dek.text);
		assert_int_equal(metric("keks_asked"), asked + 1);
	}
}

/* --- watching --- */

struct watching {
	pthread_t thread;
	const struct node *node;
	struct answer answer;
};

static void *watch_main(void *userdata)
{
	struct watching *watching = userdata;
	CURL *curl = handle_for(storage_url, "/v1/deks/watch", &watching->answer);

	curl_easy_setopt(curl, CURLOPT_SSLCERT, watching->node->certificate);
	curl_easy_setopt(curl, CURLOPT_SSLKEY, watching->node->key);
	perform(curl, &watching->answer);
	return NULL;
}

static struct watching *watch(const struct node *node)
{
	struct watching *watching = calloc(1, sizeof(*watching));

	assert_non_null(watching);
	watching->node = node;
	assert_int_equal(pthread_create(&watching->thread, NULL, watch_main, watching), 0);
	return watching;
}

/* Waits for the answer: STATUS and TEXT. Returns how long the watch took. */
static uint64_t watched(struct watching *watching, long status, const char *text)
{
	uint64_t took_ms;

	assert_int_equal(pthread_join(watching->thread, NULL), 0);
	watching->answer.body[watching->answer.size] = '\0';
	assert_int_equal(watching->answer.status, status);
	assert_non_null(strstr((char *)watching->answer.body, text));
	took_ms = watching->answer.took_ms;
	free(watching);
	return took_ms;
}

/* A watch lasts as long as may be, a probe is soon. */
#define PATIENT_MS 30000
#define PATIENT                                                                                    \
	",\"poll_ms\":30000,\"lease_ms\":90000,\"margin_ms\":5000,\"max_staleness_ms\":90000,"     \
	"\"probe_ms\":500"

static void test_watch(void **state)
{
	struct watching *one, *more[DEK_WATCHES_MAX + 1];
	struct node node, other;
	uint64_t limited_before;
	unsigned limited = 0;
	struct dek dek;

	make_key("seen", PATIENT);
	make_workspace("seen", "seen");
	make_key("apart", PATIENT);
	make_workspace("apart", "apart");
	node_enrol(&node, "w", "sees-nothing");
	/* Nothing happens: after the poll interval. */
	assert_true(watched(watch(&node), 200, "\"revoked\":false") >= 4500);
	node_enrol(&node, "seen", "seen");
	node_enrol(&other, "apart", "removed-later");
	/* So many at once, and no more. */
	limited_before = metric("requests_limited");
	for (size_t i = 0; i < ELEMENTSOF(more); i++)
		more[i] = watch(&node);
	while (metric("requests_limited") == limited_before)
		pause_ms(50);
	dek = generate(&node, "data", NULL);
	one = watch(&other);
	pause_ms(300);
	assert_int_equal(keyfile_set_state(key_dir, "seen", KEYFILE_DISABLED), 0);
	for (size_t i = 0; i < ELEMENTSOF(more); i++) {
		assert_int_equal(pthread_join(more[i]->thread, NULL), 0);
		limited += more[i]->answer.status == 429;
		if (more[i]->answer.status != 429)
			assert_int_equal(more[i]->answer.status, 403);
		free(more[i]);
	}
	assert_int_equal(limited, 1);
	call_refused(&node, "/v1/deks/unwrap", one_blob(dek.blob, NULL), 403, "revoked");
	/* Before the interval is over. */
	assert_true(watched(watch(&node), 403, "\"error\":\"revoked\"") < PATIENT_MS);
	/* A manager that knows of no DEKs any more still asks the KMS for who watches. */
	manager_stop();
	watched(one, 0, "");
	manager_start();
	make_key("again", PATIENT);
	make_workspace("again", "again");
	node_enrol(&node, "again", "watches-alone");
	one = watch(&node);
	pause_ms(300);
	assert_int_equal(keyfile_set_state(key_dir, "again", KEYFILE_DISABLED), 0);
	watched(one, 403, "\"error\":\"revoked\"");
	one = watch(&other);
	pause_ms(300);
	/* Others do not notice; until they are removed. */
	operate("DELETE", "/v1/storage-nodes/apart/removed-later", 204);
	watched(one, 403, "\"error\":\"node\"");
}

/* A KMS that is away is no revocation; the KEK that is held serves on, and no other comes. */
static void test_outage(void **state)
{
	struct dek dek, again;
	char away[96];
	struct node node;

	node_enrol(&node, "w", "outage");
	dek = generate(&node, "data", NULL);
	snprintf(away, sizeof(away), "%s-away", key_dir);
	assert_int_equal(rename(key_dir, away), 0);
	pause_ms(1200);
	again = unwrap(&node, dek.blob, NULL);
	assert_string_equal(again.text, dek.text);
	assert_true(again.ttl_ms <= 20000 - 500);
	call_refused(&node, "/v1/deks/generate", one_use("fresh", NULL), 503, "kms");
	manager_stop();
	manager_start();
	call_refused(&node, "/v1/deks/unwrap", one_blob(dek.blob, NULL), 503, "kms");
	assert_int_equal(rename(away, key_dir), 0);
	wait_unwrap(&node, dek.blob);
	assert_string_equal(unwrap(&node, dek.blob, NULL).text, dek.text);
}

static void test_bind_moves(void **state)
{
	struct dek dek, wal, moved;
	struct node node;

	make_key("old", QUICK);
	make_key("new", QUICK);
	make_workspace("moving", "old");
	node_enrol(&node, "moving", "moving");
	dek = generate(&node, "data", NULL);
	wal = generate(&node, "wal", NULL);
	key_admin("PUT", "/v1/workspaces/moving/key", "{\"key\":\"new\"}", 204);
	/* The old CMK is not needed any more, as long as the store is there. */
	assert_int_equal(keyfile_delete(key_dir, "old"), 0);
	moved = unwrap(&node, dek.blob, NULL);
	assert_string_equal(moved.text, dek.text);
	assert_true(moved.rewrap);
	assert_string_equal(unwrap(&node, wal.blob, NULL).text, wal.text);
	moved = rewrap(&node, &dek, NULL);
	assert_string_not_equal(moved.blob, dek.blob);
	assert_false(unwrap(&node, moved.blob, NULL).rewrap);
	assert_string_equal(unwrap(&node, moved.blob, NULL).text, dek.text);
}

/* What a node invents of a KEK that the store has lost is not stored, nor does it spoil other blobs of
 * the same request. */
static void inventions(const struct node *node, const struct dek *true_one, const char *context)
{
	struct dek version = *true_one, use = *true_one, kek = *true_one;
	json_t *answer;

	memset(version.blob + 2 * 24, 'f', 8);
	use.blob[2 * 64 + 1] = 'a'; /* "jept" */
	flip(&kek, 2 * 96 + 20);
	assert_refused(node, "/v1/deks/unwrap", version.blob, context, "refused", "damaged");
	answer = call(node, "/v1/deks/unwrap",
		      json_pack("{s:[o, o, o]}", "items",
				with_context(json_pack("{s:s}", "blob", use.blob), context),
				with_context(json_pack("{s:s}", "blob", kek.blob), context),
				with_context(json_pack("{s:s}", "blob", true_one->blob), context)),
		      200);
	for (size_t i = 0; i < 3; i++) {
		json_t *item = json_array_get(json_object_get(answer, "items"), i);

		assert_string_equal(text_of(item, i < 2 ? "error" : "dek"),
				    i < 2 ? "refused" : true_one->text);
	}
	json_decref(answer);
}

/* Losing the database loses no data: key configuration, workspace and node are made anew. */
static void test_lost_database(void **state)
{
	static const char *const files[] = {"manager.db", "manager.db-wal", "manager.db-shm"};
	struct dek dek, rewrapped;
	struct node node;
	char path[96];

	node_enrol(&node, "w", "lost");
	dek = generate(&node, "kept", "page=1");
	manager_stop();
	for (size_t i = 0; i < ELEMENTSOF(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", state_dir, files[i]);
		unlink(path);
	}
	manager_start();
	call_refused(&node, "/v1/deks/unwrap", one_blob(dek.blob, "page=1"), 403, "node");
	snprintf(path, sizeof(path), "%s/main.json", key_dir);
	assert_int_equal(access(path, R_OK), 0);
	{
		char body[256];

		snprintf(body, sizeof(body),
			 "{\"name\":\"main\",\"file_key_info\":{\"key_id\":\"main\","
			 "\"directory\":\"%s\"}" QUICK "}",
			 key_dir);
		key_admin("POST", "/v1/keys", body, 204);
	}
	/* Another name is another tenant: the KMS does not open it. */
	make_workspace("other", "main");
	node_enrol(&node, "other", "thief");
	assert_refused(&node, "/v1/deks/unwrap", dek.blob, "page=1", "refused", "workspace");
	make_workspace("w", "main");
	node_enrol(&node, "w", "lost");
	inventions(&node, &dek, "page=1");
	/* Its KEK is in the store again: it is the current one of its use. */
	rewrapped = rewrap(&node, &dek, "page=1");
	assert_memory_equal(rewrapped.blob, dek.blob, 2 * 32); /* magic, id, version, size */
	manager_stop();
	manager_start();
	assert_string_equal(unwrap(&node, rewrapped.blob, "page=1").text, dek.text);
	dek = generate(&node, "kept", NULL);
	assert_memory_equal(rewrapped.blob, dek.blob, 2 * 32);
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decisions),     cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_batch),	      cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_bad_blobs),     cmocka_unit_test(test_isolation),
		cmocka_unit_test(test_unbound),	      cmocka_unit_test(test_limits),
		cmocka_unit_test(test_revocation),    cmocka_unit_test(test_outage),
		cmocka_unit_test(test_watch),	      cmocka_unit_test(test_bind_moves),
		cmocka_unit_test(test_lost_database),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

int main(int argc, char **argv)
{
	return world_main(argc, argv, run);
}
