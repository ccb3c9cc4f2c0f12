/* SPDX-License-Identifier: Apache-2.0 */
/* The routes of the third listener: the client's key says which storage node it is, at each request. */
#include "manager/routes_storage.h"

#include <errno.h>

#include "base/cleanup.h"
#include "manager/manager.h"
#include "manager/metrics.h"

int storage_node_of(struct http_request *http, struct store_node *ret_node)
{
	int r = store_node_get_by_key(http->manager->store, http->client_key, ret_node);

	if (r < 0 && r != -ENOENT) {
		http_reply_retry(http, 503, 5, "store", "the store does not answer");
		return -EIO;
	}
	if (r == -ENOENT || ret_node->removed_ms > 0) {
		metrics_count(http->manager, METRIC_REQUESTS_BAD);
		http_reply_error(http, 403, "node",
				 "the client's key is that of no enrolled storage node");
		return -EACCES;
	}
	http_request_known(http);
	return 0;
}

static void node_handle(struct http_request *http)
{
	struct store_node node;

	if (storage_node_of(http, &node) < 0)
		return;
	http_reply_json(
		http, 200,
		json_pack("{s:s, s:s}", "workspace", node.workspace_name, "node", node.name));
}

static void health_handle(struct http_request *http)
{
	http_reply_bytes(http, 200, "text/plain", "ok\n", 3);
}

/* clang-format off */
const struct http_route storage_routes[] = {
	{HTTP_GET, "/v1/node", ROLE_STORAGE_NODE, 0, node_handle},
	{HTTP_GET, "/healthz", ROLE_STORAGE_NODE, 0, health_handle},
};
/* clang-format on */
const size_t storage_routes_n = ELEMENTSOF(storage_routes);
