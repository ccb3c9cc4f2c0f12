/* SPDX-License-Identifier: Apache-2.0 */
/* One segment: a dm-crypt table that names its key, and never holds it. */
#include "disks/segment.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "disks/claim.h"
#include "disks/ends.h"
#include "disks/gate.h"
#include "disks/maps.h"
#include "disks/parts.h"
#include "keys/bind.h"
#include "keys/derive.h"
#include "keys/hygiene.h"
#include "keys/keyring.h"

/* As dm-crypt writes it in a table: length in bytes, type, description. */
#define KEY_REFERENCE ":64:logon:" KEYRING_PREFIX
_Static_assert(SEGMENT_KEY_SIZE == 64, "KEY_REFERENCE states the size");

void segment_dm_uuid(char to[static DM_NAME_MAX + 1], const char *volume, uint32_t number)
{
	char name[DM_NAME_MAX + 1];

	segment_dm_name(name, volume, number);
	(void)snprintf(to, DM_NAME_MAX + 1, SEGMENT_UUID_PREFIX "%.100s", name);
}

void segment_table_make(const struct volume_job *job, uint32_t number,
			char table[static MAP_TABLE_SIZE])
{
	const struct plan_segment *segment = &job->segments[number];
	const struct disk_facts *disk = &job->disks[segment->disk];
	bool discard = job->config->discard != DISCARD_NO;
	char name[DM_NAME_MAX + 1];

	segment_dm_name(name, job->config->name, number);
	(void)snprintf(table, MAP_TABLE_SIZE,
		       "aes-xts-plain64 " KEY_REFERENCE "%s 0 %u:%u %" PRIu64
		       " %d no_read_workqueue no_write_workqueue sector_size:%u%s",
		       name, disk->major, disk->minor, segment->offset_sectors, discard ? 4 : 3,
		       CRYPT_SECTOR_SIZE, discard ? " allow_discards" : "");
}

/* Again where another program looks at the disk just now. */
static int map_claiming(const struct volume_job *job, uint32_t number, const char *name)
{
	char table[MAP_TABLE_SIZE], uuid[DM_NAME_MAX + 1];

	segment_table_make(job, number, table);
	segment_dm_uuid(uuid, job->config->name, number);
	for (int i = 0; i < CLAIM_TRIES; i++) {
		int r = map_create_crypt(name, uuid, job->segments[number].length_sectors, table);

		if (r != -EBUSY)
			return r;
		claim_wait();
	}
	return -EBUSY;
}

/* The kernel takes the key from the thread's keyring while the table is loaded. So no table, no ioctl
 * and no heap holds it, whoever reads the table (facts: a hex key in a table leaves copies at each
 * DM_TABLE_STATUS). */
static int activate(const struct volume_job *job, uint32_t number, const char *name,
		    const uint8_t key[static SEGMENT_KEY_SIZE])
{
	int32_t serial;
	int r, removed;

	r = keyring_add(name, key, SEGMENT_KEY_SIZE, &serial);
	if (r < 0)
		return r;
	r = map_claiming(job, number, name);
	removed = keyring_remove(serial);
	return r < 0 ? r : removed;
}

void segment_table_look(const char *table, struct segment_table *ret_look)
{
	/* <cipher> <key> <iv offset> <device> <offset> [options] */
	static const char reference[] = KEY_REFERENCE;
	const char *key = strchr(table, ' ');
	unsigned device_major, device_minor;
	uint64_t offset;

	*ret_look = (struct segment_table){.referenced = false};
	if (!key)
		return;
	key++;
	if (sscanf(key, "%*s %*u %u:%u %" SCNu64, &device_major, &device_minor, &offset) != 3)
		return;
	*ret_look = (struct segment_table){
		.referenced = strncmp(key, reference, strlen(reference)) == 0,
		.major = device_major,
		.minor = device_minor,
		.offset_sectors = offset,
	};
}

int segment_look(const char *volume, uint32_t number, struct segment_table *ret_look,
		 uint64_t *ret_length_sectors)
{
	char name[DM_NAME_MAX + 1], table[MAP_TABLE_SIZE];
	int r;

	segment_dm_name(name, volume, number);
	r = map_table(name, "crypt", table, ret_length_sectors);
	if (r < 0)
		return r;
	segment_table_look(table, ret_look);
	bytes_wipe(table, sizeof(table));
	return 0;
}

int segments_look(const char *volume, uint32_t n, struct plan_segment *segments,
		  unsigned majors[static VOLUME_DISKS_MAX],
		  unsigned minors[static VOLUME_DISKS_MAX], uint32_t *ret_n_disks)
{
	uint32_t n_disks = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct segment_table look;
		uint32_t disk = 0;
		int r;

		r = segment_look(volume, i, &look, &segments[i].length_sectors);
		if (r < 0)
			return r;
		while (disk < n_disks && (majors[disk] != look.major || minors[disk] != look.minor))
			disk++;
		if (disk == VOLUME_DISKS_MAX)
			return -E2BIG;
		if (disk == n_disks) {
			majors[disk] = look.major;
			minors[disk] = look.minor;
			n_disks++;
		}
		segments[i].disk = disk;
		segments[i].offset_sectors = look.offset_sectors;
	}
	*ret_n_disks = n_disks;
	return 0;
}

/* Looks, and trusts no return code: the table names this segment's key and the planned disk. */
static int look(const struct volume_job *job, uint32_t number, char reason[static REASON_SIZE])
{
	const struct disk_facts *disk = &job->disks[job->segments[number].disk];
	const char *volume = job->config->name;
	struct segment_table table;
	uint64_t length;
	int r;

	r = segment_look(volume, number, &table, &length);
	if (r < 0)
		return reason_errno(reason, r, "volume %s: the table of segment %u", volume,
				    number);
	if (!table.referenced)
		return reason_set(reason, -EBADMSG,
				  "volume %s: the table of segment %u holds its key", volume,
				  number);
	if (table.major != disk->major || table.minor != disk->minor)
		return reason_set(reason, -ENODEV, "volume %s: %s is no longer the planned disk",
				  volume, disk->path);
	return 0;
}

/* Device-mapper takes a disk for itself as a whole, also where somebody else has a map on it. What the
 * disk carried is lost only behind this. */
static int look_alone(const struct volume_job *job, uint32_t number,
		      char reason[static REASON_SIZE])
{
	const struct disk_facts *disk = &job->disks[job->segments[number].disk];
	struct disk_facts now = {.major = disk->major, .minor = disk->minor};

	for (uint32_t i = job->n_mapped; i < number; i++)
		if (job->segments[i].disk == job->segments[number].disk)
			return 0;
	parts_read(&now);
	if (!now.ours)
		return reason_set(reason, -EBUSY,
				  "volume %s: disk %s is in use by somebody else too",
				  job->config->name, disk->path);
	return 0;
}

static int key_make(const struct volume_job *job, const uint8_t boot_key[static BOOT_KEY_SIZE],
		    uint32_t number, uint8_t ret_key[static SEGMENT_KEY_SIZE])
{
	uint8_t share[BIND_SHARE_SIZE];
	int r;

	if (!job->config->bind)
		return segment_key_derive(boot_key, job->boot_id, job->config->name, job->instance,
					  number, ret_key);
	if (!job->has_share)
		return -ENOKEY;
	r = bind_open(boot_key, job->boot_id, &job->share, share);
	r = r < 0 ? r
		  : bound_segment_key_derive(boot_key, share, job->boot_id, job->config->name,
					     job->instance, number, ret_key);
	bytes_wipe(share, sizeof(share));
	return r;
}

/* All that happens while key bytes are in this process. */
static int map_with_key(const struct volume_job *job, const uint8_t boot_key[static BOOT_KEY_SIZE],
			uint32_t number, const char *name, char reason[static REASON_SIZE])
{
	uint8_t key[SEGMENT_KEY_SIZE];
	int r;

	r = key_make(job, boot_key, number, key);
	/* Looked at when it has been read: the keeper may wipe it at any time, and a key that is
	 * derived from zeroes is anybody's. */
	if (r == 0 && bytes_are_zero(boot_key, BOOT_KEY_SIZE))
		r = -ENOKEY;
	if (r < 0)
		(void)reason_errno(reason, r, "volume %s: the key of segment %u%s",
				   job->config->name, number,
				   r == -EBADMSG ? " (Bind=yes: the manager's share)" : "");
	if (r == 0) {
		r = activate(job, number, name, key);
		if (r < 0)
			(void)reason_errno(reason, r, "volume %s: segment %u on disk %s",
					   job->config->name, number,
					   job->disks[job->segments[number].disk].path);
	}
	bytes_wipe(key, sizeof(key));
	registers_scrub();
	return r;
}

int segment_map(const struct volume_job *job, const uint8_t boot_key[static BOOT_KEY_SIZE],
		uint32_t number, char reason[static REASON_SIZE])
{
	char name[DM_NAME_MAX + 1], node[MAP_NODE_SIZE];
	sigset_t all, before;
	int r;

	segment_dm_name(name, job->config->name, number);
	gate_pass(job->gate_fd);
	/* A signal's frame would save registers, and so key bytes, on the stack. */
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_BLOCK, &all, &before);
	r = map_with_key(job, boot_key, number, name, reason);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	gate_open(job->gate_fd);
	if (r < 0)
		return r;

	r = look(job, number, reason);
	r = r < 0 ? r : look_alone(job, number, reason);
	if (r < 0)
		return r;
	r = map_node(name, node);
	r = r < 0 ? r : ends_zero(node, job->segments[number].length_sectors);
	if (r < 0)
		return reason_errno(reason, r, "volume %s: zeroing the ends of %s",
				    job->config->name, name);
	return 0;
}

int segment_unmap(const char *volume, uint32_t number)
{
	char name[DM_NAME_MAX + 1], uuid[DM_NAME_MAX + 1];

	segment_dm_name(name, volume, number);
	segment_dm_uuid(uuid, volume, number);
	return map_remove(name, uuid);
}
