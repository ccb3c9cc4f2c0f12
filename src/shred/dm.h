/* SPDX-License-Identifier: Apache-2.0 */
/* Bare device-mapper ioctls on one named dm-crypt map: suspend, key wipe, swap to the error target.
 * Nothing is allocated here: each caller brings its buffer. All: 0 or negative errno; -ENXIO where
 * there is no map of that name. They block for as long as I/O in flight does: a thread that may be
 * abandoned calls them, with all signals blocked. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/limits.h"

/* Holds the largest request made here. */
struct dm_buffer {
	_Alignas(8) uint8_t bytes[512];
};

/* Asks for the suspend and the wipe of a map without a name, which there cannot be: 0 where device
 * mapper says so. A refusal (a sandbox, another version) is found at the start, not at a shred. */
int dm_check(int fd, struct dm_buffer *buffer);

/* Waits for I/O in flight, but neither flushes nor freezes file systems; new I/O queues up. */
int dm_suspend(int fd, struct dm_buffer *buffer, const char *name);

/* "key wipe" to the crypt target at sector 0. Works only on a suspended map; -ENOMSG where the map
 * has no live table. */
int dm_key_wipe(int fd, struct dm_buffer *buffer, const char *name);

/* Loads a table of one error target and makes it live: what waits on the map fails with EIO, and
 * the table before, with its key if it still has one, is destroyed; so is one that was loaded and
 * never made live. */
int dm_swap_to_error(int fd, struct dm_buffer *buffer, const char *name, uint64_t length_sectors);

/* Destroys the key of NAME: suspend, then wipe; where either is refused, by the swap to error. */
int dm_destroy_key(int fd, struct dm_buffer *buffer, const char *name, uint64_t length_sectors);

/* Whether somebody has map DEVICE open: a file system on it, mounted anywhere, does. True where that
 * cannot be told. */
bool dm_is_open(int fd, struct dm_buffer *buffer, dev_t device);

/* Whether NAME is the error target and nothing else, or not there at all. Looks at no parameters. */
bool dm_holds_no_key(int fd, struct dm_buffer *buffer, const char *name);
