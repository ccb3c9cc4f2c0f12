/* SPDX-License-Identifier: Apache-2.0 */
/* emberlock-admin file-kms: what a customer does in their KMS, done to the embedded one. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "manager/admin_cli.h"
#include "manager/kms/file/keyfile.h"

static const char *key_id(const struct admin_call *call)
{
	return call->arguments[0];
}

static const char *directory(const struct admin_call *call)
{
	return admin_value(call, "directory");
}

static int report(const struct admin_call *call, int r, const char *done)
{
	switch (r) {
	case 0:
		printf("%s: %s\n", key_id(call), done);
		return 0;
	case -EINVAL:
		return admin_refuse(r, "KEYID: '%.64s' is no name: A-Z a-z 0-9 . _ -",
				    key_id(call));
	case -ENOENT:
		return admin_refuse(r, "%s: no such key in --directory %s", key_id(call),
				    directory(call));
	case -EEXIST:
		return admin_refuse(r, "%s: the key is already in --directory %s", key_id(call),
				    directory(call));
	case -EBADMSG:
		return admin_refuse(r, "%s/%s.json: not a key file", directory(call), key_id(call));
	default:
		return admin_refuse(r, "%s/%s.json: %s", directory(call), key_id(call),
				    strerror(-r));
	}
}

static int create(const struct admin_call *call)
{
	return report(call, keyfile_create(directory(call), key_id(call)), "created, enabled");
}

static int disable(const struct admin_call *call)
{
	return report(call, keyfile_set_state(directory(call), key_id(call), KEYFILE_DISABLED),
		      "disabled");
}

static int enable(const struct admin_call *call)
{
	return report(call, keyfile_set_state(directory(call), key_id(call), KEYFILE_ENABLED),
		      "enabled");
}

static int delete (const struct admin_call *call)
{
	return report(call, keyfile_delete(directory(call), key_id(call)), "deleted, for good");
}

static int status(const struct admin_call *call)
{
	struct keyfile keyfile;
	int r;

	r = keyfile_read(directory(call), key_id(call), &keyfile);
	if (r < 0)
		return report(call, r, "");
	bytes_wipe(keyfile.key, sizeof(keyfile.key));
	if (call->json)
		printf("{\"key_id\":\"%s\",\"state\":\"%s\"}\n", key_id(call),
		       keyfile_state_name(keyfile.state));
	else
		report(call, 0, keyfile_state_name(keyfile.state));
	return 0;
}

#define DIRECTORY_OPTION                                                                           \
	{                                                                                          \
		"directory", "DIR", "where the key files are", true                                \
	}

/* A row a command. */
/* clang-format off */
const struct admin_command admin_file_kms_commands[] = {
	{"file-kms", "create", {"KEYID"}, "Make a new enabled key.", create, {DIRECTORY_OPTION}},
	{"file-kms", "disable", {"KEYID"}, "Take the key back: the VMs under it lose their disks.",
	 disable, {DIRECTORY_OPTION}},
	{"file-kms", "enable", {"KEYID"}, "Enable a disabled key.", enable, {DIRECTORY_OPTION}},
	{"file-kms", "delete", {"KEYID"}, "Destroy the key.", delete, {DIRECTORY_OPTION}},
	{"file-kms", "status", {"KEYID"}, "Print the state of the key.", status, {DIRECTORY_OPTION}},
	{NULL},
};
/* clang-format on */
