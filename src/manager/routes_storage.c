/* SPDX-License-Identifier: Apache-2.0 */
/* The routes of the third listener: the client's key says which storage node it is, at each request. */
#include "manager/routes_storage.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "manager/deks.h"
#include "manager/json.h"
#include "manager/manager.h"
#include "manager/metrics.h"

/* 64 blobs of twice the largest wrapped KEK that a cloud gives today, in hex. */
#define DEK_BODY_MAX (256 * 1024)

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

bool storage_admit(struct http_request *http)
{
	struct store_node node;

	return storage_node_of(http, &node) == 0;
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

/* --- DEKs --- */

static struct dek_request *request_new(struct http_request *http, enum dek_operation operation)
{
	struct dek_request *request = calloc(1, sizeof(*request));

	if (!request) {
		http_reply_error(http, 500, "internal", "out of memory");
		return NULL;
	}
	request->http = http_request_ref(http);
	request->operation = operation;
	return request;
}

/* Reads the body by MEMBERS, and ITEMS by the first N of those that an item can have. */
static void read_and_start(struct dek_request *request, const struct json_member *members,
			   size_t n_members, const struct json_objects *items)
{
	struct http_request *http = request->http;
	char error[256];

	if (json_read_object((const char *)http->body, http->body_size, members, n_members, error) <
	    0) {
		metrics_count(http->manager, METRIC_REQUESTS_BAD);
		http_reply_error(http, 400, "malformed", "the body: %s", error);
		http_request_unref(http);
		free(request);
		return;
	}
	request->n = items->n;
	deks_request(http->manager->deks, request);
}

static void generate_handle(struct http_request *http)
{
	struct dek_request *request = request_new(http, DEK_GENERATE);
	const struct json_member item[] = {
		{"context", JSON_MEMBER_TEXT, request ? request->items->context : NULL,
		 sizeof(request->items->context), true},
	};
	struct json_objects items = {item, ELEMENTSOF(item), sizeof(struct dek_item), DEK_BATCH_MAX,
				     0};
	const struct json_member members[] = {
		{"use", JSON_MEMBER_NAME, request ? request->use : NULL, sizeof(request->use)},
		{"items", JSON_MEMBER_OBJECTS, &items},
	};

	if (request)
		read_and_start(request, members, ELEMENTSOF(members), &items);
}

static void with_blobs(struct http_request *http, enum dek_operation operation)
{
	struct dek_request *request = request_new(http, operation);
	const struct json_member item[] = {
		{"context", JSON_MEMBER_TEXT, request ? request->items->context : NULL,
		 sizeof(request->items->context), true},
		{"blob", JSON_MEMBER_BLOB, request ? request->items->blob : NULL, DEK_BLOB_MAX,
		 false, request ? &request->items->size : NULL},
	};
	struct json_objects items = {item, ELEMENTSOF(item), sizeof(struct dek_item), DEK_BATCH_MAX,
				     0};
	const struct json_member members[] = {{"items", JSON_MEMBER_OBJECTS, &items}};

	if (request)
		read_and_start(request, members, ELEMENTSOF(members), &items);
}

static void unwrap_handle(struct http_request *http)
{
	with_blobs(http, DEK_UNWRAP);
}

static void rewrap_handle(struct http_request *http)
{
	with_blobs(http, DEK_REWRAP);
}

static void watch_handle(struct http_request *http)
{
	deks_watch(http->manager->deks, http);
}

/* clang-format off */
const struct http_route storage_routes[] = {
	{HTTP_POST, "/v1/deks/generate", ROLE_STORAGE_NODE, DEK_BODY_MAX, generate_handle},
	{HTTP_POST, "/v1/deks/unwrap", ROLE_STORAGE_NODE, DEK_BODY_MAX, unwrap_handle},
	{HTTP_POST, "/v1/deks/rewrap", ROLE_STORAGE_NODE, DEK_BODY_MAX, rewrap_handle},
	{HTTP_GET, "/v1/deks/watch", ROLE_STORAGE_NODE, 0, watch_handle},
	{HTTP_GET, "/v1/node", ROLE_STORAGE_NODE, 0, node_handle},
	{HTTP_GET, "/healthz", ROLE_STORAGE_NODE, 0, health_handle},
};
/* clang-format on */
const size_t storage_routes_n = ELEMENTSOF(storage_routes);
