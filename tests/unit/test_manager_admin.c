/* SPDX-License-Identifier: Apache-2.0 */
/* The admin API on a real manager: each route with each role and with other certificates; bodies
 * that are refused. */
#include "manager_server.h"

#include <errno.h>
#include <jansson.h>
#include <openssl/pem.h>

#include "base/cleanup.h"
#include "manager/pki_cert.h"

#define HEX64 "00000000000000000000000000000000000000000000000000000000000000aa"

/* --- who may call what: written down a second time, so that a slip in the table shows --- */

static const struct {
	const char *method, *path, *body;
	unsigned roles;
} routes[] = {
	{"GET", "/v1/keys", NULL, ROLE_ANY_ADMIN},
	{"GET", "/v1/keys/x", NULL, ROLE_ANY_ADMIN},
	{"POST", "/v1/keys", "{}", ROLE_KEY_ADMINISTRATOR},
	{"DELETE", "/v1/keys/x", NULL, ROLE_KEY_ADMINISTRATOR},
	{"POST", "/v1/keys/x/clear", "", ROLE_KEY_ADMINISTRATOR},
	{"POST", "/v1/keys/x/rotate", "{}", ROLE_KEY_ADMINISTRATOR},
	{"GET", "/v1/keys/x/rotation", NULL, ROLE_ANY_ADMIN},
	{"GET", "/v1/workspaces", NULL, ROLE_ANY_ADMIN},
	{"GET", "/v1/workspaces/x", NULL, ROLE_ANY_ADMIN},
	{"POST", "/v1/workspaces", "{}", ROLE_KEY_ADMINISTRATOR},
	{"DELETE", "/v1/workspaces/x", NULL, ROLE_KEY_ADMINISTRATOR},
	{"PUT", "/v1/workspaces/x/key", "{}", ROLE_KEY_ADMINISTRATOR},
	{"GET", "/v1/workspaces/x/keks", NULL, ROLE_ANY_ADMIN},
	{"POST", "/v1/workspaces/x/keks/rotate", "{}", ROLE_KEY_ADMINISTRATOR},
	{"POST", "/v1/workspaces/x/keks/retire", "{}", ROLE_KEY_ADMINISTRATOR},
	{"POST", "/v1/workspaces/x/keks/restore", "{}", ROLE_KEY_ADMINISTRATOR},
	{"GET", "/v1/vms", NULL, ROLE_ANY_ADMIN},
	{"POST", "/v1/vms", "{}", ROLE_ANY_ADMIN},
	{"DELETE", "/v1/vms/x/y", NULL, ROLE_ANY_ADMIN},
	{"POST", "/v1/vms/x/y/shred", "", ROLE_OPERATOR},
	{"GET", "/v1/storage-nodes", NULL, ROLE_ANY_ADMIN},
	{"POST", "/v1/storage-nodes", "{}", ROLE_KEY_ADMINISTRATOR},
	{"DELETE", "/v1/storage-nodes/x/y", NULL, ROLE_ANY_ADMIN},
	{"POST", "/v1/boots/" HEX64 "/confirm", "", ROLE_OPERATOR},
	{"POST", "/v1/boots/" HEX64 "/drill", "", ROLE_OPERATOR},
	{"GET", "/v1/fleet", NULL, ROLE_ANY_ADMIN},
	{"GET", "/v1/receipts", NULL, ROLE_ANY_ADMIN},
	{"GET", "/v1/receipts/" HEX64, NULL, ROLE_ANY_ADMIN},
	{"GET", "/v1/signing-keys", NULL, ROLE_ANY_ADMIN},
	{"POST", "/v1/signing-keys/new", "", ROLE_KEY_ADMINISTRATOR},
	{"PUT", "/v1/signing-keys", "{}", ROLE_KEY_ADMINISTRATOR},
	{"POST", "/v1/store/adopt", "", ROLE_KEY_ADMINISTRATOR},
	{"GET", "/v1/audit", NULL, ROLE_ANY_ADMIN},
	{"GET", "/v1/audit/checkpoint", NULL, ROLE_ANY_ADMIN},
	{"GET", "/v1/metrics", NULL, ROLE_ANY_ADMIN},
};

static void every_route_asks_for_its_role(void **state)
{
	static const unsigned roles[] = {ROLE_KEY_ADMINISTRATOR, ROLE_OPERATOR};

	assert_int_equal(admin_routes_n, ELEMENTSOF(routes));
	for (size_t i = 0; i < ELEMENTSOF(routes); i++)
		for (size_t k = 0; k < ELEMENTSOF(roles); k++) {
			struct reply reply =
				ask(roles[k], routes[i].method, routes[i].path, routes[i].body);
			bool allowed = routes[i].roles & roles[k];

			if ((reply.status == 403) == allowed || reply.status >= 500)
				print_message("%s %s as role %u: %ld %s\n", routes[i].method,
					      routes[i].path, roles[k], reply.status, reply.body);
			assert_int_equal(reply.code, CURLE_OK);
			assert_true(reply.status < 500);
			assert_int_equal(reply.status == 403, !allowed);
			if (!allowed)
				assert_non_null(strstr(reply.body, "\"forbidden\""));
		}
}

static void no_route_answers_without_certificate(void **state)
{
	for (size_t i = 0; i < ELEMENTSOF(routes); i++) {
		struct reply reply =
			ask_as(NULL, NULL, true, routes[i].method, routes[i].path, routes[i].body);

		assert_int_not_equal(reply.code, CURLE_OK);
		assert_int_equal(reply.status, 0);
		assert_int_equal(reply.n, 0);
	}
}

static void vm_listener_has_no_admin_route(void **state)
{
	for (size_t i = 0; i < ELEMENTSOF(routes); i++) {
		struct reply reply = ask_as("identities/key-administrator/cert.pem",
					    "identities/key-administrator/key.pem", false,
					    routes[i].method, routes[i].path, routes[i].body);

		/* /v1/signing-keys is a route of VMs too, with another answer. */
		if (strcmp(routes[i].path, "/v1/signing-keys") == 0)
			continue;
		assert_int_equal(reply.code, CURLE_OK);
		assert_int_equal(reply.status, 404);
	}
}

static EVP_PKEY *read_key(const char *name)
{
	char path[PATH_MAX];
	EVP_PKEY *key;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	f = fopen(path, "re");
	assert_non_null(f);
	key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
	fclose(f);
	assert_non_null(key);
	return key;
}

static X509 *read_certificate(const char *name)
{
	char path[PATH_MAX];
	X509 *certificate;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	f = fopen(path, "re");
	assert_non_null(f);
	certificate = PEM_read_X509(f, NULL, NULL, NULL);
	fclose(f);
	assert_non_null(certificate);
	return certificate;
}

/* other.pem and other.key: SUBJECT certified by the authority of FILE at NOW. */
static void certify_other(const struct pki_subject *subject, const char *authority,
			  const char *authority_key, int64_t now)
{
	X509 *issuer = read_certificate(authority), *made;
	EVP_PKEY *issuer_key = read_key(authority_key), *key;
	char path[PATH_MAX];
	FILE *f;

	assert_int_equal(pki_key_new(&key), 0);
	assert_int_equal(pki_certify(subject, key, issuer, issuer_key, now, &made), 0);
	snprintf(path, sizeof(path), "%s/other.pem", directory);
	f = fopen(path, "we");
	PEM_write_X509(f, made);
	fclose(f);
	snprintf(path, sizeof(path), "%s/other.key", directory);
	f = fopen(path, "we");
	PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
	X509_free(made);
	X509_free(issuer);
	EVP_PKEY_free(key);
	EVP_PKEY_free(issuer_key);
}

static void other_certificates_are_refused(void **state)
{
	const int64_t now = (int64_t)clock_realtime_s();
	const struct pki_subject administrator = {.kind = PKI_CLIENT,
						  .common_name = "key-administrator",
						  .unit = "key-administrator"};
	const struct pki_subject server_subject = {.kind = PKI_SERVER,
						   .common_name = "key-administrator",
						   .unit = "key-administrator"};
	const struct pki_subject no_role = {
		.kind = PKI_CLIENT, .common_name = "key-administrator", .unit = "guest"};
	const struct pki_subject no_unit = {.kind = PKI_CLIENT, .common_name = "key-administrator"};
	const struct {
		const char *what;
		const struct pki_subject *subject;
		const char *authority, *key;
		int64_t at;
		bool accepted;
	} cases[] = {
		{"control", &administrator, "admin-ca.pem", "admin-ca.key", now, true},
		{"the other authority", &administrator, "ca.pem", "ca.key", now, false},
		{"expired", &administrator, "admin-ca.pem", "admin-ca.key",
		 now - pki_lifetime_s(PKI_CLIENT) - 60, false},
		{"a server's", &server_subject, "admin-ca.pem", "admin-ca.key", now, false},
		{"no role", &no_role, "admin-ca.pem", "admin-ca.key", now, false},
		{"no unit", &no_unit, "admin-ca.pem", "admin-ca.key", now, false},
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		struct reply reply;

		certify_other(cases[i].subject, cases[i].authority, cases[i].key, cases[i].at);
		reply = ask_as("other.pem", "other.key", true, "GET", "/v1/keys", NULL);
		if ((reply.status == 200) != cases[i].accepted)
			print_message("%s: %d, %ld %s\n", cases[i].what, reply.code, reply.status,
				      reply.body);
		assert_int_equal(reply.status == 200, cases[i].accepted);
		if (!cases[i].accepted)
			assert_true(reply.code != CURLE_OK || reply.status == 403);
	}
}

/* --- bodies --- */

static void has_error(const struct reply *reply, long status, const char *in_message)
{
	json_t *body = json_loads(reply->body, 0, NULL);
	const char *message = json_string_value(json_object_get(body, "message"));

	if (reply->status != status || !message || !strstr(message, in_message))
		print_message("%ld %s, not %ld with '%s'\n", reply->status, reply->body, status,
			      in_message);
	assert_int_equal(reply->status, status);
	assert_non_null(message);
	assert_non_null(strstr(message, in_message));
	json_decref(body);
}

#define AWS_KEY	 "arn:aws:kms:eu-central-1:111122223333:key/k"
#define KEY_BODY "\"file_key_info\":{\"key_id\":\"k\",\"directory\":\"/nonexistent\"}"

static void bad_bodies_are_refused_by_name(void **state)
{
	static const struct {
		const char *method, *path, *body, *in_message;
	} cases[] = {
		{"POST", "/v1/workspaces", "", "empty"},
		{"POST", "/v1/workspaces", "{", "not valid JSON"},
		{"POST", "/v1/workspaces", "{\"name\":\"a\"} x", "not valid JSON"},
		{"POST", "/v1/workspaces", "[]", "not a JSON object"},
		{"POST", "/v1/workspaces", "{}", "'name' is missing"},
		{"POST", "/v1/workspaces", "{\"name\":\"a\",\"name\":\"b\"}", "given twice"},
		{"POST", "/v1/workspaces", "{\"name\":\"a\",\"colour\":1}", "'colour'"},
		{"POST", "/v1/workspaces", "{\"name\":1}", "'name'"},
		{"POST", "/v1/workspaces", "{\"name\":\"\"}", "'name'"},
		{"POST", "/v1/workspaces", "{\"name\":\"../x\"}", "'name'"},
		{"POST", "/v1/workspaces", "{\"name\":\"a\\u0000b\"}", "not valid JSON"},
		{"POST", "/v1/workspaces", "{\"name\":\"" HEX64 "\"}", "'name'"},
		{"PUT", "/v1/workspaces/x/key", "{\"key\":null}", "'key'"},
		{"POST", "/v1/vms", "{\"workspace\":\"w\",\"vm\":\"v\",\"public_key\":\"00\"}",
		 "'public_key'"},
		{"POST", "/v1/vms", "{\"workspace\":\"w\",\"vm\":\"v\"}",
		 "'public_key' is missing"},
		{"POST", "/v1/keys", "{\"name\":\"k\"}", "'aws_key_info'"},
		{"POST", "/v1/keys", "{\"name\":\"k\",\"file_key_info\":[]}",
		 "'file_key_info' must be an object"},
		{"POST", "/v1/keys", "{\"name\":\"k\",\"file_key_info\":{\"key_id\":\"k\"}}",
		 "'file_key_info': member 'directory' is missing"},
		{"POST", "/v1/keys", "{\"name\":\"k\",\"gcp_key_info\":{\"key_arn\":\"k\"}}",
		 "'gcp_key_info': unknown member 'key_arn'"},
		{"POST", "/v1/keys",
		 "{\"name\":\"k\"," KEY_BODY ",\"gcp_key_info\":{\"kms_key_id\":\"k\"}}",
		 "one CMK"},
		{"POST", "/v1/keys", "{\"name\":\"k\",\"aws_key_info\":{\"key_arn\":\"alias/a\"}}",
		 "key_arn"},
		{"POST", "/v1/keys",
		 "{\"name\":\"k\",\"aws_key_info\":{\"key_arn\":\"" AWS_KEY
		 "\",\"key_region\":\"us-east-1\"}}",
		 "key_region"},
		{"POST", "/v1/keys",
		 "{\"name\":\"k\",\"azure_key_info\":{\"key_vault_uri\":\"https://v.example\","
		 "\"key_name\":\"k\"}}",
		 "key_vault_uri"},
		{"POST", "/v1/keys", "{\"name\":\"k\"," KEY_BODY ",\"use_cases\":[]}",
		 "'use_cases' must be"},
		{"POST", "/v1/keys", "{\"name\":\"k\"," KEY_BODY ",\"use_cases\":[\"ALL\"]}",
		 "'use_cases' holds"},
		{"POST", "/v1/keys",
		 "{\"name\":\"k\"," KEY_BODY ",\"use_cases\":[\"STORAGE\",\"STORAGE\"]}",
		 "'use_cases' holds"},
		{"POST", "/v1/keys", "{\"name\":\"k\"," KEY_BODY ",\"lease_ms\":-1}", "'lease_ms'"},
		{"POST", "/v1/keys", "{\"name\":\"k\"," KEY_BODY ",\"lease_ms\":1.5}",
		 "'lease_ms'"},
		{"POST", "/v1/keys", "{\"name\":\"k\"," KEY_BODY ",\"lease_ms\":4294967296}",
		 "'lease_ms'"},
		{"POST", "/v1/keys", "{\"name\":\"k\"," KEY_BODY ",\"expiry\":\"never\"}",
		 "'expiry'"},
		{"POST", "/v1/keys", "{\"name\":\"k\"," KEY_BODY ",\"confirm_boot\":1}",
		 "'confirm_boot'"},
		{"PUT", "/v1/signing-keys", "{\"set\":\"00\"}", "'set'"},
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		struct reply reply =
			ask(ROLE_KEY_ADMINISTRATOR, cases[i].method, cases[i].path, cases[i].body);

		assert_int_equal(reply.code, CURLE_OK);
		has_error(&reply, 400, cases[i].in_message);
	}
}

static void long_bodies_are_refused(void **state)
{
	static char body[8192];
	struct reply reply;

	memset(body, ' ', sizeof(body) - 1);
	reply = ask(ROLE_KEY_ADMINISTRATOR, "POST", "/v1/workspaces", body);
	assert_int_equal(reply.status, 413);
	reply = ask(ROLE_KEY_ADMINISTRATOR, "POST", "/v1/store/adopt", "{}");
	assert_int_equal(reply.status, 413);
}

static void absent_objects_are_404(void **state)
{
	static const struct {
		unsigned role;
		const char *method, *path, *body;
	} cases[] = {
		{ROLE_KEY_ADMINISTRATOR, "GET", "/v1/keys/absent", NULL},
		{ROLE_KEY_ADMINISTRATOR, "DELETE", "/v1/keys/absent", NULL},
		{ROLE_KEY_ADMINISTRATOR, "POST", "/v1/keys/absent/clear", ""},
		{ROLE_KEY_ADMINISTRATOR, "GET", "/v1/workspaces/absent", NULL},
		{ROLE_KEY_ADMINISTRATOR, "DELETE", "/v1/workspaces/absent", NULL},
		{ROLE_KEY_ADMINISTRATOR, "PUT", "/v1/workspaces/absent/key", "{\"key\":\"k\"}"},
		{ROLE_OPERATOR, "POST", "/v1/vms",
		 "{\"workspace\":\"absent\",\"vm\":\"v\",\"public_key\":\"" HEX64 "\"}"},
		{ROLE_OPERATOR, "DELETE", "/v1/vms/absent/v", NULL},
		{ROLE_OPERATOR, "POST", "/v1/vms/absent/v/shred", ""},
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		struct reply reply =
			ask(cases[i].role, cases[i].method, cases[i].path, cases[i].body);

		has_error(&reply, 404, "absent");
	}
}

static void other_paths_and_queries_are_refused(void **state)
{
	struct reply reply;

	reply = ask(ROLE_OPERATOR, "GET", "/v1/nothing", NULL);
	assert_int_equal(reply.status, 404);
	reply = ask(ROLE_OPERATOR, "PUT", "/v1/keys", "");
	assert_int_equal(reply.status, 405);
	reply = ask(ROLE_OPERATOR, "GET", "/v1/fleet?colour=red", NULL);
	has_error(&reply, 400, "workspace=NAME");
	reply = ask(ROLE_OPERATOR, "GET", "/v1/receipts/00", NULL);
	has_error(&reply, 400, "64 hex digits");
	reply = ask(ROLE_OPERATOR, "GET", "/v1/fleet?workspace=absent", NULL);
	assert_int_equal(reply.status, 200);
	assert_string_equal(reply.body, "[]");
}

static void workspaces_and_vms_live_and_die(void **state)
{
	static const char enrol[] =
		"{\"workspace\":\"w\",\"vm\":\"v\",\"public_key\":\"" HEX64 "\"}";
	struct reply reply;

	reply = ask(ROLE_KEY_ADMINISTRATOR, "POST", "/v1/workspaces", "{\"name\":\"w\"}");
	assert_int_equal(reply.status, 204);
	reply = ask(ROLE_KEY_ADMINISTRATOR, "POST", "/v1/workspaces", "{\"name\":\"w\"}");
	has_error(&reply, 409, "workspace w");
	reply = ask(ROLE_OPERATOR, "POST", "/v1/vms", enrol);
	assert_int_equal(reply.status, 204);
	reply = ask(ROLE_OPERATOR, "POST", "/v1/vms", enrol);
	has_error(&reply, 409, "VM w/v");
	reply = ask(ROLE_OPERATOR, "GET", "/v1/vms?workspace=w", NULL);
	assert_non_null(strstr(reply.body, HEX64));
	reply = ask(ROLE_OPERATOR, "POST", "/v1/vms/w/v/shred", "");
	has_error(&reply, 409, "VM w/v");
	reply = ask(ROLE_KEY_ADMINISTRATOR, "DELETE", "/v1/workspaces/w", NULL);
	has_error(&reply, 409, "workspace w");
	reply = ask(ROLE_OPERATOR, "DELETE", "/v1/vms/w/v", NULL);
	assert_int_equal(reply.status, 204);
	reply = ask(ROLE_OPERATOR, "GET", "/v1/vms", NULL);
	assert_string_equal(reply.body, "[]");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_route_asks_for_its_role),
		cmocka_unit_test(no_route_answers_without_certificate),
		cmocka_unit_test(vm_listener_has_no_admin_route),
		cmocka_unit_test(other_certificates_are_refused),
		cmocka_unit_test(bad_bodies_are_refused_by_name),
		cmocka_unit_test(long_bodies_are_refused),
		cmocka_unit_test(absent_objects_are_404),
		cmocka_unit_test(other_paths_and_queries_are_refused),
		cmocka_unit_test(workspaces_and_vms_live_and_die),
	};

	return cmocka_run_group_tests(tests, start_server, stop_server);
}
