/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 of one connection: nghttp2's callbacks become http_stream_x() calls, replies its frames. */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "manager/http_session.h"

static uint64_t now_ms(void)
{
	return clock_boottime_ns() / NSEC_PER_MSEC;
}

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
	stream->request.expired =
		session->expires_s > 0 && clock_realtime_s() >= session->expires_s;
	stream->request.query = "";
	memcpy(stream->request.peer, session->peer, sizeof(session->peer));
	memcpy(stream->request.client_key, session->client_key, HASH_SIZE);
	memcpy(stream->request.certificate, session->certificate, sizeof(session->certificate));
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

static bool is_admitted(const struct http_session *session, struct http_stream *stream)
{
	bool (*admit)(struct http_request * request) = session->server->options.admit;

	return session->known || stream->reply || !admit || admit(&stream->request);
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t stream_id, const uint8_t *bytes,
		   size_t n, void *userdata)
{
	struct http_stream *stream = nghttp2_session_get_stream_user_data(h2, stream_id);
	const struct http_session *session = userdata;

	if (!stream || !is_admitted(session, stream))
		return 0;
	if (http_stream_body(stream, bytes, n) < 0)
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
	stream->started_ms = now_ms();
	if (reply->offset == reply->size)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

/* Frames with keys of storage nodes are in nghttp2's memory. */
static void free_wiped(void *p, void *userdata)
{
	if (p)
		bytes_wipe(p, malloc_usable_size(p));
	free(p);
}

static void *allocate(size_t n, void *userdata)
{
	return malloc(n);
}

static void *allocate_zero(size_t n, size_t size, void *userdata)
{
	return calloc(n, size);
}

static void *reallocate(void *p, size_t n, void *userdata)
{
	size_t old = p ? malloc_usable_size(p) : 0;
	void *new = malloc(n);

	if (!new)
		return NULL;
	if (p)
		memcpy(new, p, old < n ? old : n);
	free_wiped(p, NULL);
	return new;
}

int http_h2_start(struct http_session *session)
{
	nghttp2_mem memory = {NULL, allocate, free_wiped, allocate_zero, reallocate};
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
	r = nghttp2_session_server_new3(&session->h2, callbacks, session, NULL, &memory);
	nghttp2_session_callbacks_del(callbacks);
	if (r != 0)
		return -ENOMEM;
	if (nghttp2_submit_settings(session->h2, NGHTTP2_FLAG_NONE, settings,
				    ELEMENTSOF(settings)) != 0)
		return -ENOMEM;
	return 0;
}

int http_h2_reply(struct http_session *session, struct http_stream *stream)
{
	struct http_reply *reply = stream->reply;
	nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = read_reply};
	nghttp2_nv headers[4];
	size_t n = 0;
	int r;

	stream->replied = true;
	stream->started_ms = now_ms();
	if (!reply) {
		r = nghttp2_submit_rst_stream(session->h2, NGHTTP2_FLAG_NONE, stream->id,
					      NGHTTP2_INTERNAL_ERROR);
		return r != 0 ? -ENOMEM : 0;
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
	return r != 0 ? -ENOMEM : 0;
}
