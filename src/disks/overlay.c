/* SPDX-License-Identifier: Apache-2.0 */
/* The overlay over the root. */
#include "disks/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <systemd/sd-device.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "disks/volume_parts.h"

/* Where the upper layer is mounted while the overlay is being put together. */
#define UPPER_MOUNT "/run/emberlock/overlay"
#define UPPER	    UPPER_MOUNT "/upper"
#define WORK	    UPPER_MOUNT "/work"

static void cleanup_device(sd_device **device)
{
	sd_device_unref(*device);
}

/* The block device below ROOT refuses writes from now on, whoever asks: a remount, a program that
 * opens the disk. */
static int lower_lock(const char *root, char reason[static REASON_SIZE])
{
	_cleanup_(cleanup_device) sd_device *device = NULL;
	_cleanup_close_ int fd = -1;
	const int read_only = 1;
	const char *path;
	struct stat st;
	int r;

	if (stat(root, &st) < 0)
		return reason_errno(reason, -errno, "%s", root);
	if (major(st.st_dev) == 0) /* no block device: a network's root */
		return 0;
	r = sd_device_new_from_devnum(&device, 'b', st.st_dev);
	r = r < 0 ? r : sd_device_get_devname(device, &path);
	if (r < 0)
		return reason_errno(reason, r, "the block device %u:%u below %s", major(st.st_dev),
				    minor(st.st_dev), root);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || ioctl(fd, BLKROSET, &read_only) < 0)
		return reason_errno(reason, -errno, "%s below %s cannot be set read-only", path,
				    root);
	return 0;
}

static int lower_check(const char *root, char reason[static REASON_SIZE])
{
	struct statvfs fs;

	if (root[strcspn(root, ":,\\")] != '\0')
		return reason_set(reason, -EINVAL, "%s: such a path cannot be below an overlay",
				  root);
	if (statvfs(root, &fs) < 0)
		return reason_errno(reason, -errno, "%s", root);
	if (!(fs.f_flag & ST_RDONLY))
		return reason_set(reason, -EROFS,
				  "%s is mounted writable: below an overlay it needs 'ro' on the "
				  "kernel command line",
				  root);
	return lower_lock(root, reason);
}

static int upper_mount(const char *volume, char reason[static REASON_SIZE])
{
	char node[MAP_NODE_SIZE];
	int r = volume_node(volume, node);

	if (r < 0)
		return reason_errno(reason, r, "its map");
	if (mkdir(UPPER_MOUNT, 0700) < 0 && errno != EEXIST)
		return reason_errno(reason, -errno, UPPER_MOUNT);
	/* Nothing outlives the boot: to zero inode tables would be of no use. */
	if (mount(node, UPPER_MOUNT, "ext4", MS_NOATIME, "noinit_itable") < 0)
		return reason_errno(reason, -errno, "%s cannot be mounted", node);
	return 0;
}

static int overlay_over(const char *root, char reason[static REASON_SIZE])
{
	char options[512];
	int n;

	/* The root directory of the system; nobody but root writes there. */
	if (mkdir(UPPER, 0755) < 0 || mkdir(WORK, 0700) < 0)
		return reason_errno(reason, -errno, UPPER_MOUNT);
	/* With redirect_dir a directory of the lower layer can be renamed; with xino inode numbers
	 * are those of one file system. */
	n = snprintf(options, sizeof(options),
		     "lowerdir=%s,upperdir=" UPPER ",workdir=" WORK ",redirect_dir=on,xino=auto",
		     root);
	if (n < 0 || (size_t)n >= sizeof(options))
		return reason_errno(reason, -ENAMETOOLONG, "%s", root);
	if (mount("emberlock", root, "overlay", 0, options) < 0)
		return reason_errno(reason, -errno, "no overlay over %s (module overlay)", root);
	return 0;
}

int overlay_mount(const char *volume, const char *root, char reason[static REASON_SIZE])
{
	char text[REASON_SIZE];
	int r;

	r = lower_check(root, text);
	r = r < 0 ? r : upper_mount(volume, text);
	if (r == 0) {
		r = overlay_over(root, text);
		/* The overlay has a mount of its own of it. */
		if (umount2(UPPER_MOUNT, MNT_DETACH) < 0 && r == 0)
			r = reason_errno(text, -errno, UPPER_MOUNT " cannot be unmounted");
	}
	(void)rmdir(UPPER_MOUNT);
	if (r < 0)
		return reason_set(reason, r, "volume %s: Use=overlay: %.200s", volume, text);
	return 0;
}

int overlay_is_mounted(const char *path, bool *ret_mounted)
{
	struct statfs fs;

	if (statfs(path, &fs) < 0)
		return -errno;
	*ret_mounted = fs.f_type == OVERLAYFS_SUPER_MAGIC;
	return 0;
}
