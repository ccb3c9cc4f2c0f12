/* SPDX-License-Identifier: Apache-2.0 */
/* The admin API: who may call what, and the answers that its handlers share. */
#include "manager/admin_routes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "core/message.h"
#include "manager/manager.h"
#include "manager/store.h"
#include "manager/uses.h"

#define BODY_SMALL    4096
#define RETRY_AFTER_S 5

/* A row a route. */
/* clang-format off */
const struct http_route admin_routes[] = {
	{HTTP_GET, "/v1/keys", ROLE_ANY_ADMIN, 0, admin_keys_list},
	{HTTP_GET, "/v1/keys/{}", ROLE_ANY_ADMIN, 0, admin_keys_get},
	{HTTP_POST, "/v1/keys", ROLE_KEY_ADMINISTRATOR, BODY_SMALL, admin_keys_create},
	{HTTP_DELETE, "/v1/keys/{}", ROLE_KEY_ADMINISTRATOR, 0, admin_keys_delete},
	{HTTP_POST, "/v1/keys/{}/clear", ROLE_KEY_ADMINISTRATOR, 0, admin_keys_clear},
	{HTTP_POST, "/v1/keys/{}/rotate", ROLE_KEY_ADMINISTRATOR, BODY_SMALL, admin_keys_rotate},
	{HTTP_GET, "/v1/keys/{}/rotation", ROLE_ANY_ADMIN, 0, admin_keys_rotation},
	{HTTP_GET, "/v1/workspaces", ROLE_ANY_ADMIN, 0, admin_workspaces_list},
	{HTTP_GET, "/v1/workspaces/{}", ROLE_ANY_ADMIN, 0, admin_workspaces_get},
	{HTTP_POST, "/v1/workspaces", ROLE_KEY_ADMINISTRATOR, BODY_SMALL, admin_workspaces_create},
	{HTTP_DELETE, "/v1/workspaces/{}", ROLE_KEY_ADMINISTRATOR, 0, admin_workspaces_delete},
	{HTTP_PUT, "/v1/workspaces/{}/key", ROLE_KEY_ADMINISTRATOR, BODY_SMALL, admin_workspaces_bind},
	{HTTP_GET, "/v1/workspaces/{}/keks", ROLE_ANY_ADMIN, 0, admin_keks_list},
	{HTTP_POST, "/v1/workspaces/{}/keks/rotate", ROLE_KEY_ADMINISTRATOR, BODY_SMALL, admin_keks_rotate},
	{HTTP_POST, "/v1/workspaces/{}/keks/retire", ROLE_KEY_ADMINISTRATOR, BODY_SMALL, admin_keks_retire},
	{HTTP_POST, "/v1/workspaces/{}/keks/restore", ROLE_KEY_ADMINISTRATOR, BODY_SMALL, admin_keks_restore},
	{HTTP_GET, "/v1/vms", ROLE_ANY_ADMIN, 0, admin_vms_list},
	{HTTP_POST, "/v1/vms", ROLE_ANY_ADMIN, BODY_SMALL, admin_vms_enrol},
	{HTTP_DELETE, "/v1/vms/{}/{}", ROLE_ANY_ADMIN, 0, admin_vms_remove},
	{HTTP_POST, "/v1/vms/{}/{}/shred", ROLE_OPERATOR, 0, admin_vms_shred},
	{HTTP_POST, "/v1/boots/{}/confirm", ROLE_OPERATOR, 0, admin_boots_confirm},
	{HTTP_POST, "/v1/boots/{}/drill", ROLE_OPERATOR, 0, admin_boots_drill},
	{HTTP_GET, "/v1/storage-nodes", ROLE_ANY_ADMIN, 0, admin_nodes_list},
	{HTTP_POST, "/v1/storage-nodes", ROLE_KEY_ADMINISTRATOR, BODY_SMALL, admin_nodes_enrol},
	{HTTP_DELETE, "/v1/storage-nodes/{}/{}", ROLE_ANY_ADMIN, 0, admin_nodes_remove},
	{HTTP_GET, "/v1/fleet", ROLE_ANY_ADMIN, 0, admin_fleet},
	{HTTP_GET, "/v1/receipts", ROLE_ANY_ADMIN, 0, admin_receipts_list},
	{HTTP_GET, "/v1/receipts/{}", ROLE_ANY_ADMIN, 0, admin_receipts_get},
	{HTTP_GET, "/v1/signing-keys", ROLE_ANY_ADMIN, 0, admin_signing_keys_get},
	{HTTP_POST, "/v1/signing-keys/new", ROLE_KEY_ADMINISTRATOR, 0, admin_signing_keys_new},
	{HTTP_PUT, "/v1/signing-keys", ROLE_KEY_ADMINISTRATOR, BODY_SMALL, admin_signing_keys_install},
	{HTTP_POST, "/v1/store/adopt", ROLE_KEY_ADMINISTRATOR, 0, admin_store_adopt},
	{HTTP_GET, "/v1/audit", ROLE_ANY_ADMIN, 0, admin_audit_list},
	{HTTP_GET, "/v1/audit/checkpoint", ROLE_ANY_ADMIN, 0, admin_audit_checkpoint},
	{HTTP_GET, "/v1/metrics", ROLE_ANY_ADMIN, 0, admin_metrics},
};
/* clang-format on */
const size_t admin_routes_n = ELEMENTSOF(admin_routes);

void admin_about_key(struct http_request *request, const char *name)
{
	struct store_key key;

	if (store_key_get(request->manager->store, name, &key) == 0)
		request->about.key = key.id;
}

void admin_about_workspace(struct http_request *request, const char *name)
{
	struct store_workspace workspace;

	if (store_workspace_get(request->manager->store, name, &workspace) == 0)
		request->about.workspace = workspace.id;
}

int admin_find_workspace(struct http_request *request, const char *name,
			 struct store_workspace *ret_workspace)
{
	char message[256];
	int r = store_workspace_get(request->manager->store, name, ret_workspace);

	if (r == 0) {
		request->about.workspace = ret_workspace->id;
		return 0;
	}
	snprintf(message, sizeof(message), "workspace %s: %s", name,
		 r == -ENOENT ? "there is none" : "the store fails");
	admin_reply_message(request, r, message);
	return r;
}

bool admin_use_is_covered(struct http_request *request, const struct store_workspace *workspace,
			  bool (*covers)(unsigned uses), const char *object, const char *name)
{
	struct store *store = request->manager->store;
	struct store_key key;
	char message[384];
	unsigned uses;
	int r;

	if (workspace->key == 0)
		return true;
	r = store_key_get_by_id(store, workspace->key, &key);
	if (r == 0)
		r = uses_of(store, &key, &uses);
	if (r == 0 && covers(uses))
		return true;
	snprintf(message, sizeof(message), "%s %.63s/%.63s: %s%.63s", object, workspace->name, name,
		 r < 0 ? "the store fails"
		       : "the use_cases of the workspace's key, or of where it goes, do not cover "
			 "it: ",
		 r < 0 ? "" : key.name);
	admin_reply_message(request, r < 0 ? r : -ENOTSUP, message);
	return false;
}

int admin_read_body(struct http_request *request, const struct json_member *members, size_t n)
{
	char error[256];
	int r;

	r = json_read_object((const char *)request->body, request->body_size, members, n, error);
	if (r < 0)
		http_reply_error(request, 400, "malformed", "the body: %s", error);
	return r;
}

struct refusal {
	int r;
	unsigned status;
	const char *code, *words;
};

static const struct refusal *find_refusal(int r)
{
	static const struct refusal table[] = {
		{-ENOENT, 404, "not-found", "there is none"},
		{-EEXIST, 409, "exists", "there is one already"},
		{-EBUSY, 409, "in-use", "others refer to it"},
		{-EINVAL, 400, "settings", "a setting is not valid"},
		{-EBADMSG, 400, "malformed", "it is not of the form"},
		{-ENOTSUP, 409, "use-case", "its key is not for that use"},
		{-EKEYREJECTED, 409, "refused", "the KMS refuses"},
		{-ESTALE, 409, "stale", "it is not newer"},
		{-ENOKEY, 409, "no-key", "it lacks the key"},
		{-EAGAIN, 503, "unavailable", "the KMS does not answer"},
		{0, 500, "store", "the store fails"},
	};
	const struct refusal *refusal = table;

	while (refusal->r && refusal->r != r)
		refusal++;
	return refusal;
}

void admin_reply_message(struct http_request *request, int r, const char *message)
{
	const struct refusal *refusal = find_refusal(r);

	if (refusal->status == 503)
		http_reply_retry(request, 503, RETRY_AFTER_S, refusal->code, "%s", message);
	else
		http_reply_error(request, refusal->status, refusal->code, "%s", message);
}

void admin_reply_refused(struct http_request *request, int r, const char *object, const char *name)
{
	char message[256];

	snprintf(message, sizeof(message), "%s %s: %s", object, name, find_refusal(r)->words);
	admin_reply_message(request, r, message);
}

void admin_operation_begun(struct http_request *request, int r, const char *object,
			   const char *name)
{
	if (r >= 0)
		return;
	admin_reply_refused(request, r, object, name);
	http_request_unref(request);
}

void admin_operation_done(int r, const char *message, void *userdata)
{
	struct http_request *request = userdata;

	if (r < 0)
		admin_reply_message(request, r, message);
	else
		http_reply_empty(request, 204);
	http_request_unref(request);
}

int admin_read_filter(struct http_request *request, char workspace[static 64], char *vm)
{
	bool any;

	workspace[0] = '\0';
	any = http_request_query(request, "workspace", workspace, ID_TEXT_MAX + 1);
	if (vm) {
		vm[0] = '\0';
		any = http_request_query(request, "vm", vm, ID_TEXT_MAX + 1) || any;
	}
	if (any || !*request->query)
		return 0;
	http_reply_error(request, 400, "malformed", "the query: only workspace=NAME%s is known",
			 vm ? " and vm=NAME" : "");
	return -EBADMSG;
}
