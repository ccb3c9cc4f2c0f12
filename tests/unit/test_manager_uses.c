/* SPDX-License-Identifier: Apache-2.0 */
/* What a key configuration may be used for, at a real manager: what is enrolled, bound or moved is
 * covered, or refused. */
#include "manager_clouds.h"
#include "manager_node.h"

#define HEX64 "c0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ff"

#define SETTINGS                                                                                   \
	",\"poll_ms\":1000,\"lease_ms\":120000,\"margin_ms\":10000,\"max_staleness_ms\":90000,"    \
	"\"probe_ms\":500"

static void make_cloud_key(const char *name, const char *settings)
{
	char body[1024];

	snprintf(body, sizeof(body), "{\"name\":\"%s\",%s" SETTINGS "}", name, settings);
	key_admin("POST", "/v1/keys", body, 204);
}

/* The message of a refusal by use case names what is in the way. */
static void refused(const char *method, const char *path, const char *body, const char *says)
{
	json_t *answer = admin("key-administrator", method, path, body, 409);
	const char *message = json_string_value(json_object_get(answer, "message"));

	assert_string_equal(json_string_value(json_object_get(answer, "error")), "use-case");
	assert_non_null(message);
	if (!strstr(message, says))
		print_error("%s: not '%s'\n", message, says);
	assert_non_null(strstr(message, says));
	json_decref(answer);
}

static void refuse_enrolment(const char *what, const char *member, const char *workspace,
			     const char *says)
{
	char body[256];

	snprintf(body, sizeof(body),
		 "{\"workspace\":\"%s\",\"%s\":\"x\",\"public_key\":\"" HEX64 "\"}", workspace,
		 member);
	refused("POST", what, body, says);
}

static void refuse_vm(const char *workspace, const char *says)
{
	refuse_enrolment("/v1/vms", "vm", workspace, says);
}

static void refuse_node(const char *workspace, const char *says)
{
	refuse_enrolment("/v1/storage-nodes", "node", workspace, says);
}

static void refuse_key(const char *path, const char *member, const char *key, const char *says)
{
	const char *method = strstr(path, "/rotate") ? "POST" : "PUT";
	char body[96];

	snprintf(body, sizeof(body), "{\"%s\":\"%s\"}", member, key);
	refused(method, path, body, says);
}

static void test_shown(void **state)
{
	json_t *key, *uses;

	/* AWS alone has the member that takes VMs from STORAGE. */
	make_cloud_key("data", "\"aws_key_info\":{\"key_arn\":\"" AWS_KEY
			       "\",\"reuse_key_for_cluster_volumes\":false},"
			       "\"credentials\":\"aws-static\",\"use_cases\":[\"STORAGE\"]");
	make_key("volumes", ",\"use_cases\":[\"STORAGE\"]" SETTINGS);
	make_key("vms", ",\"use_cases\":[\"MANAGED_SERVICES\"]" SETTINGS);
	make_key("all", SETTINGS);
	manager_stop();
	manager_start();
	key = admin("operator", "GET", "/v1/keys/data", NULL, 200);
	uses = json_object_get(key, "use_cases");
	assert_int_equal(json_array_size(uses), 1);
	assert_string_equal(json_string_value(json_array_get(uses, 0)), "STORAGE");
	assert_true(json_is_false(json_object_get(json_object_get(key, "aws_key_info"),
						  "reuse_key_for_cluster_volumes")));
	json_decref(key);
	key = admin("operator", "GET", "/v1/keys/all", NULL, 200);
	assert_int_equal(json_array_size(json_object_get(key, "use_cases")), 2);
	json_decref(key);
}

static void test_enrolments(void **state)
{
	struct node node;
	struct vm vm;

	make_workspace("of-vms", "vms");
	vm_enrol(&vm, "of-vms", "db1");
	vm_done(&vm);
	refuse_node("of-vms", "storage node of-vms/x");
	make_workspace("of-data", "data");
	node_enrol(&node, "of-data", "s1");
	refuse_vm("of-data", "VM of-data/x");
	make_workspace("of-volumes", "volumes");
	vm_admit((vm_enrol(&vm, "of-volumes", "db1"), &vm));
	node_enrol(&node, "of-volumes", "s2");
	vm_done(&vm);
}

/* What comes into a workspace later inherits its key, of every kind. */
static void test_inherited(void **state)
{
	json_t *items = json_pack("{s:s, s:[{}]}", "use", "projects", "items");
	struct node node;
	struct vm vm;

	make_workspace("inherits", "all");
	vm_enrol(&vm, "inherits", "later");
	vm_admit(&vm);
	node_enrol(&node, "inherits", "later");
	json_decref(call(&node, "/v1/deks/generate", items, 200));
	assert_int_equal(keyfile_set_state(key_dir, "all", KEYFILE_DISABLED), 0);
	for (int i = 0; i < 300; i++) {
		json_t *key = admin("operator", "GET", "/v1/keys/all", NULL, 200);
		bool revoked =
			strcmp(json_string_value(json_object_get(key, "state")), "revoked") == 0;

		json_decref(key);
		if (revoked)
			break;
		pause_ms(100);
	}
	call_refused(&node, "/v1/deks/generate",
		     json_pack("{s:s, s:[{}]}", "use", "projects", "items"), 403, "revoked");
	assert_int_equal(keyfile_set_state(key_dir, "all", KEYFILE_ENABLED), 0);
	key_admin("POST", "/v1/keys/all/clear", "", 204);
	vm_done(&vm);
}

static void test_bindings(void **state)
{
	struct node node;

	refuse_key("/v1/workspaces/of-vms/key", "key", "data", "of-vms has VMs");
	refuse_key("/v1/workspaces/of-data/key", "key", "vms", "of-data has storage nodes");
	/* An unbound one takes anything in, and is bound only to what covers it. */
	key_admin("POST", "/v1/workspaces", "{\"name\":\"loose\"}", 204);
	node_enrol(&node, "loose", "s3");
	refuse_key("/v1/workspaces/loose/key", "key", "vms", "loose has storage nodes");
	key_admin("PUT", "/v1/workspaces/loose/key", "{\"key\":\"data\"}", 204);
	/* Keys of data outlive the nodes. */
	json_decref(call(&node, "/v1/deks/generate",
			 json_pack("{s:s, s:[{}]}", "use", "data", "items"), 200));
	key_admin("DELETE", "/v1/storage-nodes/loose/s3", NULL, 204);
	refuse_key("/v1/workspaces/loose/key", "key", "vms", "keys of their data");
}

static bool is_bound(const char *workspace, const char *key)
{
	char path[64];
	json_t *row;
	bool is;

	snprintf(path, sizeof(path), "/v1/workspaces/%s", workspace);
	row = admin("operator", "GET", path, NULL, 200);
	is = strcmp(json_string_value(json_object_get(row, "key")), key) == 0;
	json_decref(row);
	return is;
}

static void test_rotations(void **state)
{
	struct vm vm;

	make_cloud_key("origin", "\"gcp_key_info\":{\"kms_key_id\":\"" GOOGLE_KEY
				 "\"},\"credentials\":\"google-account\"");
	make_workspace("goes", "origin");
	make_key("other-vms", ",\"use_cases\":[\"MANAGED_SERVICES\"]" SETTINGS);
	refuse_key("/v1/keys/vms/rotate", "to", "data", "of-vms has VMs");
	/* It begins, by one unwrap, and then the KMS is away. */
	standin("{\"faults\":{\"google\":{\"after\":1,\"status\":503,\"body\":\"\"}}}");
	key_admin("POST", "/v1/keys/origin/rotate", "{\"to\":\"other-vms\"}", 204);
	assert_true(is_bound("goes", "origin"));
	refuse_node("goes", "origin");
	/* Who is bound to it meanwhile goes the same way. */
	refuse_key("/v1/workspaces/of-data/key", "key", "origin", "of-data has storage nodes");
	/* And the key that they go to goes itself only where all that come are covered. */
	vm_enrol(&vm, "goes", "db1");
	vm_done(&vm);
	refuse_key("/v1/keys/other-vms/rotate", "to", "data", "goes has VMs");
	standin("{\"reset\":true}");
	for (int i = 0; i < 300 && !is_bound("goes", "other-vms"); i++)
		pause_ms(100);
	assert_true(is_bound("goes", "other-vms"));
	refuse_node("goes", "other-vms");
}

static int tests(void)
{
	const struct CMUnitTest list[] = {
		cmocka_unit_test(test_shown),	  cmocka_unit_test(test_enrolments),
		cmocka_unit_test(test_inherited), cmocka_unit_test(test_bindings),
		cmocka_unit_test(test_rotations),
	};

	return cmocka_run_group_tests(list, clouds_set_up, clouds_tear_down);
}

int main(int argc, char **argv)
{
	return world_main(argc, argv, tests);
}
