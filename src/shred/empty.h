/* SPDX-License-Identifier: Apache-2.0 */
/* Removes all regular files and symbolic links of one file system in memory. Directories, sockets
 * and devices hold no content, and who is spared may still need their names. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define EMPTY_DEPTH_MAX 48 /* what lies deeper is left, and said to be */

struct empty {
	struct empty_level {
		int fd;
		int n, at; /* of .entries */
		_Alignas(8) char entries[1024];
	} levels[EMPTY_DEPTH_MAX];
};

/* Below the open directory ROOT_FD, which is closed; never into another file system, whose content
 * may be on a disk. EMPTY is room to work in. False where something is left. */
bool empty_tree(struct empty *empty, int root_fd, bool links);
