/* SPDX-License-Identifier: Apache-2.0 */
/* What the keeper's two processes share: a locked page range made before the fork. The primary
 * writes all but the twin's beat; once .owner is PROCESS_TWIN the twin writes and the primary
 * reads. Every word that the other acts on is atomic, and what it stands for is stored before it. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/limits.h"

enum process { PROCESS_NONE, PROCESS_PRIMARY, PROCESS_TWIN, PROCESS__MAX };

/* A segment's dm-crypt map. */
struct shared_map {
	atomic_uint used;  /* stored last when added, first when removed */
	atomic_uint fails; /* it is on the error target: what waits on it fails */
	atomic_uint fate;  /* enum segment_fate; SEGMENT_UNWIPED until a shred has found better */
	atomic_uint wiped_us; /* after the start of the shred */
	uint32_t segment;
	uint64_t length_sectors;
	char name[DM_NAME_MAX + 1];
	char volume[VOLUME_NAME_MAX + 1];
};

struct shared {
	atomic_uint started; /* the keeper has said READY=1; before, a death is a failed start */
	atomic_ulong beats[PROCESS__MAX]; /* each process counts up its own, once a second */
	_Atomic uint64_t end_ns; /* when the keys must end: the deadline, where expiry is shred */
	atomic_uint boot_key_held;
	/* the orderly end, once it has been announced */
	atomic_uint ending_verb;    /* enum power_verb */
	_Atomic uint64_t ending_ns; /* when the keeper makes it itself; LEASE_NEVER: none is */
	atomic_int pending_slot; /* of the MAP_ADD that the agent waits for; -1: none. Who sets it
				    back answers, be it the twin of a dead primary */
	/* the shred */
	atomic_uint owner;	   /* enum process: who carries it out; NONE: there is none */
	atomic_uint reason;	   /* enum reason */
	atomic_uint verb;	   /* enum power_verb: how it ends */
	_Atomic uint64_t start_ns; /* stored after reason and verb; 0: not yet */
	atomic_uint wiped;	   /* it is over and the machine stays on: power is not armed */
	struct shared_map maps[SEGMENTS_MAX];
};

/* The zeroed mapping, end_ns LEASE_NEVER, pending_slot -1. 0 or negative errno. */
int shared_new(struct shared **ret_shared);

/* When a shred is due by itself: the deadline, or the end of an orderly end; LEASE_NEVER. */
uint64_t shared_due(struct shared *shared);

/* Registers a map. -EEXIST where its name is there, -ENOSPC. A slot that was removed is used
 * again. The caller makes it count with shared_map_publish(), once its threads are there. */
int shared_map_add(struct shared *shared, const char *name, const char *volume, uint32_t segment,
		   uint64_t length_sectors, unsigned *ret_slot);
void shared_map_publish(struct shared *shared, unsigned slot);
/* -ENOENT where there is none. */
int shared_map_remove(struct shared *shared, const char *name);
unsigned shared_map_count(struct shared *shared);

/* Whether the peer has stopped beating: called once for each of one's own beats, so that time in
 * which this process did not run either (a suspended or starved machine) does not count. */
struct peer_watch {
	unsigned long beat;
	unsigned missed;
};
/* Many: an emulated or overcommitted machine starves one process for seconds and not the other. But
 * the watchdog of 30 s was petted up to 8.5 s before a primary stands still (a quarter of its time
 * and a beat), and a shred by the twin should be over before it resets the machine. */
#define PEER_MISSED_MAX 15
bool peer_is_stuck(struct peer_watch *watch, unsigned long beat);
