/* SPDX-License-Identifier: Apache-2.0 */
/* The TLS side of the two listeners: TLS 1.3 only, HTTP/2 only, no resumption. */
#include "manager/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"

static const uint8_t protocols[] = {2, 'h', '2'}; /* in ALPN's form */

static void free_context(SSL_CTX **context)
{
	SSL_CTX_free(*context);
}

static int failed(const char *what, const char *path)
{
	unsigned long error = ERR_peek_last_error();
	const char *reason = ERR_reason_error_string(error);

	log_error("tls: %s %s: %s", what, path, reason ? reason : "unknown error");
	ERR_clear_error();
	return -EIO;
}

/* Refuses who offers other protocols only. Who offers none is caught after the handshake. */
static int choose_protocol(SSL *tls, const unsigned char **out, unsigned char *out_len,
			   const unsigned char *in, unsigned in_len, void *userdata)
{
	unsigned char *chosen;

	if (SSL_select_next_proto(&chosen, out_len, protocols, sizeof(protocols), in, in_len) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static int load_certificate(SSL_CTX *context, const char *state_dir)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/server.pem", state_dir);
	if (SSL_CTX_use_certificate_chain_file(context, path) != 1)
		return failed("cannot load", path);
	snprintf(path, sizeof(path), "%s/server.key", state_dir);
	if (SSL_CTX_use_PrivateKey_file(context, path, SSL_FILETYPE_PEM) != 1)
		return failed("cannot load", path);
	if (SSL_CTX_check_private_key(context) != 1)
		return failed("does not belong to server.pem:", path);
	return 0;
}

static int require_client(SSL_CTX *context, const char *state_dir)
{
	char path[512];
	STACK_OF(X509_NAME) * names;

	snprintf(path, sizeof(path), "%s/admin-ca.pem", state_dir);
	if (SSL_CTX_load_verify_file(context, path) != 1)
		return failed("cannot load", path);
	names = SSL_load_client_CA_file(path);
	if (!names)
		return failed("cannot load", path);
	SSL_CTX_set_client_CA_list(context, names);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	return 0;
}

/* Who issued the certificate does not matter, nor when: the key counts, and that the client has it is
 * proven by the handshake (RFC 8446, 4.4.3). */
static int accept_certificate(X509_STORE_CTX *context, void *userdata)
{
	X509_STORE_CTX_set_error(context, X509_V_OK);
	return 1;
}

static int require(SSL_CTX *context, const char *state_dir, enum tls_clients clients)
{
	switch (clients) {
	case TLS_CLIENTS_NONE:
	case TLS_CLIENTS_SENDERS:
		return 0;
	case TLS_CLIENTS_ADMIN:
		return require_client(context, state_dir);
	case TLS_CLIENTS_KEY:
		SSL_CTX_set_cert_verify_callback(context, accept_certificate, NULL);
		SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
				   NULL);
		return 0;
	}
	return -EINVAL;
}

int tls_context_new(const char *state_dir, enum tls_clients clients, SSL_CTX **ret_context)
{
	_cleanup_(free_context) SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	int r;

	if (!context)
		return -ENOMEM;
	if (SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) != 1)
		return failed("cannot ask for", "TLS 1.3");
	/* A ticket would let a client in without its certificate being looked at again. */
	SSL_CTX_set_num_tickets(context, 0);
	SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
					  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
	r = load_certificate(context, state_dir);
	if (r < 0)
		return r;
	r = require(context, state_dir, clients);
	if (r < 0)
		return r;
	*ret_context = TAKE_PTR(context);
	return 0;
}

bool tls_chose_h2(const SSL *tls)
{
	const unsigned char *chosen;
	unsigned n;

	SSL_get0_alpn_selected(tls, &chosen, &n);
	return n == 2 && memcmp(chosen, "h2", 2) == 0;
}
