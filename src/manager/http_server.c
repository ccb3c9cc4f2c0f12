/* SPDX-License-Identifier: Apache-2.0 */
/* A listener: binds, accepts; above its limit the oldest stranger gives way, or the new one. */
#include "manager/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/parse.h"
#include "manager/metrics.h"

#define BACKLOG	    1024
#define ACCEPTS_MAX 16 /* a turn */

/* Numeric only: "127.0.0.1:8443", "[::]:8443". */
static int parse_address(const char *text, struct sockaddr_storage *address, socklen_t *ret_size)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
	struct sockaddr_in *v4 = (struct sockaddr_in *)address;
	const char *colon = strrchr(text, ':');
	char host[64];
	uint32_t port;
	size_t n;

	if (!colon || parse_u32(colon + 1, &port) < 0 || port > UINT16_MAX)
		return -EINVAL;
	n = (size_t)(colon - text);
	if (n == 0 || n >= sizeof(host))
		return -EINVAL;
	memset(address, 0, sizeof(*address));
	if (text[0] == '[' && text[n - 1] == ']') {
		snprintf(host, sizeof(host), "%.*s", (int)n - 2, text + 1);
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		*ret_size = sizeof(*v6);
		return inet_pton(AF_INET6, host, &v6->sin6_addr) == 1 ? 0 : -EINVAL;
	}
	snprintf(host, sizeof(host), "%.*s", (int)n, text);
	v4->sin_family = AF_INET;
	v4->sin_port = htons((uint16_t)port);
	*ret_size = sizeof(*v4);
	return inet_pton(AF_INET, host, &v4->sin_addr) == 1 ? 0 : -EINVAL;
}

static int listen_on(const char *text, int *ret_fd)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_storage address;
	socklen_t size;
	int r, on = 1;

	r = parse_address(text, &address, &size);
	if (r < 0)
		return log_errno(r, "listen: '%s' is not ADDRESS:PORT", text);
	fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, BACKLOG) < 0)
		return log_errno(-errno, "listen: %s", text);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Room for one more: whoever connects and shows nothing must not lock out those who would. */
static bool make_room(struct http_server *server)
{
	if (server->n_sessions < server->options.max_connections)
		return true;
	metrics_count(server->options.manager, METRIC_CONNECTIONS_REFUSED);
	if (!server->strangers.first)
		return false;
	http_session_close(server->strangers.first);
	return true;
}

static int on_connection(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct http_server *server = userdata;
	int on = 1;

	for (int i = 0; i < ACCEPTS_MAX; i++) {
		int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (connection < 0)
			return 0;
		if (!make_room(server)) {
			close(connection);
			continue;
		}
		setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		http_session_start(server, connection);
	}
	return 0;
}

static void cleanup_server(struct http_server **server)
{
	*server = http_server_free(*server);
}

int http_server_new(const struct http_server_options *options, struct http_server **ret_server)
{
	_cleanup_(cleanup_server) struct http_server *server = NULL;
	_cleanup_close_ int fd = -1;
	int r;

	r = listen_on(options->address, &fd);
	if (r < 0)
		return r;
	server = calloc(1, sizeof(*server));
	if (!server)
		return -ENOMEM;
	server->options = *options;
	SSL_CTX_up_ref(options->tls);
	r = sd_event_add_io(options->event, &server->listener, fd, EPOLLIN, on_connection, server);
	if (r < 0)
		return r;
	r = sd_event_source_set_io_fd_own(server->listener, true);
	if (r < 0)
		return r;
	TAKE_FD(fd);
	/* Whoever is connected already comes before whoever is not. */
	r = sd_event_source_set_priority(server->listener, SD_EVENT_PRIORITY_NORMAL + 10);
	if (r < 0)
		return r;
	*ret_server = TAKE_PTR(server);
	return 0;
}

struct http_server *http_server_free(struct http_server *server)
{
	if (!server)
		return NULL;
	sd_event_source_disable_unref(server->listener);
	while (server->strangers.first)
		http_session_close(server->strangers.first);
	while (server->known.first)
		http_session_close(server->known.first);
	SSL_CTX_free(server->options.tls);
	free(server);
	return NULL;
}

void http_server_address(const struct http_server *server, char text[static 64])
{
	struct sockaddr_storage address = {0};
	socklen_t size = sizeof(address);
	char host[INET6_ADDRSTRLEN] = "";
	int fd = sd_event_source_get_io_fd(server->listener);

	getsockname(fd, (struct sockaddr *)&address, &size);
	if (address.ss_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address;

		inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
		snprintf(text, 64, "[%s]:%u", host, ntohs(v6->sin6_port));
	} else {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address;

		inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
		snprintf(text, 64, "%s:%u", host, ntohs(v4->sin_port));
	}
}

void http_server_set_tls(struct http_server *server, SSL_CTX *tls)
{
	SSL_CTX_up_ref(tls);
	SSL_CTX_free(server->options.tls);
	server->options.tls = tls;
}

unsigned http_server_connections(const struct http_server *server)
{
	return server->n_sessions;
}
