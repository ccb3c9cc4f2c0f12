/* SPDX-License-Identifier: Apache-2.0 */
/* Admin API: key configurations. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "manager/admin_routes.h"
#include "manager/manager.h"
#include "manager/store.h"
#include "manager/tally.h"

static const char *expiry_name(enum expiry expiry)
{
	return expiry == EXPIRY_WARN ? "warn" : "shred";
}

static json_t *key_json(struct manager *manager, const struct store_key *key)
{
	struct tally_of_key tally = tally_get(manager->tally, key->id);
	struct key_health health;
	char per_hour[32];

	snprintf(per_hour, sizeof(per_hour), "%.2f", tally_calls_per_vm_hour(&tally));
	operation_key_health(manager, key, &health);
	return json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:s, s:b, s:s, "
		"s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:I}",
		"name", key->name, "provider", key->kms.provider, "key_id", key->kms.key_id,
		"directory", key->kms.directory, "credentials", key->kms.credentials, "role_arn",
		key->kms.role_arn, "external_id", key->kms.external_id, "tenant_id",
		key->kms.tenant_id, "poll_ms", (json_int_t)key->poll_ms, "lease_ms",
		(json_int_t)key->lease_ms, "margin_ms", (json_int_t)key->margin_ms,
		"max_staleness_ms", (json_int_t)key->max_staleness_ms, "probe_ms",
		(json_int_t)key->probe_ms, "expiry", expiry_name(key->expiry), "confirm_boot",
		key->confirm_boot, "state", health.state, "class", health.class, "follow",
		health.follow, "code", health.code, "last_evidence",
		(json_int_t)health.last_evidence_s, "revoked_at",
		(json_int_t)(key->revoked_ms / 1000), "calls_probe",
		(json_int_t)tally.calls[KMS_FOR_PROBE], "calls_admission",
		(json_int_t)tally.calls[KMS_FOR_ADMISSION], "calls_kek",
		(json_int_t)tally.calls[KMS_FOR_KEK], "calls_administration",
		(json_int_t)tally.calls[KMS_FOR_ADMINISTRATION], "vm_seconds",
		(json_int_t)(tally.vm_ms / 1000), "calls_per_vm_hour",
		tally.vm_ms > 0 ? per_hour : "", "events", (json_int_t)tally.events, "last_event",
		(json_int_t)tally.last_event_s);
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

static int read_expiry(struct http_request *request, const char *text, enum expiry *ret_expiry)
{
	if (strcmp(text, "shred") == 0) {
		*ret_expiry = EXPIRY_SHRED;
	} else if (strcmp(text, "warn") == 0) {
		*ret_expiry = EXPIRY_WARN;
	} else {
		http_reply_error(request, 400, "settings",
				 "the body: member 'expiry' must be shred or warn");
		return -EINVAL;
	}
	return 0;
}

/* Defaults, then what the body says, then the checks that need no KMS. On error the request has
 * been answered. */
static int read_key(struct http_request *request, struct store_key *key)
{
	uint64_t poll = 0, lease = 0, margin = 0, staleness = 0, probe = 0;
	char expiry[8] = "shred", error[256];
	const struct json_member members[] = {
		{"name", JSON_MEMBER_NAME, key->name, sizeof(key->name)},
		{"provider", JSON_MEMBER_NAME, key->kms.provider, sizeof(key->kms.provider)},
		{"key_id", JSON_MEMBER_TEXT, key->kms.key_id, sizeof(key->kms.key_id)},
		{"directory", JSON_MEMBER_TEXT, key->kms.directory, sizeof(key->kms.directory),
		 true},
		{"credentials", JSON_MEMBER_NAME, key->kms.credentials,
		 sizeof(key->kms.credentials), true},
		{"role_arn", JSON_MEMBER_TEXT, key->kms.role_arn, sizeof(key->kms.role_arn), true},
		{"external_id", JSON_MEMBER_TEXT, key->kms.external_id,
		 sizeof(key->kms.external_id), true},
		{"tenant_id", JSON_MEMBER_NAME, key->kms.tenant_id, sizeof(key->kms.tenant_id),
		 true},
		{"poll_ms", JSON_MEMBER_UNSIGNED, &poll, 0, true},
		{"lease_ms", JSON_MEMBER_UNSIGNED, &lease, 0, true},
		{"margin_ms", JSON_MEMBER_UNSIGNED, &margin, 0, true},
		{"max_staleness_ms", JSON_MEMBER_UNSIGNED, &staleness, 0, true},
		{"probe_ms", JSON_MEMBER_UNSIGNED, &probe, 0, true},
		{"expiry", JSON_MEMBER_TEXT, expiry, sizeof(expiry), true},
		{"confirm_boot", JSON_MEMBER_BOOL, &key->confirm_boot, 0, true},
	};
	int r;

	store_key_defaults(key);
	poll = key->poll_ms;
	lease = key->lease_ms;
	margin = key->margin_ms;
	staleness = key->max_staleness_ms;
	probe = key->probe_ms;
	r = admin_read_body(request, members, ELEMENTSOF(members));
	if (r < 0)
		return r;
	key->poll_ms = (uint32_t)poll;
	key->lease_ms = (uint32_t)lease;
	key->margin_ms = (uint32_t)margin;
	key->max_staleness_ms = (uint32_t)staleness;
	key->probe_ms = (uint32_t)probe;
	r = read_expiry(request, expiry, &key->expiry);
	if (r < 0)
		return r;
	store_credentials_dir(request->manager->store, &key->kms);
	r = store_key_check(key, error);
	if (r < 0)
		http_reply_error(request, 400, "settings", "key %s: %s", key->name, error);
	return r;
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

	r = read_key(request, &key);
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
