/* SPDX-License-Identifier: Apache-2.0 */
/* A request on its way from nghttp2 to its handler: headers, route, body. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "manager/http_server.h"
#include "manager/manager.h"

static const char *const method_names[HTTP_METHOD__MAX] = {
	[HTTP_GET] = "GET",
	[HTTP_POST] = "POST",
	[HTTP_PUT] = "PUT",
	[HTTP_DELETE] = "DELETE",
};

const char *http_method_name(enum http_method method)
{
	return method_names[method];
}

struct http_request *http_request_ref(struct http_request *request)
{
	http_stream_of(request)->references++;
	return request;
}

static void free_secret(char *text)
{
	if (text)
		bytes_wipe(text, strlen(text));
	free(text);
}

struct http_request *http_request_unref(struct http_request *request)
{
	struct http_stream *stream = http_stream_of(request);

	if (!request || --stream->references > 0)
		return NULL;
	/* Bodies of the admin API may be worth wiping; it costs nothing. */
	if (stream->buffer)
		bytes_wipe(stream->buffer, request->body_size);
	free(stream->buffer);
	free_secret(request->authorization);
	free_secret(request->event_key);
	http_reply_free(stream->reply);
	json_decref(request->details);
	free(stream);
	return NULL;
}

void http_request_known(struct http_request *request)
{
	struct http_session *session = http_stream_of(request)->session;

	if (session)
		http_session_known(session);
}

static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '.' || c == '_' || c == '-';
}

static bool same(const uint8_t *bytes, size_t n, const char *text)
{
	return n == strlen(text) && memcmp(bytes, text, n) == 0;
}

static void set_method(struct http_stream *stream, const uint8_t *value, size_t n)
{
	for (int i = 0; i < HTTP_METHOD__MAX; i++) {
		if (same(value, n, method_names[i])) {
			stream->request.method = (enum http_method)i;
			return;
		}
	}
	stream->bad = true;
}

static void set_path(struct http_stream *stream, const uint8_t *value, size_t n)
{
	struct http_request *request = &stream->request;
	char *mark;

	if (n >= sizeof(request->path) || memchr(value, 0, n)) {
		stream->bad = true;
		return;
	}
	memcpy(request->path, value, n);
	request->path[n] = '\0';
	mark = strchr(request->path, '?');
	if (mark) {
		*mark = '\0';
		request->query = mark + 1;
	}
}

static int set_secret(char **text, const uint8_t *value, size_t n)
{
	free_secret(*text);
	*text = memchr(value, 0, n) ? NULL : strndup((const char *)value, n);
	return *text ? 0 : -ENOMEM;
}

int http_stream_set_header(struct http_stream *stream, const uint8_t *name, size_t name_len,
			   const uint8_t *value, size_t value_len)
{
	stream->header_size += name_len + value_len + 32;
	if (stream->header_size > HTTP_HEADERS_MAX)
		return -EMSGSIZE;
	if (same(name, name_len, ":method"))
		set_method(stream, value, value_len);
	else if (same(name, name_len, ":path"))
		set_path(stream, value, value_len);
	else if (stream->request.role != ROLE_EVENT_SENDER)
		return 0;
	else if (same(name, name_len, "authorization"))
		return set_secret(&stream->request.authorization, value, value_len);
	else if (same(name, name_len, "x-emberlock-key"))
		return set_secret(&stream->request.event_key, value, value_len);
	return 0;
}

/* Whether PATH is of PATTERN; its variable segments go to PARAMETERS. */
static bool matches(const char *pattern, const char *path,
		    char parameters[HTTP_PARAMETERS_MAX][HTTP_PARAMETER_SIZE])
{
	unsigned n_parameters = 0;

	while (*pattern) {
		size_t n = 0;

		if (strncmp(pattern, "{}", 2) != 0) {
			if (*pattern++ != *path++)
				return false;
			continue;
		}
		while (is_plain(path[n]))
			n++;
		if (n == 0 || n >= HTTP_PARAMETER_SIZE || n_parameters == HTTP_PARAMETERS_MAX)
			return false;
		memcpy(parameters[n_parameters], path, n);
		parameters[n_parameters++][n] = '\0';
		path += n;
		pattern += 2;
	}
	return *path == '\0';
}

void http_stream_route(struct http_stream *stream, const struct http_route *routes, size_t n)
{
	struct http_request *request = &stream->request;
	bool other_method = false;

	for (size_t i = 0; i < n && !stream->bad; i++) {
		if (!matches(routes[i].pattern, request->path, request->parameters))
			continue;
		other_method = true;
		if (routes[i].method != request->method)
			continue;
		stream->route = &routes[i];
		if (request->expired || !(routes[i].roles & request->role))
			http_reply_error(request, 403, "forbidden", "%s %s: %s",
					 method_names[request->method], routes[i].pattern,
					 request->expired ? "the certificate has expired"
							  : "not for this role");
		return;
	}
	if (other_method)
		http_reply_error(request, 405, "method", "no such method on this path");
	else
		http_reply_error(request, 404, "not-found", "no such path");
}

int http_stream_body(struct http_stream *stream, const uint8_t *bytes, size_t n)
{
	struct http_request *request = &stream->request;
	size_t max = stream->route ? stream->route->body_max : 0;

	if (stream->reply)
		return 0;
	if (n > max - request->body_size) {
		http_reply_error(request, 413, "too-large", "the body is longer than %zu bytes",
				 max);
		return 0;
	}
	if (!stream->buffer) {
		stream->buffer = malloc(max);
		if (!stream->buffer)
			return -ENOMEM;
		request->body = stream->buffer;
	}
	memcpy(stream->buffer + request->body_size, bytes, n);
	request->body_size += n;
	return 0;
}

void http_stream_dispatch(struct http_stream *stream)
{
	struct http_request *request = &stream->request;

	stream->complete = true;
	if (stream->reply || !stream->route)
		return;
	http_request_ref(request);
	stream->route->handle(request);
	if (!stream->reply && stream->references == 2)
		http_reply_error(request, 500, "internal", "no answer");
	http_request_unref(request);
}

void http_stream_gone(struct http_stream *stream)
{
	struct http_request *request = &stream->request;

	stream->session = NULL;
	if (!stream->reply && request->on_gone)
		request->on_gone(request);
	http_request_unref(request);
}

bool http_request_query(const struct http_request *request, const char *name, char *text,
			size_t size)
{
	const char *at = request->query;
	size_t name_len = strlen(name);

	while (at && *at) {
		size_t n = strcspn(at, "&");

		if (n > name_len && at[name_len] == '=' && memcmp(at, name, name_len) == 0) {
			const char *value = at + name_len + 1;
			size_t len = n - name_len - 1;

			for (size_t i = 0; i < len; i++) {
				if (!is_plain(value[i]))
					return false;
			}
			if (len == 0 || len >= size)
				return false;
			memcpy(text, value, len);
			text[len] = '\0';
			return true;
		}
		at += n;
		if (*at == '&')
			at++;
	}
	return false;
}
