/* SPDX-License-Identifier: Apache-2.0 */
/* One request to the manager: HTTP/2 over mutual TLS 1.3, JSON both ways. */
#include "storage/ask.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/locked.h"
#include "storage/emberlock-storage.h"

#define URL_MAX		512
#define CONNECT_LIMIT_S 10L
#define ANSWER_LIMIT_S	30L
#define WAIT_LIMIT_S	60L /* above every poll interval */
#define WAIT_TURN_MS	500 /* libcurl 7.88 can sleep on an answer that it has read already */

struct ask {
	CURL *curl;
	CURLM *waits;
	atomic_bool interrupted;
	struct curl_slist *headers;
	char directory[PATH_MAX - 16], url[URL_MAX];
	char curl_error[CURL_ERROR_SIZE];
	char *answer; /* locked */
	size_t n, max;
};

/* --- what libraries free --- */

static void free_wiped(void *p)
{
	if (p)
		bytes_wipe(p, malloc_usable_size(p));
	free(p);
}

static void *realloc_wiped(void *p, size_t n)
{
	size_t old = p ? malloc_usable_size(p) : 0;
	void *new = malloc(n);

	if (!new)
		return NULL;
	if (p)
		memcpy(new, p, old < n ? old : n);
	free_wiped(p);
	return new;
}

static void wipe_freed(void)
{
	json_malloc_t allocate;
	json_free_t release;

	json_get_alloc_funcs(&allocate, &release);
	/* A program that gives jansson memory of its own must wipe that itself. */
	if (release == free)
		json_set_alloc_funcs(malloc, free_wiped);
	(void)curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, free_wiped, realloc_wiped, strdup,
				   calloc);
}

void ask_wipe_freed(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, wipe_freed);
}

/* --- the connection --- */

int ask_refuse(char *error, int r, const char *format, ...)
{
	va_list list;

	if (!error)
		return r;
	va_start(list, format);
	vsnprintf(error, EMBERLOCK_ERROR_MAX, format, list);
	va_end(list);
	return r;
}

static size_t take_bytes(char *bytes, size_t one, size_t n, void *userdata)
{
	struct ask *ask = userdata;

	if (n > ask->max - ask->n)
		return 0;
	memcpy(ask->answer + ask->n, bytes, n);
	ask->n += n;
	return n;
}

static CURLcode set_files(struct ask *ask)
{
	static const struct {
		CURLoption option;
		const char *file;
	} files[] = {
		{CURLOPT_SSLCERT, "cert.pem"},
		{CURLOPT_SSLKEY, "key.pem"},
		{CURLOPT_CAINFO, "ca.pem"},
	};
	char path[PATH_MAX];
	CURLcode code = CURLE_OK;

	for (size_t i = 0; i < ELEMENTSOF(files) && code == CURLE_OK; i++) {
		snprintf(path, sizeof(path), "%s/%s", ask->directory, files[i].file);
		code = curl_easy_setopt(ask->curl, files[i].option, path);
	}
	return code;
}

static CURLcode set_options(struct ask *ask)
{
	CURL *curl = ask->curl;
	CURLcode code = curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");

	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);
	curl_easy_setopt(curl, CURLOPT_SSL_SESSIONID_CACHE, 0L);
	curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_LIMIT_S);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, ANSWER_LIMIT_S);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, ask->curl_error);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, ask);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, ask->headers);
	return code == CURLE_OK ? set_files(ask) : code;
}

static int read_url(struct ask *ask, const char *directory, char *error)
{
	char path[PATH_MAX];
	ssize_t n;

	if ((size_t)snprintf(ask->directory, sizeof(ask->directory), "%s", directory) >=
	    sizeof(ask->directory))
		return ask_refuse(error, -EINVAL, "the directory's path is too long");
	snprintf(path, sizeof(path), "%s/url", ask->directory);
	n = file_read(AT_FDCWD, path, ask->url, sizeof(ask->url) - 1);
	if (n < 0)
		return ask_refuse(error, -EINVAL, "%.160s: cannot read it: %s", path,
				  strerror((int)-n));
	ask->url[n] = '\0';
	ask->url[strcspn(ask->url, "\n")] = '\0';
	if (strncmp(ask->url, "https://", 8) != 0 || !ask->url[8])
		return ask_refuse(error, -EINVAL, "%.160s: must be https://HOST:PORT", path);
	return 0;
}

static void cleanup_ask(struct ask **ask)
{
	*ask = ask_free(*ask);
}

int ask_new(const char *directory, size_t answer_max, struct ask **ret_ask, char *error)
{
	_cleanup_(cleanup_ask) struct ask *ask = calloc(1, sizeof(*ask));
	void *answer;
	int r;

	if (!ask)
		return ask_refuse(error, -ENOMEM, "out of memory");
	r = read_url(ask, directory, error);
	if (r < 0)
		return r;
	r = locked_new(answer_max, &answer);
	if (r < 0)
		return ask_refuse(error, -ENOMEM, "cannot lock memory: %s", strerror(-r));
	ask->answer = answer;
	ask->max = answer_max;
	ask->curl = curl_easy_init();
	ask->waits = curl_multi_init();
	ask->headers = curl_slist_append(NULL, "Content-Type: application/json");
	if (!ask->curl || !ask->waits || !ask->headers || set_options(ask) != CURLE_OK)
		return ask_refuse(error, -ENOMEM, "libcurl cannot be set up");
	*ret_ask = TAKE_PTR(ask);
	return 0;
}

struct ask *ask_free(struct ask *ask)
{
	if (!ask)
		return NULL;
	curl_easy_cleanup(ask->curl);
	curl_multi_cleanup(ask->waits);
	curl_slist_free_all(ask->headers);
	locked_free(ask->answer, ask->max);
	free(ask);
	return NULL;
}

/* --- a request --- */

static int refused_by_manager(long status, const json_t *answer, char *error)
{
	const char *code = json_string_value(json_object_get(answer, "error"));
	const char *message = json_string_value(json_object_get(answer, "message"));
	int r = -EPROTO;

	if (status == 403)
		r = code && strcmp(code, "revoked") == 0 ? -EKEYREVOKED : -EACCES;
	else if (status == 429 || status == 503)
		r = -EAGAIN;
	else if (status >= 400 && status < 500)
		r = -EINVAL;
	return ask_refuse(error, r, "the manager refuses (%ld): %.160s", status,
			  message ? message : "it does not say why");
}

static int judge(struct ask *ask, json_t **ret_answer, char *error)
{
	json_t *answer = json_loadb(ask->answer, ask->n, JSON_REJECT_DUPLICATES, NULL);
	long status = 0;
	int r;

	curl_easy_getinfo(ask->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status == 200 && json_is_object(answer)) {
		*ret_answer = answer;
		return 0;
	}
	r = status == 200 ? ask_refuse(error, -EPROTO, "the manager's answer is not of the form")
			  : refused_by_manager(status, answer, error);
	json_decref(answer);
	return r;
}

int ask_manager(struct ask *ask, const char *path, json_t *body, json_t **ret_answer,
		uint64_t *ret_asked_ns, char *error)
{
	_cleanup_free_ char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	char url[URL_MAX + 64];
	CURLcode code;
	int r;

	json_decref(body);
	if (!text)
		return ask_refuse(error, -ENOMEM, "out of memory");
	snprintf(url, sizeof(url), "%s%s", ask->url, path);
	curl_easy_setopt(ask->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(text));
	curl_easy_setopt(ask->curl, CURLOPT_POSTFIELDS, text);
	code = curl_easy_setopt(ask->curl, CURLOPT_URL, url);
	ask->n = 0;
	ask->curl_error[0] = '\0';
	*ret_asked_ns = clock_boottime_ns();
	if (code == CURLE_OK)
		code = curl_easy_perform(ask->curl);
	r = code == CURLE_OK
		    ? judge(ask, ret_answer, error)
		    : ask_refuse(error, -EHOSTUNREACH, "%.100s: %.140s", ask->url,
				 *ask->curl_error ? ask->curl_error : curl_easy_strerror(code));
	curl_easy_setopt(ask->curl, CURLOPT_POSTFIELDS, NULL);
	bytes_wipe(ask->answer, ask->n);
	return r;
}

/* --- waiting --- */

void ask_interrupt(struct ask *ask)
{
	ask->interrupted = true;
	(void)curl_multi_wakeup(ask->waits);
}

static int wait_done(struct ask *ask)
{
	int left, running = 1;
	CURLMsg *message;

	while (running > 0 && !ask->interrupted) {
		if (curl_multi_perform(ask->waits, &running) != CURLM_OK)
			return -EHOSTUNREACH;
		if (running > 0)
			(void)curl_multi_poll(ask->waits, NULL, 0, WAIT_TURN_MS, NULL);
	}
	if (ask->interrupted)
		return -ECANCELED;
	message = curl_multi_info_read(ask->waits, &left);
	return message && message->data.result == CURLE_OK ? 0 : -EHOSTUNREACH;
}

int ask_wait(struct ask *ask, const char *path)
{
	char url[URL_MAX + 64];
	json_t *answer;
	int r;

	snprintf(url, sizeof(url), "%s%s", ask->url, path);
	ask->n = 0;
	if (curl_easy_setopt(ask->curl, CURLOPT_URL, url) != CURLE_OK ||
	    curl_easy_setopt(ask->curl, CURLOPT_TIMEOUT, WAIT_LIMIT_S) != CURLE_OK ||
	    curl_multi_add_handle(ask->waits, ask->curl) != CURLM_OK)
		return -EHOSTUNREACH;
	r = wait_done(ask);
	curl_multi_remove_handle(ask->waits, ask->curl);
	if (r == 0)
		r = judge(ask, &answer, NULL);
	if (r == 0)
		json_decref(answer);
	return r;
}
