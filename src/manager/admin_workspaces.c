/* SPDX-License-Identifier: Apache-2.0 */
/* Admin API: workspaces, and the keys they are bound to. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "manager/admin_routes.h"
#include "manager/manager.h"
#include "manager/store.h"

static int count_vm(const struct store_vm *vm, void *userdata)
{
	(*(json_int_t *)userdata)++;
	return 0;
}

static json_t *workspace_json(struct store *store, const struct store_workspace *workspace)
{
	json_int_t vms = 0;

	if (store_vms(store, workspace->name, count_vm, &vms) < 0)
		return NULL;
	return json_pack("{s:s, s:s, s:I, s:I, s:b}", "name", workspace->name, "key",
			 workspace->key_name, "vms", vms, "created",
			 (json_int_t)(workspace->created_ms / 1000), "rolled_back",
			 workspace->rolled_back.epoch != 0);
}

struct workspace_walk {
	struct store *store;
	json_t *rows;
};

static int add_workspace(const struct store_workspace *workspace, void *userdata)
{
	struct workspace_walk *walk = userdata;
	json_t *row = workspace_json(walk->store, workspace);

	return json_array_append_new(walk->rows, row) < 0 ? -EIO : 0;
}

void admin_workspaces_list(struct http_request *request)
{
	struct workspace_walk walk = {.store = request->manager->store, .rows = json_array()};
	int r;

	r = store_workspaces(walk.store, add_workspace, &walk);
	if (r < 0) {
		json_decref(walk.rows);
		admin_reply_refused(request, r, "workspaces", "list");
		return;
	}
	http_reply_json(request, 200, walk.rows);
}

void admin_workspaces_get(struct http_request *request)
{
	const char *name = request->parameters[0];
	struct store_workspace workspace;
	int r;

	r = store_workspace_get(request->manager->store, name, &workspace);
	if (r < 0)
		admin_reply_refused(request, r, "workspace", name);
	else
		http_reply_json(request, 200, workspace_json(request->manager->store, &workspace));
}

void admin_workspaces_create(struct http_request *request)
{
	char name[ID_TEXT_MAX + 1];
	const struct json_member members[] = {
		{"name", JSON_MEMBER_NAME, name, sizeof(name)},
	};
	int r;

	r = admin_read_body(request, members, ELEMENTSOF(members));
	if (r < 0)
		return;
	r = store_workspace_insert(request->manager->store, name, &request->about.workspace);
	if (r < 0)
		admin_reply_refused(request, r, "workspace", name);
	else
		http_reply_empty(request, 204);
}

void admin_workspaces_delete(struct http_request *request)
{
	const char *name = request->parameters[0];
	struct store *store = request->manager->store;
	struct store_workspace workspace;
	char message[192];
	int r;

	admin_about_workspace(request, name);
	r = store_workspace_get(store, name, &workspace);
	if (r == 0)
		r = store_workspace_delete(store, name);
	if (r == -EBUSY) {
		snprintf(message, sizeof(message),
			 "workspace %.63s: it has VMs, storage nodes, keys of their data, or "
			 "records of boots",
			 name);
		admin_reply_message(request, r, message);
	} else if (r < 0) {
		admin_reply_refused(request, r, "workspace", name);
	} else {
		http_reply_empty(request, 204);
	}
}

void admin_workspaces_bind(struct http_request *request)
{
	const char *name = request->parameters[0];
	char key[ID_TEXT_MAX + 1];
	const struct json_member members[] = {
		{"key", JSON_MEMBER_NAME, key, sizeof(key)},
	};
	int r;

	r = admin_read_body(request, members, ELEMENTSOF(members));
	if (r < 0)
		return;
	admin_about_workspace(request, name);
	admin_about_key(request, key);
	r = operation_workspace_bind(request->manager, name, key, admin_operation_done,
				     http_request_ref(request));
	admin_operation_begun(request, r, "workspace", name);
}
