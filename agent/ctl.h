/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of emberlockctl, and what they share. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/frames.h"

enum ctl_option {
	OPTION_JSON = 1 << 0,
	OPTION_ROOT = 1 << 1,
	OPTION_KERNEL_CONFIG = 1 << 2,
	OPTION_YES = 1 << 3,
	OPTION_DRY_RUN = 1 << 4,
	OPTION_FOR = 1 << 5,
	OPTION_TIMEOUT = 1 << 6,
	OPTION_OUTPUT = 1 << 7,
};

struct ctl_options {
	unsigned given;		   /* enum ctl_option */
	const char *root;	   /* --root=; "" is / */
	const char *kernel_config; /* --kernel-config= */
	const char *output;	   /* --output=; NULL: standard output */
	uint64_t timeout_ms;	   /* --timeout=; UINT64_MAX: none */
	bool for_ending;	   /* --for=ending */
	const char *word;	   /* the first argument of the commands that take any */
	char *const *words;	   /* all of them; ends with NULL */
};

enum ctl_exit {
	EXIT_DONE = 0,
	EXIT_REFUSED = 1, /* or failed */
	EXIT_USAGE = 2,
	EXIT_NOT_ADMITTED = 3, /* wait: this boot has failed */
	EXIT_SHREDDING = 4,    /* wait: the keys are going */
};

/* Each returns an exit code, and has said on standard error why where it is not 0. */
int command_status(const struct ctl_options *options);
int command_volumes(const struct ctl_options *options);
int command_metrics(const struct ctl_options *options);
int command_plan(const struct ctl_options *options);
int command_check(const struct ctl_options *options);
int command_shred(const struct ctl_options *options);
int command_wait(const struct ctl_options *options);
int command_end(const struct ctl_options *options);
int command_ending(const struct ctl_options *options);
int command_add(const struct ctl_options *options);
int command_grow(const struct ctl_options *options);
int command_swap(const struct ctl_options *options);
int command_initramfs(const struct ctl_options *options);

/* --- ctl_client.c: one request and its reply on a local socket */

/* Connects to the socket PATH. 0 or negative errno. */
int client_connect(const char *path, int *ret_fd);

/* Sends REQUEST, whose header is filled in here, and waits TIMEOUT_MS (UINT64_MAX: for ever) for
 * the reply. 0 and a whole reply of MAGIC, TYPE and REPLY_SIZE; the peer's own negative status;
 * -ETIMEDOUT; -ECONNRESET where the peer has gone; -EBADMSG where it spoke something else. */
int client_call(int fd, uint32_t magic, uint16_t type, void *request, size_t request_size,
		void *reply, size_t reply_size, uint64_t timeout_ms);

/* Asks the agent for its status. On an error it is said on standard error. 0 or negative errno. */
int client_status(struct control_status *ret_status);

/* --- ctl_text.c: what people read */

/* "12.5 GiB" in TO. */
void size_text(uint64_t bytes, char to[static 16]);
/* The table of volumes. */
void volumes_print(const struct control_status *status);
void status_print(const struct control_status *status);

/* --- ctl_json.c: the same for programs; the caller's reference, NULL without memory */
json_t *volumes_json(const struct control_status *status);
json_t *status_json(const struct control_status *status);
/* Prints and releases VALUE. An exit code. */
int json_print(json_t *value);

/* The name of one bit of enum self_test_bit, NULL for others. */
const char *self_test_name(uint32_t bit);
