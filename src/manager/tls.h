/* SPDX-License-Identifier: Apache-2.0 */
/* The TLS side of the two listeners: TLS 1.3 only, HTTP/2 only, no resumption. */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>

/* What certificate a client must show in the handshake. */
enum tls_clients {
	TLS_CLIENTS_NONE,    /* none */
	TLS_CLIENTS_SENDERS, /* none: of events */
	TLS_CLIENTS_ADMIN,   /* one that admin-ca.pem issued */
	TLS_CLIENTS_KEY,     /* any whose key it has: the store says whose that key is */
};

/* From server.pem and server.key in STATE_DIR. 0, or negative errno, logged with the file's name. */
int tls_context_new(const char *state_dir, enum tls_clients clients, SSL_CTX **ret_context);

/* Whether the finished handshake of TLS chose HTTP/2. */
bool tls_chose_h2(const SSL *tls);
