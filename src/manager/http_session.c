/* SPDX-License-Identifier: Apache-2.0 */
/* One connection: TLS below, nghttp2 (http_h2.c) above, and every deadline it has.
 *
 *	fd ─▶ SSL_read ─▶ nghttp2_session_mem_recv ─▶ callbacks ─▶ http_stream_x() ─▶ handler
 *	fd ◀─ SSL_write ◀─ nghttp2_session_mem_send ◀─ http_session_reply() ◀─ after the commit
 *
 * While the peer does not take what is written, nothing more is read from it. */
#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "keys/sign.h"
#include "manager/http_session.h"
#include "manager/manager.h"
#include "manager/pki.h"
#include "manager/tls.h"

#define READ_SIZE      16384 /* a whole TLS record, so that none stays behind in OpenSSL */
#define READS_MAX      4     /* a turn: others want to be read too */
#define TIMER_SLACK_US 250000

static uint64_t now_ms(void)
{
	return clock_boottime_ns() / NSEC_PER_MSEC;
}

/* --- TLS --- */

/* 0 try again later, -EPIPE the connection is over. */
static int tls_result(struct http_session *session, int r)
{
	switch (SSL_get_error(session->tls, r)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return 0;
	default:
		ERR_clear_error();
		return -EPIPE;
	}
}

static int set_client_key(struct http_session *session, X509 *certificate)
{
	uint8_t *der = NULL;
	int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der), r;

	if (n <= 0)
		return -EACCES;
	session->role = ROLE_STORAGE_NODE;
	r = sha256(der, (size_t)n, session->client_key);
	OPENSSL_free(der);
	return r;
}

/* A handshake looks at the date once, and a connection may outlive it. */
static int set_expiry(struct http_session *session, X509 *certificate)
{
	struct tm tm;
	time_t at;

	if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm) != 1)
		return -EACCES;
	at = timegm(&tm);
	if (at <= 0)
		return -EACCES;
	session->expires_s = (uint64_t)at;
	return 0;
}

static int set_peer(struct http_session *session)
{
	enum tls_clients clients = session->server->options.clients;
	X509 *certificate;

	if (clients == TLS_CLIENTS_NONE || clients == TLS_CLIENTS_SENDERS) {
		session->role = clients == TLS_CLIENTS_NONE ? ROLE_VM : ROLE_EVENT_SENDER;
		return 0;
	}
	certificate = SSL_get0_peer_certificate(session->tls);
	if (!certificate || SSL_get_verify_result(session->tls) != X509_V_OK)
		return -EACCES;
	if (clients == TLS_CLIENTS_KEY)
		return set_client_key(session, certificate);
	switch (pki_certificate_role(certificate)) {
	case PKI_ROLE_KEY_ADMINISTRATOR:
		session->role = ROLE_KEY_ADMINISTRATOR;
		break;
	case PKI_ROLE_OPERATOR:
		session->role = ROLE_OPERATOR;
		break;
	default:
		return -EACCES;
	}
	X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, session->peer,
				  sizeof(session->peer));
	if (X509_digest(certificate, EVP_sha256(), session->certificate, NULL) != 1)
		return -EIO;
	return set_expiry(session, certificate);
}

/* --- lists --- */

static struct http_sessions *list_of(struct http_session *session)
{
	return session->known ? &session->server->known : &session->server->strangers;
}

static void list_add(struct http_session *session)
{
	struct http_sessions *list = list_of(session);

	session->next = NULL;
	session->previous = list->last;
	*(list->last ? &list->last->next : &list->first) = session;
	list->last = session;
}

static void list_remove(struct http_session *session)
{
	struct http_sessions *list = list_of(session);

	*(session->previous ? &session->previous->next : &list->first) = session->next;
	*(session->next ? &session->next->previous : &list->last) = session->previous;
}

void http_session_known(struct http_session *session)
{
	if (session->known)
		return;
	list_remove(session);
	session->known = true;
	list_add(session);
}

static int handshake(struct http_session *session)
{
	int r;

	ERR_clear_error();
	r = SSL_accept(session->tls);
	if (r != 1)
		return tls_result(session, r);
	if (!tls_chose_h2(session->tls))
		return -EPROTO;
	r = set_peer(session);
	if (r < 0)
		return r;
	if (session->server->options.clients == TLS_CLIENTS_ADMIN)
		http_session_known(session);
	session->open = true;
	session->received_ms = session->idle_ms = now_ms();
	return http_h2_start(session);
}

static int session_read(struct http_session *session)
{
	uint8_t buffer[READ_SIZE];

	for (int i = 0; i < READS_MAX && session->out_size == 0; i++) {
		ssize_t taken;
		int n;

		ERR_clear_error();
		n = SSL_read(session->tls, buffer, sizeof(buffer));
		if (n <= 0)
			return tls_result(session, n);
		session->received_ms = now_ms();
		session->ping_ms = 0;
		taken = nghttp2_session_mem_recv(session->h2, buffer, (size_t)n);
		if (taken < 0)
			return -EPROTO;
	}
	return 0;
}

static int session_write(struct http_session *session)
{
	for (;;) {
		int n;

		if (session->out_size == 0) {
			ssize_t more = nghttp2_session_mem_send(session->h2, &session->out);

			if (more < 0)
				return -EPROTO;
			if (more == 0)
				break;
			session->out_size = (size_t)more;
		}
		ERR_clear_error();
		n = SSL_write(session->tls, session->out, (int)session->out_size);
		if (n <= 0) {
			if (session->stalled_ms == 0)
				session->stalled_ms = now_ms();
			return tls_result(session, n);
		}
		session->stalled_ms = 0;
		session->out += n;
		session->out_size -= (size_t)n;
	}
	if (!nghttp2_session_want_read(session->h2) && !nghttp2_session_want_write(session->h2))
		return -EPIPE;
	return 0;
}

/* --- deadlines --- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The nearest deadline; *ret_over: it is one that ends the session. */
static uint64_t session_deadline(const struct http_session *session, bool *ret_over)
{
	uint64_t over = UINT64_MAX, ping;

	*ret_over = true;
	if (!session->open)
		return session->accepted_ms + HTTP_HANDSHAKE_MS;
	for (const struct http_stream *s = session->streams; s; s = s->next) {
		if (!s->complete)
			over = earlier(over, s->started_ms + HTTP_REQUEST_MS);
		else if (s->replied)
			over = earlier(over, s->started_ms + HTTP_STALL_MS);
	}
	if (session->stalled_ms > 0)
		over = earlier(over, session->stalled_ms + HTTP_STALL_MS);
	if (session->idle_ms > 0)
		over = earlier(over, session->idle_ms + HTTP_IDLE_MS);
	if (session->ping_ms > 0)
		return earlier(over, session->ping_ms + HTTP_PING_ANSWER_MS);
	ping = session->received_ms + HTTP_PING_AFTER_MS;
	*ret_over = over <= ping;
	return earlier(over, ping);
}

/* What to wait for now. -errno only from sd-event. */
static int session_arm(struct http_session *session)
{
	uint32_t events = session->out_size > 0 ? EPOLLOUT : EPOLLIN;
	bool over;
	int r;

	if (!session->open && SSL_want_write(session->tls))
		events = EPOLLOUT;
	r = sd_event_source_set_io_events(session->io, events);
	if (r < 0)
		return r;
	r = sd_event_source_set_time(session->timer, session_deadline(session, &over) * 1000);
	if (r < 0)
		return r;
	return sd_event_source_set_enabled(session->timer, SD_EVENT_ONESHOT);
}

/* Writes, waits anew; closes where R or any of that fails. */
static void session_settle(struct http_session *session, int r)
{
	struct manager *manager = session->server->options.manager;

	if (r == 0 && session->open)
		r = session_write(session);
	if (r == 0)
		r = session_arm(session);
	if (r < 0)
		http_session_close(session);
	manager_turn_bound(manager);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct http_session *session = userdata;
	int r = 0;

	if (!session->open)
		r = handshake(session);
	if (r == 0 && session->open)
		r = session_write(session);
	if (r == 0 && session->open)
		r = session_read(session);
	session_settle(session, r);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct http_session *session = userdata;
	bool over;
	int r = 0;

	if (session_deadline(session, &over) <= now_ms()) {
		if (over) {
			r = -ETIMEDOUT;
		} else {
			session->ping_ms = now_ms();
			if (nghttp2_submit_ping(session->h2, NGHTTP2_FLAG_NONE, NULL) != 0)
				r = -ENOMEM;
		}
	}
	session_settle(session, r);
	return 0;
}

/* --- the session's life --- */

void http_session_reply(struct http_session *session, struct http_stream *stream)
{
	session_settle(session, http_h2_reply(session, stream));
}

static int session_init(struct http_session *session)
{
	sd_event *event = session->server->options.event;
	int r;

	session->tls = SSL_new(session->server->options.tls);
	if (!session->tls || SSL_set_fd(session->tls, session->fd) != 1)
		return -ENOMEM;
	r = sd_event_add_io(event, &session->io, session->fd, EPOLLIN, on_io, session);
	if (r < 0)
		return r;
	session->accepted_ms = now_ms();
	r = sd_event_add_time(event, &session->timer, CLOCK_BOOTTIME,
			      (session->accepted_ms + HTTP_HANDSHAKE_MS) * 1000, TIMER_SLACK_US,
			      on_timer, session);
	return r < 0 ? r : 0;
}

void http_session_start(struct http_server *server, int fd)
{
	struct http_session *session = calloc(1, sizeof(*session));

	if (!session) {
		close(fd);
		return;
	}
	session->server = server;
	session->fd = fd;
	list_add(session);
	server->n_sessions++;
	if (session_init(session) < 0)
		http_session_close(session);
}

void http_session_close(struct http_session *session)
{
	struct http_server *server = session->server;

	list_remove(session);
	server->n_sessions--;
	while (session->streams) {
		struct http_stream *stream = session->streams;

		session->streams = stream->next;
		http_stream_gone(stream);
	}
	nghttp2_session_del(session->h2);
	if (session->open) {
		SSL_shutdown(session->tls); /* a polite end, if it fits into the socket */
		ERR_clear_error();
	}
	SSL_free(session->tls);
	sd_event_source_disable_unref(session->io);
	sd_event_source_disable_unref(session->timer);
	close(session->fd);
	free(session);
}
