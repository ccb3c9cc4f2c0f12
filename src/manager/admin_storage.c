/* SPDX-License-Identifier: Apache-2.0 */
/* Admin API: storage nodes. */
#include <errno.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "manager/admin_routes.h"
#include "manager/deks.h"
#include "manager/manager.h"
#include "manager/store.h"
#include "manager/uses.h"

static int add_node(const struct store_node *node, void *userdata)
{
	char key[2 * HASH_SIZE + 1];
	json_t *row;

	hex_encode(node->public_key, HASH_SIZE, key);
	row = json_pack("{s:s, s:s, s:s, s:I}", "workspace", node->workspace_name, "node",
			node->name, "public_key", key, "enrolled",
			(json_int_t)(node->enrolled_ms / 1000));
	return json_array_append_new(userdata, row) < 0 ? -ENOMEM : 0;
}

void admin_nodes_list(struct http_request *request)
{
	json_t *rows = json_array();
	int r;

	r = store_nodes(request->manager->store, add_node, rows);
	if (r < 0) {
		json_decref(rows);
		admin_reply_refused(request, r, "storage nodes", "list");
		return;
	}
	http_reply_json(request, 200, rows);
}

void admin_nodes_enrol(struct http_request *request)
{
	char workspace_name[ID_TEXT_MAX + 1], node[ID_TEXT_MAX + 1], message[256];
	uint8_t public_key[HASH_SIZE];
	struct store_workspace workspace;
	const struct json_member members[] = {
		{"workspace", JSON_MEMBER_NAME, workspace_name, sizeof(workspace_name)},
		{"node", JSON_MEMBER_NAME, node, sizeof(node)},
		{"public_key", JSON_MEMBER_BYTES, public_key, sizeof(public_key)},
	};
	int r;

	r = admin_read_body(request, members, ELEMENTSOF(members));
	if (r < 0)
		return;
	if (admin_find_workspace(request, workspace_name, &workspace) < 0 ||
	    !admin_use_is_covered(request, &workspace, uses_cover_data, "storage node", node))
		return;
	r = store_node_enrol(request->manager->store, workspace.id, node, public_key);
	if (r == 0) {
		http_reply_empty(request, 204);
		return;
	}
	snprintf(message, sizeof(message), "storage node %s/%s: %s", workspace_name, node,
		 r == -EEXIST ? "it is enrolled already, or its key is" : "the store fails");
	admin_reply_message(request, r, message);
}

void admin_nodes_remove(struct http_request *request)
{
	struct store *store = request->manager->store;
	struct store_node node;
	char text[160];
	int r;

	admin_about_workspace(request, request->parameters[0]);
	r = store_node_get(store, request->parameters[0], request->parameters[1], &node);
	if (r == 0)
		r = store_node_remove(store, node.id);
	if (r == 0)
		deks_review(request->manager->deks);
	snprintf(text, sizeof(text), "%.63s/%.63s", request->parameters[0], request->parameters[1]);
	if (r < 0)
		admin_reply_refused(request, r, "storage node", text);
	else
		http_reply_empty(request, 204);
}
