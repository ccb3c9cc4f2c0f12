/* SPDX-License-Identifier: Apache-2.0 */
/* Carrying out one volume of a plan, and undoing it. */
#include "disks/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "disks/claim.h"
#include "disks/content.h"
#include "disks/find.h"
#include "disks/maps.h"
#include "disks/queue.h"
#include "disks/ready.h"
#include "disks/segment.h"
#include "keys/secret.h"

static void volume_dm_uuid(char to[static DM_NAME_MAX + 1], const char *volume)
{
	(void)snprintf(to, DM_NAME_MAX + 1, VOLUME_UUID_PREFIX "%s", volume);
}

/* Between plan and now a disk may have been exchanged, or written on: what the plan allowed is
 * allowed for that disk only. */
static int disk_is_planned(const struct volume_job *job, char reason[static REASON_SIZE])
{
	const struct disk_facts *planned = job->disk;
	const char *volume = job->config->name;
	struct disk_facts now;
	int r;

	r = disk_read(planned->major, planned->minor, &now);
	if (r < 0)
		return reason_errno(reason, r, "volume %s: disk %s", volume, planned->path);
	if (strcmp(now.path, planned->path) != 0 || strcmp(now.serial, planned->serial) != 0 ||
	    strcmp(now.wwn, planned->wwn) != 0 || now.bytes != planned->bytes)
		return reason_set(reason, -ENODEV, "volume %s: %s is no longer the planned disk",
				  volume, planned->path);
	if (now.mounted || now.in_use)
		return reason_set(reason, -EBUSY, "volume %s: disk %s is in use by %s", volume,
				  planned->path, now.used_by);
	if (now.read_only)
		return reason_set(reason, -EROFS, "volume %s: disk %s is read-only", volume,
				  planned->path);
	if (strcmp(now.signature, planned->signature) != 0)
		return reason_set(reason, -EEXIST,
				  "volume %s: disk %s has changed since the plan was made: it "
				  "carried the signature '%s' then, and '%s' now",
				  volume, planned->path, planned->signature, now.signature);
	return 0;
}

/* Asks udev to leave the disk alone as long as the descriptor is open: it probes a disk again each
 * time a program that could have written to it closes it, which libcryptsetup does
 * (https://systemd.io/BLOCK_DEVICE_LOCKING). Without the lock it only takes longer. */
static int disk_lock(const struct volume_job *job)
{
	int fd = open(job->disk->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd >= 0)
		(void)flock(fd, LOCK_EX | LOCK_NB);
	return fd;
}

/* Looks whether the disk can be had alone, and holds every segment. The claim is given back:
 * device-mapper takes its own with the first segment. */
static int disk_claim(const struct volume_job *job, char reason[static REASON_SIZE])
{
	_cleanup_close_ int fd = claim_open(job->disk->path, O_RDONLY);
	uint64_t bytes = 0;
	struct stat st;

	if (fd < 0)
		return reason_errno(reason, fd, "volume %s: disk %s", job->config->name,
				    job->disk->path);
	if (fstat(fd, &st) < 0 || ioctl(fd, BLKGETSIZE64, &bytes) < 0)
		return reason_errno(reason, -errno, "volume %s: disk %s", job->config->name,
				    job->disk->path);
	if (st.st_rdev != makedev(job->disk->major, job->disk->minor))
		return reason_set(reason, -ENODEV, "volume %s: %s is no longer the planned disk",
				  job->config->name, job->disk->path);
	for (uint32_t i = 0; i < job->n_segments; i++) {
		const struct plan_segment *segment = &job->segments[i];

		if (segment->offset_sectors + segment->length_sectors > bytes / SECTOR_SIZE)
			return reason_set(reason, -ERANGE,
					  "volume %s: segment %u ends beyond disk %s",
					  job->config->name, i, job->disk->path);
	}
	return 0;
}

static int disk_bound(const struct volume_job *job, char reason[static REASON_SIZE])
{
	const struct volume_config *config = job->config;
	char text[REASON_SIZE];
	int r;

	r = queue_bound(job->disk->major, job->disk->minor,
			config->queue_requests ? config->queue_requests : job->queue_requests,
			config->queue_max_kib ? config->queue_max_kib : job->queue_max_kib, text);
	if (r < 0)
		return reason_set(reason, r, "volume %s: disk %s: %.150s", config->name,
				  job->disk->path, text);
	return 0;
}

static int segments_map(const struct volume_job *job, uint32_t *cookie,
			char reason[static REASON_SIZE])
{
	_cleanup_secret_ struct secret boot_key = {.bytes = NULL};
	int r;

	r = secret_map(job->boot_key_fd, BOOT_KEY_SIZE, &boot_key);
	if (r < 0)
		return reason_errno(reason, r, "volume %s: the boot key", job->config->name);
	for (uint32_t i = 0; i < job->n_segments; i++) {
		r = segment_map(job, boot_key.bytes, i, cookie, reason);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The volume's own map, over the segments one after the other. */
static int upper_map(const struct volume_job *job, uint32_t *cookie,
		     char reason[static REASON_SIZE])
{
	char name[DM_NAME_MAX + 1], uuid[DM_NAME_MAX + 1];
	struct map_stretch stretches[SEGMENTS_MAX];
	int r;

	for (uint32_t i = 0; i < job->n_segments; i++) {
		struct map_info info;

		segment_dm_name(name, job->config->name, i);
		r = map_info(name, &info);
		if (r < 0)
			return reason_errno(reason, r, "volume %s: %s", job->config->name, name);
		stretches[i] = (struct map_stretch){
			.major = info.major,
			.minor = info.minor,
			.length_sectors = job->segments[i].length_sectors,
		};
	}
	volume_dm_name(name, job->config->name);
	volume_dm_uuid(uuid, job->config->name);
	r = map_create_linear(name, uuid, stretches, job->n_segments, cookie);
	if (r < 0)
		return reason_errno(reason, r, "volume %s: the map %s", job->config->name, name);
	return 0;
}

static int carry_out(const struct volume_job *job, const struct owner *owner,
		     char reason[static REASON_SIZE])
{
	_cleanup_cookie_ uint32_t cookie = 0;
	int r;

	r = segments_map(job, &cookie, reason);
	if (r < 0)
		return r;
	r = upper_map(job, &cookie, reason);
	if (r < 0)
		return r;
	r = maps_settle(&cookie);
	if (r < 0)
		return reason_errno(reason, r, "volume %s: waiting for udev", job->config->name);
	r = content_make(job->config, owner, reason);
	if (r < 0)
		return r;
	return ready_set(job->config, owner, reason);
}

/* Nothing of ours may exist yet: what an error below undoes is then what was made here. */
static int nothing_mapped(const struct volume_job *job, char reason[static REASON_SIZE])
{
	char name[DM_NAME_MAX + 1];
	struct map_info info;

	volume_dm_name(name, job->config->name);
	if (map_info(name, &info) != -ENXIO)
		return reason_set(reason, -EEXIST, "volume %s: the map %s exists already",
				  job->config->name, name);
	for (uint32_t i = 0; i < job->n_segments; i++) {
		segment_dm_name(name, job->config->name, i);
		if (map_info(name, &info) != -ENXIO)
			return reason_set(reason, -EEXIST, "volume %s: the map %s exists already",
					  job->config->name, name);
	}
	return 0;
}

int volume_map(const struct volume_job *job, char reason[static 256], bool *ret_left)
{
	const struct volume_config *config = job->config;
	_cleanup_close_ int lock = -1;
	struct owner owner;
	int r, undone;

	*ret_left = false;
	if (job->n_segments == 0 || job->n_segments > SEGMENTS_MAX)
		return reason_set(reason, -EINVAL, "volume %s: %u segments", config->name,
				  job->n_segments);
	r = owner_resolve(config, &owner, reason);
	if (r < 0)
		return r;
	r = nothing_mapped(job, reason);
	if (r < 0) {
		*ret_left = true;
		return r;
	}
	r = disk_is_planned(job, reason);
	if (r < 0)
		return r;
	r = disk_bound(job, reason);
	if (r < 0)
		return r;
	r = disk_claim(job, reason);
	if (r < 0)
		return r;
	lock = disk_lock(job);

	r = carry_out(job, &owner, reason);
	if (r < 0) {
		undone = volume_unmap(config->name, job->n_segments);
		if (undone < 0) {
			size_t n = strlen(reason);

			*ret_left = true;
			(void)snprintf(reason + n, REASON_SIZE - n, "; undoing it failed: %s",
				       strerror(-undone));
		}
	}
	return r;
}

int volume_unmap(const char *name, unsigned n_segments)
{
	char dm_name[DM_NAME_MAX + 1], uuid[DM_NAME_MAX + 1];
	int first, r;

	volume_dm_name(dm_name, name);
	volume_dm_uuid(uuid, name);
	r = map_remove(dm_name, uuid);
	if (r == -EBUSY)
		return ready_is_set(name) ? -EBUSY : -EAGAIN;
	/* Without the map above gone, each of those below would only wait to be told the same. */
	if (r < 0)
		return r;
	first = ready_clear(name);
	for (unsigned i = n_segments; i-- > 0;) {
		r = segment_unmap(name, i);
		if (first == 0)
			first = r;
	}
	return first;
}
