/* SPDX-License-Identifier: Apache-2.0 */
/* Replies: made by handlers, kept until the turn's commit, then handed to their session. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "manager/audit.h"
#include "manager/http_server.h"
#include "manager/manager.h"

static struct http_reply *reply_new(unsigned status, const char *content_type, const void *bytes,
				    size_t n)
{
	struct http_reply *reply = calloc(1, sizeof(*reply) + n);

	if (!reply)
		return NULL;
	reply->status = status;
	reply->content_type = n > 0 ? content_type : NULL;
	reply->size = n;
	snprintf(reply->status_text, sizeof(reply->status_text), "%u", status % 1000);
	snprintf(reply->length_text, sizeof(reply->length_text), "%zu", n);
	if (n > 0)
		memcpy(reply->body, bytes, n);
	return reply;
}

/* What administrators change, or try to, is on record with their name. */
static void record(const struct http_stream *stream, const char *message)
{
	const struct http_request *request = &stream->request;

	if ((request->role & ROLE_ANY_ADMIN) && request->method != HTTP_GET && stream->route)
		audit_add_request(request, stream->reply ? stream->reply->status : 500, message);
}

/* REPLY NULL (out of memory): the peer sees the stream reset. MESSAGE: of a refusal; NULL. */
static void finish(struct http_request *request, struct http_reply *reply, const char *message)
{
	struct http_stream *stream = http_stream_of(request);
	struct manager *manager = request->manager;

	if (stream->reply) {
		http_reply_free(reply);
		return;
	}
	stream->reply = reply;
	record(stream, message);
	stream->complete = true;
	if (!stream->session)
		return;
	http_request_ref(request);
	stream->next_finished = manager->finished;
	manager->finished = stream;
	manager->n_finished++;
	manager_turn_due(manager);
}

void http_reply_bytes(struct http_request *request, unsigned status, const char *content_type,
		      const void *bytes, size_t n)
{
	finish(request, reply_new(status, content_type, bytes, n), NULL);
}

void http_reply_empty(struct http_request *request, unsigned status)
{
	finish(request, reply_new(status, NULL, NULL, 0), NULL);
}

/* Keys of storage nodes pass through replies. */
void http_reply_free(struct http_reply *reply)
{
	if (reply)
		bytes_wipe(reply->body, reply->size);
	free(reply);
}

static struct http_reply *reply_json(unsigned status, json_t *value)
{
	struct http_reply *reply = NULL;
	char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;

	json_decref(value);
	if (text)
		reply = reply_new(status, "application/json", text, strlen(text));
	if (text)
		bytes_wipe(text, strlen(text));
	free(text);
	return reply;
}

static struct http_reply *reply_error(unsigned status, const char *code, const char *message)
{
	return reply_json(status, json_pack("{s:s, s:s}", "error", code, "message", message));
}

void http_reply_json(struct http_request *request, unsigned status, json_t *value)
{
	struct http_reply *reply = reply_json(status, value);

	finish(request, reply ? reply : reply_error(500, "internal", "out of memory"), NULL);
}

void http_reply_error(struct http_request *request, unsigned status, const char *code,
		      const char *format, ...)
{
	char message[512];
	va_list list;

	va_start(list, format);
	vsnprintf(message, sizeof(message), format, list);
	va_end(list);
	finish(request, reply_error(status, code, message), message);
}

void http_reply_retry(struct http_request *request, unsigned status, unsigned after_s,
		      const char *code, const char *format, ...)
{
	struct http_reply *reply;
	char message[512];
	va_list list;

	va_start(list, format);
	vsnprintf(message, sizeof(message), format, list);
	va_end(list);
	reply = reply_error(status, code, message);
	if (reply)
		snprintf(reply->retry_after, sizeof(reply->retry_after), "%u",
			 after_s > 0 ? after_s : 1);
	finish(request, reply, message);
}

/* What was promised inside a transaction that failed must not be said. */
static void take_back(struct http_stream *stream)
{
	http_reply_free(stream->reply);
	stream->reply = reply_error(503, "store", "the store cannot commit");
	if (stream->reply)
		snprintf(stream->reply->retry_after, sizeof(stream->reply->retry_after), "5");
}

void http_send_finished(struct manager *manager, int r)
{
	struct http_stream *stream = manager->finished;

	manager->finished = NULL;
	manager->n_finished = 0;
	while (stream) {
		struct http_stream *next = stream->next_finished;

		if (r < 0)
			take_back(stream);
		if (stream->session)
			http_session_reply(stream->session, stream);
		http_request_unref(&stream->request);
		stream = next;
	}
}
