/* SPDX-License-Identifier: Apache-2.0 */
/* One connection: TLS below, nghttp2 above, and every deadline it has.
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
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "manager/http_server.h"
#include "manager/manager.h"
#include "manager/pki.h"
#include "manager/tls.h"

#define READ_SIZE      16384 /* a whole TLS record, so that none stays behind in OpenSSL */
#define READS_MAX      4     /* a turn: others want to be read too */
#define TIMER_SLACK_US 250000

struct http_session {
	struct http_server *server;
	struct http_session *previous, *next;
	int fd;
	SSL *tls;
	nghttp2_session *h2;
	sd_event_source *io, *timer;
	bool open; /* the handshake is over */
	unsigned role;
	char peer[64];
	/* CLOCK_BOOTTIME, ms; 0: not so */
	uint64_t accepted_ms, received_ms, stalled_ms, ping_ms, idle_ms;
	const uint8_t *out; /* nghttp2's; not yet written */
	size_t out_size;
	struct http_stream *streams;
};

static uint64_t now_ms(void)
{
	return clock_boottime_ns() / NSEC_PER_MSEC;
}

/* --- nghttp2's callbacks --- */

static int on_begin_headers(nghttp2_session *h2, const nghttp2_frame *frame, void *userdata)
{
	struct http_session *session = userdata;
	struct http_stream *stream;

	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	stream = calloc(1, sizeof(*stream));
	if (!stream)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	stream->request.manager = session->server->options.manager;
	stream->request.role = session->role;
	stream->request.query = "";
	memcpy(stream->request.peer, session->peer, sizeof(session->peer));
	stream->session = session;
	stream->id = frame->hd.stream_id;
	stream->references = 1;
	stream->started_ms = now_ms();
	stream->next = session->streams;
	session->streams = stream;
	session->idle_ms = 0;
	return nghttp2_session_set_stream_user_data(h2, stream->id, stream);
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *userdata)
{
	struct http_stream *stream = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);

	if (!stream || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	if (http_stream_set_header(stream, name, name_len, value, value_len) < 0)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	return 0;
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t stream_id, const uint8_t *bytes,
		   size_t n, void *userdata)
{
	struct http_stream *stream = nghttp2_session_get_stream_user_data(h2, stream_id);

	if (stream && http_stream_body(stream, bytes, n) < 0)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	return 0;
}

static int on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *userdata)
{
	struct http_session *session = userdata;
	const struct http_server_options *options = &session->server->options;
	struct http_stream *stream = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);

	if (!stream)
		return 0;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		http_stream_route(stream, options->routes, options->n_routes);
	if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
	    (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		http_stream_dispatch(stream);
	return 0;
}

static void forget_stream(struct http_session *session, struct http_stream *stream)
{
	for (struct http_stream **at = &session->streams; *at; at = &(*at)->next) {
		if (*at == stream) {
			*at = stream->next;
			break;
		}
	}
	if (!session->streams)
		session->idle_ms = now_ms();
	http_stream_gone(stream);
}

static int on_stream_close(nghttp2_session *h2, int32_t stream_id, uint32_t error, void *userdata)
{
	struct http_stream *stream = nghttp2_session_get_stream_user_data(h2, stream_id);

	if (stream)
		forget_stream(userdata, stream);
	return 0;
}

/* An answer given before the request was whole: the rest is not wanted (RFC 9113, 8.1). */
static int on_frame_sent(nghttp2_session *h2, const nghttp2_frame *frame, void *userdata)
{
	if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
	    !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	if (nghttp2_session_get_stream_remote_close(h2, frame->hd.stream_id) == 0)
		nghttp2_submit_rst_stream(h2, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
					  NGHTTP2_NO_ERROR);
	return 0;
}

static ssize_t read_reply(nghttp2_session *h2, int32_t stream_id, uint8_t *buffer, size_t size,
			  uint32_t *flags, nghttp2_data_source *source, void *userdata)
{
	struct http_stream *stream = source->ptr;
	struct http_reply *reply = stream->reply;
	size_t n = reply->size - reply->offset;

	if (n > size)
		n = size;
	memcpy(buffer, reply->body + reply->offset, n);
	reply->offset += n;
	if (reply->offset == reply->size)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
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

static int set_peer(struct http_session *session)
{
	X509 *certificate;

	if (!session->server->options.mutual) {
		session->role = ROLE_VM;
		return 0;
	}
	certificate = SSL_get0_peer_certificate(session->tls);
	if (!certificate || SSL_get_verify_result(session->tls) != X509_V_OK)
		return -EACCES;
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
	return 0;
}

static int session_h2(struct http_session *session)
{
	nghttp2_session_callbacks *callbacks;
	nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, HTTP_STREAMS_MAX},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP_HEADERS_MAX},
	};
	int r;

	if (nghttp2_session_callbacks_new(&callbacks) != 0)
		return -ENOMEM;
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
	r = nghttp2_session_server_new(&session->h2, callbacks, session);
	nghttp2_session_callbacks_del(callbacks);
	if (r != 0)
		return -ENOMEM;
	if (nghttp2_submit_settings(session->h2, NGHTTP2_FLAG_NONE, settings,
				    ELEMENTSOF(settings)) != 0)
		return -ENOMEM;
	return 0;
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
	session->open = true;
	session->received_ms = session->idle_ms = now_ms();
	return session_h2(session);
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
	struct http_reply *reply = stream->reply;
	nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = read_reply};
	nghttp2_nv headers[4];
	size_t n = 0;
	int r;

	if (!reply) {
		r = nghttp2_submit_rst_stream(session->h2, NGHTTP2_FLAG_NONE, stream->id,
					      NGHTTP2_INTERNAL_ERROR);
		session_settle(session, r != 0 ? -ENOMEM : 0);
		return;
	}
#define HEADER(name_text, value_text)                                                              \
	headers[n++] = (nghttp2_nv){(uint8_t *)(uintptr_t)(name_text),                             \
				    (uint8_t *)(uintptr_t)(value_text), strlen(name_text),         \
				    strlen(value_text), NGHTTP2_NV_FLAG_NONE}
	HEADER(":status", reply->status_text);
	if (reply->content_type)
		HEADER("content-type", reply->content_type);
	if (reply->status != 204)
		HEADER("content-length", reply->length_text);
	if (reply->retry_after[0])
		HEADER("retry-after", reply->retry_after);
#undef HEADER
	r = nghttp2_submit_response(session->h2, stream->id, headers, n,
				    reply->size > 0 ? &provider : NULL);
	session_settle(session, r != 0 ? -ENOMEM : 0);
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
	session->next = server->sessions;
	if (session->next)
		session->next->previous = session;
	server->sessions = session;
	server->n_sessions++;
	if (session_init(session) < 0)
		http_session_close(session);
}

void http_session_close(struct http_session *session)
{
	struct http_server *server = session->server;

	if (session->previous)
		session->previous->next = session->next;
	else
		server->sessions = session->next;
	if (session->next)
		session->next->previous = session->previous;
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
