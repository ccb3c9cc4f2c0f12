/* SPDX-License-Identifier: Apache-2.0 */
/* Detaching what is mounted of a device: by numbers, never by what others call it. */
#include "disks/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "disks/uses.h"

#define MOUNTS_MAX 64
#define POINT_SIZE 4096

/* The last mount of the device, by its number in mountinfo, and where it is. By the device's number: the
 * name of what is mounted is said by whoever mounts, with FUSE anybody. -ENOENT: none is left. */
static int mount_last(unsigned major, unsigned minor, int *ret_id, char point[static POINT_SIZE])
{
	_cleanup_fclose_ FILE *file = fopen("/proc/self/mountinfo", "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	int r = -ENOENT;

	if (!file)
		return -errno;
	while (getline(&line, &size, file) >= 0) {
		unsigned device_major, device_minor;
		char at[POINT_SIZE];
		int id;

		if (sscanf(line, "%d %*d %u:%u %*s %4095s", &id, &device_major, &device_minor,
			   at) != 4)
			return -EBADMSG;
		if (device_major != major || device_minor != minor)
			continue;
		mount_text_unescape(at);
		memcpy(point, at, POINT_SIZE);
		*ret_id = id;
		r = 0;
	}
	return ferror(file) ? -EIO : r;
}

/* fdinfo is asked, as a file system whose device fails may not answer statx(2). */
static bool is_of_mount(int fd, int id)
{
	char path[64], text[512];
	const char *at;
	ssize_t n;
	int found;

	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	n = file_read(AT_FDCWD, path, text, sizeof(text) - 1);
	if (n < 0)
		return false;
	text[n] = '\0';
	at = strstr(text, "mnt_id:");
	return at && sscanf(at, "mnt_id: %d", &found) == 1 && found == id;
}

/* Whatever lies at POINT by now: only the mount ID is detached. */
static int mount_detach(int id, const char *point)
{
	_cleanup_close_ int fd = open(point, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	char path[64];

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!is_of_mount(fd, id))
		return 0;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	/* EINVAL: systemd was faster. */
	return umount2(path, MNT_DETACH) < 0 && errno != EINVAL ? -errno : 0;
}

int mounts_detach(unsigned major, unsigned minor)
{
	char point[POINT_SIZE];
	int r = 0, id = 0;

	for (int i = 0; i < MOUNTS_MAX && r == 0; i++) {
		r = mount_last(major, minor, &id, point);
		r = r < 0 ? r : mount_detach(id, point);
	}
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return -EBUSY;
}
