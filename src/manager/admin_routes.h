/* SPDX-License-Identifier: Apache-2.0 */
/* The admin API: its routes, and what their handlers share. */
#pragma once

#include <stddef.h>

#include "manager/http.h"
#include "manager/json.h"

struct store_workspace;

extern const struct http_route admin_routes[];
extern const size_t admin_routes_n;

void admin_keys_list(struct http_request *request);
void admin_keys_get(struct http_request *request);
void admin_keys_create(struct http_request *request);
void admin_keys_delete(struct http_request *request);
void admin_keys_clear(struct http_request *request);
void admin_keys_rotate(struct http_request *request);
void admin_keys_rotation(struct http_request *request);

void admin_workspaces_list(struct http_request *request);
void admin_workspaces_get(struct http_request *request);
void admin_workspaces_create(struct http_request *request);
void admin_workspaces_delete(struct http_request *request);
void admin_workspaces_bind(struct http_request *request);

void admin_keks_list(struct http_request *request);
void admin_keks_rotate(struct http_request *request);
void admin_keks_retire(struct http_request *request);
void admin_keks_restore(struct http_request *request);

void admin_vms_list(struct http_request *request);
void admin_vms_enrol(struct http_request *request);
void admin_vms_remove(struct http_request *request);
void admin_vms_shred(struct http_request *request);
void admin_boots_confirm(struct http_request *request);
void admin_boots_drill(struct http_request *request);
void admin_fleet(struct http_request *request);
void admin_metrics(struct http_request *request);

void admin_nodes_list(struct http_request *request);
void admin_nodes_enrol(struct http_request *request);
void admin_nodes_remove(struct http_request *request);

void admin_receipts_list(struct http_request *request);
void admin_receipts_get(struct http_request *request);

void admin_signing_keys_get(struct http_request *request);
void admin_signing_keys_new(struct http_request *request);
void admin_signing_keys_install(struct http_request *request);
void admin_store_adopt(struct http_request *request);

void admin_audit_list(struct http_request *request);
void admin_audit_checkpoint(struct http_request *request);

/* For the record of REQUEST: it is about the key, the workspace of this name, where there is one. */
void admin_about_key(struct http_request *request, const char *name);
void admin_about_workspace(struct http_request *request, const char *name);

/* The workspace of that name, which the record of REQUEST is then about. Where there is none the request
 * has been answered, and negative errno is returned. */
int admin_find_workspace(struct http_request *request, const char *name,
			 struct store_workspace *ret_workspace);

/* Whether WORKSPACE's key, where it is bound to one, is for what OBJECT is: COVERS of uses.h. Where it is not
 * the request has been answered. */
bool admin_use_is_covered(struct http_request *request, const struct store_workspace *workspace,
			  bool (*covers)(unsigned uses), const char *object, const char *name);

/* The body through MEMBERS (json_read_object()); where it is refused, the request has been answered
 * with 400 and -EBADMSG is returned. */
int admin_read_body(struct http_request *request, const struct json_member *members, size_t n);

/* Answers R, negative, about OBJECT NAME ("key", "main") in the usual words: -ENOENT 404; -EEXIST,
 * -EBUSY, -ENOTSUP, -EKEYREJECTED, -ESTALE, -ENOKEY 409; -EINVAL, -EBADMSG 400; -EAGAIN 503; others 500. */
void admin_reply_refused(struct http_request *request, int r, const char *object, const char *name);
/* The same status, with words that name the object themselves. */
void admin_reply_message(struct http_request *request, int r, const char *message);

/* For an operation with the KMS: http_request_ref(request) is its userdata, and DONE this, which
 * answers with 204 or the refusal. */
void admin_operation_done(int r, const char *message, void *userdata);
/* R: what beginning the operation returned. Where that is negative it never calls back: the request
 * is answered and its reference dropped. */
void admin_operation_begun(struct http_request *request, int r, const char *object,
			   const char *name);

/* The query's "workspace" and "vm" into TEXT buffers ("" absent). Where the query holds something
 * else the request has been answered with 400 and -EBADMSG is returned. VM NULL: not allowed. */
int admin_read_filter(struct http_request *request, char workspace[static 64], char *vm);
