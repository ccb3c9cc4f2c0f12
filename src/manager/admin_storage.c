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

static int enrol(struct store *store, const char *workspace_name, const char *node,
		 const uint8_t public_key[static HASH_SIZE], char message[static 256])
{
	struct store_workspace workspace;
	int r;

	r = store_workspace_get(store, workspace_name, &workspace);
	if (r < 0) {
		snprintf(message, 256, "workspace %s: %s", workspace_name,
			 r == -ENOENT ? "there is none" : "the store fails");
		return r;
	}
	r = store_node_enrol(store, workspace.id, node, public_key);
	if (r < 0)
		snprintf(message, 256, "storage node %s/%s: %s", workspace_name, node,
			 r == -EEXIST ? "it is enrolled already, or its key is"
				      : "the store fails");
	return r;
}

void admin_nodes_enrol(struct http_request *request)
{
	char workspace[ID_TEXT_MAX + 1], node[ID_TEXT_MAX + 1], message[256];
	uint8_t public_key[HASH_SIZE];
	const struct json_member members[] = {
		{"workspace", JSON_MEMBER_NAME, workspace, sizeof(workspace)},
		{"node", JSON_MEMBER_NAME, node, sizeof(node)},
		{"public_key", JSON_MEMBER_BYTES, public_key, sizeof(public_key)},
	};
	int r;

	r = admin_read_body(request, members, ELEMENTSOF(members));
	if (r < 0)
		return;
	r = enrol(request->manager->store, workspace, node, public_key, message);
	if (r < 0)
		admin_reply_message(request, r, message);
	else
		http_reply_empty(request, 204);
}

void admin_nodes_remove(struct http_request *request)
{
	struct store *store = request->manager->store;
	struct store_node node;
	char text[160];
	int r;

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
