/* SPDX-License-Identifier: Apache-2.0 */
/* One segment: a dm-crypt map with a key of its own over a range of a disk. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "disks/reason.h"
#include "disks/volume.h"

/* Makes segment NUMBER of the job: derives its key, activates it, moves the key to a keyring
 * reference, looks whether that is so, and zeroes head and tail through it. No key byte is left in
 * this process, on an error neither. On an error the map may exist: segment_unmap(). -ENOKEY for a
 * boot key that is all zero. COOKIE: see disks/maps.h. */
int segment_map(const struct volume_job *job, const uint8_t boot_key[static BOOT_KEY_SIZE],
		uint32_t number, uint32_t *cookie, char reason[static REASON_SIZE]);

/* 0 also where it does not exist. */
int segment_unmap(const char *volume, uint32_t number);

/* Whether a dm-crypt table line names a key in a keyring (":64:logon:…") and holds none, and the
 * device it lies on. *ret_referenced false for a table that cannot be understood, too. */
void segment_table_look(const char *table, bool *ret_referenced, unsigned *ret_major,
			unsigned *ret_minor);

/* "CRYPT-PLAIN-emberlock-NAME-sN": what libcryptsetup gives it. */
void segment_dm_uuid(char to[static DM_NAME_MAX + 1], const char *volume, uint32_t number);
