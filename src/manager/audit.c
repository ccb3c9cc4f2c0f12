/* SPDX-License-Identifier: Apache-2.0 */
/* Records of the audit log: their contents, put together and added. */
#include "manager/audit.h"

#include <errno.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "manager/http_server.h"
#include "manager/leases.h"

#define SALT_SIZE 16

static void cleanup_json(json_t **json)
{
	json_decref(*json);
}

json_t *audit_text(const char *text)
{
	char plain[512];

	snprintf(plain, sizeof(plain), "%s", text);
	for (char *c = plain; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	return json_string(plain);
}

/* Salt first: whoever sees only the hash of a content cannot try what it may have been. */
static int add(struct store *store, struct audit_about about, const char *event,
	       const json_t *members)
{
	_cleanup_(cleanup_json) json_t *content = NULL;
	_cleanup_free_ char *text = NULL;
	char salt[2 * SALT_SIZE + 1];
	uint8_t bytes[SALT_SIZE];

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return -EIO;
	hex_encode(bytes, sizeof(bytes), salt);
	content = json_pack("{s:s, s:I, s:s}", "salt", salt, "time_ms",
			    (json_int_t)leases_time().real_ms, "event", event);
	if (!content || json_object_update_missing(content, (json_t *)members) < 0)
		return -ENOMEM;
	text = json_dumps(content, JSON_COMPACT | JSON_ENSURE_ASCII);
	if (!text)
		return -ENOMEM;
	return store_audit_append(store, about, text, strlen(text));
}

void audit_add(struct store *store, struct audit_about about, const char *event, json_t *members)
{
	int r = members ? add(store, about, event, members) : -ENOMEM;

	json_decref(members);
	if (r == 0)
		return;
	log_errno(r, "audit: '%s' cannot be put on record, and so will not happen", event);
	store_spoil(store);
}

void audit_add_boot(struct store *store, const struct store_boot *boot, const char *event,
		    json_t *members)
{
	char admission[2 * HASH_SIZE + 1], boot_id[2 * BOOT_ID_SIZE + 1] = "";
	struct boot_report report;
	json_t *all;

	hex_encode(boot->admission, HASH_SIZE, admission);
	if (boot_report_decode(boot->report, sizeof(boot->report), &report) == 0)
		hex_encode(report.boot_id, BOOT_ID_SIZE, boot_id);
	all = json_pack("{s:s, s:s, s:s, s:s}", "workspace", boot->workspace_name, "vm",
			boot->vm_name, "admission", admission, "boot_id", boot_id);
	if (!members || json_object_update_missing(all, members) < 0) {
		json_decref(all);
		all = NULL;
	}
	json_decref(members);
	audit_add(store, (struct audit_about){.workspace = boot->workspace}, event, all);
}

void audit_add_kek(struct store *store, const struct store_workspace *workspace,
		   const struct store_key *key, const struct store_kek *kek, const char *event)
{
	char id[2 * KEK_ID_SIZE + 1], cmk[KMS_VERSION_MAX];

	hex_encode(kek->wrapped.id, KEK_ID_SIZE, id);
	kms_version(&key->kms, kek->wrapped.blob, kek->wrapped.size, cmk);
	audit_add(store, (struct audit_about){.workspace = workspace->id}, event,
		  json_pack("{s:s, s:s, s:s, s:I, s:s, s:s, s:I}", "workspace", workspace->name,
			    "kek", id, "use", kek->wrapped.use, "version",
			    (json_int_t)kek->wrapped.version, "key", key->name, "key_version", cmk,
			    "generation", (json_int_t)kek->generation));
}

/* What was accepted had only the members that its route knows, and none of them is secret. */
static int add_body(const struct http_request *request, json_t *members)
{
	json_t *body;

	if (request->body_size == 0)
		return 0;
	body = json_loadb((const char *)request->body, request->body_size, JSON_REJECT_DUPLICATES,
			  NULL);
	return json_object_set_new(members, "request", body);
}

void audit_add_request(const struct http_request *request, unsigned status, const char *message)
{
	bool done = status >= 200 && status <= 299;
	char certificate[2 * HASH_SIZE + 1];
	json_t *members;
	int r = 0;

	hex_encode(request->certificate, HASH_SIZE, certificate);
	members = json_pack("{s:o, s:s, s:s, s:s, s:s, s:i}", "by", audit_text(request->peer),
			    "certificate", certificate, "role",
			    request->role == ROLE_OPERATOR ? "operator" : "key-administrator",
			    "method", http_method_name(request->method), "path", request->path,
			    "status", (int)status);
	if (done)
		r = add_body(request, members);
	else if (message)
		r = json_object_set_new(members, "refused", audit_text(message));
	if (r == 0 && done && request->details)
		r = json_object_set(members, "result", request->details);
	if (r < 0) {
		json_decref(members);
		members = NULL;
	}
	audit_add(request->manager->store, request->about, "request", members);
}
