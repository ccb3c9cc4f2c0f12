/* SPDX-License-Identifier: Apache-2.0 */
/* Carrying out one volume of a plan, and undoing it.
 *
 *	/dev/mapper/emberlock-NAME    linear or striped, EMBERLOCK-VOLUME-NAME: file system, swap, raw
 *	├── emberlock-NAME-s0         dm-crypt, plain, a key of its own; udev leaves it alone
 *	└── emberlock-NAME-s1         dm-crypt, plain, another key
 *	    └── /dev/vdb              the disk, or a part of it, or one of several; its queue bounded
 *
 * The file READY_DIRECTORY/emberlock-NAME (the dm name, which a udev rule has at hand) exists while
 * the volume is usable. It holds lines for IMPORT{file}: EMBERLOCK_READY=1, and for a raw volume
 * also EMBERLOCK_OWNER=, EMBERLOCK_GROUP= (numbers) and EMBERLOCK_MODE= (octal), which the rule
 * applies to the device node at every event.
 *
 * libdevmapper is not thread-safe, and keys pass through the thread's keyring: volume_map() runs in a
 * worker process that has called process_lock(). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/config.h"
#include "core/plan.h"

#define READY_DIRECTORY "/run/emberlock/ready"

/* What a volume takes its time for, in turn. */
enum volume_step {
	VOLUME_STEP_DISK,     /* looking at the disks again, bounding their queues, claiming them */
	VOLUME_STEP_SEGMENTS, /* their maps, and zeroes through these */
	VOLUME_STEP_CONTENT,  /* the map above, and what goes on it */
	VOLUME_STEP_UDEV,     /* behind which mounts no longer wait */
	VOLUME_STEP__MAX
};

/* In a worker, before it closes descriptors that are not its own: libdevmapper's is one of them, where
 * its parent has used that library, and is opened anew when it is needed. */
void volume_worker_begin(void);

/* What all workers of an agent go through, so that one of them loads the first table of a boot alone; for
 * .gate_fd of their jobs. 0 or negative errno. */
int volume_gate_new(int *ret_fd);

struct volume_job {
	const struct volume_config *config;
	const struct disk_facts *disks; /* as the plan saw them; refused where one has changed */
	const uint32_t *chosen;		/* indices into .disks of those of this volume */
	uint32_t n_disks;
	const struct plan_segment *segments; /* the volume's own: plan.segments + first_segment */
	uint32_t n_segments;
	uint32_t n_mapped; /* of them, those that exist already: growth makes the others */
	uint64_t bytes;	   /* of a swap area that is made again; 0: all of the volume */
	int boot_key_fd;   /* the keeper's descriptor; stays the caller's */
	bool has_share;
	struct bind_share share; /* of this boot, verified: for Bind=yes */
	int gate_fd;		 /* volume_gate_new()'s, likewise; -1: none */
	uint8_t boot_id[BOOT_ID_SIZE];
	uint64_t instance;			/* never used twice in a boot for one name */
	uint32_t queue_requests, queue_max_kib; /* agent.conf's; the volume file's go first */
};

/* Whether the volume shares its disks with other maps of ours. */
bool volume_job_shares(const struct volume_job *job);

/* Does all of it: bounds the queues, claims the disks, makes the segments, whose tables name
 * their keys in a keyring, zeroes head and tail of each, makes the volume's map, its file system or swap
 * header, owner, group and mode, the ready file, and tells udev. On an error everything of ours is
 * undone (what was on the disk is not) and REASON says, in one line that names volume, disk and
 * setting, why; *ret_left is whether maps of the volume's names may exist still, with their keys.
 * 0, and how long each step took; or negative errno. */
int volume_map(const struct volume_job *job, char reason[static 256], bool *ret_left,
	       uint32_t ret_ms[static VOLUME_STEP__MAX]);

/* Grows a volume that is ready: makes the segments behind .n_mapped, has the volume's map end behind
 * them, in one step and under I/O, and grows the file system, mounted or not. 0; or negative errno
 * with REASON. *RET_LEFT: the new segments may exist still; volume_growth_look() tells how far it
 * came. With no segment to make, only the file system is grown. */
int volume_grow(const struct volume_job *job, char reason[static 256], bool *ret_left);

/* Of a growth that came to no known end: *RET_N is how many segments the volume's live map has. */
int volume_growth_look(const char *volume, uint32_t *ret_n);

/* Removes the segments FIRST to N - 1, which the volume's live map does not have. 0 or negative
 * errno. */
int volume_growth_undo(const char *volume, uint32_t first, uint32_t n);

/* Makes the swap area of the volume again with .bytes; where it is in use it is swapped off before
 * and on again after, with its priority. 0; or negative errno with REASON: as it was where it cannot be
 * swapped off. */
int volume_swap_resize(const struct volume_job *job, char reason[static 256]);

/* Cleans up after a volume whose disk is gone: no ready file; all its I/O fails, what is under way
 * too; its mounts are detached; its segments, and so their keys, are removed. The volume's map, which
 * lies on nothing then, goes with its last opener. All of it may be repeated. 0 or the first error. */
int volume_unplug(const char *name, unsigned n_segments);

/* Removes map, ready file and segments 0 to N_SEGMENTS - 1, as far as there are any and they are
 * ours by their UUID. For a half-made volume. 0; -EBUSY where it is ready and in use: nothing is
 * changed then; -EAGAIN where it is not ready and yet busy after 5 s of trying; or the first error.
 */
int volume_unmap(const char *name, unsigned n_segments);

/* For a volume of which it is not known whether volume_map() came to its end: 0 where it did (the
 * ready file is the last thing it makes), and udev is told again; -ENOENT where it did not; or
 * another negative errno. Uses libdevmapper. */
int volume_ready_again(const char *volume);

/* A volume of which the kernel holds at least one map. */
struct volume_leftover {
	char name[VOLUME_NAME_MAX + 1];
	bool mapped;	     /* the volume's own map exists */
	uint32_t n_segments; /* the highest segment number + 1; 0 none */
};

/* Lists all of ours by their UUIDs, sorted by name. 0; -E2BIG; or negative errno. */
int volumes_leftover(struct volume_leftover *leftovers, size_t max, size_t *ret_n);
