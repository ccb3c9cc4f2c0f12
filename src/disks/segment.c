/* SPDX-License-Identifier: Apache-2.0 */
/* One segment: libcryptsetup's plain mode, then the key out of the table. */
#include "disks/segment.h"

#include <errno.h>
#include <inttypes.h>
#include <libcryptsetup.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "disks/claim.h"
#include "disks/ends.h"
#include "disks/maps.h"
#include "keys/derive.h"
#include "keys/hygiene.h"
#include "keys/keyring.h"

/* As dm-crypt writes it in a table: length in bytes, type, description. */
#define KEY_REFERENCE ":64:logon:" KEYRING_PREFIX
_Static_assert(SEGMENT_KEY_SIZE == 64, "KEY_REFERENCE states the size");

/* A suspend or a remove waits for what is in the workqueues: none there. PRIVATE: udev shall not
 * probe what is not a volume yet. */
#define ACTIVATE_FLAGS                                                                             \
	(CRYPT_ACTIVATE_NO_READ_WORKQUEUE | CRYPT_ACTIVATE_NO_WRITE_WORKQUEUE |                    \
	 CRYPT_ACTIVATE_PRIVATE)

static void cleanup_crypt(struct crypt_device **device)
{
	crypt_free(*device);
}

/* The library's last error text; it never holds a key. */
static void log_keep(int level, const char *text, void *userdata)
{
	char *kept = userdata;

	if (level != CRYPT_LOG_ERROR)
		return;
	(void)snprintf(kept, REASON_SIZE, "%s", text);
	kept[strcspn(kept, "\n")] = '\0';
}

void segment_dm_uuid(char to[static DM_NAME_MAX + 1], const char *volume, uint32_t number)
{
	char name[DM_NAME_MAX + 1];

	segment_dm_name(name, volume, number);
	(void)snprintf(to, DM_NAME_MAX + 1, SEGMENT_UUID_PREFIX "%.100s", name);
}

/* Again where another program looks at the disk just now. */
static int activate_claiming(struct crypt_device *device, const char *name,
			     const uint8_t key[static SEGMENT_KEY_SIZE], uint32_t flags)
{
	for (int i = 0; i < CLAIM_TRIES; i++) {
		int r = crypt_activate_by_volume_key(device, name, (const char *)key,
						     SEGMENT_KEY_SIZE, flags);

		if (r != -EBUSY)
			return r;
		claim_wait();
	}
	return -EBUSY;
}

/* The first one on a disk claims it for device-mapper; the others share that claim. */
static bool is_shared(const struct volume_job *job, uint32_t number)
{
	if (volume_job_shares(job))
		return true;
	for (uint32_t i = 0; i < number; i++)
		if (job->segments[i].disk == job->segments[number].disk)
			return true;
	return false;
}

/* Plain mode, AES-256-XTS, the key in the table for now. */
static int activate(const struct volume_job *job, uint32_t number, const char *name,
		    const uint8_t key[static SEGMENT_KEY_SIZE], char reason[static REASON_SIZE])
{
	_cleanup_(cleanup_crypt) struct crypt_device *device = NULL;
	const struct plan_segment *segment = &job->segments[number];
	const char *path = job->disks[segment->disk].path;
	struct crypt_params_plain parameters = {
		.offset = segment->offset_sectors,
		.size = segment->length_sectors,
		.sector_size = CRYPT_SECTOR_SIZE,
	};
	uint32_t flags = ACTIVATE_FLAGS | (is_shared(job, number) ? CRYPT_ACTIVATE_SHARED : 0) |
			 (job->config->discard ? CRYPT_ACTIVATE_ALLOW_DISCARDS : 0);
	char text[REASON_SIZE] = "";
	int r;

	r = crypt_init(&device, path);
	if (r < 0)
		return reason_errno(reason, r, "volume %s: segment %u on disk %s",
				    job->config->name, number, path);
	crypt_set_log_callback(device, log_keep, text);
	r = crypt_format(device, CRYPT_PLAIN, "aes", "xts-plain64", NULL, NULL, SEGMENT_KEY_SIZE,
			 &parameters);
	if (r >= 0)
		r = activate_claiming(device, name, key, flags);
	if (r < 0)
		return reason_set(reason, r, "volume %s: segment %u on disk %s: %s",
				  job->config->name, number, path, text[0] ? text : strerror(-r));
	return 0;
}

/* Has the map take the same key again by reference: then no table, no ioctl and no heap holds it,
 * whoever reads the table (facts: a hex key in a table leaves copies at each DM_TABLE_STATUS). */
static int reference_key(const char *name, const uint8_t key[static SEGMENT_KEY_SIZE],
			 uint32_t *cookie)
{
	char message[KEYRING_DESCRIPTION + 32];
	int32_t serial;
	int r, removed;

	r = map_suspend(name);
	if (r < 0)
		return r;
	r = keyring_add(name, key, SEGMENT_KEY_SIZE, &serial);
	if (r < 0)
		return r;
	(void)snprintf(message, sizeof(message), "key set " KEY_REFERENCE "%s", name);
	r = map_message(name, message);
	removed = keyring_remove(serial);
	if (r < 0)
		return r;
	if (removed < 0)
		return removed;
	return map_resume_private(name, cookie);
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

/* All that happens while key bytes are in this process. */
static int map_with_key(const struct volume_job *job, const uint8_t boot_key[static BOOT_KEY_SIZE],
			uint32_t number, const char *name, uint32_t *cookie,
			char reason[static REASON_SIZE])
{
	uint8_t key[SEGMENT_KEY_SIZE];
	int r;

	r = segment_key_derive(boot_key, job->boot_id, job->config->name, job->instance, number,
			       key);
	/* Looked at when it has been read: the keeper may wipe it at any time, and a key that is
	 * derived from zeroes is anybody's. */
	if (r == 0 && bytes_are_zero(boot_key, BOOT_KEY_SIZE))
		r = -ENOKEY;
	if (r < 0)
		(void)reason_errno(reason, r, "volume %s: the key of segment %u", job->config->name,
				   number);
	if (r == 0)
		r = activate(job, number, name, key, reason);
	if (r == 0) {
		r = reference_key(name, key, cookie);
		if (r < 0)
			(void)reason_errno(reason, r, "volume %s: the key of %s into the keyring",
					   job->config->name, name);
	}
	bytes_wipe(key, sizeof(key));
	registers_scrub();
	return r;
}

int segment_map(const struct volume_job *job, const uint8_t boot_key[static BOOT_KEY_SIZE],
		uint32_t number, uint32_t *cookie, char reason[static REASON_SIZE])
{
	char name[DM_NAME_MAX + 1];
	sigset_t all, before;
	int r;

	segment_dm_name(name, job->config->name, number);
	/* A signal's frame would save registers, and so key bytes, on the stack. */
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_BLOCK, &all, &before);
	r = map_with_key(job, boot_key, number, name, cookie, reason);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	if (r < 0)
		return r;

	r = look(job, number, reason);
	if (r < 0)
		return r;
	r = ends_zero(name, job->segments[number].length_sectors);
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
