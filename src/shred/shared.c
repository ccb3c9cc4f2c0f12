/* SPDX-License-Identifier: Apache-2.0 */
/* What the keeper's two processes share. */
#include "shred/shared.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "core/lease.h"
#include "core/message.h"

int shared_new(struct shared **ret_shared)
{
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (shared == MAP_FAILED)
		return -errno;
	atomic_store(&shared->end_ns, LEASE_NEVER);
	atomic_store(&shared->ending_ns, LEASE_NEVER);
	atomic_store(&shared->pending_slot, -1);
	*ret_shared = shared;
	return 0;
}

uint64_t shared_due(struct shared *shared)
{
	uint64_t end_ns = atomic_load(&shared->end_ns);
	uint64_t ending_ns = atomic_load(&shared->ending_ns);

	return end_ns < ending_ns ? end_ns : ending_ns;
}

static bool is_named(struct shared_map *map, const char *name)
{
	return atomic_load(&map->used) && strcmp(map->name, name) == 0;
}

int shared_map_add(struct shared *shared, const char *name, const char *volume, uint32_t segment,
		   uint64_t length_sectors, unsigned *ret_slot)
{
	struct shared_map *map;
	unsigned slot = SEGMENTS_MAX;

	for (unsigned i = 0; i < SEGMENTS_MAX; i++) {
		if (is_named(&shared->maps[i], name))
			return -EEXIST;
		if (slot == SEGMENTS_MAX && !atomic_load(&shared->maps[i].used))
			slot = i;
	}
	if (slot == SEGMENTS_MAX)
		return -ENOSPC;

	map = &shared->maps[slot];
	memset(map->name, 0, sizeof(map->name));
	memset(map->volume, 0, sizeof(map->volume));
	memcpy(map->name, name, strnlen(name, DM_NAME_MAX));
	memcpy(map->volume, volume, strnlen(volume, VOLUME_NAME_MAX));
	map->segment = segment;
	map->length_sectors = length_sectors;
	atomic_store(&map->fails, 0);
	atomic_store(&map->fate, SEGMENT_UNWIPED);
	atomic_store(&map->wiped_us, 0);
	*ret_slot = slot;
	return 0;
}

void shared_map_publish(struct shared *shared, unsigned slot)
{
	atomic_store(&shared->maps[slot].used, 1);
}

int shared_map_remove(struct shared *shared, const char *name)
{
	for (unsigned i = 0; i < SEGMENTS_MAX; i++) {
		if (is_named(&shared->maps[i], name)) {
			atomic_store(&shared->maps[i].used, 0);
			return 0;
		}
	}
	return -ENOENT;
}

unsigned shared_map_count(struct shared *shared)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SEGMENTS_MAX; i++)
		n += atomic_load(&shared->maps[i].used) != 0;
	return n;
}

bool peer_is_stuck(struct peer_watch *watch, unsigned long beat)
{
	watch->missed = beat == watch->beat ? watch->missed + 1 : 0;
	watch->beat = beat;
	return watch->missed >= PEER_MISSED_MAX;
}
