/* SPDX-License-Identifier: Apache-2.0 */
/* emberlock-admin vm, boot: the machines, and who may boot. */
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

/* "/v1/vms/WORKSPACE/VM" and SUFFIX. */
static int vm_path(const struct admin_call *call, const char *suffix, char path[static 256])
{
	char prefix[256];
	int r;

	r = admin_path(prefix, "/v1/vms/", "WORKSPACE", call->arguments[0], "/");
	return r < 0 ? r : admin_path(path, prefix, "VM", call->arguments[1], suffix);
}

static int act(const struct admin_call *call, const char *method, const char *suffix,
	       const char *done)
{
	char path[256];
	int r;

	r = vm_path(call, suffix, path);
	if (r < 0)
		return r;
	r = admin_http(call, method, path, NULL, NULL);
	if (r < 0)
		return r;
	if (call->json)
		printf("{\"workspace\":\"%s\",\"vm\":\"%s\"}\n", call->arguments[0],
		       call->arguments[1]);
	else
		printf("%s/%s: %s\n", call->arguments[0], call->arguments[1], done);
	return 0;
}

static int vm_remove(const struct admin_call *call)
{
	return act(call, "DELETE", "", "removed; its boot is told to shred");
}

static int vm_shred(const struct admin_call *call)
{
	return act(call, "POST", "/shred", "its boot is told to shred");
}

static int vm_list(const struct admin_call *call)
{
	static const struct admin_column columns[] = {
		{"WORKSPACE", "workspace", ADMIN_COLUMN_TEXT},
		{"VM", "vm", ADMIN_COLUMN_TEXT},
		{"ENROLLED", "enrolled", ADMIN_COLUMN_TIME},
		{"PUBLIC KEY", "public_key", ADMIN_COLUMN_ID},
	};
	_cleanup_(free_json) json_t *answer = NULL;
	int r;

	r = admin_http(call, "GET", "/v1/vms", NULL, &answer);
	if (r < 0)
		return r;
	admin_print_table(call, answer, columns, ELEMENTSOF(columns));
	return 0;
}

static int boot_confirm(const struct admin_call *call)
{
	char path[256];
	int r;

	r = admin_path(path, "/v1/boots/", "ADMISSION", call->arguments[0], "/confirm");
	if (r < 0)
		return r;
	r = admin_http(call, "POST", path, NULL, NULL);
	if (r < 0)
		return r;
	if (call->json)
		printf("{\"admission\":\"%s\"}\n", call->arguments[0]);
	else
		printf("%s: confirmed\n", call->arguments[0]);
	return 0;
}

/* A row a command. */
/* clang-format off */
const struct admin_command admin_vm_commands[] = {
	{"vm", "enrol", {"WORKSPACE", "VM"},
	 "Make a VM's credentials, and tell the manager its public key.", admin_vm_enrol, {
		{"output", "DIR", "where emberlock.vm, emberlock.manager, emberlock.ca go", true},
		{"manager-url", "URL", "where the VM finds the manager; default: what it advertises", false},
		{"ca", "FILE", "the VM trusts the manager by it; default: the identity's ca.pem", false},
		{"root-public", "FILE", "the root key's public half; default: ../../offline/root.pub "
					"from the identity", false}}},
	{"vm", "list", {NULL}, "List the enrolled VMs.", vm_list, {{NULL}}},
	{"vm", "remove", {"WORKSPACE", "VM"}, "End a VM's enrolment, and its boot.", vm_remove, {{NULL}}},
	{"vm", "shred", {"WORKSPACE", "VM"}, "End a VM's boot.", vm_shred, {{NULL}}},
	{"boot", "confirm", {"ADMISSION"}, "Let a boot in that waits for an operator.", boot_confirm,
	 {{NULL}}},
	{NULL},
};
/* clang-format on */
