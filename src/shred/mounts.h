/* SPDX-License-Identifier: Apache-2.0 */
/* What is mounted where PID 1 lives, and what a shred does with it:
 *
 *	on a volume of ours         its dirty pages fail (syncfs(2)), then it is detached: nobody has
 *	                            anything open there any more, and all its pages go with it
 *	overlay above a volume      its dirty pages fail; the root stays, and so do pages of it
 *	tmpfs and its like          emptied; detached where that is not allowed
 *	anything else               left alone: what it has written is not ours to lose
 *
 * Looks up mounts when it is time, since a descriptor held on one would keep it from being
 * unmounted: opens /proc/1/mountinfo, /proc/1/root and the roots of the first three kinds, whose
 * disks are the error target by then. Allocates nothing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shred/empty.h"
#include "shred/workers.h"

enum mount_kind { MOUNT_FOREIGN, MOUNT_MEMORY, MOUNT_DEVICES, MOUNT_VOLUME, MOUNT_OVERLAY };

struct mount_entry {
	enum mount_kind kind;
	dev_t device;
	char *path;	    /* unescaped, absolute */
	const char *volume; /* of MOUNT_VOLUME; until the next one is parsed */
};

#define MOUNTS_TEXT_SIZE   65536
#define MOUNTS_VOLUMES_MAX 64
#define MOUNTS_THREADS	   4

struct mounts {
	int proc_fd, sys_fd;
	/* Whether I/O on what VOLUME lies on fails at once. */
	bool (*fails)(void *argument, const char *volume);
	/* Whether what lies on volume DEVICE is mounted still, be it out of our sight. */
	bool (*is_held)(void *argument, dev_t device);
	void *argument;
	struct empty empty;
	char text[MOUNTS_TEXT_SIZE];
	char uuid[160];
	/* A detach sleeps more than it works, so volumes are detached side by side. */
	struct mounts_thread {
		struct worker worker;
		struct mounts *mounts;
	} threads[MOUNTS_THREADS];
	struct mount_entry volumes[MOUNTS_VOLUMES_MAX];
	unsigned n_volumes;
	bool overlay;	  /* there is one above a volume */
	atomic_uint next; /* of .volumes, to be taken by a thread */
	atomic_bool left; /* one could not be detached */
};

/* Starts the threads of this process. 0 or negative errno. */
int mounts_start(struct mounts *mounts, int done_fd);

/* Reads one line of /proc/PID/mountinfo (proc(5)), without its newline; LINE is cut up. The volume
 * is looked up below sys_fd. False where it is not of the form. */
bool mount_entry_parse(struct mounts *mounts, char *line, struct mount_entry *ret_entry);

/* All of the above, but that volumes are still on their way. False where something could not be
 * looked at, or something is left. Changes the working directory of the process. */
bool mounts_clear(struct mounts *mounts);
/* Whether a thread is still at a volume. */
bool mounts_are_busy(struct mounts *mounts);
/* Once none is: whether a file system on a volume is there still, which has not given back its pages:
 * that of an overlay, or one whose mount has a copy in a namespace of a process that lives. */
bool mounts_hold(const struct mounts *mounts);
