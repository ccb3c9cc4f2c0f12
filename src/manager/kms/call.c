/* SPDX-License-Identifier: Apache-2.0 */
/* What the providers that speak HTTPS share: one call is credentials, token, request, reply. */
#include "manager/kms/call.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/parse.h"

#define REFRESH_AGAIN_MS 30000 /* after a refresh that failed */

static uint64_t now_ms(void)
{
	return clock_boottime_ns() / NSEC_PER_MSEC;
}

/* Our own files are our own identity; where nothing ever worked they are a setting. */
static void credentials_failed(const struct kms_key *key, const char *error,
			       struct kms_outcome *ret)
{
	kms_outcome_set(ret, key->proven ? KMS_IDENTITY : KMS_MISCONFIGURED, true, "%s", error);
}

static void name_right(const struct kms_classifier *classifier, const struct kms_reply *reply,
		       struct kms_outcome *outcome)
{
	if (outcome->class != KMS_REVOKED_ACCESS)
		return;
	if (!classifier->absent || !strstr(outcome->code, classifier->absent))
		outcome->lacks = classifier->rights[reply->op];
}

void kms_classify(const struct kms_classifier *classifier, const struct kms_reply *reply,
		  struct kms_outcome *ret_outcome)
{
	bool identity = reply->op == KMS_TOKEN || reply->op == KMS_ASSUME;

	if (reply->error < 0)
		kms_outcome_set(ret_outcome, identity ? KMS_IDENTITY : KMS_UNAVAILABLE, false,
				"%s%s%s", identity ? classifier->identity_name : "",
				identity ? ": " : "", strerror(-reply->error));
	else if (reply->status != 200 && identity)
		classifier->identity(reply, ret_outcome);
	else if (reply->status != 200)
		classifier->error(reply, ret_outcome);
	else if (reply->op == KMS_DESCRIBE)
		classifier->state(reply, ret_outcome);
	else
		kms_outcome_set(ret_outcome, KMS_OK, false, "200");
	name_right(classifier, reply, ret_outcome);
}

struct kms_call *kms_call_new(const struct kms_key *key, struct kms_outcome *ret_outcome)
{
	struct kms_call *call;
	char error[256];
	void *memory;

	*ret_outcome = (struct kms_outcome){0};
	if (locked_new(sizeof(*call), &memory) < 0) {
		kms_outcome_set(ret_outcome, KMS_UNAVAILABLE, true,
				"cannot lock memory (LimitMEMLOCK=)");
		return NULL;
	}
	call = memory;
	call->key = key;
	call->described = KMS_CLASS__MAX;
	if (credentials_read(key, &call->credentials, error) < 0) {
		credentials_failed(key, error, ret_outcome);
		kms_call_free(&call);
		return NULL;
	}
	if (call->credentials.ca_path[0])
		call->http.ca_file = call->credentials.ca_path;
	return call;
}

void kms_call_free(struct kms_call **call)
{
	*call = locked_free(*call, sizeof(**call));
}

static struct kms_reply reply_of(const struct kms_http *http, enum kms_op op)
{
	return (struct kms_reply){
		.op = op,
		.error = http->error,
		.status = http->status,
		.error_type = http->error_type,
		.body = http->reply,
		.n = http->reply_size,
		.described = KMS_CLASS__MAX,
	};
}

/* A token that is still good is used where no newer one can be had: an identity provider's outage is
 * not the KMS's. A role that is refused is the customer's word, though. */
static void refresh(struct kms_call *call, const struct kms_dialect *dialect, bool have,
		    struct kms_outcome *ret)
{
	call->old = call->token;
	bytes_wipe(&call->token, sizeof(call->token));
	dialect->fetch(call, ret);
	if (ret->class == KMS_OK && call->token.ends_ms > 0)
		tokens_put(call->credentials.digest, &call->token);
	if (ret->class != KMS_OK && ret->class != KMS_REVOKED_ACCESS && have) {
		call->token = call->old;
		/* Probes must not wait for it each time. */
		call->token.fresh_ms = now_ms() + REFRESH_AGAIN_MS;
		tokens_put(call->credentials.digest, &call->token);
		ret->class = KMS_OK;
	}
}

/* *RET_CACHED: the token may be out of date. */
static void get_token(struct kms_call *call, const struct kms_dialect *dialect, bool *ret_cached,
		      struct kms_outcome *ret)
{
	bool have = tokens_get(call->credentials.digest, now_ms(), &call->token);

	*ret_cached = have;
	if (have && now_ms() < call->token.fresh_ms)
		ret->class = KMS_OK;
	else
		refresh(call, dialect, have, ret);
}

static void send(struct kms_call *call, const struct kms_dialect *dialect, enum kms_op op,
		 struct kms_outcome *ret)
{
	struct kms_reply reply;

	dialect->authorise(call);
	kms_http_perform(&call->http);
	if (call->key->calls)
		*call->key->calls += call->http.tries;
	reply = reply_of(&call->http, op);
	reply.described = call->described;
	dialect->classify(&reply, ret);
}

/* Whether another token may help. */
static bool token_was_refused(const struct kms_call *call, const struct kms_outcome *outcome)
{
	return call->http.error == 0 &&
	       (outcome->class == KMS_IDENTITY || call->http.status == 401);
}

static void set_request_id(struct kms_outcome *outcome, const char *text)
{
	char *to = outcome->request_id;

	snprintf(to, sizeof(outcome->request_id), "%s", text);
	for (; *to; to++)
		if (*to < ' ' || *to > '~')
			*to = '?';
}

void kms_call_ask(struct kms_call *call, const struct kms_dialect *dialect, enum kms_op op,
		  struct kms_outcome *ret_outcome)
{
	const struct kms_key *key = call->key;
	bool proven = key->proven &&
		      memcmp(key->proven_by, call->credentials.by, sizeof(key->proven_by)) == 0;

	for (int try = 0; try < 2; try++) {
		bool cached;

		get_token(call, dialect, &cached, ret_outcome);
		if (ret_outcome->class != KMS_OK)
			break;
		send(call, dialect, op, ret_outcome);
		if (!cached || !token_was_refused(call, ret_outcome))
			break;
		tokens_drop(call->credentials.digest);
	}
	memcpy(ret_outcome->by, call->credentials.by, sizeof(ret_outcome->by));
	set_request_id(ret_outcome, call->http.request_id);
	kms_first_success(proven, ret_outcome);
}

void kms_call_auth(struct kms_call *call, const char *method, bool metadata, const char *format,
		   ...)
{
	struct kms_http *auth = &call->auth;
	va_list list;

	bytes_wipe(auth, sizeof(*auth));
	auth->method = method;
	auth->metadata = metadata;
	if (!metadata && call->credentials.ca_path[0])
		auth->ca_file = call->credentials.ca_path;
	va_start(list, format);
	vsnprintf(auth->url, sizeof(auth->url), format, list);
	va_end(list);
}

bool kms_call_ask_identity(struct kms_call *call, const struct kms_dialect *dialect, enum kms_op op,
			   bool identity_answers, struct kms_outcome *ret_outcome)
{
	struct kms_reply reply;

	kms_http_perform(&call->auth);
	reply = reply_of(&call->auth, op);
	reply.identity_answers = identity_answers;
	dialect->classify(&reply, ret_outcome);
	return ret_outcome->class == KMS_OK;
}

void kms_call_take_bearer(struct kms_call *call, struct kms_outcome *ret_outcome)
{
	_cleanup_json_ json_t *json = kms_json(call->auth.reply, call->auth.reply_size);
	const json_t *expires = json_object_get(json, "expires_in");
	const char *bearer = kms_json_text(json, "access_token");
	uint64_t ttl = (uint64_t)json_integer_value(expires);

	/* Managed identities have the number in quotes. */
	if (json_is_string(expires) && parse_u64(json_string_value(expires), &ttl) < 0)
		ttl = 0;
	if (!bearer[0] || strlen(bearer) >= sizeof(call->token.bearer) ||
	    strspn(bearer, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
			   "-._~+/=") != strlen(bearer) ||
	    ttl == 0) {
		kms_outcome_set(ret_outcome, KMS_IDENTITY, true,
				"the identity provider's reply holds no token");
		return;
	}
	copy_text(call->token.bearer, sizeof(call->token.bearer), bearer);
	token_set_life(&call->token, now_ms(), ttl);
}

void kms_call_bearer(struct kms_call *call)
{
	snprintf(call->header, sizeof(call->header), "Authorization: Bearer %s",
		 call->token.bearer);
	call->http.headers[0] = call->header;
}

json_t *kms_json(const char *text, size_t n)
{
	json_t *json = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);

	if (json_is_object(json))
		return json;
	json_decref(json);
	return NULL;
}

const char *kms_json_text(const json_t *json, const char *path)
{
	const char *text;
	char name[64];

	while (*path) {
		size_t n = strcspn(path, ".");

		snprintf(name, sizeof(name), "%.*s", (int)n, path);
		json = json_object_get(json, name);
		path += path[n] ? n + 1 : n;
	}
	text = json_string_value(json);
	return text ? text : "";
}

int kms_json_bytes(const json_t *json, const char *name, uint8_t *bytes, size_t max, size_t *ret_n)
{
	const json_t *value = json_object_get(json, name);

	if (!json_is_string(value) ||
	    base64_decode(BASE64, json_string_value(value), json_string_length(value), bytes, max,
			  ret_n) < 0)
		return -EBADMSG;
	return 0;
}

static int add_text(const char *text, uint8_t *bytes, size_t max, size_t *n)
{
	size_t len = strlen(text);

	if (len > max || 4 + len > max - *n)
		return -EMSGSIZE;
	put_be32(bytes + *n, (uint32_t)len);
	memcpy(bytes + *n + 4, text, len);
	*n += 4 + len;
	return 0;
}

int kms_context_bytes(const struct kms_key *key, const struct kms_context *context, uint8_t *bytes,
		      size_t max, size_t *ret_n)
{
	size_t n = 0;
	int r = add_text(key->key_id, bytes, max, &n);

	for (size_t i = 0; r == 0 && i < context->n; i++) {
		r = add_text(context->pairs[i].name, bytes, max, &n);
		if (r == 0)
			r = add_text(context->pairs[i].value, bytes, max, &n);
	}
	if (r == 0)
		*ret_n = n;
	return r;
}
