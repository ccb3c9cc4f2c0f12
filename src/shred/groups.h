/* SPDX-License-Identifier: Apache-2.0 */
/* Ends every process but PID 1 and ours, by control groups (cgroups(7), version 2). What is below
 * the group that this process is in, or a group of ours, is spared:
 *
 *	/sys/fs/cgroup       pids.max = 0 in each group here: nothing new, also from PID 1
 *	├── init.scope       PID 1: a kill would pass it by
 *	├── system.slice
 *	│   ├── emberlock-keeper.service       spared, as the group of this process
 *	│   ├── emberlock-agent.service        spared until groups_kill_spared()
 *	│   ├── emberlock-watchdog.service     the same
 *	│   └── ...                            cgroup.kill = 1
 *	└── ...              cgroup.kill = 1
 *
 * Groups come and go during a boot, so they are looked up when it is time: in cgroupfs, which is on
 * no disk. Allocates nothing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define GROUPS_PATH_MAX 256

struct groups {
	int proc_fd, sys_fd; /* /proc and /sys; -1: nothing is done */
	char own[GROUPS_PATH_MAX];
	/* one walk at a time */
	char path[GROUPS_PATH_MAX];
	_Alignas(8) char entries[4096];
};

/* No more forks anywhere, then a kill of every group that is not spared. False where there is no
 * such tree, or one group refused. Waits for the kernel's lock on groups. */
bool groups_kill(struct groups *groups);

/* Waits until each of them is empty: the memory of its processes and what they had open has been
 * given back then. Until END_NS (CLOCK_BOOTTIME); false where one still is not. */
bool groups_wait(struct groups *groups, uint64_t end_ns);

/* Agent and watchdog, last of all; waits for them as groups_wait() does. */
bool groups_kill_spared(struct groups *groups, uint64_t end_ns);
