/* SPDX-License-Identifier: Apache-2.0 */
/* Taking the disks of a volume, before its segments are made. */
#include "disks/take.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "disks/claim.h"
#include "disks/find.h"
#include "disks/queue.h"

_Static_assert(VOLUME_DISKS_MAX == 8, "TAKEN_NONE has eight");

void taken_release(struct taken *taken)
{
	for (uint32_t i = 0; i < VOLUME_DISKS_MAX; i++) {
		cleanup_close(&taken->locks[i]);
		taken->locks[i] = -1;
	}
}

/* Keeps the workers of the other volumes of a disk away that is shared, and udev
 * (https://systemd.io/BLOCK_DEVICE_LOCKING). */
static int disk_lock(const struct disk_facts *disk)
{
	int fd = open(disk->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd >= 0)
		(void)flock(fd, LOCK_EX);
	return fd;
}

static int rest_is_free(const struct volume_job *job, uint32_t index, const struct disk_facts *now,
			char reason[static REASON_SIZE])
{
	for (uint32_t i = job->n_mapped; i < job->n_segments; i++) {
		const struct plan_segment *segment = &job->segments[i];
		const struct disk_range range = {segment->offset_sectors, segment->length_sectors};

		if (segment->disk == index && disk_range_taken(now, &range))
			return reason_set(reason, -EBUSY,
					  "volume %s: its part of disk %s is in use by %s",
					  job->config->name, now->path, now->used_by);
	}
	return 0;
}

/* Between plan and now a disk may have been exchanged, or written on: what the plan allowed is
 * allowed for that disk only. */
static int disk_is_planned(const struct volume_job *job, uint32_t index, struct disk_facts *now,
			   char reason[static REASON_SIZE])
{
	const struct disk_facts *planned = &job->disks[index];
	const char *volume = job->config->name;
	int r;

	r = disk_read(planned->major, planned->minor, now);
	if (r < 0)
		return reason_errno(reason, r, "volume %s: disk %s", volume, planned->path);
	if (strcmp(now->path, planned->path) != 0 || strcmp(now->serial, planned->serial) != 0 ||
	    strcmp(now->wwn, planned->wwn) != 0 || now->bytes != planned->bytes)
		return reason_set(reason, -ENODEV, "volume %s: %s is no longer the planned disk",
				  volume, planned->path);
	if (now->read_only)
		return reason_set(reason, -EROFS, "volume %s: disk %s is read-only", volume,
				  planned->path);
	/* What the disk carried is lost already. */
	if (now->ours && volume_job_shares(job))
		return rest_is_free(job, index, now, reason);
	if (now->mounted || now->in_use)
		return reason_set(reason, -EBUSY, "volume %s: disk %s is in use by %s", volume,
				  planned->path, now->used_by);
	if (strcmp(now->signature, planned->signature) != 0)
		return reason_set(reason, -EEXIST,
				  "volume %s: disk %s has changed since the plan was made: it "
				  "carried the signature '%s' then, and '%s' now",
				  volume, planned->path, planned->signature, now->signature);
	return 0;
}

/* Looks whether the disk can be had, alone unless it is SHARED, and holds every segment. The claim
 * is given back. */
static int disk_claim(const struct volume_job *job, uint32_t index, bool shared,
		      char reason[static REASON_SIZE])
{
	const struct disk_facts *disk = &job->disks[index];
	_cleanup_close_ int fd =
		shared ? open(disk->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
		       : claim_open(disk->path, O_RDONLY);
	uint64_t bytes = 0;
	struct stat st;

	if (fd < 0)
		return reason_errno(reason, shared ? -errno : fd, "volume %s: disk %s",
				    job->config->name, disk->path);
	if (fstat(fd, &st) < 0 || ioctl(fd, BLKGETSIZE64, &bytes) < 0)
		return reason_errno(reason, -errno, "volume %s: disk %s", job->config->name,
				    disk->path);
	if (st.st_rdev != makedev(disk->major, disk->minor))
		return reason_set(reason, -ENODEV, "volume %s: %s is no longer the planned disk",
				  job->config->name, disk->path);
	for (uint32_t i = 0; i < job->n_segments; i++) {
		const struct plan_segment *segment = &job->segments[i];

		if (segment->disk == index &&
		    segment->offset_sectors + segment->length_sectors > bytes / SECTOR_SIZE)
			return reason_set(reason, -ERANGE,
					  "volume %s: segment %u ends beyond disk %s",
					  job->config->name, i, disk->path);
	}
	return 0;
}

static int disk_bound(const struct volume_job *job, const struct disk_facts *disk,
		      char reason[static REASON_SIZE])
{
	const struct volume_config *config = job->config;
	char text[REASON_SIZE];
	int r;

	r = queue_bound(disk->major, disk->minor,
			config->queue_requests ? config->queue_requests : job->queue_requests,
			config->queue_max_kib ? config->queue_max_kib : job->queue_max_kib, text);
	if (r < 0)
		return reason_set(reason, r, "volume %s: disk %s: %.150s", config->name, disk->path,
				  text);
	return 0;
}

static int disk_take(const struct volume_job *job, uint32_t index, int *ret_lock,
		     char reason[static REASON_SIZE])
{
	struct disk_facts now;
	int r;

	if (volume_job_shares(job))
		*ret_lock = disk_lock(&job->disks[index]);
	r = disk_is_planned(job, index, &now, reason);
	r = r < 0 ? r : disk_bound(job, &job->disks[index], reason);
	return r < 0 ? r : disk_claim(job, index, now.ours, reason);
}

/* In the order of their paths, which is that of a plan, so that two workers never wait for each other. */
int disks_take(const struct volume_job *job, struct taken *taken, char reason[static REASON_SIZE])
{
	for (uint32_t k = 0; k < job->n_disks; k++) {
		int r = disk_take(job, job->chosen[k], &taken->locks[k], reason);

		if (r < 0)
			return r;
	}
	return 0;
}
