/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes in locked memory behind a descriptor that can be handed on. Both keeper processes
 * keep the mapping (it is made before the fork, and shared), since either must be able to wipe it;
 * the keeper forks this once and executes nothing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct secret {
	int fd; /* the bytes at offset 0; to be mapped MAP_SHARED */
	uint8_t *bytes;
	size_t size;
	bool secret_memory; /* memfd_secret(2); otherwise a memfd that is locked */
};

/* SIZE (at most a page) fresh random bytes, straight from getrandom(2) into the mapping. Where the
 * kernel has no memfd_secret (-ENOSYS) and REQUIRE_SECRET_MEMORY is not set: a memfd of sealed
 * size, locked. Any other failure is returned: -EPERM is a sandbox, not an old kernel. */
int secret_new(size_t size, bool require_secret_memory, struct secret *ret_secret);

/* Brings the page into a process that has just been forked: mlockall(2) leaves secret memory out, and
 * a wipe must find it there. */
void secret_touch(const struct secret *secret);

/* Overwrites the bytes for all who map them. The mapping and the descriptor stay. */
void secret_wipe(struct secret *secret);
