/* SPDX-License-Identifier: Apache-2.0 */
/* What probes cost, by the count of the KMSes that were asked, with a real manager. */
#include "manager_world.h"
#include "standin.h"

#define AWS_KEY	   "arn:aws:kms:eu-central-1:111122223333:key/0d990263-018e-4e65-a703-eff731de951e"
#define AZURE_KEY  "https://emberlock.vault.azure.net/keys/k"
#define GOOGLE_KEY "projects/p-1/locations/europe-west3/keyRings/r/cryptoKeys/k"

#define SETTINGS                                                                                   \
	",\"poll_ms\":5000,\"lease_ms\":120000,\"margin_ms\":10000,\"max_staleness_ms\":90000,"    \
	"\"probe_ms\":1000"

static const struct cloud {
	const char *name, *settings;
} clouds[] = {
	{"aws", "\"key_id\":\"" AWS_KEY "\",\"credentials\":\"aws-static\""},
	{"azure", "\"key_id\":\"" AZURE_KEY "\",\"credentials\":\"azure-secret\""},
	{"google", "\"key_id\":\"" GOOGLE_KEY "\",\"credentials\":\"google-account\""},
};
#define N_CLOUDS (sizeof(clouds) / sizeof(clouds[0]))
static struct vm vms[N_CLOUDS];
static uint64_t of_file; /* what the file KMS of the set-up was asked; nothing watches it */

static int make(void **state)
{
	char from[128], to[128];

	unsetenv("HTTPS_PROXY");
	unsetenv("https_proxy");
	if (set_up(state) < 0)
		return -1;
	snprintf(from, sizeof(from), "%s/clouds", top);
	if (mkdir(from, 0700) < 0 || standin_start(from) < 0)
		return -1;
	snprintf(from, sizeof(from), "%s/clouds/credentials", top);
	snprintf(to, sizeof(to), "%s/credentials", state_dir);
	return rmdir(to) < 0 ? -1 : rename(from, to);
}

static int clean(void **state)
{
	for (size_t i = 0; i < N_CLOUDS; i++)
		vm_done(&vms[i]);
	standin_stop();
	return tear_down(state);
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

static void test_admitted(void **state)
{
	of_file = counted();
	assert_int_equal(asked(), 0);
	for (size_t i = 0; i < N_CLOUDS; i++) {
		const struct cloud *cloud = &clouds[i];
		char body[1024];

		snprintf(body, sizeof(body), "{\"name\":\"%s\",\"provider\":\"%s\",%s" SETTINGS "}",
			 cloud->name, cloud->name, cloud->settings);
		key_admin("POST", "/v1/keys", body, 204);
		make_workspace(cloud->name, cloud->name);
		vm_enrol(&vms[i], cloud->name, "db1");
		vm_admit(&vms[i]);
	}
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

static void test_calls_are_those_that_arrive(void **state)
{
	int before;

	await_agreement();
	/* Retries are requests too. */
	before = standin_count("aws");
	standin("{\"faults\":{\"aws\":{\"status\":503,\"times\":2}}}");
	for (int i = 0; i < 300 && standin_count("aws") < before + 3; i++)
		pause_ms(50);
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
	json_int_t before = key_number("aws", "vm_seconds");
	uint64_t all = metric("vm_seconds");

	/* One VM each: a second of it in a second, told from probe to probe. */
	for (int i = 0; i < 300 && key_number("aws", "vm_seconds") < before + 2; i++)
		pause_ms(50);
	assert_true(key_number("aws", "vm_seconds") >= before + 2);
	assert_true(metric("vm_seconds") > all);
	assert_int_equal(key_number("main", "vm_seconds"), 0);
}

static int tests(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_admitted),
		cmocka_unit_test(test_calls_are_those_that_arrive),
		cmocka_unit_test(test_vm_time),
	};

	return cmocka_run_group_tests(tests, make, clean);
}

int main(int argc, char **argv)
{
	return world_main(argc, argv, tests);
}
