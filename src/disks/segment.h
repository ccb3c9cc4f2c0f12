/* SPDX-License-Identifier: Apache-2.0 */
/* One segment: a dm-crypt map with a key of its own over a range of a disk. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "disks/maps.h"
#include "disks/reason.h"
#include "disks/volume.h"

/* Makes segment NUMBER of the job: derives its key, has the kernel take it from a keyring, looks
 * whether the table names it only and the disk is shared with no map but ours, and zeroes head and
 * tail through it. No key byte is left in this process, on an error neither. On an error the map may
 * exist: segment_unmap(). -ENOKEY for a boot key that is all zero. */
int segment_map(const struct volume_job *job, const uint8_t boot_key[static BOOT_KEY_SIZE],
		uint32_t number, char reason[static REASON_SIZE]);

/* 0 also where it does not exist. */
int segment_unmap(const char *volume, uint32_t number);

/* The dm-crypt table of segment NUMBER of the job: AES-256-XTS on the planned disk, by its number. IVs
 * are those of cryptsetup's plain mode: they count sectors of 512 bytes from where the segment begins.
 * A suspend or a remove waits for what is in the workqueues: there are none. */
void segment_table_make(const struct volume_job *job, uint32_t number,
			char table[static MAP_TABLE_SIZE]);

/* What a dm-crypt table line says. */
struct segment_table {
	bool referenced;	 /* it names a key in a keyring (":64:logon:…") and holds none */
	unsigned major, minor;	 /* the device that it lies on */
	uint64_t offset_sectors; /* where it begins there */
};

/* All zero for a table that cannot be understood. */
void segment_table_look(const char *table, struct segment_table *ret_look);

/* The same of segment NUMBER as the kernel has it. -ENXIO where there is none. */
int segment_look(const char *volume, uint32_t number, struct segment_table *ret_look,
		 uint64_t *ret_length_sectors);

/* The segments 0 to N - 1 of VOLUME as the kernel has them. segment.disk of each is an index into
 * MAJORS and MINORS, of which there are *RET_N_DISKS, in the order in which they are met. -ENXIO
 * where one is missing, -E2BIG where they lie on more than VOLUME_DISKS_MAX disks. */
int segments_look(const char *volume, uint32_t n, struct plan_segment *segments,
		  unsigned majors[static VOLUME_DISKS_MAX],
		  unsigned minors[static VOLUME_DISKS_MAX], uint32_t *ret_n_disks);

/* "CRYPT-PLAIN-emberlock-NAME-sN": as libcryptsetup would name it, which others go by: lsblk(8),
 * systemd's udev rules. */
void segment_dm_uuid(char to[static DM_NAME_MAX + 1], const char *volume, uint32_t number);
