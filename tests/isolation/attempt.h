/* SPDX-License-Identifier: Apache-2.0 */
/* One attempt at what somebody must not do, judged: refused as it must be, succeeded, or refused for
 * another reason, which proves nothing. */
#pragma once

#include "../unit/manager_node.h"

/* Who connects: a client certificate with its key, or none. */
struct identity {
	const char *name;
	unsigned role;			 /* what it is rightful as: bits of enum http_role */
	char certificate[128], key[128]; /* "": none */
};

/* The ways to refuse. */
enum refusal {
	BY_TLS = 1 << 0, /* not a byte of an answer */
	BAD_FORM = 1 << 1,
	UNSIGNED = 1 << 2,
	FORBIDDEN = 1 << 3,
	NO_NODE = 1 << 4,
	VM_REMOVED = 1 << 5,
	NO_PATH = 1 << 6,
	NO_METHOD = 1 << 7,
	NO_BOOT = 1 << 8,
	BOOT_TAKEN = 1 << 9,
	IN_USE = 1 << 10,
	NOT_VALID = 1 << 11,
	REFUSED_BY_KMS = 1 << 12,
	NOT_NOW = 1 << 13,
	TOO_LARGE = 1 << 14,
	THERE_ALREADY = 1 << 15,
	OLDER = 1 << 16,
	EACH_ITEM = 1 << 17, /* a DEK or a blob in none of the answer's items */
};

static struct {
	unsigned long made, succeeded, unproven;
} attempts;

/* What one request is. */
struct shot {
	const struct identity *by; /* NULL: nobody */
	enum manager_listener listener;
	const char *method, *target; /* as it is to be on the wire */
	const void *body;	     /* NULL: none */
	size_t n;
	const char *header; /* NULL: none of ours */
};

static inline const char *listener_url(enum manager_listener listener)
{
	return listener == LISTENER_VM	      ? vm_url
	       : listener == LISTENER_ADMIN   ? admin_url
	       : listener == LISTENER_STORAGE ? storage_url
					      : events_url;
}

/* All of SHOT set on a new handle, which may be used again and again over one connection. */
static inline CURL *shot_handle(const struct shot *shot, struct answer *answer)
{
	CURL *curl = handle_for(listener_url(shot->listener), "/", answer);

	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_REQUEST_TARGET, shot->target);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, shot->method);
	if (shot->by && shot->by->certificate[0]) {
		curl_easy_setopt(curl, CURLOPT_SSLCERT, shot->by->certificate);
		curl_easy_setopt(curl, CURLOPT_SSLKEY, shot->by->key);
	}
	if (strcmp(shot->method, "HEAD") == 0)
		curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
	else if (shot->body) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)shot->n);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, shot->body);
	}
	return curl;
}

static inline const char *listener_name(enum manager_listener listener)
{
	return listener == LISTENER_VM	      ? "vm"
	       : listener == LISTENER_ADMIN   ? "admin"
	       : listener == LISTENER_STORAGE ? "storage"
					      : "events";
}

/* Takes over LINE: one more of the file EMBERLOCK_RECORD, where that is set. openapi.py reads it. */
static inline void record(json_t *line)
{
	const char *path = getenv("EMBERLOCK_RECORD");
	FILE *file = path ? fopen(path, "ae") : NULL;

	assert_true(file || !path);
	if (file) {
		assert_int_equal(json_dumpf(line, file, JSON_COMPACT), 0);
		fputc('\n', file);
		assert_int_equal(fclose(file), 0);
	}
	json_decref(line);
}

/* NULL where it is no text. */
static inline json_t *body_text(const void *bytes, size_t n)
{
	json_t *text = bytes ? json_stringn(bytes, n) : NULL;

	return text ? text : json_null();
}

static inline void record_shot(const struct shot *shot, const struct answer *answer)
{
	if (!getenv("EMBERLOCK_RECORD") || answer->status == 0)
		return;
	record(json_pack("{s:s, s:s, s:s, s:b, s:o, s:I, s:s, s:i, s:o}", "listener",
			 listener_name(shot->listener), "method", shot->method, "target",
			 shot->target, "sent", shot->body && shot->n > 0, "request",
			 body_text(shot->body, shot->n), "status", (json_int_t)answer->status,
			 "type", answer->type, "size", (int)answer->size, "body",
			 body_text(answer->body, answer->size)));
}

static inline void fire(const struct shot *shot, struct answer *answer)
{
	CURL *curl = shot_handle(shot, answer);
	struct curl_slist *headers = shot->header ? curl_slist_append(NULL, shot->header) : NULL;

	if (headers)
		curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	perform(curl, answer);
	curl_slist_free_all(headers);
	record_shot(shot, answer);
}

/* Whether no item of the answer holds anything but its refusal. */
static inline bool each_item_refused(json_t *body)
{
	json_t *items = json_object_get(body, "items"), *item;
	bool refused = json_array_size(items) > 0;
	size_t i;

	json_array_foreach(items, i, item)
	{
		if (!json_object_get(item, "error") || json_object_get(item, "dek") ||
		    json_object_get(item, "blob"))
			refused = false;
	}
	return refused;
}

static inline unsigned refusal_of(const struct answer *answer)
{
	static const struct {
		long status;
		const char *code;
		unsigned refusal;
	} table[] = {
		{400, "malformed", BAD_FORM},
		{400, "settings", NOT_VALID},
		{401, "signature", UNSIGNED},
		{403, "forbidden", FORBIDDEN},
		{403, "node", NO_NODE},
		{403, "vm", VM_REMOVED},
		{404, "not-found", NO_PATH},
		{405, "method", NO_METHOD},
		{409, "older", OLDER},
		{409, "admission", NO_BOOT},
		{409, "boot-id", BOOT_TAKEN},
		{409, "in-use", IN_USE},
		{409, "refused", REFUSED_BY_KMS},
		{409, "exists", THERE_ALREADY},
		{503, "unavailable", NOT_NOW},
		{413, "too-large", TOO_LARGE},
	};
	unsigned refusal = 0;
	const char *code;
	json_t *body;

	if (answer->status == 0)
		return answer->error != CURLE_OK && answer->size == 0 ? BY_TLS : 0;
	/* The answer to HEAD. */
	if (answer->size == 0)
		return answer->status == 404 ? NO_PATH : answer->status == 405 ? NO_METHOD : 0;
	body = json_loadb((const char *)answer->body, answer->size, 0, NULL);
	code = json_string_value(json_object_get(body, "error"));
	for (size_t i = 0; code && i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].status == answer->status && strcmp(table[i].code, code) == 0)
			refusal = table[i].refusal;
	if (answer->status == 200 && each_item_refused(body))
		refusal = EACH_ITEM;
	json_decref(body);
	return refusal;
}

/* Counts one attempt of WHAT, which HOLDS or not. */
static inline void attempted(bool holds, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static inline void attempted(bool holds, const char *format, ...)
{
	va_list list;

	attempts.made++;
	if (holds)
		return;
	attempts.succeeded++;
	fprintf(stderr, "SUCCEEDED: ");
	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fprintf(stderr, "\n");
}

/* ANSWER to SHOT must be one of REFUSALS. */
static inline void judge(const struct shot *shot, const struct answer *answer, unsigned refusals,
			 const char *what)
{
	bool success = answer->status >= 200 && answer->status < 300;

	attempts.made++;
	if (refusal_of(answer) & refusals)
		return;
	*(success ? &attempts.succeeded : &attempts.unproven) += 1;
	fprintf(stderr, "%s: %s: %s %s as %s: %d, %ld %.*s\n",
		success ? "SUCCEEDED" : "PROVES NOTHING", what, shot->method, shot->target,
		shot->by ? shot->by->name : "nobody", (int)answer->error, answer->status,
		(int)answer->size, (const char *)answer->body);
}

static inline void attempt(const struct shot *shot, unsigned refusals, const char *what)
{
	static struct answer answer;

	fire(shot, &answer);
	judge(shot, &answer, refusals, what);
}

/* The control: whom it belongs to can do it. */
static inline void must_succeed(const struct shot *shot, struct answer *answer)
{
	fire(shot, answer);
	if (answer->status < 200 || answer->status > 299)
		print_error("control: %s %s as %s: %d, %ld %.*s\n", shot->method, shot->target,
			    shot->by ? shot->by->name : "nobody", (int)answer->error,
			    answer->status, (int)answer->size, (const char *)answer->body);
	assert_in_range(answer->status, 200, 299);
}
