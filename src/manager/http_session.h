/* SPDX-License-Identifier: Apache-2.0 */
/* One connection, as http_session.c (TLS, deadlines) and http_h2.c (nghttp2) share it. */
#pragma once

#include "manager/http_server.h"

struct http_session {
	struct http_server *server;
	struct http_session *previous, *next;
	int fd;
	SSL *tls;
	nghttp2_session *h2;
	sd_event_source *io, *timer;
	bool open;  /* the handshake is over */
	bool known; /* in server->known, else among the strangers */
	unsigned role;
	char peer[64];
	uint8_t client_key[HASH_SIZE];
	uint8_t certificate[HASH_SIZE];
	uint64_t expires_s; /* the administrator's certificate, since 1970; 0: never */
	/* CLOCK_BOOTTIME, ms; 0: not so */
	uint64_t accepted_ms, received_ms, stalled_ms, ping_ms, idle_ms;
	const uint8_t *out; /* nghttp2's; not yet written */
	size_t out_size;
	struct http_stream *streams;
};

/* Makes session->h2 and queues our SETTINGS. -ENOMEM. */
int http_h2_start(struct http_session *session);
/* Queues the reply of STREAM; what the session must do is write. -ENOMEM. */
int http_h2_reply(struct http_session *session, struct http_stream *stream);
