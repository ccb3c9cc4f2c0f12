/* SPDX-License-Identifier: Apache-2.0 */
/* What probes cost, by the count of the KMSes that were asked, and what starts one at once, with a real
 * manager. */
#include "manager_clouds.h"

/* Only events start probes; no lease ends in the slowest run. */
#define SELDOM                                                                                     \
	",\"poll_ms\":5000,\"lease_ms\":7200000,\"margin_ms\":10000,\"max_staleness_ms\":7200000," \
	"\"probe_ms\":900000"
#define EVENT_BURST 4	 /* probes of a workspace that events start at once, */
#define EVENT_MS    5000 /* and one more every so often */
#define FETCH_BURST 4
#define FETCH_MS    10000

static const struct cloud {
	const char *name, *settings;
} clouds[] = {
	{"aws", "\"aws_key_info\":{\"key_arn\":\"" AWS_KEY "\"},\"credentials\":\"aws-static\""},
	{"azure", "\"azure_key_info\":{\"key_vault_uri\":\"" AZURE_VAULT
		  "\",\"key_name\":\"k\"},\"credentials\":\"azure-secret\""},
	{"google",
	 "\"gcp_key_info\":{\"kms_key_id\":\"" GOOGLE_KEY "\"},\"credentials\":\"google-account\""},
};
#define N_CLOUDS (sizeof(clouds) / sizeof(clouds[0]))
static struct vm vms[N_CLOUDS];
static uint64_t of_file; /* what the file KMS of the set-up was asked; nothing watches it */

static int make(void **state)
{
	return clouds_set_up(state) < 0 ? -1 : clouds_hand_over("events");
}

static int clean(void **state)
{
	for (size_t i = 0; i < N_CLOUDS; i++)
		vm_done(&vms[i]);
	return clouds_tear_down(state);
}

/* The value of a counter of GET /v1/metrics. */
static uint64_t metric(const char *name)
{
	static struct answer answer;
	CURL *curl = handle_for(admin_url, "/v1/metrics", &answer);
	char text[256], *line;

	snprintf(text, sizeof(text), "%s/identities/operator/cert.pem", state_dir);
	curl_easy_setopt(curl, CURLOPT_SSLCERT, text);
	snprintf(text, sizeof(text), "%s/identities/operator/key.pem", state_dir);
	curl_easy_setopt(curl, CURLOPT_SSLKEY, text);
	perform(curl, &answer);
	assert_int_equal(answer.status, 200);
	assert_true(answer.size < sizeof(answer.body));
	answer.body[answer.size] = '\0';
	snprintf(text, sizeof(text), "\nemberlock_%s_total ", name);
	line = strstr((char *)answer.body, text);
	assert_non_null(line);
	return strtoull(line + strlen(text), NULL, 10);
}

static json_int_t key_number(const char *name, const char *member)
{
	char path[64];
	json_t *key;
	json_int_t n;

	snprintf(path, sizeof(path), "/v1/keys/%s", name);
	key = admin("operator", "GET", path, NULL, 200);
	assert_true(json_is_integer(json_object_get(key, member)));
	n = json_integer_value(json_object_get(key, member));
	json_decref(key);
	return n;
}

/* All requests to the three, as the manager counts them. */
static uint64_t counted(void)
{
	return metric("kms_calls_probe") + metric("kms_calls_admission") + metric("kms_calls_kek") +
	       metric("kms_calls_administration");
}

static uint64_t asked(void)
{
	uint64_t n = 0;

	for (size_t i = 0; i < N_CLOUDS; i++)
		n += (uint64_t)standin_count(clouds[i].name);
	return n;
}

/* A key NAME in CLOUD, and a VM under it. */
static void admit(struct vm *vm, const char *name, const struct cloud *cloud, const char *settings)
{
	char body[1024];

	snprintf(body, sizeof(body), "{\"name\":\"%s\",%s%s}", name, cloud->settings, settings);
	key_admin("POST", "/v1/keys", body, 204);
	make_workspace(name, name);
	vm_enrol(vm, name, "db1");
	vm_admit(vm);
}

static void test_admitted(void **state)
{
	of_file = counted();
	assert_int_equal(asked(), 0);
	for (size_t i = 0; i < N_CLOUDS; i++)
		admit(&vms[i], clouds[i].name, &clouds[i], SELDOM);
}

/* A probe may be under way between two looks: they agree as soon as none is. */
static void await_agreement(void)
{
	uint64_t ours, theirs;

	for (int i = 0; i < 300; i++) {
		ours = counted();
		theirs = asked();
		if (ours == of_file + theirs && counted() == ours)
			return;
		pause_ms(20);
	}
	print_error("the manager counts %llu calls, the KMSes were asked %llu times\n",
		    (unsigned long long)(ours - of_file), (unsigned long long)theirs);
	assert_true(false);
}

/* --- events --- */

/* How often CLOUD was asked, once that is WANTED or more. */
static int await_asked(const char *cloud, int wanted)
{
	int now = standin_count(cloud);

	for (int i = 0; i < 600 && now < wanted; i++) {
		pause_ms(50);
		now = standin_count(cloud);
	}
	assert_true(now >= wanted);
	return now;
}

/* Posts to PATH what the stand-in's sender makes of ORDER: its status. */
static long send_event(const char *path, const char *order, struct answer *answer)
{
	struct curl_slist *headers = NULL;
	char request[512], line[2048];
	const char *name, *body;
	json_t *reply, *event, *value;
	CURL *curl;

	snprintf(request, sizeof(request), "{\"event\":%s}", order);
	reply = standin_ask(request);
	event = json_object_get(reply, "event");
	assert_non_null(event);
	json_object_foreach(json_object_get(event, "headers"), name, value)
	{
		snprintf(line, sizeof(line), "%s: %s", name, json_string_value(value));
		headers = curl_slist_append(headers, line);
	}
	body = json_string_value(json_object_get(event, "body"));
	curl = handle_for(events_url, path, answer);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
	perform(curl, answer);
	curl_slist_free_all(headers);
	json_decref(reply);
	return answer->status;
}

/* An event of CLOUD to the key of its name; MORE members of the order, "" none. */
static long sent(const char *cloud, const char *more)
{
	static struct answer answer;
	char path[64], order[256];

	snprintf(path, sizeof(path), "/v1/events/%s", cloud);
	snprintf(order, sizeof(order), "{\"cloud\":\"%s\"%s%s}", cloud, *more ? "," : "", more);
	return send_event(path, order, &answer);
}

/* The probes of the key, once they rest at WANTED or above. */
static json_int_t await_probes(const char *name, json_int_t wanted)
{
	json_int_t before = -1, now = key_number(name, "calls_probe");

	for (int i = 0; i < 300 && (now < wanted || now != before); i++) {
		pause_ms(100);
		before = now;
		now = key_number(name, "calls_probe");
	}
	if (now < wanted)
		print_error("%s: %lld probes, not %lld\n", name, (long long)now, (long long)wanted);
	assert_true(now >= wanted);
	return now;
}

static void test_subscribed(void **state)
{
	static struct answer answer;

	assert_int_equal(send_event("/v1/events/aws",
				    "{\"cloud\":\"aws\",\"type\":\"SubscriptionConfirmation\"}",
				    &answer),
			 204);
	for (int i = 0; i < 300; i++) {
		json_t *reply = standin_ask("{}");
		bool confirmed = json_integer_value(json_object_get(reply, "confirmed")) == 1;

		json_decref(reply);
		if (confirmed)
			break;
		pause_ms(50);
		assert_true(i < 299);
	}
	assert_int_equal(send_event("/v1/events/azure",
				    "{\"cloud\":\"azure\",\"type\":"
				    "\"Microsoft.EventGrid.SubscriptionValidationEvent\"}",
				    &answer),
			 200);
	assert_non_null(memmem(answer.body, answer.size, "\"validationResponse\"", 20));
	/* Neither is an event. */
	assert_int_equal(metric("events"), 0);
}

/* One event, one probe; and it is no more than that. */
static void test_event_is_a_probe(void **state)
{
	for (size_t i = 0; i < N_CLOUDS; i++) {
		const char *name = clouds[i].name;
		json_int_t before = await_probes(name, 1);
		json_t *key;

		assert_int_equal(sent(name, ""), 204);
		assert_int_equal(await_probes(name, before + 1), before + 1);
		assert_int_equal(key_number(name, "events"), 1);
		assert_true(key_number(name, "last_event") > 0);
		key = admin("operator", "GET",
			    i == 0   ? "/v1/keys/aws"
			    : i == 1 ? "/v1/keys/azure"
				     : "/v1/keys/google",
			    NULL, 200);
		assert_string_equal(json_string_value(json_object_get(key, "state")), "healthy");
		json_decref(key);
		assert_fleet(&vms[i], "admitted", "live");
	}
}

/* Again, late, of others, forged: no probe. */
static void test_no_event(void **state)
{
	static const char *const forged[N_CLOUDS] = {
		"\"signer\":\"next\"", "\"key\":\"another-key-of-thirty-two-letters\"",
		"\"audience\":\"https://other.example/\""};
	json_int_t before[N_CLOUDS];
	uint64_t ignored = metric("events_ignored"), refused = metric("events_refused");
	static struct answer answer;

	for (size_t i = 0; i < N_CLOUDS; i++) {
		const char *name = clouds[i].name;
		json_int_t first = await_probes(name, 1);

		assert_int_equal(sent(name, "\"id\":\"4711\""), 204);
		before[i] = await_probes(name, first + 1);
		assert_int_equal(sent(name, "\"id\":\"4711\""), 204);
		assert_int_equal(sent(name, "\"age_s\":1000"), 204);
		assert_int_equal(sent(name, "\"age_s\":-400"), 204);
		assert_int_equal(sent(name, "\"topic\":\"arn:aws:sns:eu-central-1:1:other\""), 403);
		assert_int_equal(sent(name, forged[i]), 403);
	}
	assert_int_equal(metric("events_ignored"), ignored + 9);
	assert_int_equal(metric("events_refused"), refused + 6);
	/* One cloud's to the key of another; to a key without a source; to none. */
	assert_int_equal(send_event("/v1/events/google", "{\"cloud\":\"aws\"}", &answer), 403);
	assert_int_equal(send_event("/v1/events/aws", "{\"cloud\":\"google\"}", &answer), 400);
	assert_int_equal(send_event("/v1/events/main", "{\"cloud\":\"aws\"}", &answer), 404);
	assert_int_equal(send_event("/v1/events/none", "{\"cloud\":\"aws\"}", &answer), 404);
	pause_ms(500);
	for (size_t i = 0; i < N_CLOUDS; i++)
		assert_int_equal(await_probes(clouds[i].name, 0), before[i]);
}

/* Other listeners do not take events, and this one nothing else. */
static void test_listener(void **state)
{
	static struct answer answer;

	perform(handle_for(events_url, "/v1/metrics", &answer), &answer);
	assert_int_equal(answer.status, 404);
	perform(handle_for(events_url, "/v1/signing-keys", &answer), &answer);
	assert_int_equal(answer.status, 404);
	perform(handle_for(events_url, "/healthz", &answer), &answer);
	assert_int_equal(answer.status, 200);
	post("/v1/events/aws", "{}", 2, &answer); /* of VMs */
	assert_int_equal(answer.status, 404);
}

/* The senders' next keys: fetched, and the old ones are no longer good where the cloud says so. */
static void test_keys_of_senders(void **state)
{
	standin("{\"publish\":\"next\"}");
	assert_int_equal(sent("aws", ""), 204);
	assert_int_equal(sent("google", ""), 204);
	assert_int_equal(sent("google", "\"signer\":\"current\""), 503);
	standin("{\"publish\":\"current\"}");
	assert_int_equal(sent("google", ""), 204);
}

/* Whatever arrives, the KMS is asked no more than the budget allows. */
static void test_flood(void **state)
{
	uint64_t start, elapsed;
	json_int_t before, after;
	int fetched, places;

	before = await_probes("azure", 1);
	start = now_ms();
	for (int i = 0; i < 40; i++)
		assert_int_equal(sent("azure", ""), 204);
	after = await_probes("azure", before + 1);
	elapsed = now_ms() - start;
	print_message("40 events in %llu ms: %lld probes\n", (unsigned long long)elapsed,
		      (long long)(after - before));
	assert_true(after - before <= EVENT_BURST + (json_int_t)(elapsed / EVENT_MS) + 1);
	/* Forged ones that name certificates: no probe, and few questions to SNS. */
	before = await_probes("aws", 0);
	fetched = standin_count("sns");
	start = now_ms();
	for (int i = 0; i < 40; i++) {
		char more[160];
		long status;

		snprintf(
			more, sizeof(more),
			"\"certificate\":\"https://localhost:%u/SimpleNotificationService-%d.pem\"",
			standin_port, i);
		status = sent("aws", more);
		assert_true(status == 503);
	}
	elapsed = now_ms() - start;
	places = standin_count("sns") - fetched;
	print_message("40 certificates named in %llu ms: %d asked for\n",
		      (unsigned long long)elapsed, places);
	assert_true(places <= FETCH_BURST + (int)(elapsed / FETCH_MS) + 1);
	assert_int_equal(await_probes("aws", 0), before);
	/* The certificate that is known still does. */
	assert_int_equal(sent("aws", ""), 204);
	await_probes("aws", before + 1);
}

static void test_calls_are_those_that_arrive(void **state)
{
	int before;

	await_agreement();
	/* Retries are requests too. */
	before = standin_count("aws");
	standin("{\"faults\":{\"aws\":{\"status\":503,\"times\":2}}}");
	assert_int_equal(sent("aws", ""), 204);
	await_asked("aws", before + 3);
	await_agreement();
	for (size_t i = 0; i < N_CLOUDS; i++) {
		/* An admission: the KEK, the pair. */
		assert_int_equal(key_number(clouds[i].name, "calls_admission"), 3);
		assert_true(key_number(clouds[i].name, "calls_probe") > 0);
		assert_true(key_number(clouds[i].name, "calls_administration") > 0);
		assert_int_equal(key_number(clouds[i].name, "calls_kek"), 0);
	}
}

static void test_vm_time(void **state)
{
	json_int_t before = key_number("google", "vm_seconds");
	uint64_t all = metric("vm_seconds");

	/* One VM: a second of it in a second, told from probe to probe. */
	pause_ms(2500);
	assert_int_equal(sent("google", ""), 204);
	for (int i = 0; i < 300 && key_number("google", "vm_seconds") < before + 2; i++)
		pause_ms(50);
	assert_true(key_number("google", "vm_seconds") >= before + 2);
	assert_true(metric("vm_seconds") > all);
	assert_int_equal(key_number("main", "vm_seconds"), 0);
}

/* An event that comes while a probe is under way is about what that one may not have seen. */
static void test_during_a_probe(void **state)
{
	json_int_t before = await_probes("google", 1);
	int asked_before = standin_count("google");

	standin("{\"faults\":{\"google\":{\"delay\":1.5,\"times\":1}}}");
	assert_int_equal(sent("google", ""), 204);
	await_asked("google", asked_before + 1);
	assert_int_equal(sent("google", ""), 204);
	await_probes("google", before + 2);
	standin("{\"reset\":true}");
}

/* What a rotation asks is no probe, and counts all the same. */
static void test_rotation_of_the_cmk(void **state)
{
	json_int_t before = key_number("google", "calls_administration");
	bool complete = false;

	standin("{\"rotate\":[\"google\"]}");
	key_admin("POST", "/v1/keys/google/rotate", "{}", 204);
	for (int i = 0; i < 600 && !complete; i++) {
		json_t *answer = admin("operator", "GET", "/v1/keys/google/rotation", NULL, 200);

		complete = strcmp(json_string_value(json_object_get(answer, "state")),
				  "complete") == 0;
		json_decref(answer);
		if (!complete)
			pause_ms(50);
	}
	assert_true(complete);
	/* The KEK of the workspace's health is wrapped, and unwrapped to be sure. */
	assert_true(key_number("google", "calls_administration") >= before + 2);
	await_agreement();
}

/* The VM's leases up to the verdict. */
static void await_shred(struct vm *vm)
{
	static struct answer answer;

	for (int i = 0; i < 30; i++) {
		struct token token;

		vm_post_lease(vm, &answer);
		assert_int_equal(answer.status, 200);
		assert_int_equal(token_verify(answer.body, answer.size, &trusted, &token), 0);
		if (token.verdict == VERDICT_SHRED)
			break;
		vm_take(vm, &answer, VERDICT_CONTINUE, REASON_NONE);
		new_challenge(vm);
	}
	vm_take(vm, &answer, VERDICT_SHRED, REASON_REVOKED);
}

/* Disabled, and said so: the VM hears of it, a quarter of an hour before a probe would be due. */
static void test_revoked(void **state)
{
	static const char *const orders[N_CLOUDS] = {"{\"state\":{\"aws\":\"Disabled\"}}",
						     "{\"state\":{\"azure\":\"disabled\"}}",
						     "{\"state\":{\"google\":\"DISABLED\"}}"};

	for (size_t i = 0; i < N_CLOUDS; i++) {
		json_int_t before;

		standin("%s", orders[i]);
		assert_int_equal(sent(clouds[i].name, ""), 204);
		await_shred(&vms[i]);
		/* Nobody is left to ask for. */
		before = await_probes(clouds[i].name, 1);
		assert_int_equal(sent(clouds[i].name, ""), 204);
		assert_int_equal(await_probes(clouds[i].name, before), before);
	}
}

static int tests(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_admitted),
		cmocka_unit_test(test_subscribed),
		cmocka_unit_test(test_event_is_a_probe),
		cmocka_unit_test(test_no_event),
		cmocka_unit_test(test_listener),
		cmocka_unit_test(test_keys_of_senders),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_calls_are_those_that_arrive),
		cmocka_unit_test(test_vm_time),
		cmocka_unit_test(test_during_a_probe),
		cmocka_unit_test(test_rotation_of_the_cmk),
		cmocka_unit_test(test_revoked),
	};

	return cmocka_run_group_tests(tests, make, clean);
}

int main(int argc, char **argv)
{
	return world_main(argc, argv, tests);
}
