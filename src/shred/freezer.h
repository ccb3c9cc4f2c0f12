/* SPDX-License-Identifier: Apache-2.0 */
/* Stops PID 1 for the time of a shred. What it had in swap is an I/O error from step 2 on: it would
 * die of the first such page, and the kernel would panic and reset before the power-off. Nor can a
 * frozen PID 1 restart what a shred ends. */
#pragma once

#include "shred/workers.h"

/* systemd keeps PID 1, and nothing else, in this group (systemd.special(7)). */
#define FREEZER_GROUP "init.scope"
#define FREEZER_FILE  "fs/cgroup/" FREEZER_GROUP "/cgroup.freeze" /* below /sys */

struct freezer {
	int fd; /* -1: there is no such group, and nothing is done */
	struct worker worker;
};

/* Opens the file, unless it is open, there is none yet (in an initramfs), or this process itself is
 * in that group. PROC_FD and SYS_FD are /proc and /sys: paths from / are not those of the real root
 * in a keeper that was born in an initramfs. */
void freezer_open(struct freezer *freezer, int proc_fd, int sys_fd);
/* In each process of its own: after the fork. 0 or negative errno. */
int freezer_start(struct freezer *freezer, int done_fd);

/* Asks for it and does not wait: the kernel's lock on groups may be held. */
void freezer_freeze(struct freezer *freezer);
void freezer_thaw(struct freezer *freezer);
/* Whether what was asked for last is not done yet: the done_fd of freezer_start() says when. */
bool freezer_is_busy(struct freezer *freezer);
