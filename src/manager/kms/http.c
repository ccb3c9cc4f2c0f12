/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTPS request of a provider and its answer, by libcurl. */
#include "manager/kms/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define TRIES_MAX	    3
#define ALL_MS		    8000 /* no try begins later, and none lasts longer than is left */
#define TRY_MS		    5000
#define CONNECT_MS	    2500
#define METADATA_MS	    2000
#define METADATA_CONNECT_MS 1000
#define PAUSE_MS	    100 /* before the second try; doubled, and halved at random */

/* --- memory: libcurl copies credentials and plaintext, and wipes neither --- */

static void free_wiped(void *p)
{
	if (p)
		bytes_wipe(p, malloc_usable_size(p));
	free(p);
}

static void *realloc_wiped(void *p, size_t size)
{
	size_t had = p ? malloc_usable_size(p) : 0;
	void *moved;

	moved = malloc(size);
	if (!moved)
		return NULL;
	if (p)
		memcpy(moved, p, had < size ? had : size);
	free_wiped(p);
	return moved;
}

/* --- a handle a thread: it keeps connections between the probes --- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t handle_key;
static bool ready;

static void handle_free(void *handle)
{
	curl_easy_cleanup(handle);
}

static void init(void)
{
	ready = curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, free_wiped, realloc_wiped, strdup,
				     calloc) == CURLE_OK &&
		pthread_key_create(&handle_key, handle_free) == 0;
}

static CURL *handle_of_thread(void)
{
	CURL *handle;

	pthread_once(&once, init);
	if (!ready)
		return NULL;
	handle = pthread_getspecific(handle_key);
	if (handle)
		return handle;
	handle = curl_easy_init();
	if (handle && pthread_setspecific(handle_key, handle) != 0) {
		curl_easy_cleanup(handle);
		return NULL;
	}
	return handle;
}

/* --- the answer --- */

static size_t on_body(char *data, size_t size, size_t n, void *userdata)
{
	struct kms_http *http = userdata;

	n *= size;
	if (n > sizeof(http->reply) - 1 - http->reply_size) {
		http->error = -EMSGSIZE;
		return 0; /* libcurl ends the transfer */
	}
	memcpy(http->reply + http->reply_size, data, n);
	http->reply_size += n;
	http->reply[http->reply_size] = '\0';
	return n;
}

/* The value of header NAME in LINE (N bytes, no NUL), or false. */
static bool header_value(const char *line, size_t n, const char *name, char *value, size_t size)
{
	size_t len = strlen(name);

	if (n <= len || line[len] != ':' || strncasecmp(line, name, len) != 0)
		return false;
	line += len + 1;
	n -= len + 1;
	while (n > 0 && *line == ' ')
		line++, n--;
	while (n > 0 && (line[n - 1] == '\r' || line[n - 1] == '\n' || line[n - 1] == ' '))
		n--;
	snprintf(value, size, "%.*s", (int)n, line);
	return true;
}

static size_t on_header(char *line, size_t size, size_t n, void *userdata)
{
	struct kms_http *http = userdata;
	char date[64];

	n *= size;
	header_value(line, n, "x-amzn-ErrorType", http->error_type, sizeof(http->error_type));
	header_value(line, n, "x-amzn-RequestId", http->request_id, sizeof(http->request_id));
	header_value(line, n, "x-ms-request-id", http->request_id, sizeof(http->request_id));
	if (header_value(line, n, "Date", date, sizeof(date))) {
		time_t at = curl_getdate(date, NULL);

		http->date_s = at > 0 ? (int64_t)at : 0;
	}
	return n;
}

static int error_of(CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return 0;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		return -EHOSTUNREACH;
	case CURLE_COULDNT_CONNECT:
		return -ECONNREFUSED;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
		return -EKEYREJECTED;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	default:
		return -EPROTO;
	}
}

/* --- the request --- */

static int set_tls(CURL *curl, const struct kms_http *http)
{
	CURLcode r;

	r = curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	r = r ? r : curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
	r = r ? r : curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
	/* A resumed session is not checked against the CA again. */
	r = r ? r : curl_easy_setopt(curl, CURLOPT_SSL_SESSIONID_CACHE, 0L);
	if (!r && http->ca_file) {
		r = curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
		r = r ? r : curl_easy_setopt(curl, CURLOPT_CAINFO, http->ca_file);
	}
	return r ? -ENOMEM : 0;
}

static int set_body(CURL *curl, const struct kms_http *http)
{
	CURLcode r = curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, http->method);

	if (strcmp(http->method, "POST") == 0) {
		r = r ? r : curl_easy_setopt(curl, CURLOPT_POSTFIELDS, http->request);
		r = r ? r : curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)http->request_size);
	} else if (strcmp(http->method, "PUT") == 0) {
		r = r ? r : curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
		r = r ? r : curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, 0L);
	}
	if (http->sigv4) {
		r = r ? r : curl_easy_setopt(curl, CURLOPT_AWS_SIGV4, http->sigv4);
		r = r ? r : curl_easy_setopt(curl, CURLOPT_USERNAME, http->user);
		r = r ? r : curl_easy_setopt(curl, CURLOPT_PASSWORD, http->password);
	}
	return r ? -ENOMEM : 0;
}

static int set_transfer(CURL *curl, struct kms_http *http, struct curl_slist *headers)
{
	CURLcode r = curl_easy_setopt(curl, CURLOPT_URL, http->url);

	r = r ? r
	      : curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, http->metadata ? "http" : "https");
	r = r ? r : curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	r = r ? r : curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	r = r ? r : curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	r = r ? r : curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	r = r ? r : curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
	r = r ? r : curl_easy_setopt(curl, CURLOPT_USERAGENT, "emberlock/" EMBERLOCK_VERSION);
	r = r ? r : curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	r = r ? r : curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	r = r ? r : curl_easy_setopt(curl, CURLOPT_WRITEDATA, http);
	r = r ? r : curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	r = r ? r : curl_easy_setopt(curl, CURLOPT_HEADERDATA, http);
	if (http->metadata)
		r = r ? r : curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	if (r)
		return -ENOMEM;
	if (set_body(curl, http) < 0)
		return -ENOMEM;
	return set_tls(curl, http);
}

static int set_times(CURL *curl, const struct kms_http *http, uint64_t left_ms)
{
	uint64_t whole = http->metadata ? METADATA_MS : TRY_MS;
	long connect = http->metadata ? METADATA_CONNECT_MS : CONNECT_MS;
	CURLcode r;

	r = curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(whole < left_ms ? whole : left_ms));
	r = r ? r : curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, connect);
	return r ? -ENOMEM : 0;
}

static void try_once(CURL *curl, struct kms_http *http)
{
	CURLcode code;

	http->tries++;
	http->error = 0;
	http->status = 0;
	http->date_s = 0;
	http->error_type[0] = '\0';
	http->request_id[0] = '\0';
	http->reply_size = 0;
	http->reply[0] = '\0';
	code = curl_easy_perform(curl);
	if (http->error == 0)
		http->error = error_of(code);
	if (http->error == 0)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &http->status);
}

static bool may_pass(const struct kms_http *http)
{
	if (http->error < 0)
		return http->error != -EKEYREJECTED && http->error != -EMSGSIZE &&
		       http->error != -ENOMEM;
	return http->status == 429 || http->status >= 500 ||
	       (http->retry_missing && (http->status == 404 || http->status == 410));
}

static void pause_before(unsigned try)
{
	uint64_t ms = (uint64_t)PAUSE_MS << (try - 1);
	uint32_t random = 0;
	struct timespec time;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		random = UINT32_MAX / 2;
	ms = ms / 2 + ms * random / UINT32_MAX;
	time = (struct timespec){.tv_nsec = (long)(ms * NSEC_PER_MSEC)};
	nanosleep(&time, NULL);
}

static void perform(CURL *curl, struct kms_http *http)
{
	uint64_t start = clock_boottime_ns() / NSEC_PER_MSEC;

	for (unsigned try = 0; try < TRIES_MAX; try++) {
		uint64_t gone;

		if (try > 0)
			pause_before(try);
		gone = clock_boottime_ns() / NSEC_PER_MSEC - start;
		if (gone >= ALL_MS)
			return;
		if (set_times(curl, http, ALL_MS - gone) < 0) {
			http->error = -ENOMEM;
			return;
		}
		try_once(curl, http);
		if (!may_pass(http))
			return;
	}
}

static void free_list(struct curl_slist **list)
{
	curl_slist_free_all(*list);
}

static int add_header(struct curl_slist **headers, const char *line)
{
	struct curl_slist *longer = curl_slist_append(*headers, line);

	if (!longer)
		return -ENOMEM;
	*headers = longer;
	return 0;
}

void kms_http_perform(struct kms_http *http)
{
	_cleanup_(free_list) struct curl_slist *headers = NULL;
	CURL *curl = handle_of_thread();
	int r = curl ? 0 : -ENOMEM;

	http->error = -ENOMEM;
	http->tries = 0;
	for (size_t i = 0; r == 0 && i < KMS_HTTP_HEADERS_MAX && http->headers[i]; i++)
		r = add_header(&headers, http->headers[i]);
	if (r == 0)
		r = set_transfer(curl, http, headers);
	if (r == 0)
		perform(curl, http);
	if (curl)
		curl_easy_reset(curl); /* connections stay, credentials go */
}

int kms_http_add(struct kms_http *http, const char *format, ...)
{
	size_t left = sizeof(http->request) - http->request_size;
	va_list list;
	int n;

	va_start(list, format);
	n = vsnprintf(http->request + http->request_size, left, format, list);
	va_end(list);
	if (n < 0 || (size_t)n >= left)
		return -EMSGSIZE;
	http->request_size += (size_t)n;
	return 0;
}

int kms_http_add_form(struct kms_http *http, const char *name, const char *value)
{
	static const char plain[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
	int r = kms_http_add(http, "%s%s=", http->request_size > 0 ? "&" : "", name);

	for (; r == 0 && *value; value++)
		r = kms_http_add(http, strchr(plain, *value) ? "%c" : "%%%02X",
				 (unsigned char)*value);
	return r;
}
