/* SPDX-License-Identifier: Apache-2.0 */
/* The TLS side of the two listeners: TLS 1.3 only, HTTP/2 only, no resumption. */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>

/* From server.pem and server.key in STATE_DIR. MUTUAL: a client certificate that admin-ca.pem
 * issued is required in the handshake. 0, or negative errno, logged with the file's name. */
int tls_context_new(const char *state_dir, bool mutual, SSL_CTX **ret_context);

/* Whether the finished handshake of TLS chose HTTP/2. */
bool tls_chose_h2(const SSL *tls);
