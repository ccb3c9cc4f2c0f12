/* SPDX-License-Identifier: Apache-2.0 */
/* A real manager in a process of its own, on loopback, and requests to it. */
#pragma once

#include <curl/curl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "manager/admin_routes.h"
#include "manager/manager.h"
#include "manager/pki.h"
#include "unit.h"

static char directory[] = "/tmp/emberlock-test-admin-XXXXXX";
static char addresses[2][64]; /* of VMs, of administrators */
static pid_t server;

/* --- the manager, in a process of its own --- */

static inline int serve(int to)
{
	const struct manager_options options = {.state = directory,
						.listen = "127.0.0.1:0",
						.admin_listen = "127.0.0.1:0",
						.admin_routes = admin_routes,
						.n_admin_routes = admin_routes_n};
	struct manager *manager;
	sd_event *event;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* As the program does: a client that hangs up is no signal. */
	signal(SIGPIPE, SIG_IGN);
	if (sd_event_new(&event) < 0 || manager_new(event, &options, &manager) < 0)
		return 1;
	manager_address(manager, LISTENER_VM, addresses[0]);
	manager_address(manager, LISTENER_ADMIN, addresses[1]);
	if (write(to, addresses, sizeof(addresses)) != sizeof(addresses))
		return 1;
	return sd_event_loop(event);
}

static inline void make_directory_and_pki(void)
{
	const struct pki_options options = {.state_dir = directory,
					    .admin_url = "https://127.0.0.1:1",
					    .manager_url = "https://127.0.0.1:1"};
	char error[256];

	assert_non_null(mkdtemp(directory));
	assert_int_equal(pki_ensure(&options, (int64_t)clock_realtime_s(), error), 1);
}

static inline int start_server(void **state)
{
	int ends[2];

	make_directory_and_pki();
	assert_int_equal(pipe(ends), 0);
	server = fork();
	assert_true(server >= 0);
	if (server == 0)
		_exit(serve(ends[1]));
	close(ends[1]);
	assert_int_equal(read(ends[0], addresses, sizeof(addresses)), sizeof(addresses));
	close(ends[0]);
	return 0;
}

static inline int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static inline int stop_server(void **state)
{
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	return nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* --- one request --- */

struct reply {
	CURLcode code;
	long status;
	char body[65536]; /* NUL after it */
	size_t n;
};

static inline size_t take(char *bytes, size_t one, size_t n, void *userdata)
{
	struct reply *reply = userdata;

	if (n >= sizeof(reply->body) - reply->n)
		return 0;
	memcpy(reply->body + reply->n, bytes, n);
	reply->n += n;
	reply->body[reply->n] = '\0';
	return n;
}

/* CERTIFICATE and KEY are files of the state directory; NULL: none. BODY has N bytes; NULL: none. */
static inline struct reply ask_bytes(const char *certificate, const char *key, bool admin,
				     const char *method, const char *path, const void *body,
				     size_t n)
{
	struct reply reply = {0};
	char url[256], file[3][PATH_MAX];
	CURL *curl = curl_easy_init();

	snprintf(url, sizeof(url), "https://%s%s", addresses[admin], path);
	snprintf(file[0], PATH_MAX, "%s/ca.pem", directory);
	snprintf(file[1], PATH_MAX, "%s/%s", directory, certificate ? certificate : "");
	snprintf(file[2], PATH_MAX, "%s/%s", directory, key ? key : "");
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(curl, CURLOPT_CAINFO, file[0]);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, 20L);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply);
	if (certificate) {
		curl_easy_setopt(curl, CURLOPT_SSLCERT, file[1]);
		curl_easy_setopt(curl, CURLOPT_SSLKEY, file[2]);
	}
	if (body) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)n);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	}
	reply.code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply.status);
	curl_easy_cleanup(curl);
	return reply;
}

static inline struct reply ask_as(const char *certificate, const char *key, bool admin,
				  const char *method, const char *path, const char *body)
{
	return ask_bytes(certificate, key, admin, method, path, body, body ? strlen(body) : 0);
}

static inline struct reply ask(unsigned role, const char *method, const char *path,
			       const char *body)
{
	return role == ROLE_OPERATOR
		       ? ask_as("identities/operator/cert.pem", "identities/operator/key.pem", true,
				method, path, body)
		       : ask_as("identities/key-administrator/cert.pem",
				"identities/key-administrator/key.pem", true, method, path, body);
}
