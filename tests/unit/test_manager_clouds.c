/* SPDX-License-Identifier: Apache-2.0 */
/* The providers that speak HTTPS, each with each way to authenticate, against the stand-in KMS. */
#include "standin.h"

#include "base/bytes.h"
#include "manager/json.h"
#include "manager/kms/aws/aws.h"
#include "manager/kms/codec.h"
#include "manager/kms/kms.h"

#define AWS_KEY	   "arn:aws:kms:eu-central-1:111122223333:key/0d990263-018e-4e65-a703-eff731de951e"
#define AWS_ROLE   "arn:aws:iam::111122223333:role/customer"
#define AZURE_KEY  "https://emberlock.vault.azure.net/keys/k"
#define GOOGLE_KEY "projects/p-1/locations/europe-west3/keyRings/r/cryptoKeys/k"

static char top[] = "/tmp/emberlock-clouds-XXXXXX";
static uint8_t *plain;
static const struct kms_context context = {2, {{"purpose", "test"}, {"workspace", "w"}}};
static const uint8_t secret[32] = "canary of thirty-two characters";

static int make(void **state)
{
	void *memory;

	json_wipe_freed();
	if (!mkdtemp(top) || locked_new(KMS_PLAIN_MAX, &memory) < 0)
		return -1;
	plain = memory;
	/* No proxy of whoever runs the tests. */
	unsetenv("HTTPS_PROXY");
	unsetenv("https_proxy");
	return standin_start(top);
}

static int clean(void **state)
{
	char command[128];

	standin_stop();
	locked_free(plain, KMS_PLAIN_MAX);
	snprintf(command, sizeof(command), "rm -rf %s", top);
	return system(command);
}

static int reset(void **state)
{
	standin("{\"reset\":true}");
	return 0;
}

static struct kms_key key_of(const char *credentials)
{
	struct kms_key key = {0};
	const char *id = credentials[1] == 'w'	 ? AWS_KEY
			 : credentials[0] == 'a' ? AZURE_KEY
						 : GOOGLE_KEY;

	snprintf(key.provider, sizeof(key.provider), "%.*s", (int)strcspn(credentials, "-"),
		 credentials);
	snprintf(key.key_id, sizeof(key.key_id), "%s", id);
	snprintf(key.credentials, sizeof(key.credentials), "%s", credentials);
	snprintf(key.credentials_dir, sizeof(key.credentials_dir), "%s/credentials", top);
	return key;
}

static void set_role(struct kms_key *key)
{
	snprintf(key->role_arn, sizeof(key->role_arn), AWS_ROLE);
	snprintf(key->external_id, sizeof(key->external_id), "tenant-4711");
}

/* A blob of SECRET under KEY, which is proven from then on. */
struct wrapped {
	uint8_t blob[KMS_BLOB_MAX];
	size_t n;
};

static struct kms_outcome wrap(const struct kms_key *key, struct wrapped *wrapped)
{
	struct kms_outcome outcome;

	kms_provider_find(key->provider)
		->wrap(key, &context, secret, sizeof(secret), wrapped->blob, &wrapped->n, &outcome);
	return outcome;
}

static struct kms_outcome unwrap_in(const struct kms_key *key, const struct kms_context *with,
				    const struct wrapped *wrapped)
{
	struct kms_outcome outcome;
	size_t n = 0;

	kms_provider_find(key->provider)
		->unwrap(key, with, wrapped->blob, wrapped->n, plain, &n, &outcome);
	if (outcome.class == KMS_OK) {
		assert_int_equal(n, sizeof(secret));
		assert_memory_equal(plain, secret, n);
		bytes_wipe(plain, n);
	}
	assert_true(bytes_are_zero(plain, KMS_PLAIN_MAX));
	return outcome;
}

static struct kms_outcome unwrap(const struct kms_key *key, const struct wrapped *wrapped)
{
	return unwrap_in(key, &context, wrapped);
}

static struct kms_outcome describe(const struct kms_key *key, const struct wrapped *wrapped)
{
	struct kms_outcome outcome;

	kms_provider_find(key->provider)
		->describe(key, wrapped ? wrapped->blob : NULL, wrapped ? wrapped->n : 0, &outcome);
	return outcome;
}

static void assert_class_(struct kms_outcome outcome, enum kms_class class, const char *file,
			  int line)
{
	if (outcome.class != class)
		print_error("%s:%d: %s (%s), not %s\n", file, line, kms_class_name(outcome.class),
			    outcome.code, kms_class_name(class));
	_assert_int_equal(outcome.class, class, file, line);
	_assert_true(outcome.code[0], "code", file, line);
	/* No secret is in what is stored and shown. */
	_assert_true(!strstr(outcome.code, "canary"), "canary", file, line);
}
#define assert_class(outcome, class) assert_class_(outcome, class, __FILE__, __LINE__)

static void prove(struct kms_key *key, struct wrapped *wrapped)
{
	struct kms_outcome outcome;

	assert_class(wrap(key, wrapped), KMS_OK);
	outcome = unwrap(key, wrapped);
	assert_class(outcome, KMS_OK);
	key->proven = true;
	memcpy(key->proven_by, outcome.by, sizeof(key->proven_by));
}

static const char *const ways[] = {"aws-static",    "aws-session",    "aws-instance",
				   "aws-web",	    "azure-secret",   "azure-assertion",
				   "azure-managed", "google-account", "google-metadata"};
#define N_WAYS (sizeof(ways) / sizeof(ways[0]))
static const char *const one_each[] = {"aws-static", "azure-secret", "google-account"};

static void test_round_trip(void **state)
{
	static const struct kms_context other = {2, {{"purpose", "test"}, {"workspace", "v"}}};

	for (size_t i = 0; i < N_WAYS; i++) {
		struct kms_key key = key_of(ways[i]);
		struct wrapped wrapped, again;
		char error[256];

		print_message("%s\n", ways[i]);
		assert_int_equal(kms_provider_find(key.provider)->check(&key, error), 0);
		prove(&key, &wrapped);
		assert_class(wrap(&key, &again), KMS_OK);
		assert_int_equal(again.n, wrapped.n);
		assert_memory_not_equal(again.blob, wrapped.blob, wrapped.n);
		assert_class(describe(&key, NULL), KMS_OK);
		assert_class(describe(&key, &wrapped), KMS_OK);
		assert_class(unwrap_in(&key, &other, &wrapped), KMS_CORRUPT);
		/* Whatever becomes of a blob, it is not taken, and not for a revocation. */
		for (size_t at = 0; at < wrapped.n; at += at < 8 ? 1 : 97) {
			again = wrapped;
			again.blob[at] ^= 1;
			assert_true(unwrap(&key, &again).class >= KMS_UNAVAILABLE);
			again.n = at;
			assert_true(unwrap(&key, &again).class >= KMS_UNAVAILABLE);
		}
	}
}

/* By what name a request is found in the customer's own log. */
static void test_request_ids(void **state)
{
	for (size_t i = 0; i < 3; i++) {
		struct kms_key key = key_of(one_each[i]);
		struct wrapped wrapped;
		struct kms_outcome made = wrap(&key, &wrapped), opened = unwrap(&key, &wrapped);
		bool named = strcmp(key.provider, "google") != 0;

		assert_class(opened, KMS_OK);
		assert_int_equal(strlen(made.request_id), named ? 36 : 0);
		assert_int_equal(strlen(opened.request_id), named ? 36 : 0);
		assert_int_equal(strcmp(made.request_id, opened.request_id) != 0, named);
	}
}

static void test_largest(void **state)
{
	static uint8_t big[KMS_PLAIN_MAX + 1] = {1};

	for (size_t i = 0; i < 3; i++) {
		struct kms_key key = key_of(one_each[i]);
		const struct kms_provider *provider = kms_provider_find(key.provider);
		struct kms_outcome outcome;
		struct wrapped wrapped;
		size_t n;

		provider->wrap(&key, &context, big, KMS_PLAIN_MAX, wrapped.blob, &wrapped.n,
			       &outcome);
		assert_class(outcome, KMS_OK);
		assert_true(wrapped.n <= KMS_BLOB_MAX);
		provider->unwrap(&key, &context, wrapped.blob, wrapped.n, plain, &n, &outcome);
		assert_class(outcome, KMS_OK);
		assert_memory_equal(plain, big, KMS_PLAIN_MAX);
		bytes_wipe(plain, KMS_PLAIN_MAX);
		provider->wrap(&key, &context, big, KMS_PLAIN_MAX + 1, wrapped.blob, &wrapped.n,
			       &outcome);
		assert_class(outcome, KMS_MISCONFIGURED);
	}
}

/* --- the customer says no --- */

struct refusal {
	const char *order;
	enum kms_class unwrapped, described;
};

static void test_refusals(void **state)
{
	static const struct refusal refusals[3][8] = {
		{{"{\"state\":{\"aws\":\"Disabled\"}}", KMS_REVOKED_STATE, KMS_REVOKED_STATE},
		 {"{\"state\":{\"aws\":\"PendingDeletion\"}}", KMS_REVOKED_STATE,
		  KMS_REVOKED_STATE},
		 {"{\"state\":{\"aws\":\"PendingReplicaDeletion\"}}", KMS_REVOKED_STATE,
		  KMS_REVOKED_STATE},
		 {"{\"state\":{\"aws\":\"Unavailable\"}}", KMS_UNAVAILABLE, KMS_UNAVAILABLE},
		 {"{\"state\":{\"aws\":\"Deleted\"}}", KMS_REVOKED_ACCESS, KMS_REVOKED_ACCESS},
		 {"{\"allowed\":{\"aws\":[\"kms:DescribeKey\"]}}", KMS_REVOKED_ACCESS, KMS_OK}},
		{{"{\"state\":{\"azure\":\"disabled\"}}", KMS_REVOKED_STATE, KMS_REVOKED_STATE},
		 {"{\"state\":{\"azure\":\"deleted\"}}", KMS_REVOKED_STATE, KMS_REVOKED_STATE},
		 {"{\"state\":{\"azure\":\"firewall\"}}", KMS_MISCONFIGURED, KMS_MISCONFIGURED},
		 {"{\"allowed\":{\"azure\":[\"get\"]}}", KMS_REVOKED_ACCESS, KMS_OK}},
		{{"{\"state\":{\"google\":\"DISABLED\"}}", KMS_REVOKED_STATE, KMS_REVOKED_STATE},
		 {"{\"state\":{\"google\":\"DESTROY_SCHEDULED\"}}", KMS_REVOKED_STATE,
		  KMS_REVOKED_STATE},
		 {"{\"state\":{\"google\":\"GONE\"}}", KMS_REVOKED_ACCESS, KMS_REVOKED_ACCESS},
		 {"{\"allowed\":{\"google\":[\"get\"]}}", KMS_REVOKED_ACCESS, KMS_OK}},
	};

	for (size_t i = 0; i < 3; i++) {
		struct kms_key key = key_of(one_each[i]), first = key, other;
		struct wrapped wrapped;

		prove(&key, &wrapped);
		other = key;
		other.proven_by[0] ^= 1; /* proven, but as somebody else */
		for (const struct refusal *r = refusals[i]; r->order; r++) {
			enum kms_class before = r->unwrapped == KMS_UNAVAILABLE ? KMS_UNAVAILABLE
										: KMS_MISCONFIGURED;

			standin("%s", r->order);
			assert_class(unwrap(&key, &wrapped), r->unwrapped);
			assert_class(describe(&key, &wrapped), r->described);
			assert_class(unwrap(&first, &wrapped), before);
			assert_class(unwrap(&other, &wrapped), before);
			standin("{\"reset\":true}");
			assert_class(unwrap(&key, &wrapped), KMS_OK);
		}
	}
}

/* KMS's words for a state that are not known: describe decides. */
static void test_invalid_state_in_other_words(void **state)
{
	static const char fault[] = "{\"faults\":{\"aws\":{\"status\":400,\"times\":%d,\"body\":"
				    "{\"__type\":\"KMSInvalidStateException\",\"message\":"
				    "\"somehow\"}}}}";
	struct kms_key key = key_of("aws-static");
	struct wrapped wrapped;
	char order[512];

	prove(&key, &wrapped);
	snprintf(order, sizeof(order), fault, 1);
	standin("%s", order);
	/* Enabled, says describe, and the next Decrypt agrees. */
	assert_class(unwrap(&key, &wrapped), KMS_OK);
	standin("{\"reset\":true}");
	snprintf(order, sizeof(order), fault, 1);
	standin("%s", order);
	standin("{\"state\":{\"aws\":\"PendingDeletion\"}}");
	assert_class(unwrap(&key, &wrapped), KMS_REVOKED_STATE);
}

/* --- our own identity --- */

static void drop_tokens(void)
{
	standin("{\"forget_tokens\":true}");
}

static void test_identity(void **state)
{
	/* Where each way gets its token. */
	static const struct {
		const char *way, *place;
	} rows[] = {{"aws-instance", "imds"},
		    {"aws-web", "sts"},
		    {"azure-secret", "azure-token"},
		    {"azure-assertion", "azure-token"},
		    {"azure-managed", "azure-metadata"},
		    {"google-account", "google-token"},
		    {"google-metadata", "google-metadata"}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct kms_key key = key_of(rows[i].way);
		struct wrapped wrapped;
		int asked;

		print_message("%s\n", rows[i].way);
		prove(&key, &wrapped);
		asked = standin_count(rows[i].place);
		assert_class(unwrap(&key, &wrapped), KMS_OK);
		assert_int_equal(standin_count(rows[i].place), asked); /* kept */
		/* A token that the KMS refuses is replaced once. */
		drop_tokens();
		assert_class(unwrap(&key, &wrapped), KMS_OK);
		assert_true(standin_count(rows[i].place) > asked);
		/* An outage does no harm while a token lasts … */
		standin("{\"faults\":{\"%s\":{\"status\":503}}}", rows[i].place);
		assert_class(unwrap(&key, &wrapped), KMS_OK);
		/* … and is our own afterwards. */
		drop_tokens();
		assert_class(unwrap(&key, &wrapped), KMS_IDENTITY);
		standin("{\"reset\":true}");
		standin("{\"faults\":{\"%s\":{\"drop\":true}}}", rows[i].place);
		assert_class(unwrap(&key, &wrapped), KMS_IDENTITY);
		standin("{\"reset\":true}");
		standin("{\"faults\":{\"%s\":{\"status\":200,\"body\":{\"x\":1}}}}", rows[i].place);
		assert_class(unwrap(&key, &wrapped), KMS_IDENTITY);
		standin("{\"reset\":true}");
		assert_class(unwrap(&key, &wrapped), KMS_OK);
	}
}

/* A token is renewed before it ends; where none can be had the old one is used to its end. */
static void test_refresh(void **state)
{
	static const char *const renewed[][2] = {{"azure-secret", "azure-token"},
						 {"google-metadata", "google-metadata"}};

	for (size_t i = 0; i < 2; i++) {
		const struct timespec half = {4, 300000000}, rest = {4, 0};
		struct kms_key key = key_of(renewed[i][0]);
		struct wrapped wrapped;
		int asked;

		prove(&key, &wrapped);
		drop_tokens();
		standin("{\"ttl_s\":8}");
		asked = standin_count(renewed[i][1]);
		assert_class(unwrap(&key, &wrapped), KMS_OK);
		assert_int_equal(standin_count(renewed[i][1]), asked + 1);
		nanosleep(&half, NULL);
		assert_class(unwrap(&key, &wrapped), KMS_OK);
		assert_int_equal(standin_count(renewed[i][1]), asked + 2);
		nanosleep(&half, NULL);
		standin("{\"faults\":{\"%s\":{\"status\":503}}}", renewed[i][1]);
		assert_class(unwrap(&key, &wrapped), KMS_OK);
		asked = standin_count(renewed[i][1]);
		assert_class(unwrap(&key, &wrapped), KMS_OK);
		assert_int_equal(standin_count(renewed[i][1]), asked); /* not each time */
		nanosleep(&rest, NULL);
		assert_class(unwrap(&key, &wrapped), KMS_IDENTITY);
		standin("{\"reset\":true}");
		assert_class(unwrap(&key, &wrapped), KMS_OK);
	}
}

/* A secret of ours that has ended, and a clock that is wrong. */
static void test_own_secret_and_clock(void **state)
{
	static const char *const signing[] = {"aws-static", "azure-assertion", "google-account"};

	for (size_t i = 0; i < N_WAYS; i++) {
		struct kms_key key = key_of(ways[i]);
		struct kms_outcome outcome;
		struct wrapped wrapped;

		if (strcmp(ways[i], "aws-session") == 0) /* its session was dropped */
			continue;
		prove(&key, &wrapped);
		standin("{\"known\":false}");
		outcome = unwrap(&key, &wrapped);
		/* A vault that refuses the token of a managed identity says 401. */
		assert_class(outcome, strcmp(ways[i], "azure-managed") == 0 ? KMS_MISCONFIGURED
									    : KMS_IDENTITY);
		standin("{\"reset\":true}");
	}
	for (size_t i = 0; i < 3; i++) {
		struct kms_key key = key_of(signing[i]);
		struct wrapped wrapped;

		prove(&key, &wrapped);
		drop_tokens();
		standin("{\"skew_s\":4000}");
		assert_class(unwrap(&key, &wrapped), KMS_IDENTITY);
		standin("{\"skew_s\":-4000}");
		assert_class(unwrap(&key, &wrapped), KMS_IDENTITY);
		standin("{\"reset\":true}");
		assert_class(unwrap(&key, &wrapped), KMS_OK);
	}
}

static void test_role(void **state)
{
	static const char *const own[] = {"aws-static", "aws-instance", "aws-web"};

	for (size_t i = 0; i < 3; i++) {
		struct kms_key key = key_of(own[i]), other;
		struct wrapped wrapped;

		set_role(&key);
		prove(&key, &wrapped);
		drop_tokens();
		standin("{\"role_allowed\":false}");
		assert_class(unwrap(&key, &wrapped), KMS_REVOKED_ACCESS);
		/* The same answer to somebody whom STS no longer knows is ours. */
		standin("{\"known\":false}");
		assert_class(unwrap(&key, &wrapped), KMS_IDENTITY);
		standin("{\"reset\":true}");
		standin("{\"faults\":{\"sts\":{\"status\":403,\"body\":\"<Error><Code>AccessDenied"
			"</Code></Error>\"}}}");
		assert_class(unwrap(&key, &wrapped), KMS_IDENTITY);
		standin("{\"reset\":true}");
		/* Another customer's external id. */
		other = key;
		snprintf(other.external_id, sizeof(other.external_id), "tenant-4712");
		assert_class(unwrap(&other, &wrapped), KMS_MISCONFIGURED);
		assert_class(unwrap(&key, &wrapped), KMS_OK);
	}
}

/* --- the wire --- */

static void test_faults(void **state)
{
	static const struct {
		const char *fault;
		enum kms_class class;
	} rows[] = {
		{"\"status\":503,\"times\":2", KMS_OK}, /* asked again */
		{"\"status\":429,\"times\":1", KMS_OK},
		{"\"drop\":true,\"times\":1", KMS_OK},
		{"\"status\":503", KMS_UNAVAILABLE},
		{"\"drop\":true", KMS_UNAVAILABLE},
		{"\"delay\":6,\"times\":2", KMS_UNAVAILABLE},
		{"\"status\":403,\"body\":\"<html>\"", KMS_UNAVAILABLE},
		{"\"status\":418", KMS_UNAVAILABLE},
		{"\"status\":302,\"headers\":{\"Location\":\"https://localhost/\"}",
		 KMS_UNAVAILABLE},
		{"\"status\":200,\"body\":\"\"", KMS_UNAVAILABLE},
		{"\"status\":200,\"body\":{}", KMS_UNAVAILABLE},
		{"\"status\":200,\"body\":\"{\\\"a\\\":1,\\\"a\\\":1}\"", KMS_UNAVAILABLE},
	};
	static const char *const places[] = {"aws", "azure", "google"};

	for (size_t i = 0; i < 3; i++) {
		struct kms_key key = key_of(one_each[i]);
		struct wrapped wrapped;

		prove(&key, &wrapped);
		for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
			if (i > 0 && strstr(rows[k].fault, "delay"))
				continue; /* eight seconds each */
			standin("{\"faults\":{\"%s\":{%s}}}", places[i], rows[k].fault);
			assert_class(unwrap(&key, &wrapped), rows[k].class);
			standin("{\"reset\":true}");
		}
	}
}

static void test_large_reply(void **state)
{
	struct kms_key key = key_of("aws-static");
	struct wrapped wrapped;
	char *order = malloc(70000);
	int n;

	prove(&key, &wrapped);
	n = sprintf(order, "{\"faults\":{\"aws\":{\"status\":400,\"body\":\"");
	memset(order + n, 'x', 60000);
	strcpy(order + n + 60000, "\"}}}");
	json_decref(standin_ask(order));
	free(order);
	assert_class(unwrap(&key, &wrapped), KMS_UNAVAILABLE);
}

static void test_crc(void **state)
{
	static const struct {
		const char *field;
		bool wrap;
	} rows[] = {{"name", true},
		    {"ciphertextCrc32c", true},
		    {"verifiedPlaintextCrc32c", true},
		    {"verifiedAdditionalAuthenticatedDataCrc32c", true},
		    {"plaintextCrc32c", false}};
	struct kms_key key = key_of("google-account");
	struct wrapped wrapped, again;

	prove(&key, &wrapped);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		standin("{\"corrupt\":\"%s\"}", rows[i].field);
		assert_class(wrap(&key, &again), rows[i].wrap ? KMS_UNAVAILABLE : KMS_OK);
		assert_class(unwrap(&key, &wrapped), rows[i].wrap ? KMS_OK : KMS_UNAVAILABLE);
	}
}

/* --- the credentials directory --- */

static void write_file(const char *name, const char *text, mode_t mode)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/credentials/%s", top, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	assert_int_equal(chmod(path, mode), 0);
}

static void test_credentials(void **state)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{"{\"provider\":\"aws\",\"method\":\"static\",\"method\":\"static\"}", "twice"},
		{"{\"provider\":\"aws\",\"method\":\"static\",\"wrong\":\"canary\"}",
		 "unknown member"},
		{"{\"provider\":\"azure\",\"method\":\"static\"}", "'provider'"},
		{"{\"provider\":\"aws\",\"method\":\"static\",\"access_key_id\":\"a\"}",
		 "'secret_access_key'"},
		{"{\"provider\":\"aws\",\"method\":\"guess\"}", "'method'"},
		{"{\"provider\":\"aws\",\"method\":\"static\",\"endpoint\":\"http://localhost\"}",
		 "'endpoint'"},
		{"{\"provider\":\"aws\",\"method\":\"static\",\"endpoint\":\"https://a/b\"}",
		 "'endpoint'"},
		{"{\"provider\":\"aws\",\"method\":\"instance\",\"metadata_endpoint\":"
		 "\"http://127.0.0.1.example\"}",
		 "'metadata_endpoint'"},
		{"{\"provider\":\"aws\",\"method\":\"web-identity\",\"role_arn\":\"r\","
		 "\"token_file\":\"../state\"}",
		 "'token_file'"},
		{"secret canary", "JSON"},
	};
	struct kms_key key = key_of("aws-static");
	struct wrapped wrapped;

	prove(&key, &wrapped);
	strcpy(key.credentials, "mine");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct kms_outcome outcome;

		write_file("mine", rows[i].text, 0600);
		outcome = unwrap(&key, &wrapped);
		assert_class(outcome, KMS_IDENTITY);
		if (!strstr(outcome.code, rows[i].says))
			print_error("%s: %s\n", rows[i].text, outcome.code);
		assert_non_null(strstr(outcome.code, rows[i].says));
	}
	write_file("mine", rows[0].text, 0604);
	assert_non_null(strstr(unwrap(&key, &wrapped).code, "others"));
	strcpy(key.credentials, "absent");
	assert_class(unwrap(&key, &wrapped), KMS_IDENTITY);
	key.proven = false;
	assert_class(unwrap(&key, &wrapped), KMS_MISCONFIGURED);
}

/* A server that the CA did not sign is nobody's answer. */
static void test_untrusted(void **state)
{
	struct kms_key key = key_of("aws-static");
	struct wrapped wrapped;
	char text[512];

	prove(&key, &wrapped);
	snprintf(text, sizeof(text),
		 "{\"provider\":\"aws\",\"method\":\"static\",\"access_key_id\":\"a\","
		 "\"secret_access_key\":\"s\",\"endpoint\":\"https://localhost:%u\"}",
		 standin_port);
	write_file("mine", text, 0600);
	strcpy(key.credentials, "mine");
	assert_class(unwrap(&key, &wrapped), KMS_UNAVAILABLE);
}

/* Proxies are used as the environment says; never for a metadata service. */
static void test_proxy(void **state)
{
	struct kms_key key = key_of("aws-instance");
	struct wrapped wrapped;
	int asked;

	prove(&key, &wrapped);
	assert_int_equal(setenv("https_proxy", "http://127.0.0.1:1", 1), 0);
	assert_int_equal(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
	asked = standin_count("imds");
	drop_tokens();
	assert_class(unwrap(&key, &wrapped), KMS_UNAVAILABLE); /* nobody is at the proxy */
	assert_int_equal(setenv("no_proxy", "localhost", 1), 0);
	assert_class(unwrap(&key, &wrapped), KMS_OK);
	assert_true(standin_count("imds") > asked);
	unsetenv("https_proxy");
	unsetenv("http_proxy");
	unsetenv("no_proxy");
}

static void test_check(void **state)
{
	static const struct {
		const char *way, *key_id, *role, *external, *tenant, *says;
	} rows[] = {
		{"aws-static", "alias/main", "", "", "", "key_arn"},
		{"aws-static", "arn:aws:s3:eu-central-1:1:key/x", "", "", "", "key_arn"},
		{"aws-static", "arn:aws:kms:evil.example/:1:key/x", "", "", "", "key_arn"},
		{"aws-static", AWS_KEY "/../x", "", "", "", "key_arn"},
		{"aws-static", AWS_KEY, AWS_ROLE, "", "", "external_id"},
		{"aws-static", AWS_KEY, "", "x", "", "role_arn"},
		{"aws-static", AWS_KEY, "", "", "t", "tenant_id"},
		{"azure-secret", "https://vault.example/keys/k", "", "", "", "key_name"},
		{"azure-secret", "https://evil.example/x.vault.azure.net/keys/k", "", "", "",
		 "key_name"},
		{"azure-secret", "http://v.vault.azure.net/keys/k", "", "", "", "key_name"},
		{"azure-secret", AZURE_KEY "/version", "", "", "", "key_name"},
		{"azure-secret", AZURE_KEY, AWS_ROLE, "x", "", "role_arn"},
		{"azure-secret", AZURE_KEY, "", "", "a/b", "tenant_id"},
		{"google-account", GOOGLE_KEY "/cryptoKeyVersions/1", "", "", "", "kms_key_id"},
		{"google-account", "projects/../locations/l/keyRings/r/cryptoKeys/k", "", "", "",
		 "kms_key_id"},
		{"google-account", "projects/p/locations/l/keyRings/r/cryptoKeys/k:x", "", "", "",
		 "kms_key_id"},
		{"google-account", GOOGLE_KEY, "", "", "t", "tenant_id"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct kms_key key = key_of(rows[i].way);
		char error[256] = "";

		snprintf(key.key_id, sizeof(key.key_id), "%s", rows[i].key_id);
		snprintf(key.role_arn, sizeof(key.role_arn), "%s", rows[i].role);
		snprintf(key.external_id, sizeof(key.external_id), "%s", rows[i].external);
		snprintf(key.tenant_id, sizeof(key.tenant_id), "%s", rows[i].tenant);
		assert_int_equal(kms_provider_find(key.provider)->check(&key, error), -EINVAL);
		assert_non_null(strstr(error, rows[i].says));
	}
	for (size_t i = 0; i < 3; i++) {
		struct kms_key key = key_of(one_each[i]);
		char error[256];

		key.credentials[0] = '\0';
		assert_int_equal(kms_provider_find(key.provider)->check(&key, error), -EINVAL);
		assert_non_null(strstr(error, "credentials"));
		strcpy(key.credentials, "../x");
		assert_int_equal(kms_provider_find(key.provider)->check(&key, error), -EINVAL);
	}
}

/* --- the codecs --- */

static void test_base64(void **state)
{
	/* RFC 4648 section 10; and the two alphabets. */
	static const struct {
		const char *bytes, *padded, *url;
	} rows[] = {{"", "", ""},
		    {"f", "Zg==", "Zg"},
		    {"fo", "Zm8=", "Zm8"},
		    {"foo", "Zm9v", "Zm9v"},
		    {"foob", "Zm9vYg==", "Zm9vYg"},
		    {"fooba", "Zm9vYmE=", "Zm9vYmE"},
		    {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
		    {"\xfb\xff\xbf", "+/+/", "-_-_"}};
	static const char *const bad[] = {"Zg",	   "Zg=",  "Zh==", "Z",	   "Zg==Zg==", "Zm9v\n",
					  " Zm9v", "Zm9-", "=",	   "====", "Zm9v===="};
	uint8_t bytes[8];
	char text[16];
	size_t n;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = strlen(rows[i].bytes);

		assert_int_equal(base64_encode(BASE64, rows[i].bytes, len, text),
				 strlen(rows[i].padded));
		assert_string_equal(text, rows[i].padded);
		assert_int_equal(base64_encode(BASE64_URL, rows[i].bytes, len, text),
				 strlen(rows[i].url));
		assert_string_equal(text, rows[i].url);
		assert_int_equal(
			base64_decode(BASE64, rows[i].padded, strlen(rows[i].padded), bytes, 8, &n),
			0);
		assert_int_equal(n, len);
		assert_memory_equal(bytes, rows[i].bytes, n);
		assert_int_equal(
			base64_decode(BASE64_URL, rows[i].url, strlen(rows[i].url), bytes, 8, &n),
			0);
		assert_int_equal(n, len);
		assert_memory_equal(bytes, rows[i].bytes, n);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(base64_decode(BASE64, bad[i], strlen(bad[i]), bytes, 8, &n),
				 -EINVAL);
	assert_int_equal(base64_decode(BASE64_URL, "Zm9vZg", 6, bytes, 8, &n), 0);
	assert_int_equal(base64_decode(BASE64_URL, "+/+/", 4, bytes, 8, &n), -EINVAL);
	assert_int_equal(base64_decode(BASE64, "Zm9vYmFy", 8, bytes, 5, &n), -EMSGSIZE);
	assert_true(bytes_are_zero(bytes, 5));
}

static void test_crc32c(void **state)
{
	/* RFC 3720 appendix B.4. */
	uint8_t bytes[32];

	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(crc32c(bytes, sizeof(bytes)), 0x8a9136aa);
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(crc32c(bytes, sizeof(bytes)), 0x62a8ab43);
	for (uint8_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = i;
	assert_int_equal(crc32c(bytes, sizeof(bytes)), 0x46dd794e);
	assert_int_equal(crc32c("123456789", 9), 0xe3069283);
}

static void test_xml(void **state)
{
	char text[8];

	assert_int_equal(aws_xml_text("<a><Code>x+/=</Code></a>", "Code", text, sizeof(text)), 0);
	assert_string_equal(text, "x+/=");
	assert_int_equal(aws_xml_text("<Code>x", "Code", text, sizeof(text)), -EBADMSG);
	assert_int_equal(aws_xml_text("<Code>x</Code><Code>y</Code>", "Code", text, 8), -EBADMSG);
	assert_int_equal(aws_xml_text("<Code>a&amp;b</Code>", "Code", text, 8), -EBADMSG);
	assert_int_equal(aws_xml_text("<Code><b></Code>", "Code", text, 8), -EBADMSG);
	assert_int_equal(aws_xml_text("<Code>12345678</Code>", "Code", text, 8), -EBADMSG);
	assert_int_equal(aws_xml_text("", "Code", text, 8), -EBADMSG);
}

int main(void)
{
#define CLOUD_TEST(f) cmocka_unit_test_setup(f, reset)
	const struct CMUnitTest tests[] = {
		CLOUD_TEST(test_round_trip),
		CLOUD_TEST(test_request_ids),
		CLOUD_TEST(test_largest),
		CLOUD_TEST(test_refusals),
		CLOUD_TEST(test_invalid_state_in_other_words),
		CLOUD_TEST(test_identity),
		CLOUD_TEST(test_refresh),
		CLOUD_TEST(test_own_secret_and_clock),
		CLOUD_TEST(test_role),
		CLOUD_TEST(test_faults),
		CLOUD_TEST(test_large_reply),
		CLOUD_TEST(test_crc),
		CLOUD_TEST(test_credentials),
		CLOUD_TEST(test_untrusted),
		CLOUD_TEST(test_proxy),
		CLOUD_TEST(test_check),
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_crc32c),
		cmocka_unit_test(test_xml),
	};

	return cmocka_run_group_tests(tests, make, clean);
}
