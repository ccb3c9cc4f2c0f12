/* SPDX-License-Identifier: Apache-2.0 */
/* Admin API: the KEKs of a workspace's DEKs. */
#include <errno.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "manager/admin_routes.h"
#include "manager/keks.h"
#include "manager/manager.h"
#include "manager/store.h"

struct kek_walk {
	struct store_key key;
	json_t *rows;
};

static int add_kek(const struct store_kek *kek, void *userdata)
{
	struct kek_walk *walk = userdata;
	char id[2 * KEK_ID_SIZE + 1], version[KMS_VERSION_MAX];
	json_t *row;

	hex_encode(kek->wrapped.id, KEK_ID_SIZE, id);
	kms_version(&walk->key.kms, kek->wrapped.blob, kek->wrapped.size, version);
	row = json_pack("{s:s, s:I, s:s, s:I, s:I, s:s}", "use", kek->wrapped.use, "version",
			(json_int_t)kek->wrapped.version, "id", id, "made",
			(json_int_t)(kek->created_ms / 1000), "retired",
			(json_int_t)(kek->retired_ms / 1000), "key_version", version);
	return json_array_append_new(walk->rows, row) < 0 ? -ENOMEM : 0;
}

void admin_keks_list(struct http_request *request)
{
	struct store *store = request->manager->store;
	struct kek_walk walk = {.rows = NULL};
	struct store_workspace workspace;
	int r = 0;

	if (admin_find_workspace(request, request->parameters[0], &workspace) < 0)
		return;
	if (workspace.key > 0)
		r = store_key_get_by_id(store, workspace.key, &walk.key);
	walk.rows = json_array();
	if (r == 0)
		r = store_keks(store, workspace.id, add_kek, &walk);
	if (r < 0) {
		json_decref(walk.rows);
		admin_reply_refused(request, r, "workspace", workspace.name);
		return;
	}
	http_reply_json(request, 200, walk.rows);
}

void admin_keks_rotate(struct http_request *request)
{
	const char *name = request->parameters[0];
	char use[KEK_USE_MAX + 1], message[256];
	const struct json_member members[] = {
		{"use", JSON_MEMBER_NAME, use, sizeof(use)},
	};
	struct store_workspace workspace;
	int r;

	r = admin_read_body(request, members, ELEMENTSOF(members));
	if (r < 0 || admin_find_workspace(request, name, &workspace) < 0)
		return;
	r = operation_kek_rotate(request->manager, name, use, admin_operation_done,
				 http_request_ref(request));
	if (r == 0)
		return;
	if (r == -EBUSY)
		snprintf(message, sizeof(message), "workspace %.63s: it has %d KEKs already", name,
			 KEKS_OF_WORKSPACE_MAX);
	else
		snprintf(message, sizeof(message), "workspace %.63s: %s", name,
			 r == -ENOENT	      ? "it has no KEK of that use"
			 : r == -ENOKEY	      ? "it is bound to no key"
			 : r == -EKEYREJECTED ? "its key is revoked"
			 : r == -EAGAIN	      ? "too much waits for the KMS"
					      : "the store fails");
	admin_reply_message(request, r, message);
	http_request_unref(request);
}

static void set_retired(struct http_request *request, bool retired)
{
	const char *name = request->parameters[0];
	char use[KEK_USE_MAX + 1], message[256];
	uint64_t version = 0;
	const struct json_member members[] = {
		{"use", JSON_MEMBER_NAME, use, sizeof(use)},
		{"version", JSON_MEMBER_UNSIGNED, &version, 0},
	};
	struct store_workspace workspace;
	int r;

	r = admin_read_body(request, members, ELEMENTSOF(members));
	if (r < 0 || admin_find_workspace(request, name, &workspace) < 0)
		return;
	r = operation_kek_retire(request->manager, name, use, (uint32_t)version, retired);
	if (r == 0) {
		http_reply_empty(request, 204);
		return;
	}
	snprintf(message, sizeof(message), "workspace %.63s: %s", name,
		 r == -ENOENT  ? "it has no KEK of that use and version"
		 : r == -EBUSY ? "new DEKs of that use are sealed under this version: rotate first"
			       : "the store fails");
	admin_reply_message(request, r, message);
}

void admin_keks_retire(struct http_request *request)
{
	set_retired(request, true);
}

void admin_keks_restore(struct http_request *request)
{
	set_retired(request, false);
}
