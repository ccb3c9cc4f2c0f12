/* SPDX-License-Identifier: Apache-2.0 */
/* Growing a file system to the size of its device, as resize2fs(8) and xfs_growfs(8) have the kernel do
 * it: through a mount, which is one of our own where it has none. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>

#include "base/cleanup.h"
#include "disks/content.h"
#include "disks/volume_parts.h"

/* fs/ext4/ext4.h: the new size in blocks. */
#define EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t)

/* fs/xfs/libxfs/xfs_fs.h: struct xfs_fsop_geom_v1 and struct xfs_growfs_data. */
struct xfs_geometry {
	uint32_t block_size, skipped[6], imaxpct;
	uint64_t data_blocks, rest[9];
};
struct xfs_growth {
	uint64_t blocks;
	uint32_t imaxpct, zero;
};
#define XFS_IOC_FSGEOMETRY_V1 _IOR('X', 100, struct xfs_geometry)
#define XFS_IOC_FSGROWFSDATA  _IOW('X', 110, struct xfs_growth)
_Static_assert(sizeof(struct xfs_geometry) == 112, "the size is part of the ioctl's number");
_Static_assert(sizeof(struct xfs_growth) == 16, "the size is part of the ioctl's number");

static int device_bytes(const char *path, uint64_t *ret_bytes)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	return fd < 0 || ioctl(fd, BLKGETSIZE64, ret_bytes) < 0 ? -errno : 0;
}

static int ext4_grow(int root, uint64_t bytes)
{
	struct statfs fs;
	uint64_t blocks;

	if (fstatfs(root, &fs) < 0)
		return -errno;
	blocks = bytes / (uint64_t)fs.f_bsize;
	return ioctl(root, EXT4_IOC_RESIZE_FS, &blocks) < 0 ? -errno : 0;
}

static int xfs_grow(int root, uint64_t bytes)
{
	struct xfs_geometry geometry;
	struct xfs_growth growth = {.blocks = 0};

	if (ioctl(root, XFS_IOC_FSGEOMETRY_V1, &geometry) < 0)
		return -errno;
	growth.blocks = bytes / geometry.block_size;
	growth.imaxpct = geometry.imaxpct;
	if (growth.blocks <= geometry.data_blocks)
		return 0;
	return ioctl(root, XFS_IOC_FSGROWFSDATA, &growth) < 0 ? -errno : 0;
}

static int grow(const char *type, const char *path, int (*by)(int root, uint64_t bytes))
{
	_cleanup_close_ int mount_fd = -1, root = -1;
	uint64_t bytes = 0;
	int r;

	r = device_bytes(path, &bytes);
	r = r < 0 ? r : mount_detached(type, path, &mount_fd);
	if (r < 0)
		return r;
	root = openat(mount_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return root < 0 ? -errno : by(root, bytes);
}

int content_grow(const struct volume_config *config, char reason[static REASON_SIZE])
{
	char node[MAP_NODE_SIZE];
	int r;

	if (config->use == VOLUME_SWAP || config->use == VOLUME_RAW)
		return 0;
	r = volume_node(config->name, node);
	if (r == 0)
		r = config->use == VOLUME_XFS ? grow("xfs", node, xfs_grow)
					      : grow("ext4", node, ext4_grow);
	if (r < 0)
		return reason_errno(reason, r, "volume %s: it has grown, its file system has not",
				    config->name);
	return 0;
}
