/* SPDX-License-Identifier: Apache-2.0 */
/* emberlock-admin key, workspace, store: which CMK governs whom. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "manager/admin_cli.h"

static void free_json(json_t **p)
{
	json_decref(*p);
}

static int print_name(const struct admin_call *call, const char *name, const char *done)
{
	if (call->json)
		printf("{\"name\":\"%s\"}\n", name);
	else
		printf("%s: %s\n", name, done);
	return 0;
}

/* A request about object NAME that has no answer to print but DONE. */
static int act(const struct admin_call *call, const char *method, const char *prefix,
	       const char *what, const char *suffix, const char *done)
{
	const char *name = call->arguments[0];
	char path[256];
	int r;

	r = admin_path(path, prefix, what, name, suffix);
	if (r < 0)
		return r;
	r = admin_http(call, method, path, NULL, NULL);
	return r < 0 ? r : print_name(call, name, done);
}

static int add_durations(const struct admin_call *call, json_t *body)
{
	static const struct {
		const char *option, *member;
	} durations[] = {
		{"poll-interval", "poll_ms"},	{"lease", "lease_ms"},
		{"margin", "margin_ms"},	{"max-staleness", "max_staleness_ms"},
		{"probe-interval", "probe_ms"},
	};

	for (size_t i = 0; i < ELEMENTSOF(durations); i++) {
		const char *value = admin_value(call, durations[i].option);
		uint64_t ms;

		if (!value)
			continue;
		if (parse_duration(value, &ms) < 0 || ms > UINT32_MAX)
			return admin_refuse(
				-EINVAL,
				"--%s: '%.32s' is no duration: digits with ms, s, min or h",
				durations[i].option, value);
		json_object_set_new(body, durations[i].member, json_integer((json_int_t)ms));
	}
	return 0;
}

/* An option a member of the CMK's own object, in the words of its cloud. */
static const struct {
	const char *option, *object, *member, *provider;
} infos[] = {
	{"key-arn", "aws_key_info", "key_arn", "aws"},
	{"key-alias", "aws_key_info", "key_alias", "aws"},
	{"key-region", "aws_key_info", "key_region", "aws"},
	{"role-arn", "aws_key_info", "role_arn", "aws"},
	{"external-id", "aws_key_info", "external_id", "aws"},
	{"key-vault-uri", "azure_key_info", "key_vault_uri", "azure"},
	{"key-name", "azure_key_info", "key_name", "azure"},
	{"tenant-id", "azure_key_info", "tenant_id", "azure"},
	{"kms-key-id", "gcp_key_info", "kms_key_id", "google"},
	{"key-id", "file_key_info", "key_id", "file"},
	{"directory", "file_key_info", "directory", "file"},
};

static int add_infos(const struct admin_call *call, json_t *body)
{
	size_t first = ELEMENTSOF(infos);

	for (size_t i = 0; i < ELEMENTSOF(infos); i++) {
		const char *value = admin_value(call, infos[i].option);

		if (!value)
			continue;
		if (first == ELEMENTSOF(infos)) {
			first = i;
			json_object_set_new(body, infos[i].object, json_object());
		}
		if (strcmp(infos[i].object, infos[first].object) != 0)
			return admin_refuse(-EINVAL,
					    "--%s is of %s, --%s of %s: a key has one of them",
					    infos[first].option, infos[first].provider,
					    infos[i].option, infos[i].provider);
		if (json_object_set_new(json_object_get(body, infos[i].object), infos[i].member,
					json_string(value)) < 0)
			return admin_refuse(-EINVAL, "--%s: must be UTF-8 text", infos[i].option);
	}
	if (first == ELEMENTSOF(infos))
		return admin_refuse(-EINVAL,
				    "which key: --key-arn, --key-vault-uri, --kms-key-id or "
				    "--key-id is needed");
	return 0;
}

/* "MANAGED_SERVICES,STORAGE" */
static int add_uses(const struct admin_call *call, json_t *body)
{
	const char *text = admin_value(call, "use-cases");
	json_t *array = json_array();

	while (text && *text) {
		size_t n = strcspn(text, ",");

		if (json_array_append_new(array, json_stringn(text, n)) < 0) {
			json_decref(array);
			return admin_refuse(-EINVAL, "--use-cases: must be UTF-8 text");
		}
		text += n + (text[n] == ',');
	}
	if (admin_value(call, "use-cases"))
		json_object_set(body, "use_cases", array);
	json_decref(array);
	return 0;
}

/* The one member of aws_key_info that is no text. */
static int add_volumes(const struct admin_call *call, json_t *body)
{
	const char *text = admin_value(call, "reuse-key-for-cluster-volumes");
	json_t *info = json_object_get(body, "aws_key_info");

	if (!text)
		return 0;
	if (!info)
		return admin_refuse(-EINVAL, "--reuse-key-for-cluster-volumes: of --key-arn alone");
	if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
		return admin_refuse(-EINVAL,
				    "--reuse-key-for-cluster-volumes: must be true or false");
	json_object_set_new(info, "reuse_key_for_cluster_volumes",
			    json_boolean(strcmp(text, "true") == 0));
	return 0;
}

static int key_create(const struct admin_call *call)
{
	_cleanup_(free_json) json_t *body = NULL;
	int r;

	body = json_pack("{s:s, s:s*, s:s*}", "name", call->arguments[0], "expiry",
			 admin_value(call, "expiry"), "credentials",
			 admin_value(call, "credentials"));
	if (!body)
		return admin_refuse(-EINVAL, "the arguments must be UTF-8 text");
	if (admin_value(call, "confirm-boot"))
		json_object_set_new(body, "confirm_boot", json_true());
	r = add_infos(call, body);
	if (r == 0)
		r = add_volumes(call, body);
	if (r == 0)
		r = add_uses(call, body);
	if (r == 0)
		r = add_durations(call, body);
	if (r < 0)
		return r;
	r = admin_http(call, "POST", "/v1/keys", body, NULL);
	if (r < 0)
		return r;
	return print_name(call, call->arguments[0],
			  "created; the KMS wrapped and unwrapped under it");
}

/* What names a CMK, in one cell. */
static json_t *key_text(const json_t *info)
{
	static const char *const members[] = {"key_arn", "kms_key_id", "key_id"};
	const char *vault, *name;

	for (size_t i = 0; i < ELEMENTSOF(members); i++)
		if (json_object_get(info, members[i]))
			return json_incref(json_object_get(info, members[i]));
	if (json_unpack((json_t *)info, "{s:s, s:s}", "key_vault_uri", &vault, "key_name", &name) <
	    0)
		return json_null();
	return json_sprintf("%s/keys/%s", vault, name);
}

static json_t *uses_text(const json_t *uses)
{
	char text[64] = "";
	const json_t *use;
	size_t i, n = 0;

	json_array_foreach(uses, i, use)
	{
		int k = snprintf(text + n, sizeof(text) - n, "%s%s", i ? ", " : "",
				 json_string_value(use));

		if (k < 0 || (size_t)k >= sizeof(text) - n)
			break;
		n += (size_t)k;
	}
	return json_string(text);
}

/* For tables: the members of the CMK's own object beside the others, its provider and its id. */
static void flatten(json_t *key)
{
	json_object_set_new(key, "uses", uses_text(json_object_get(key, "use_cases")));
	for (size_t i = 0; i < ELEMENTSOF(infos); i++) {
		json_t *info = json_object_get(key, infos[i].object);

		if (!info || json_object_get(key, "provider"))
			continue;
		json_object_set_new(key, "provider", json_string(infos[i].provider));
		json_object_set_new(key, "cmk", key_text(info));
		json_object_update_missing(key, info);
	}
}

static int key_list(const struct admin_call *call)
{
	static const struct admin_column columns[] = {
		{"NAME", "name", ADMIN_COLUMN_TEXT},
		{"PROVIDER", "provider", ADMIN_COLUMN_TEXT},
		{"KEY", "cmk", ADMIN_COLUMN_TEXT},
		{"STATE", "state", ADMIN_COLUMN_TEXT},
		{"LEASE", "lease_ms", ADMIN_COLUMN_DURATION},
		{"EXPIRY", "expiry", ADMIN_COLUMN_TEXT},
		{"LAST EVIDENCE", "last_evidence", ADMIN_COLUMN_TIME},
		{"REVOKED AT", "revoked_at", ADMIN_COLUMN_TIME},
	};
	_cleanup_(free_json) json_t *answer = NULL;
	int r;

	r = admin_http(call, "GET", "/v1/keys", NULL, &answer);
	if (r < 0)
		return r;
	for (size_t i = 0; !call->json && i < json_array_size(answer); i++)
		flatten(json_array_get(answer, i));
	admin_print_table(call, answer, columns, ELEMENTSOF(columns));
	return 0;
}

static int key_show(const struct admin_call *call)
{
	static const struct admin_column columns[] = {
		{"name", "name", ADMIN_COLUMN_TEXT},
		{"provider", "provider", ADMIN_COLUMN_TEXT},
		{"key", "cmk", ADMIN_COLUMN_TEXT},
		{"alias", "key_alias", ADMIN_COLUMN_TEXT},
		{"directory", "directory", ADMIN_COLUMN_TEXT},
		{"credentials", "credentials", ADMIN_COLUMN_TEXT},
		{"role", "role_arn", ADMIN_COLUMN_TEXT},
		{"external id", "external_id", ADMIN_COLUMN_TEXT},
		{"tenant", "tenant_id", ADMIN_COLUMN_TEXT},
		{"use cases", "uses", ADMIN_COLUMN_TEXT},
		{"cluster volumes", "reuse_key_for_cluster_volumes", ADMIN_COLUMN_TEXT},
		{"state", "state", ADMIN_COLUMN_TEXT},
		{"class", "class", ADMIN_COLUMN_TEXT},
		{"last answer", "code", ADMIN_COLUMN_TEXT},
		{"what follows", "follow", ADMIN_COLUMN_TEXT},
		{"poll interval", "poll_ms", ADMIN_COLUMN_DURATION},
		{"lease", "lease_ms", ADMIN_COLUMN_DURATION},
		{"margin", "margin_ms", ADMIN_COLUMN_DURATION},
		{"max staleness", "max_staleness_ms", ADMIN_COLUMN_DURATION},
		{"probe interval", "probe_ms", ADMIN_COLUMN_DURATION},
		{"expiry", "expiry", ADMIN_COLUMN_TEXT},
		{"confirm boot", "confirm_boot", ADMIN_COLUMN_TEXT},
		{"last evidence", "last_evidence", ADMIN_COLUMN_TIME},
		{"revoked at", "revoked_at", ADMIN_COLUMN_TIME},
		{"calls, probes", "calls_probe", ADMIN_COLUMN_NUMBER},
		{"calls, boots", "calls_admission", ADMIN_COLUMN_NUMBER},
		{"calls, KEKs", "calls_kek", ADMIN_COLUMN_NUMBER},
		{"calls, others", "calls_administration", ADMIN_COLUMN_NUMBER},
		{"VM seconds", "vm_seconds", ADMIN_COLUMN_NUMBER},
		{"calls/VM-hour", "calls_per_vm_hour", ADMIN_COLUMN_TEXT},
		{"events", "events", ADMIN_COLUMN_NUMBER},
		{"last event", "last_event", ADMIN_COLUMN_TIME},
	};
	_cleanup_(free_json) json_t *answer = NULL;
	char path[256];
	int r;

	r = admin_path(path, "/v1/keys/", "NAME", call->arguments[0], "");
	if (r < 0)
		return r;
	r = admin_http(call, "GET", path, NULL, &answer);
	if (r < 0)
		return r;
	if (!call->json)
		flatten(answer);
	admin_print_object(call, answer, columns, ELEMENTSOF(columns));
	return 0;
}

static int key_delete(const struct admin_call *call)
{
	return act(call, "DELETE", "/v1/keys/", "NAME", "", "deleted");
}

static int key_clear(const struct admin_call *call)
{
	return act(call, "POST", "/v1/keys/", "NAME", "/clear", "cleared; the key answers again");
}

static int key_rotate(const struct admin_call *call)
{
	const char *name = call->arguments[0], *to = admin_value(call, "to");
	_cleanup_(free_json) json_t *body = json_pack("{s:s*}", "to", to);
	char path[256];
	int r;

	if (!body)
		return admin_refuse(-EINVAL, "--to: must be UTF-8 text");
	r = admin_path(path, "/v1/keys/", "NAME", name, "/rotate");
	if (r == 0)
		r = admin_http(call, "POST", path, body, NULL);
	if (r < 0)
		return r;
	return print_name(call, name, "the rotation began; key progress says how far it is");
}

static void print_versions(const json_t *answer)
{
	const json_t *row;
	size_t i;

	json_array_foreach(json_object_get(answer, "versions"), i, row)
	{
		const char *version = json_string_value(json_object_get(row, "version"));

		printf("%-16s %" JSON_INTEGER_FORMAT " KEKs\n",
		       version && *version ? version : "(not told)",
		       json_integer_value(json_object_get(row, "keks")));
	}
}

static int key_progress(const struct admin_call *call)
{
	static const struct admin_column columns[] = {
		{"name", "name", ADMIN_COLUMN_TEXT},
		{"rotation", "state", ADMIN_COLUMN_TEXT},
		{"to", "to", ADMIN_COLUMN_TEXT},
		{"began", "began", ADMIN_COLUMN_TIME},
		{"last complete", "complete", ADMIN_COLUMN_TIME},
		{"KEKs", "keks", ADMIN_COLUMN_NUMBER},
		{"left", "left", ADMIN_COLUMN_NUMBER},
		{"trouble", "trouble", ADMIN_COLUMN_TEXT},
		{"others are safe to disable", "others_safe_to_disable", ADMIN_COLUMN_TEXT},
	};
	_cleanup_(free_json) json_t *answer = NULL;
	char path[256];
	int r;

	r = admin_path(path, "/v1/keys/", "NAME", call->arguments[0], "/rotation");
	if (r == 0)
		r = admin_http(call, "GET", path, NULL, &answer);
	if (r < 0)
		return r;
	admin_print_object(call, answer, columns, ELEMENTSOF(columns));
	if (!call->json) {
		puts("versions in use");
		print_versions(answer);
	}
	return 0;
}

static int bind_workspace(const struct admin_call *call, const char *workspace, const char *key)
{
	_cleanup_(free_json) json_t *body = json_pack("{s:s}", "key", key);
	char path[256];
	int r;

	if (!body)
		return admin_refuse(-EINVAL, "KEY: must be UTF-8 text");
	r = admin_path(path, "/v1/workspaces/", "NAME", workspace, "/key");
	return r < 0 ? r : admin_http(call, "PUT", path, body, NULL);
}

static int workspace_create(const struct admin_call *call)
{
	const char *name = call->arguments[0], *key = admin_value(call, "key");
	_cleanup_(free_json) json_t *body = json_pack("{s:s}", "name", name);
	int r;

	if (!body)
		return admin_refuse(-EINVAL, "NAME: must be UTF-8 text");
	r = admin_http(call, "POST", "/v1/workspaces", body, NULL);
	if (r < 0)
		return r;
	if (key) {
		r = bind_workspace(call, name, key);
		if (r < 0)
			return admin_refuse(r, "%s: created, but not bound to --key %s", name, key);
	}
	return print_name(call, name, key ? "created and bound" : "created");
}

static int workspace_list(const struct admin_call *call)
{
	static const struct admin_column columns[] = {
		{"NAME", "name", ADMIN_COLUMN_TEXT},
		{"KEY", "key", ADMIN_COLUMN_TEXT},
		{"VMS", "vms", ADMIN_COLUMN_NUMBER},
		{"CREATED", "created", ADMIN_COLUMN_TIME},
	};
	_cleanup_(free_json) json_t *answer = NULL;
	int r;

	r = admin_http(call, "GET", "/v1/workspaces", NULL, &answer);
	if (r < 0)
		return r;
	admin_print_table(call, answer, columns, ELEMENTSOF(columns));
	return 0;
}

static int workspace_bind(const struct admin_call *call)
{
	int r = bind_workspace(call, call->arguments[0], call->arguments[1]);

	return r < 0 ? r : print_name(call, call->arguments[0], "bound");
}

static int workspace_delete(const struct admin_call *call)
{
	return act(call, "DELETE", "/v1/workspaces/", "NAME", "", "deleted");
}

static int store_adopt_command(const struct admin_call *call)
{
	int r = admin_http(call, "POST", "/v1/store/adopt", NULL, NULL);

	return r < 0 ? r : print_name(call, "store", "adopted; leases are issued again");
}

/* A row a command. */
/* clang-format off */
const struct admin_command admin_key_commands[] = {
	{"key", "create", {"NAME"}, "Add a customer-managed key, after a live wrap and unwrap.",
	 key_create, {
		{"key-arn", "ARN", "aws: the key", false},
		{"key-alias", "NAME", "aws: what the customer calls it", false},
		{"key-region", "NAME", "aws: where it is; must be that of the ARN", false},
		{"reuse-key-for-cluster-volumes", "WORD", "aws: false: of use STORAGE, and not of VMs", false},
		{"role-arn", "ARN", "aws: the customer's role to assume", false},
		{"external-id", "ID", "aws: what the customer's role asks for", false},
		{"key-vault-uri", "URI", "azure: the vault", false},
		{"key-name", "NAME", "azure: the key in it", false},
		{"tenant-id", "ID", "azure: the customer's tenant", false},
		{"kms-key-id", "ID", "google: the key's resource name", false},
		{"key-id", "NAME", "embedded KMS: the key", false},
		{"directory", "DIR", "embedded KMS: of its keys, on the manager's machine", false},
		{"use-cases", "LIST", "MANAGED_SERVICES, STORAGE or both, with ','; default both", false},
		{"credentials", "NAME", "clouds: file of the manager's credentials directory", false},
		{"poll-interval", "TIME", "a VM hears from the manager this often; default 10s", false},
		{"lease", "TIME", "a VM keeps its keys so long without the manager; default 300s", false},
		{"margin", "TIME", "a VM warns so long before the lease ends; default 60s", false},
		{"max-staleness", "TIME", "no lease on older evidence of the key; default 120s", false},
		{"probe-interval", "TIME", "the KMS is asked this often; default 10s", false},
		{"expiry", "WORD", "shred or warn: what the end of a lease does; default shred", false},
		{"confirm-boot", NULL, "an operator lets each boot in", false}}},
	{"key", "list", {NULL}, "List the keys and their health.", key_list, {{NULL}}},
	{"key", "show", {"NAME"}, "Show one key.", key_show, {{NULL}}},
	{"key", "delete", {"NAME"}, "Delete a key that no workspace is bound to.", key_delete, {{NULL}}},
	{"key", "clear", {"NAME"}, "Forget a revocation, after a live unwrap.", key_clear, {{NULL}}},
	{"key", "rotate", {"NAME"}, "Wrap all that the key has wrapped anew, in the background.",
	 key_rotate, {{"to", "KEY", "the workspaces go to this key; default: its own newest version", false}}},
	{"key", "progress", {"NAME"}, "Show how far a rotation is, and which versions are in use.",
	 key_progress, {{NULL}}},
	{"store", "adopt", {NULL}, "Go on with a store that was rolled back.",
	 store_adopt_command, {{NULL}}},
	{NULL},
};

const struct admin_command admin_workspace_commands[] = {
	{"workspace", "create", {"NAME"}, "Add a tenant.", workspace_create,
	 {{"key", "NAME", "bind it to this key", false}}},
	{"workspace", "list", {NULL}, "List the workspaces.", workspace_list, {{NULL}}},
	{"workspace", "bind", {"NAME", "KEY"}, "Put a workspace under a key.", workspace_bind, {{NULL}}},
	{"workspace", "delete", {"NAME"}, "Delete a workspace without VMs.", workspace_delete, {{NULL}}},
	{NULL},
};
/* clang-format on */
