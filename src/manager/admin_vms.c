/* SPDX-License-Identifier: Apache-2.0 */
/* Admin API: VMs, their boots, the fleet, metrics. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "manager/admin_routes.h"
#include "manager/manager.h"
#include "manager/store.h"
#include "manager/uses.h"

/* "WORKSPACE/VM", for messages. */
static const char *vm_text(const struct http_request *request, char text[static 160])
{
	snprintf(text, 160, "%.63s/%.63s", request->parameters[0], request->parameters[1]);
	return text;
}

static int add_vm(const struct store_vm *vm, void *userdata)
{
	char key[2 * PUBLIC_KEY_SIZE + 1];
	json_t *row;

	hex_encode(vm->public_key, PUBLIC_KEY_SIZE, key);
	row = json_pack("{s:s, s:s, s:s, s:I}", "workspace", vm->workspace_name, "vm", vm->name,
			"public_key", key, "enrolled", (json_int_t)(vm->enrolled_ms / 1000));
	return json_array_append_new(userdata, row) < 0 ? -ENOMEM : 0;
}

void admin_vms_list(struct http_request *request)
{
	char workspace[ID_TEXT_MAX + 1];
	json_t *rows;
	int r;

	r = admin_read_filter(request, workspace, NULL);
	if (r < 0)
		return;
	rows = json_array();
	r = store_vms(request->manager->store, *workspace ? workspace : NULL, add_vm, rows);
	if (r < 0) {
		json_decref(rows);
		admin_reply_refused(request, r, "VMs", "list");
		return;
	}
	http_reply_json(request, 200, rows);
}

void admin_vms_enrol(struct http_request *request)
{
	char workspace_name[ID_TEXT_MAX + 1], vm[ID_TEXT_MAX + 1], message[256];
	uint8_t public_key[PUBLIC_KEY_SIZE];
	struct store_workspace workspace;
	const struct json_member members[] = {
		{"workspace", JSON_MEMBER_NAME, workspace_name, sizeof(workspace_name)},
		{"vm", JSON_MEMBER_NAME, vm, sizeof(vm)},
		{"public_key", JSON_MEMBER_BYTES, public_key, sizeof(public_key)},
	};
	int r;

	r = admin_read_body(request, members, ELEMENTSOF(members));
	if (r < 0)
		return;
	if (bytes_are_zero(public_key, sizeof(public_key))) {
		http_reply_error(request, 400, "settings",
				 "VM %s/%s: member 'public_key' is no public key", workspace_name,
				 vm);
		return;
	}
	if (admin_find_workspace(request, workspace_name, &workspace) < 0 ||
	    !admin_use_is_covered(request, &workspace, uses_cover_vms, "VM", vm))
		return;
	r = store_vm_enrol(request->manager->store, workspace.id, vm, public_key);
	if (r == 0) {
		http_reply_empty(request, 204);
		return;
	}
	snprintf(message, sizeof(message), "VM %s/%s: %s", workspace_name, vm,
		 r == -EEXIST ? "it is enrolled already" : "the store fails");
	admin_reply_message(request, r, message);
}

void admin_vms_remove(struct http_request *request)
{
	char text[160];
	int r;

	admin_about_workspace(request, request->parameters[0]);
	r = operation_vm_remove(request->manager, request->parameters[0], request->parameters[1]);
	if (r < 0)
		admin_reply_refused(request, r, "VM", vm_text(request, text));
	else
		http_reply_empty(request, 204);
}

void admin_vms_shred(struct http_request *request)
{
	char text[160];
	int r;

	admin_about_workspace(request, request->parameters[0]);
	r = operation_vm_shred(request->manager, request->parameters[0], request->parameters[1]);
	if (r < 0)
		admin_reply_refused(request, r, "VM", vm_text(request, text));
	else if (r == 0)
		http_reply_error(request, 409, "no-boot", "VM %s: no boot of it is running",
				 vm_text(request, text));
	else {
		request->details = json_pack("{s:i}", "boots", r);
		http_reply_empty(request, 204);
	}
}

/* The admission in the path, whose workspace the record of REQUEST is then about; false where the request
 * has been answered. */
static bool read_admission(struct http_request *request, uint8_t admission[static HASH_SIZE])
{
	const char *text = request->parameters[0];
	struct store_boot boot;

	if (hex_decode(text, strlen(text), admission, HASH_SIZE) < 0) {
		http_reply_error(request, 400, "malformed", "boot %s: must be %d hex digits", text,
				 2 * HASH_SIZE);
		return false;
	}
	if (store_boot_get(request->manager->store, admission, &boot) == 0)
		request->about.workspace = boot.workspace;
	return true;
}

void admin_boots_drill(struct http_request *request)
{
	const char *text = request->parameters[0];
	uint8_t admission[HASH_SIZE];
	int r;

	if (!read_admission(request, admission))
		return;
	r = operation_boot_drill(request->manager, admission);
	if (r == -EINVAL)
		http_reply_error(request, 409, "not-live",
				 "boot %s: it runs under no lease, or ends already", text);
	else if (r < 0)
		admin_reply_refused(request, r, "boot", text);
	else
		http_reply_empty(request, 204);
}

void admin_boots_confirm(struct http_request *request)
{
	const char *text = request->parameters[0];
	uint8_t admission[HASH_SIZE];
	int r;

	if (!read_admission(request, admission))
		return;
	r = operation_boot_confirm(request->manager, admission);
	if (r == -EINVAL)
		http_reply_error(request, 409, "not-held", "boot %s: it waits for nobody", text);
	else if (r < 0)
		admin_reply_refused(request, r, "boot", text);
	else
		http_reply_empty(request, 204);
}

void admin_fleet(struct http_request *request)
{
	char workspace[ID_TEXT_MAX + 1];

	if (admin_read_filter(request, workspace, NULL) < 0)
		return;
	http_reply_json(request, 200, fleet_list(request->manager, *workspace ? workspace : NULL));
}

void admin_metrics(struct http_request *request)
{
	_cleanup_free_ char *text = NULL;
	int r;

	r = metrics_text(request->manager, &text);
	if (r < 0)
		admin_reply_refused(request, r, "metrics", "text");
	else
		http_reply_bytes(request, 200, "text/plain; version=0.0.4", text, strlen(text));
}
