/* SPDX-License-Identifier: Apache-2.0 */
/* The stand-in KMS of tests/conformance as a child of a test program. */
#pragma once

#include "unit.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char standin_dir[64];
static pid_t standin_pid;
static int standin_stdin = -1; /* it ends when this closes */
static unsigned standin_port;

static inline int standin_exec(int input)
{
	dup2(input, 0);
	execlp("python3", "python3", EMBERLOCK_SOURCE "/tests/conformance/standin.py", standin_dir,
	       NULL);
	return 127;
}

/* DIRECTORY must be there; it gets the credentials directory that key configurations need. */
static inline int standin_start(const char *directory)
{
	char path[128];
	int fds[2];
	FILE *file;

	snprintf(standin_dir, sizeof(standin_dir), "%s", directory);
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -1;
	standin_pid = fork();
	if (standin_pid == 0)
		_exit(standin_exec(fds[0]));
	close(fds[0]);
	standin_stdin = fds[1];
	snprintf(path, sizeof(path), "%s/ready", directory);
	for (int tries = 0; tries < 600; tries++) {
		const struct timespec time = {0, 100000000};

		file = fopen(path, "r");
		if (file) {
			int n = fscanf(file, "%u", &standin_port);

			fclose(file);
			return n == 1 ? 0 : -1;
		}
		if (waitpid(standin_pid, NULL, WNOHANG) != 0)
			return -1;
		nanosleep(&time, NULL);
	}
	return -1;
}

static inline void standin_stop(void)
{
	close(standin_stdin);
	if (standin_pid > 0)
		waitpid(standin_pid, NULL, 0);
}

static inline size_t standin_on_body(char *bytes, size_t one, size_t n, void *userdata)
{
	json_t **answer = userdata;

	*answer = json_loadb(bytes, one * n, 0, NULL);
	return one * n;
}

/* Changes what the clouds do; returns the answer, the caller's. */
static inline json_t *standin_ask(const char *order)
{
	CURL *curl = curl_easy_init();
	json_t *answer = NULL;
	char url[64], ca[128];

	snprintf(url, sizeof(url), "https://localhost:%u/control", standin_port);
	snprintf(ca, sizeof(ca), "%s/ca.pem", standin_dir);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_CAINFO, ca);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, order);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, standin_on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
	assert_int_equal(curl_easy_perform(curl), CURLE_OK);
	curl_easy_cleanup(curl);
	assert_non_null(answer);
	return answer;
}

static inline void __attribute__((format(printf, 1, 2))) standin(const char *format, ...)
{
	char order[1024];
	va_list list;

	va_start(list, format);
	vsnprintf(order, sizeof(order), format, list);
	va_end(list);
	json_decref(standin_ask(order));
}

/* How often PLACE was asked. */
static inline int standin_count(const char *place)
{
	json_t *answer = standin_ask("{}");
	int n = (int)json_integer_value(json_object_get(json_object_get(answer, "counts"), place));

	json_decref(answer);
	return n;
}
