/* SPDX-License-Identifier: Apache-2.0 */
/* Carries sealed messages to the manager: HTTP/2 over TLS 1.3, one connection, the server's
 *certificate checked against the enrolled CAs and nothing else. Linked by the watchdog only.
 *
 *	client_send() ─▶ exchange of a route ─▶ client_poll() ─▶ client_next() hands out the answer
 */
#pragma once

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

#include "core/frames.h"

/* A whole exchange, a parked one included. The agent replaces a request after a third of its lease
 * anyway. */
#define CLIENT_TIMEOUT_MS	  60000
#define CLIENT_CONNECT_TIMEOUT_MS 10000

struct client;

struct client_answer {
	enum route route;
	uint32_t number; /* as it was given to client_send() */
	int error; /* 0, or why there is no answer: -ECONNREFUSED, -ETIMEDOUT, -EHOSTUNREACH (name
		    * or route), -EKEYREJECTED (certificate), -EMSGSIZE (answer over BODY_MAX),
		    * -EPROTO (all else) */
	char error_text[128]; /* libcurl's words for a person; "" without an error */
	uint16_t http_status;
	uint32_t retry_after_ms; /* 0: not given */
	size_t length;
	uint8_t body[BODY_MAX];
};

/* URL is "https://HOST[:PORT]" without a path; CA_PEM (CA_SIZE bytes, copied) the only certificates
 * trusted. 0, -EINVAL where the URL is not of that form, -ENOMEM. */
int client_new(const char *url, const void *ca_pem, size_t ca_size, struct client **ret_client);
struct client *client_free(struct client *client);

/* Starts an exchange. One is under way for each route: an earlier one is dropped, its answer never
 * handed out. After one that was dropped so, or failed, the next opens a new connection, unless it is
 * a receipt's. BODY is copied. 0, -EINVAL for a route or size that is not of the protocol, -EIO. */
int client_send(struct client *client, enum route route, uint32_t number, const void *body,
		size_t n);

/* Drops whatever is under way. The connection stays open. */
void client_cancel_all(struct client *client);

/* Waits at most TIMEOUT_MS for the network or one of the N descriptors of FDS (whose .revents it
 * sets), and moves every exchange on. 0 or -EIO. */
int client_poll(struct client *client, struct pollfd *fds, size_t n, int timeout_ms);

/* The next ended exchange: 1 with *ret_answer, or 0. */
int client_next(struct client *client, struct client_answer *ret_answer);
