/* SPDX-License-Identifier: Apache-2.0 */
/* Requests, replies and routes of the manager's two listeners. HTTP/2 itself is nghttp2's work
 * (http_session.c); handlers see whole requests and answer them once.
 *
 * A reply leaves only after the transaction of the loop's turn is committed; where the commit
 * fails, the peer gets 503 instead. Handlers need not care. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/limits.h"
#include "manager/audit_chain.h"

struct manager;

enum http_method { HTTP_GET, HTTP_POST, HTTP_PUT, HTTP_DELETE, HTTP_METHOD__MAX };

/* Who may call a route. VMs have no certificate: their requests are signed records. */
enum http_role {
	ROLE_VM = 1 << 0,		 /* anybody on the first listener */
	ROLE_KEY_ADMINISTRATOR = 1 << 1, /* OU=key-administrator on the second one */
	ROLE_OPERATOR = 1 << 2,		 /* OU=operator on the second one */
	ROLE_STORAGE_NODE = 1 << 3, /* anybody on the third one: whose .client_key is, is asked */
	ROLE_EVENT_SENDER = 1 << 4, /* anybody on the fourth one: each message proves itself */
};
#define ROLE_ANY_ADMIN (ROLE_KEY_ADMINISTRATOR | ROLE_OPERATOR)

#define HTTP_PARAMETERS_MAX 2
#define HTTP_PARAMETER_SIZE 80 /* an admission in hex and its NUL fit */
#define HTTP_PATH_SIZE	    512

struct http_request {
	struct manager *manager;
	unsigned role; /* one bit of enum http_role */
	bool expired;  /* the administrator's certificate, since the connection was made */
	char peer[64]; /* CN of the administrator's certificate; "" on the other listeners */
	uint8_t client_key[HASH_SIZE];	/* third listener: SHA-256 of the client's public key */
	uint8_t certificate[HASH_SIZE]; /* SHA-256 of the administrator's certificate */
	enum http_method method;
	char path[HTTP_PATH_SIZE]; /* without the query */
	const char *query; /* what follows '?', inside path's buffer; "" where there is none */
	char parameters[HTTP_PARAMETERS_MAX]
		       [HTTP_PARAMETER_SIZE]; /* the {} of the pattern, in order */
	/* Fourth listener: what proves a message; NULL none. */
	char *authorization, *event_key;
	const uint8_t *body; /* whole; NULL where there is none */
	size_t body_size;

	/* For a request that is answered later: called once when the peer is gone before the
	 * reply. Replying after that is harmless. */
	void (*on_gone)(struct http_request *request);
	void *userdata; /* the handler's own */

	/* For the record of an administrator's request: whom it is about, and what came of it beside
	 * the status (NULL: nothing; the request's). */
	struct audit_about about;
	json_t *details;
};

/* Answers REQUEST by one http_reply_x() call, or takes a reference with http_request_ref() and
 * does so later. Returning with neither is answered by 500. */
typedef void (*http_handler)(struct http_request *request);

struct http_route {
	enum http_method method;
	const char *pattern; /* "/v1/keys/{}": {} is one segment of [A-Za-z0-9._-], put into
				parameters */
	unsigned roles;	     /* who may; others get 403 */
	size_t body_max;     /* a longer body is 413 before it is read; 0: no body at all */
	http_handler handle;
};

struct http_request *http_request_ref(struct http_request *request);
/* Returns NULL. */
struct http_request *http_request_unref(struct http_request *request);

/* A signature of REQUEST was verified: its connection stays where strangers' give way to new ones. */
void http_request_known(struct http_request *request);

/* The value of NAME in the query, copied to TEXT; false where it is absent, or longer than SIZE-1,
 * or not of [A-Za-z0-9._-]. */
bool http_request_query(const struct http_request *request, const char *name, char *text,
			size_t size);

/* One of these, once a request. STATUS is any of 200 to 599. BYTES are copied. */
void http_reply_bytes(struct http_request *request, unsigned status, const char *content_type,
		      const void *bytes, size_t n);
void http_reply_empty(struct http_request *request, unsigned status);
/* Takes over the reference to VALUE, NULL included (then it is 500: out of memory). */
void http_reply_json(struct http_request *request, unsigned status, json_t *value);
/* {"error": CODE, "message": ...}; the message names the object and the setting. */
void http_reply_error(struct http_request *request, unsigned status, const char *code,
		      const char *format, ...) __attribute__((format(printf, 4, 5)));
/* As above with status 429 or 503 and Retry-After. */
void http_reply_retry(struct http_request *request, unsigned status, unsigned after_s,
		      const char *code, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
