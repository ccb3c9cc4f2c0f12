/* SPDX-License-Identifier: Apache-2.0 */
/* Cleaning up after a volume whose disk is gone. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "core/plan.h"
#include "disks/maps.h"
#include "disks/mounts.h"
#include "disks/ready.h"
#include "disks/segment.h"
#include "disks/volume_parts.h"

static int sectors_of(const char *path, uint64_t *ret_sectors)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	uint64_t bytes;

	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &bytes) < 0)
		return -errno;
	*ret_sectors = bytes / SECTOR_SIZE;
	return 0;
}

/* Its ready file is gone, so the event has udev tell systemd that it is not ready any more, which
 * unmounts what is bound to it. */
static int upper_fail(const char *name)
{
	char node[MAP_NODE_SIZE];
	uint64_t sectors = 0;
	int r;

	r = map_node(name, node);
	if (r == -ENXIO)
		return 0;
	r = r < 0 ? r : sectors_of(node, &sectors);
	return r < 0 ? r : map_fail(name, sectors);
}

static int mounts_of(const char *name)
{
	struct map_info info;
	int r = map_info(name, &info);

	return r == -ENXIO ? 0 : r < 0 ? r : mounts_detach(info.major, info.minor);
}

int volume_unplug(const char *name, unsigned n_segments)
{
	char dm_name[DM_NAME_MAX + 1], uuid[DM_NAME_MAX + 1], path[DM_NAME_MAX + 16];
	int first, r;

	volume_dm_name(dm_name, name);
	volume_dm_uuid(uuid, name);
	(void)snprintf(path, sizeof(path), "/dev/mapper/%s", dm_name);
	first = ready_clear(name);
	r = upper_fail(dm_name);
	first = first < 0 ? first : r;
	r = mounts_of(dm_name);
	first = first < 0 ? first : r;
	/* The keys go in any case. */
	for (unsigned i = n_segments; i-- > 0;) {
		r = segment_unmap(name, i);
		first = first < 0 ? first : r;
	}
	r = map_remove_later(dm_name, uuid);
	return first < 0 ? first : r;
}
