/* SPDX-License-Identifier: Apache-2.0 */
/* Step 4 of a shred: what the disks held in the clear, and RAM still does. With init_on_free=1 the
 * kernel zeroes each page that is given back; these are the parts that make it give them back:
 *
 *	processes   all killed but PID 1 and ours, and waited for      groups.h
 *	files       dirty pages failed, file systems detached, memory  mounts.h, sysv.h
 *	            file systems emptied
 *	caches      what processors hold back of pages (drain.h); drop_caches only where a file
 *	            system on a volume is mounted still, as below an overlay: it sweeps the caches
 *	            of all others too, and to zero what that frees took longer than all the rest
 *
 * Where a part does not end in its share of the time the next one begins beside it. What does not end
 * in the time of the step is left behind with its thread.
 * PID 1, buffers of the kernel and pages in flight are out of its reach. It does to a machine what
 * the power switch does, so it happens only where that one is armed. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "shred/dm.h"
#include "shred/groups.h"
#include "shred/mounts.h"
#include "shred/shared.h"
#include "shred/workers.h"

enum plaintext_part { PLAINTEXT_PROCESSES, PLAINTEXT_FILES, PLAINTEXT_CACHES, PLAINTEXT_PART__MAX };

struct plaintext {
	int caches_fd; /* -1: the kernel has no such file */
	int dm_fd;
	struct shared *shared;
	struct dm_buffer buffer; /* of the last part */
	struct groups groups;
	struct mounts mounts;
	struct plaintext_work {
		struct worker worker;
		struct plaintext *plaintext;
		bool begun;
		uint64_t start_ns, done_ns; /* done: 0 as long as it is not */
		atomic_bool ok;
	} work[PLAINTEXT_PART__MAX];
	bool files_over;	   /* when the last part began */
	uint64_t begin_ns, end_ns; /* begin: 0: nothing is under way */
};

/* In zeroed memory. Nothing is opened: every part would fail. */
void plaintext_init(struct plaintext *plaintext);
/* Opens what lasts: for both processes. PROC_FD and SYS_FD are /proc and /sys, DM_FD
 * /dev/mapper/control. */
void plaintext_open(struct plaintext *plaintext, int proc_fd, int sys_fd, int dm_fd,
		    struct shared *shared);
/* Starts the threads of this process. 0 or negative errno. */
int plaintext_start(struct plaintext *plaintext, int done_fd);

/* Begins with the first part. END_NS, which is later: when all of it is given up. */
void plaintext_begin(struct plaintext *plaintext, uint64_t now_ns, uint64_t end_ns);
/* Goes on as far as it can at NOW. True when every part is over, or the time of all is. */
bool plaintext_run(struct plaintext *plaintext, uint64_t now_ns);
/* When plaintext_run() is due; LEASE_NEVER where nothing is. */
uint64_t plaintext_next(const struct plaintext *plaintext);
/* Whether every part has done all of its work. */
bool plaintext_is_gone(struct plaintext *plaintext);

/* "processes 31 ms, files 8 ms, caches 102 ms": for the console; "left" beside a part that has not
 * done all of its work, or not in its time. */
void plaintext_print(struct plaintext *plaintext, char *text, size_t size);

/* Ends agent and watchdog, whom the receipt needed, and waits for it, PLAINTEXT_FINISH_MS at most: what
 * their sockets still send is sent then. Linux 6.1's virtio_net never returns from sending a packet
 * once a power-off has shut its device down, and the power-off stands still with it. */
#define PLAINTEXT_FINISH_MS 200
void plaintext_finish(struct plaintext *plaintext);
