/* SPDX-License-Identifier: Apache-2.0 */
/* emberlock-admin kek: the key-encryption keys of a workspace's data. */
#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "manager/admin_cli.h"

static void free_json(json_t **p)
{
	json_decref(*p);
}

static int kek_list(const struct admin_call *call)
{
	static const struct admin_column columns[] = {
		{"USE", "use", ADMIN_COLUMN_TEXT},
		{"VERSION", "version", ADMIN_COLUMN_NUMBER},
		{"ID", "id", ADMIN_COLUMN_ID},
		{"MADE", "made", ADMIN_COLUMN_TIME},
		{"RETIRED", "retired", ADMIN_COLUMN_TIME},
		{"WRAPPED BY VERSION", "key_version", ADMIN_COLUMN_TEXT},
	};
	_cleanup_(free_json) json_t *answer = NULL;
	char path[256];
	int r;

	r = admin_path(path, "/v1/workspaces/", "WORKSPACE", call->arguments[0], "/keks");
	if (r == 0)
		r = admin_http(call, "GET", path, NULL, &answer);
	if (r < 0)
		return r;
	admin_print_table(call, answer, columns, ELEMENTSOF(columns));
	return 0;
}

/* POST of the use, and the version where it is given. */
static int act(const struct admin_call *call, const char *suffix, const char *done)
{
	const char *workspace = call->arguments[0], *use = call->arguments[1];
	_cleanup_(free_json) json_t *body = json_pack("{s:s}", "use", use);
	const char *version = admin_value(call, "kek-version");
	uint64_t number = 0;
	char path[256];
	int r;

	if (!body)
		return admin_refuse(-EINVAL, "USE: must be UTF-8 text");
	if (version) {
		if (parse_u64(version, &number) < 0 || number > UINT32_MAX)
			return admin_refuse(-EINVAL, "--kek-version: '%.32s' is no number",
					    version);
		json_object_set_new(body, "version", json_integer((json_int_t)number));
	}
	r = admin_path(path, "/v1/workspaces/", "WORKSPACE", workspace, suffix);
	if (r == 0)
		r = admin_http(call, "POST", path, body, NULL);
	if (r < 0)
		return r;
	if (call->json)
		printf("{\"workspace\":\"%s\",\"use\":\"%s\"}\n", workspace, use);
	else
		printf("%s/%s: %s\n", workspace, use, done);
	return 0;
}

static int kek_rotate(const struct admin_call *call)
{
	return act(call, "/keks/rotate", "new DEKs are sealed under the next version");
}

static int kek_retire(const struct admin_call *call)
{
	return act(call, "/keks/retire", "no DEK under that version is unwrapped any more");
}

static int kek_restore(const struct admin_call *call)
{
	return act(call, "/keks/restore", "DEKs under that version are unwrapped again");
}

#define VERSION_OPTION                                                                             \
	{                                                                                          \
		"kek-version", "N", "of the KEK, as kek list shows it", true                       \
	}

/* A row a command. */
/* clang-format off */
const struct admin_command admin_kek_commands[] = {
	{"kek", "list", {"WORKSPACE"}, "List the key-encryption keys of a workspace's data.", kek_list,
	 {{NULL}}},
	{"kek", "rotate", {"WORKSPACE", "USE"}, "Make the next version of one.", kek_rotate, {{NULL}}},
	{"kek", "retire", {"WORKSPACE", "USE"}, "Refuse what is under an old version of one.", kek_retire,
	 {VERSION_OPTION}},
	{"kek", "restore", {"WORKSPACE", "USE"}, "Take that back.", kek_restore, {VERSION_OPTION}},
	{NULL},
};
/* clang-format on */
