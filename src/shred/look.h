/* SPDX-License-Identifier: Apache-2.0 */
/* Step 3 of a shred: looks at what is left, and trusts no return code of the steps before. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "shred/dm.h"
#include "shred/secret.h"
#include "shred/shared.h"
#include "shred/workers.h"

struct look {
	int proc_fd, sys_fd, dm_fd;
	struct shared *shared;
	const struct secret *boot_key;
	struct dm_buffer buffer;
	char text[4096];
	atomic_uint passed, failed; /* enum self_test_bit */
	struct worker worker;
};

/* Starts the thread of this process. 0 or negative errno. */
int look_start(struct look *look, int done_fd);

/* Begins: SELF_TEST_KEYS_GONE, SELF_TEST_KEYRING, SELF_TEST_CRASH_KERNEL. What cannot be looked at
 * has failed; a bit that is not looked at in time is in neither. */
void look_begin(struct look *look);
