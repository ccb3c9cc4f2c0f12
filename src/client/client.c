/* SPDX-License-Identifier: Apache-2.0 */
/* Carries sealed messages to the manager by libcurl's multi interface. */
#include "client/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

#define URL_MAX	      320
#define EXTRA_FDS_MAX 8
/* libcurl 7.88 can sleep on an HTTP/2 answer that it has read already, until the connection's next bytes: seen with
 * empty bodies, and under emulation with the token of an admission. So after bytes have come it is asked again, some
 * times at short intervals, before it may sleep for long. */
#define SETTLE_TURNS 10
#define SETTLE_MS    20
#define USER_TIMEOUT_MS                                                                            \
	15000u /* tcp(7) TCP_USER_TIMEOUT: unacknowledged data for this long is a dead peer */

/* What is under way for one route. */
struct exchange {
	enum route route;
	CURL *easy;
	bool active;
	bool overflow; /* the answer was larger than BODY_MAX */
	uint32_t number;
	size_t received;
	uint8_t request[BODY_MAX];
	uint8_t answer[BODY_MAX];
	char error[CURL_ERROR_SIZE];
};

struct client {
	CURLM *multi;
	struct curl_slist *headers;
	char url[URL_MAX];
	unsigned settle; /* turns at short intervals that are left */
	bool distrusted; /* the next exchange opens a connection of its own */
	void *ca;
	size_t ca_size;
	struct exchange exchanges[ROUTE__MAX];
};

static size_t on_answer(char *data, size_t size, size_t n, void *userdata)
{
	struct exchange *x = userdata;

	n *= size;
	if (n > sizeof(x->answer) - x->received) {
		x->overflow = true;
		return 0; /* libcurl ends the transfer */
	}
	memcpy(x->answer + x->received, data, n);
	x->received += n;
	return n;
}

static int on_socket(void *userdata, curl_socket_t fd, curlsocktype purpose)
{
	unsigned timeout = USER_TIMEOUT_MS;

	return setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout)) < 0
		       ? CURL_SOCKOPT_ERROR
		       : CURL_SOCKOPT_OK;
}

/* The URL is the operator's: "https://", a host, perhaps a port, and nothing after. */
static bool url_is_valid(const char *url)
{
	static const char prefix[] = "https://";

	if (strncmp(url, prefix, strlen(prefix)) != 0 || strlen(url) >= URL_MAX - 64)
		return false;
	url += strlen(prefix);
	return *url && strcspn(url, "/?#@ ") == strlen(url);
}

static int set_tls(CURL *easy, const struct client *client)
{
	struct curl_blob ca = {
		.data = client->ca, .len = client->ca_size, .flags = CURL_BLOB_NOCOPY};
	CURLcode r = curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);

	r = r ? r : curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	r = r ? r : curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	r = r ? r : curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	r = r ? r : curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
	r = r ? r : curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &ca);
	/* A resumed session is not checked against the CA again. */
	r = r ? r : curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
	return r ? -ENOMEM : 0;
}

static int set_transfer(struct exchange *x, const struct client *client)
{
	CURL *easy = x->easy;
	char url[URL_MAX];
	CURLcode r;

	snprintf(url, sizeof(url), "%s%s", client->url, route_path(x->route));
	r = curl_easy_setopt(easy, CURLOPT_URL, url);
	r = r ? r : curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https");
	r = r ? r : curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	r = r ? r : curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L); /* share the one connection */
	r = r ? r : curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	r = r ? r : curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	r = r ? r : curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	r = r ? r : curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)CLIENT_TIMEOUT_MS);
	r = r ? r
	      : curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CLIENT_CONNECT_TIMEOUT_MS);
	r = r ? r : curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	r = r ? r : curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, on_socket);
	r = r ? r : curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_answer);
	r = r ? r : curl_easy_setopt(easy, CURLOPT_WRITEDATA, x);
	r = r ? r : curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, x->error);
	r = r ? r : curl_easy_setopt(easy, CURLOPT_PRIVATE, x);
	if (route_body_size(x->route) > 0) {
		r = r ? r : curl_easy_setopt(easy, CURLOPT_POST, 1L);
		r = r ? r : curl_easy_setopt(easy, CURLOPT_HTTPHEADER, client->headers);
		r = r ? r : curl_easy_setopt(easy, CURLOPT_POSTFIELDS, x->request);
	}
	return r ? -ENOMEM : set_tls(easy, client);
}

static int client_init(struct client *client, const char *url, const void *ca_pem, size_t ca_size)
{
	snprintf(client->url, sizeof(client->url), "%s", url);
	client->ca = malloc(ca_size);
	client->multi = curl_multi_init();
	client->headers = curl_slist_append(NULL, "Content-Type: application/octet-stream");
	if (!client->ca || !client->multi || !client->headers)
		return -ENOMEM;
	memcpy(client->ca, ca_pem, ca_size);
	client->ca_size = ca_size;

	for (enum route route = ROUTE_BOOT; route < ROUTE__MAX; route++) {
		struct exchange *x = &client->exchanges[route];
		int r;

		x->route = route;
		x->easy = curl_easy_init();
		r = x->easy ? set_transfer(x, client) : -ENOMEM;
		if (r < 0)
			return r;
	}
	return 0;
}

int client_new(const char *url, const void *ca_pem, size_t ca_size, struct client **ret_client)
{
	struct client *client;
	int r;

	if (!url_is_valid(url) || ca_size == 0)
		return -EINVAL;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return -ENOMEM;
	client = calloc(1, sizeof(*client));
	r = client ? client_init(client, url, ca_pem, ca_size) : -ENOMEM;
	if (r < 0) {
		client_free(client);
		return r;
	}
	*ret_client = client;
	return 0;
}

static void exchange_drop(struct client *client, struct exchange *x)
{
	if (x->active)
		curl_multi_remove_handle(client->multi, x->easy);
	x->active = false;
}

/* An exchange that got no answer: its connection may be one that takes all and brings nothing, and
 * libcurl would share it for ever. It ends with the exchange, and the next one opens another. Not so
 * a receipt's: after a shred's first step there is no other connection to be had. */
static void exchange_fail(struct client *client, struct exchange *x)
{
	if (x->route != ROUTE_RECEIPT) {
		(void)curl_easy_setopt(x->easy, CURLOPT_FORBID_REUSE, 1L);
		client->distrusted = true;
	}
	exchange_drop(client, x);
}

/* Whether the exchange may share a connection that is open. */
static int choose_connection(struct client *client, struct exchange *x)
{
	bool fresh = client->distrusted && x->route != ROUTE_RECEIPT;

	if (curl_easy_setopt(x->easy, CURLOPT_FORBID_REUSE, 0L) != CURLE_OK ||
	    curl_easy_setopt(x->easy, CURLOPT_FRESH_CONNECT, (long)fresh) != CURLE_OK)
		return -EIO;
	if (fresh)
		client->distrusted = false;
	return 0;
}

void client_cancel_all(struct client *client)
{
	for (enum route route = ROUTE_BOOT; route < ROUTE__MAX; route++)
		exchange_drop(client, &client->exchanges[route]);
}

struct client *client_free(struct client *client)
{
	if (!client)
		return NULL;
	client_cancel_all(client);
	for (enum route route = ROUTE_BOOT; route < ROUTE__MAX; route++)
		curl_easy_cleanup(client->exchanges[route].easy);
	curl_multi_cleanup(client->multi);
	curl_slist_free_all(client->headers);
	free(client->ca);
	free(client);
	return NULL;
}

int client_send(struct client *client, enum route route, uint32_t number, const void *body,
		size_t n)
{
	struct exchange *x;

	if (route < ROUTE_BOOT || route >= ROUTE__MAX || n != route_body_size(route) ||
	    n > BODY_MAX)
		return -EINVAL;
	x = &client->exchanges[route];
	if (x->active)
		exchange_fail(client, x);
	x->number = number;
	x->received = 0;
	x->overflow = false;
	x->error[0] = '\0';
	if (n > 0) {
		memcpy(x->request, body, n);
		if (curl_easy_setopt(x->easy, CURLOPT_POSTFIELDSIZE, (long)n) != CURLE_OK)
			return -EIO;
	}
	if (choose_connection(client, x) < 0 ||
	    curl_multi_add_handle(client->multi, x->easy) != CURLM_OK)
		return -EIO;
	x->active = true;
	return 0;
}

int client_poll(struct client *client, struct pollfd *fds, size_t n, int timeout_ms)
{
	struct curl_waitfd extra[EXTRA_FDS_MAX];
	int running, ready;

	if (n > EXTRA_FDS_MAX)
		return -EIO;
	if (curl_multi_perform(client->multi, &running) != CURLM_OK)
		return -EIO;
	for (size_t i = 0; i < n; i++)
		extra[i] = (struct curl_waitfd){.fd = fds[i].fd, .events = CURL_WAIT_POLLIN};
	if (client->settle > 0 && timeout_ms > SETTLE_MS)
		timeout_ms = SETTLE_MS;
	if (curl_multi_poll(client->multi, extra, (unsigned)n, timeout_ms, &ready) != CURLM_OK)
		return -EIO;
	if (ready > 0)
		client->settle = SETTLE_TURNS;
	else if (client->settle > 0)
		client->settle--;
	for (size_t i = 0; i < n; i++)
		fds[i].revents = extra[i].revents & CURL_WAIT_POLLIN ? POLLIN : 0;
	return curl_multi_perform(client->multi, &running) == CURLM_OK ? 0 : -EIO;
}

static int error_of(CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return 0;
	case CURLE_COULDNT_CONNECT:
		return -ECONNREFUSED;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		return -EHOSTUNREACH;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
		return -EKEYREJECTED;
	default:
		return -EPROTO;
	}
}

static void answer_fill(struct client_answer *answer, struct exchange *x, CURLcode code)
{
	curl_off_t retry_after = 0;
	long status = 0;

	*answer = (struct client_answer){.route = x->route, .number = x->number};
	answer->error = x->overflow ? -EMSGSIZE : error_of(code);
	if (answer->error < 0) {
		snprintf(answer->error_text, sizeof(answer->error_text), "%.*s",
			 (int)sizeof(answer->error_text) - 1,
			 x->error[0] ? x->error : curl_easy_strerror(code));
		return;
	}
	curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(x->easy, CURLINFO_RETRY_AFTER, &retry_after);
	answer->http_status = (uint16_t)status;
	if (retry_after > 0)
		answer->retry_after_ms = (uint32_t)(retry_after > 3600 ? 3600 : retry_after) * 1000;
	answer->length = x->received;
	memcpy(answer->body, x->answer, x->received);
}

int client_next(struct client *client, struct client_answer *ret_answer)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(client->multi, &left))) {
		struct exchange *x = NULL;
		CURLcode code = message->data.result;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&x);
		if (code == CURLE_OK)
			exchange_drop(client, x);
		else
			exchange_fail(client, x);
		answer_fill(ret_answer, x, code);
		return 1;
	}
	return 0;
}
