/* SPDX-License-Identifier: Apache-2.0 */
/* Admin API: rotation of a key configuration's CMK, and how far it is. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "manager/admin_routes.h"
#include "manager/manager.h"
#include "manager/rotation.h"
#include "manager/store.h"

void admin_keys_rotate(struct http_request *request)
{
	const char *name = request->parameters[0];
	char to[ID_TEXT_MAX + 1] = "";
	const struct json_member members[] = {
		{"to", JSON_MEMBER_NAME, to, sizeof(to), true},
	};
	int r = 0;

	if (request->body_size > 0)
		r = admin_read_body(request, members, ELEMENTSOF(members));
	if (r < 0)
		return;
	admin_about_key(request, name);
	r = operation_key_rotate(request->manager, name, *to ? to : NULL, admin_operation_done,
				 http_request_ref(request));
	if (r == -EBUSY) {
		admin_reply_message(
			request, r,
			"member 'to': the key itself, or one whose own rotation is under way");
		http_request_unref(request);
		return;
	}
	admin_operation_begun(request, r, "key", name);
}

/* How many KEKs each version of the CMK has wrapped. */
struct versions {
	const struct store_key *key;
	json_t *counts; /* by version */
};

static int count_version(struct versions *versions, const uint8_t *blob, size_t n)
{
	char version[KMS_VERSION_MAX];
	json_int_t count;

	kms_version(&versions->key->kms, blob, n, version);
	count = json_integer_value(json_object_get(versions->counts, version));
	return json_object_set_new(versions->counts, version, json_integer(count + 1)) < 0 ? -ENOMEM
											   : 0;
}

static int add_kek(const struct store_kek *kek, void *userdata)
{
	return count_version(userdata, kek->wrapped.blob, kek->wrapped.size);
}

static int add_workspace(const struct store_workspace *workspace, void *userdata)
{
	return count_version(userdata, workspace->kek, workspace->kek_size);
}

static json_t *versions_json(const struct versions *versions)
{
	json_t *rows = json_array();

	for (void *at = json_object_iter(versions->counts); at;
	     at = json_object_iter_next(versions->counts, at))
		json_array_append_new(rows,
				      json_pack("{s:s, s:O}", "version", json_object_iter_key(at),
						"keks", json_object_iter_value(at)));
	return rows;
}

/* Other versions of the CMK, or, where nothing is left under it, the CMK itself. A provider that tells
 * no versions needs a rotation that is complete. */
static bool others_are_free(const struct store_key *key, const struct store_key_keks *keks,
			    const struct versions *versions)
{
	bool told = !json_object_get(versions->counts, "");

	return keks->left == 0 && key->rotation_ms == 0 &&
	       json_object_size(versions->counts) <= 1 && (told || key->rotated_ms > 0);
}

static const char *state_name(const struct store_key *key, const char *trouble)
{
	if (key->rotation_ms > 0)
		return *trouble ? "waiting" : "running";
	return key->rotated_ms > 0 ? "complete" : "none";
}

static int successor_name(struct store *store, const struct store_key *key,
			  char name[static ID_TEXT_MAX + 1])
{
	struct store_key successor;
	int r;

	*name = '\0';
	if (key->successor == 0)
		return 0;
	r = store_key_get_by_id(store, key->successor, &successor);
	if (r == 0)
		memcpy(name, successor.name, sizeof(successor.name));
	return r;
}

static json_t *rotation_json(struct manager *manager, const struct store_key *key)
{
	const char *trouble = rotation_trouble(manager->rotation, key->id);
	struct versions versions = {.key = key, .counts = json_object()};
	struct store_key_keks keks;
	char to[ID_TEXT_MAX + 1];
	json_t *json = NULL;
	int r;

	r = store_key_count_keks(manager->store, key, &keks);
	if (r == 0)
		r = store_keks_of_key(manager->store, key->id, add_kek, &versions);
	if (r == 0)
		r = store_workspaces_to_wrap(manager->store, key->id, UINT32_MAX, 0, UINT32_MAX,
					     add_workspace, &versions);
	if (r == 0)
		r = successor_name(manager->store, key, to);
	if (r == 0)
		json = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:i, s:i, s:s, s:o, s:b}", "name",
				 key->name, "state", state_name(key, trouble), "to", to,
				 "generation", (json_int_t)key->generation, "began",
				 (json_int_t)(key->rotation_ms / 1000), "complete",
				 (json_int_t)(key->rotated_ms / 1000), "keks", (int)keks.n, "left",
				 (int)(key->successor ? keks.n : keks.left), "trouble", trouble,
				 "versions", versions_json(&versions), "others_safe_to_disable",
				 others_are_free(key, &keks, &versions));
	json_decref(versions.counts);
	return json;
}

void admin_keys_rotation(struct http_request *request)
{
	const char *name = request->parameters[0];
	struct store_key key;
	int r;

	r = store_key_get(request->manager->store, name, &key);
	if (r < 0)
		admin_reply_refused(request, r, "key", name);
	else
		http_reply_json(request, 200, rotation_json(request->manager, &key));
}
