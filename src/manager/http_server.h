/* SPDX-License-Identifier: Apache-2.0 */
/* A listener and its sessions, and what the files of the HTTP server share. */
#pragma once

#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <systemd/sd-event.h>

#include "manager/http.h"
#include "manager/tls.h"

#define HTTP_STREAMS_MAX      16     /* of one connection at once */
#define HTTP_HEADERS_MAX      8192   /* names, values and 32 for each, as RFC 9113 counts */
#define HTTP_HANDSHAKE_MS     10000  /* for TLS */
#define HTTP_REQUEST_MS	      15000  /* from a request's first byte to its last */
#define HTTP_STALL_MS	      20000  /* for a peer that takes none of our bytes */
#define HTTP_PING_AFTER_MS    15000  /* of silence, a PING */
#define HTTP_PING_ANSWER_MS   10000  /* then, without a sign of life, the end */
#define HTTP_IDLE_MS	      120000 /* without any request */
#define HTTP_CONNECTIONS_MAX  16384  /* default of a listener */
#define HTTP_TURN_REPLIES_MAX 256    /* a commit is due, whatever else waits */
#define HTTP_TURN_MS	      10

struct http_server_options {
	struct manager *manager;
	sd_event *event;
	const char *address;	  /* "127.0.0.1:8443", "[::1]:0" */
	SSL_CTX *tls;		  /* a reference is taken */
	enum tls_clients clients; /* decides the role */
	const struct http_route *routes;
	size_t n_routes;
	/* Asked before a stranger's body is kept, which may be large: whether the request goes on; it has
	 * been answered where not. NULL: whoever it is. */
	bool (*admit)(struct http_request *request);
	unsigned max_connections;
};

struct http_server;

/* Binds and listens. 0, or negative errno, logged. */
int http_server_new(const struct http_server_options *options, struct http_server **ret_server);
/* Ends all sessions; parked requests are told that their peer is gone. */
struct http_server *http_server_free(struct http_server *server);
void http_server_address(const struct http_server *server, char text[static 64]);
/* For new connections. */
void http_server_set_tls(struct http_server *server, SSL_CTX *tls);
unsigned http_server_connections(const struct http_server *server);

/* After the turn's commit (R its result): lets the finished replies go, or 503 in their place. */
void http_send_finished(struct manager *manager, int r);

/* --- inside the server --- */
struct http_session;

struct http_reply {
	unsigned status;
	const char *content_type;			       /* static; NULL without a body */
	char status_text[4], length_text[24], retry_after[16]; /* "" not given */
	size_t size, offset;
	uint8_t body[];
};

void http_reply_free(struct http_reply *reply);

struct http_stream {
	struct http_request request; /* first: handlers see only this */
	const struct http_route *route;
	struct http_session *session; /* NULL once the stream is gone */
	struct http_stream *next;     /* of the session */
	struct http_stream *next_finished;
	struct http_reply *reply;
	int32_t id;
	unsigned references;
	size_t header_size;
	uint64_t started_ms; /* CLOCK_BOOTTIME; once replied, when the reply last moved on */
	bool replied;
	bool complete;	 /* the whole request is there, or the rest of it does not matter */
	bool bad;	 /* a path or method that no route has */
	uint8_t *buffer; /* of the body; route->body_max bytes */
};

static inline struct http_stream *http_stream_of(struct http_request *request)
{
	return (struct http_stream *)request;
}

struct http_sessions {
	struct http_session *first, *last; /* oldest first */
};

struct http_server {
	struct http_server_options options;
	sd_event_source *listener;
	/* Peers that have shown a signature or a certificate, and those that have not yet. */
	struct http_sessions known, strangers;
	unsigned n_sessions;
};

/* Takes over FD. Failures close it. */
void http_session_start(struct http_server *server, int fd);
/* The peer is no stranger any more. */
void http_session_known(struct http_session *session);
void http_session_close(struct http_session *session);
/* Hands the reply of STREAM to nghttp2 and writes what can be written; may close the session. */
void http_session_reply(struct http_session *session, struct http_stream *stream);

const char *http_method_name(enum http_method method);
/* Chooses the route; answers 403, 404, 405 where there is none. */
void http_stream_route(struct http_stream *stream, const struct http_route *routes, size_t n);
/* More of the body; answers 413. -ENOMEM. */
int http_stream_body(struct http_stream *stream, const uint8_t *bytes, size_t n);
/* The request is whole: runs the handler, unless it was answered already. */
void http_stream_dispatch(struct http_stream *stream);
/* The stream ended: tells who has parked it, drops the session's reference. */
void http_stream_gone(struct http_stream *stream);
int http_stream_set_header(struct http_stream *stream, const uint8_t *name, size_t name_len,
			   const uint8_t *value, size_t value_len);
