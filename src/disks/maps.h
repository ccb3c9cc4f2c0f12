/* SPDX-License-Identifier: Apache-2.0 */
/* Device-mapper maps, as far as this project needs them: a narrow face on libdevmapper. All: 0 or
 * negative errno.
 *
 * What is made here is there at once, as map_node(); its name below /dev/mapper is udev's, or where there
 * is none disks/ready.h's, and nobody waits for it but that: the event that says that a volume is ready
 * comes after the others, as udev takes the events of one device in their order, also where a name is
 * made again. The library makes no name either, as dm_task_update_nodes() is not called. So no udev
 * cookie is needed: each is a semaphore that outlives who is killed while waiting, and costs two processes
 * of dmsetup(8). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/limits.h"

#define MAP_TABLE_SIZE 512
#define MAP_UUID_SIZE  129 /* DM_UUID_LEN of <linux/dm-ioctl.h> */

#define VOLUME_UUID_PREFIX  "EMBERLOCK-VOLUME-"
#define SEGMENT_UUID_PREFIX "CRYPT-PLAIN-"

struct map_info {
	char uuid[MAP_UUID_SIZE];
	unsigned major, minor;
	bool loaded; /* a table that is not live yet */
};

/* A stretch of a map: all of one device, or all of several, which have one length, in stripes. */
struct map_stretch {
	uint64_t length_sectors; /* of the stretch: of all its devices together */
	uint32_t n_devices;
	uint32_t stripe_sectors; /* where there are several */
	struct {
		unsigned major, minor;
	} devices[VOLUME_DISKS_MAX];
};

/* -ENXIO where there is no map NAME. */
int map_info(const char *name, struct map_info *ret_info);

#define MAP_NODE_SIZE 32
/* "/dev/dm-MINOR", which devtmpfs has as long as the map exists. -ENXIO where there is no map NAME. */
int map_node(const char *name, char node[static MAP_NODE_SIZE]);

/* The only line of the live table, after "START LENGTH TYPE ". The buffers of library and kernel
 * are wiped (a table may hold a key); TABLE is the caller's to wipe. -EBADMSG where there is not
 * exactly one line of type TYPE. */
int map_table(const char *name, const char *type, char table[static MAP_TABLE_SIZE],
	      uint64_t *ret_length_sectors);

/* Makes NAME of STRETCHES, one after the other. -EBUSY where the name or UUID exists. */
int map_create(const char *name, const char *uuid, const struct map_stretch *stretches, size_t n);

/* Makes NAME of one dm-crypt target, whose TABLE holds no key. -EBUSY also where somebody has the device below to himself. */
int map_create_crypt(const char *name, const char *uuid, uint64_t length_sectors,
		     const char *table);

/* Gives NAME, which exists, another table, in one step: what is under way goes on by the new one.
 * Neither flushes nor freezes a file system. */
int map_change(const char *name, const struct map_stretch *stretches, size_t n);
/* Forgets a table that map_change() loaded and did not come to make live. */
int map_clear(const char *name);
/* How many devices the live table lies on. */
int map_devices(const char *name, uint32_t *ret_n);

/* Closes what libdevmapper keeps open between calls. */
void maps_release(void);

/* Removes NAME if its UUID is UUID; tries for about 5 s while something (udev) has it open. 0 where
 * there is no such map; -EEXIST where it is not ours; -EBUSY. */
int map_remove(const char *name, const char *uuid);

/* Has all I/O of NAME fail from now on, what is under way too; it lies on no device then. */
int map_fail(const char *name, uint64_t length_sectors);
/* As map_remove(), but where it is open it goes with its last opener: 0. */
int map_remove_later(const char *name, const char *uuid);

/* Calls FOUND for each map of the kernel, until it returns below 0. */
int maps_each(int (*found)(const char *name, void *userdata), void *userdata);
