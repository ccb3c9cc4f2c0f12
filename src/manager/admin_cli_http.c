/* SPDX-License-Identifier: Apache-2.0 */
/* emberlock-admin's way to the manager: one HTTP/2 request over mutual TLS 1.3. */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "manager/admin_cli.h"

#define ANSWER_MAX	(16u << 20)
#define URL_MAX		512
#define CONNECT_LIMIT_S 10L
#define ANSWER_LIMIT_S	60L

struct answer {
	char *bytes;
	size_t n;
	bool is_json;
};

static void answer_done(struct answer *answer)
{
	free(answer->bytes);
}

static void free_curl(CURL **p)
{
	curl_easy_cleanup(*p);
}

static void free_headers(struct curl_slist **p)
{
	curl_slist_free_all(*p);
}

static void free_json(json_t **p)
{
	json_decref(*p);
}

static size_t take_bytes(char *bytes, size_t one, size_t n, void *to)
{
	struct answer *answer = to;
	char *grown;

	if (n > ANSWER_MAX - answer->n)
		return 0;
	grown = realloc(answer->bytes, answer->n + n);
	if (!grown)
		return 0;
	memcpy(grown + answer->n, bytes, n);
	answer->bytes = grown;
	answer->n += n;
	return n;
}

static int read_url(const struct admin_call *call, char url[static URL_MAX])
{
	char path[PATH_MAX];
	ssize_t n;

	snprintf(path, sizeof(path), "%s/url", call->identity);
	n = file_read(AT_FDCWD, path, url, URL_MAX - 1);
	if (n < 0)
		return admin_refuse((int)n, "--identity %s: cannot read its file url: %s",
				    call->identity, strerror((int)-n));
	url[n] = '\0';
	url[strcspn(url, "\n")] = '\0';
	if (strncmp(url, "https://", 8) != 0)
		return admin_refuse(-EINVAL, "%s: must begin with https://", path);
	return 0;
}

static CURLcode set_identity(CURL *curl, const char *directory)
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
		snprintf(path, sizeof(path), "%s/%s", directory, files[i].file);
		code = curl_easy_setopt(curl, files[i].option, path);
	}
	return code;
}

/* Everything but the identity and the body. */
static void set_options(CURL *curl, const char *method, char *error, struct answer *answer)
{
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);
	curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_LIMIT_S);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, ANSWER_LIMIT_S);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "emberlock-admin/" EMBERLOCK_VERSION);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
}

static int refused_by_manager(long status, const json_t *answer)
{
	const char *message = json_string_value(json_object_get(answer, "message"));
	int r = -EREMOTEIO;

	if (status == 401 || status == 403)
		r = -EACCES;
	else if (status == 404)
		r = -ENOENT;
	return admin_refuse(r, "the manager refuses (%ld): %s", status,
			    message ? message : "it does not say why");
}

static int judge_answer(CURL *curl, struct answer *answer)
{
	_cleanup_(free_json) json_t *json = NULL;
	const char *type = NULL;
	long status = 0;

	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
	answer->is_json = type && strcmp(type, "application/json") == 0;
	if (status >= 200 && status <= 299)
		return 0;
	if (answer->n && answer->is_json)
		json = json_loadb(answer->bytes, answer->n, JSON_REJECT_DUPLICATES, NULL);
	return refused_by_manager(status, json);
}

static int perform(const struct admin_call *call, const char *method, const char *path,
		   const json_t *body, struct answer *answer)
{
	_cleanup_(free_curl) CURL *curl = curl_easy_init();
	_cleanup_(free_headers) struct curl_slist *headers = NULL;
	_cleanup_free_ char *text = NULL;
	char url[URL_MAX + 256], error[CURL_ERROR_SIZE] = "";
	CURLcode code;
	int r;

	if (!curl)
		return admin_refuse(-ENOMEM, "out of memory");
	r = read_url(call, url);
	if (r < 0)
		return r;
	strcat(url, path);
	set_options(curl, method, error, answer);
	if (body) {
		text = json_dumps(body, JSON_COMPACT);
		headers = curl_slist_append(NULL, "Content-Type: application/json");
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text);
		curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	} else if (strcmp(method, "POST") == 0) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
	}
	code = curl_easy_setopt(curl, CURLOPT_URL, url);
	if (code == CURLE_OK)
		code = set_identity(curl, call->identity);
	if (code == CURLE_OK)
		code = curl_easy_perform(curl);
	if (code != CURLE_OK)
		return admin_refuse(-ECOMM, "%s: %s", url,
				    *error ? error : curl_easy_strerror(code));
	return judge_answer(curl, answer);
}

int admin_http(const struct admin_call *call, const char *method, const char *path,
	       const json_t *body, json_t **ret_answer)
{
	_cleanup_(answer_done) struct answer answer = {0};
	_cleanup_(free_json) json_t *json = NULL;
	int r;

	r = perform(call, method, path, body, &answer);
	if (r < 0)
		return r;
	if (answer.n && answer.is_json)
		json = json_loadb(answer.bytes, answer.n, JSON_REJECT_DUPLICATES, NULL);
	if (answer.n && !json)
		return admin_refuse(-EBADMSG, "the manager's answer is not JSON");
	if (ret_answer)
		*ret_answer = TAKE_PTR(json);
	return 0;
}

int admin_http_text(const struct admin_call *call, const char *path, char **ret_text, size_t *ret_n)
{
	_cleanup_(answer_done) struct answer answer = {0};
	int r;

	r = perform(call, "GET", path, NULL, &answer);
	if (r < 0)
		return r;
	*ret_n = answer.n;
	*ret_text = TAKE_PTR(answer.bytes);
	return 0;
}
