/* SPDX-License-Identifier: Apache-2.0 */
/* What goes on a fresh volume: a file system, a swap header, nothing. */
#pragma once

#include <sys/types.h>

#include "disks/reason.h"
#include "disks/volume.h"

struct owner {
	uid_t uid;
	gid_t gid;
	mode_t mode;
};

/* Resolves Owner=, Group= and Mode=: numbers, or names of /etc/passwd and /etc/group. */
int owner_resolve(const struct volume_config *config, struct owner *ret_owner,
		  char reason[static REASON_SIZE]);

/* Makes it on the volume's map, of BYTES, the root directory of a file system with owner, group and mode. */
int content_make(const struct volume_config *config, uint64_t bytes, const struct owner *owner,
		 char reason[static REASON_SIZE]);

/* Has the file system on the volume's map, mounted or not, take up all of it. Swap and raw: nothing. */
int content_grow(const struct volume_config *config, char reason[static REASON_SIZE]);

/* Makes the swap header alone, for BYTES of the volume. */
int content_swap(const struct volume_config *config, uint64_t bytes,
		 char reason[static REASON_SIZE]);

/* A mount of the block device PATH that is in no directory tree: no one else ever sees it, and it
 * ends with its descriptor. Where the device is mounted already it is the same file system. */
int mount_detached(const char *type, const char *path, int *ret_fd);
