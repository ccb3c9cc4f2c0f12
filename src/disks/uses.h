/* SPDX-License-Identifier: Apache-2.0 */
/* Who uses which block device: mounts, swap, holders. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct use {
	unsigned major, minor;
	bool mounted; /* else swap */
	char by[64];  /* the mount point, or "swap" */
};

struct uses {
	struct use *uses;
	size_t n;
};

/* Reads /proc/self/mountinfo and /proc/swaps. 0 or negative errno. */
int uses_load(struct uses *ret_uses);
void uses_done(struct uses *uses);
#define _cleanup_uses_ __attribute__((cleanup(uses_done)))

/* Reads text of the forms of those two files from FILE; for tests. */
int uses_read_mountinfo(struct uses *uses, const char *path);
int uses_read_swaps(struct uses *uses, const char *path);

/* Undoes the \ooo of proc(5) for space, tab, newline and backslash, in place. */
void mount_text_unescape(char *text);

/* Looks whether the device or one of its partitions is mounted, is swap, or has a holder (another
 * block device over it). *ret_mounted, *ret_in_use; BY names the first user found. 0 or negative
 * errno. */
int uses_of(const struct uses *uses, unsigned major, unsigned minor, bool *ret_mounted,
	    bool *ret_in_use, char by[static 64]);
