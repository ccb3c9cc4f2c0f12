/* SPDX-License-Identifier: Apache-2.0 */
/* One request to the manager: HTTP/2 over mutual TLS 1.3, JSON both ways. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct ask;

/* Reads DIRECTORY's url; the other files are libcurl's to read. An answer has at most ANSWER_MAX bytes.
 * 0, -EINVAL, -ENOMEM, with ERROR. */
int ask_new(const char *directory, size_t answer_max, struct ask **ret_ask, char *error);
struct ask *ask_free(struct ask *ask);

/* Takes over BODY. 0 with *ret_answer, the caller's, and the CLOCK_BOOTTIME of just before it was sent;
 * else as emberlock-storage.h says, with ERROR. */
int ask_manager(struct ask *ask, const char *path, json_t *body, json_t **ret_answer,
		uint64_t *ret_asked_ns, char *error);

/* Gets PATH, however long the answer takes. 0, a refusal as above, or -ECANCELED after
 * ask_interrupt(), which any thread may call, and which lasts. */
int ask_wait(struct ask *ask, const char *path);
void ask_interrupt(struct ask *ask);

/* Puts a line for people into ERROR, which may be NULL; returns R. */
int ask_refuse(char *error, int r, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* libcurl and libjansson wipe what they free, from now on. */
void ask_wipe_freed(void);
