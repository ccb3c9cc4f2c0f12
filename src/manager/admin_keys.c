/* SPDX-License-Identifier: Apache-2.0 */
/* Admin API: key configurations. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "manager/admin_key_shape.h"
#include "manager/admin_routes.h"
#include "manager/manager.h"
#include "manager/store.h"
#include "manager/tally.h"

/* What is configured, and what is known of it. */
static json_t *key_json(struct manager *manager, const struct store_key *key)
{
	struct tally_of_key tally = tally_get(manager->tally, key->id);
	json_t *json = admin_key_shape(key);
	struct key_health health;
	char per_hour[32];
	int r;

	snprintf(per_hour, sizeof(per_hour), "%.2f", tally_calls_per_vm_hour(&tally));
	operation_key_health(manager, key, &health);
	r = json_object_update_new(
		json,
		json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:I}",
			  "state", health.state, "class", health.class, "follow", health.follow,
			  "code", health.code, "last_evidence", (json_int_t)health.last_evidence_s,
			  "revoked_at", (json_int_t)(key->revoked_ms / 1000), "calls_probe",
			  (json_int_t)tally.calls[KMS_FOR_PROBE], "calls_admission",
			  (json_int_t)tally.calls[KMS_FOR_ADMISSION], "calls_kek",
			  (json_int_t)tally.calls[KMS_FOR_KEK], "calls_administration",
			  (json_int_t)tally.calls[KMS_FOR_ADMINISTRATION], "vm_seconds",
			  (json_int_t)(tally.vm_ms / 1000), "calls_per_vm_hour",
			  tally.vm_ms > 0 ? per_hour : "", "events", (json_int_t)tally.events,
			  "last_event", (json_int_t)tally.last_event_s));
	if (r == 0)
		return json;
	json_decref(json);
	return NULL;
}

struct key_walk {
	struct manager *manager;
	json_t *rows;
};

static int add_key(const struct store_key *key, void *userdata)
{
	struct key_walk *walk = userdata;

	return json_array_append_new(walk->rows, key_json(walk->manager, key)) < 0 ? -ENOMEM : 0;
}

void admin_keys_list(struct http_request *request)
{
	struct key_walk walk = {.manager = request->manager, .rows = json_array()};
	int r;

	r = store_keys(request->manager->store, add_key, &walk);
	if (r < 0) {
		json_decref(walk.rows);
		admin_reply_refused(request, r, "keys", "list");
		return;
	}
	http_reply_json(request, 200, walk.rows);
}

void admin_keys_get(struct http_request *request)
{
	const char *name = request->parameters[0];
	struct store_key key;
	int r;

	r = store_key_get(request->manager->store, name, &key);
	if (r < 0)
		admin_reply_refused(request, r, "key", name);
	else
		http_reply_json(request, 200, key_json(request->manager, &key));
}

static void created(int r, const char *message, void *userdata)
{
	struct http_request *request = userdata;

	admin_about_key(request, request->parameters[0]);
	admin_operation_done(r, message, request);
}

void admin_keys_create(struct http_request *request)
{
	struct store_key key = {0};
	int r;

	r = admin_key_read(request, &key);
	if (r < 0)
		return;
	copy_text(request->parameters[0], sizeof(request->parameters[0]), key.name);
	r = operation_key_create(request->manager, &key, created, http_request_ref(request));
	admin_operation_begun(request, r, "key", key.name);
}

void admin_keys_delete(struct http_request *request)
{
	const char *name = request->parameters[0];
	char message[128];
	int r;

	admin_about_key(request, name);
	r = store_key_delete(request->manager->store, name);
	snprintf(message, sizeof(message),
		 "key %.63s: a workspace is bound to it, or will be by a rotation", name);
	if (r == -EBUSY)
		admin_reply_message(request, r, message);
	else if (r < 0)
		admin_reply_refused(request, r, "key", name);
	else {
		tally_forget(request->manager->tally, request->about.key);
		http_reply_empty(request, 204);
	}
}

void admin_keys_clear(struct http_request *request)
{
	const char *name = request->parameters[0];
	int r;

	admin_about_key(request, name);
	r = operation_key_clear(request->manager, name, admin_operation_done,
				http_request_ref(request));
	admin_operation_begun(request, r, "key", name);
}
