/* SPDX-License-Identifier: Apache-2.0 */
/* Who uses which block device: proc(5) for mounts and swap, sysfs for holders. */
#include "disks/uses.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

void uses_done(struct uses *uses)
{
	free(uses->uses);
	uses->uses = NULL;
	uses->n = 0;
}

static int use_add(struct uses *uses, unsigned major, unsigned minor, bool mounted, const char *by)
{
	struct use *grown = reallocarray(uses->uses, uses->n + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	uses->uses = grown;
	grown[uses->n] = (struct use){.major = major, .minor = minor, .mounted = mounted};
	(void)snprintf(grown[uses->n].by, sizeof(grown[uses->n].by), "%s", by);
	uses->n++;
	return 0;
}

void mount_text_unescape(char *text)
{
	char *to = text;

	for (const char *p = text; *p; to++) {
		if (p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' && p[2] <= '7' &&
		    p[3] >= '0' && p[3] <= '7') {
			*to = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
			p += 4;
		} else {
			*to = *p++;
		}
	}
	*to = '\0';
}

/* Looks a path up that somebody else chose: of a mount's source it is whoever mounts, with FUSE anybody.
 * Never out of the file system that is /dev: a path can lead to one that does not answer. */
static int device_open(const char *path)
{
	static const char dev[] = "/dev/";
	struct open_how how = {.flags = O_PATH | O_CLOEXEC,
			       .resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV};
	_cleanup_close_ int directory = -1;

	if (strncmp(path, dev, strlen(dev)) != 0)
		return -ENOENT;
	directory = open(dev, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0)
		return -errno;
	return (int)syscall(SYS_openat2, directory, path + strlen(dev), &how, sizeof(how));
}

/* Notes the block device PATH, where it is one. */
static int use_add_path(struct uses *uses, const char *path, bool mounted, const char *by)
{
	_cleanup_close_ int fd = device_open(path);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode))
		return 0;
	return use_add(uses, major(st.st_rdev), minor(st.st_rdev), mounted, by);
}

/* 36 35 98:0 /root /mount/point options [optional fields] - type source options */
static int mountinfo_line(struct uses *uses, char *line)
{
	char *fields[5], *rest = line, *tail;
	unsigned device_major, device_minor;
	int r;

	for (size_t i = 0; i < ELEMENTSOF(fields); i++) {
		fields[i] = strsep(&rest, " ");
		if (!rest)
			return -EBADMSG;
	}
	if (sscanf(fields[2], "%u:%u", &device_major, &device_minor) != 2)
		return -EBADMSG;
	mount_text_unescape(fields[4]);
	r = use_add(uses, device_major, device_minor, true, fields[4]);
	if (r < 0)
		return r;

	/* btrfs and the like have a device number of their own: look at the source too. */
	tail = strstr(rest, " - ");
	if (!tail)
		return -EBADMSG;
	tail += 3;
	(void)strsep(&tail, " ");
	if (!tail)
		return -EBADMSG;
	rest = strsep(&tail, " ");
	mount_text_unescape(rest);
	return use_add_path(uses, rest, true, fields[4]);
}

int uses_read_mountinfo(struct uses *uses, const char *path)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;

	if (!file)
		return -errno;
	while (getline(&line, &size, file) >= 0) {
		int r;

		line[strcspn(line, "\n")] = '\0';
		r = mountinfo_line(uses, line);
		if (r < 0)
			return r;
	}
	return ferror(file) ? -EIO : 0;
}

int uses_read_swaps(struct uses *uses, const char *path)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;

	/* A kernel without swap has no such file. */
	if (!file)
		return errno == ENOENT ? 0 : -errno;
	for (bool heading = true; getline(&line, &size, file) >= 0; heading = false) {
		int r;

		line[strcspn(line, " \t\n")] = '\0';
		if (heading)
			continue;
		mount_text_unescape(line);
		r = use_add_path(uses, line, false, "swap");
		if (r < 0)
			return r;
	}
	return ferror(file) ? -EIO : 0;
}

int uses_load(struct uses *ret_uses)
{
	_cleanup_uses_ struct uses uses = {.uses = NULL};
	int r;

	r = uses_read_mountinfo(&uses, "/proc/self/mountinfo");
	if (r < 0)
		return r;
	r = uses_read_swaps(&uses, "/proc/swaps");
	if (r < 0)
		return r;
	*ret_uses = uses;
	uses = (struct uses){.uses = NULL};
	return 0;
}

/* Copies the first holder's name from the sysfs directory of a device. */
static int holder_of(int directory, bool *ret_in_use, char by[static 64])
{
	_cleanup_close_ int fd = openat(directory, "holders", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *stream = NULL;
	const struct dirent *entry;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	stream = fdopendir(fd);
	if (!stream)
		return -errno;
	(void)TAKE_FD(fd);
	while ((entry = readdir(stream))) {
		if (entry->d_name[0] == '.')
			continue;
		*ret_in_use = true;
		if (by[0] == '\0')
			(void)snprintf(by, 64, "%.63s", entry->d_name);
		return 0;
	}
	return 0;
}

/* One device, by its sysfs directory. */
static int uses_of_one(const struct uses *uses, int directory, bool *ret_mounted, bool *ret_in_use,
		       char by[static 64])
{
	unsigned device_major, device_minor;
	char text[32];
	ssize_t n;

	n = file_read(directory, "dev", text, sizeof(text) - 1);
	if (n < 0)
		return (int)n;
	text[n] = '\0';
	if (sscanf(text, "%u:%u", &device_major, &device_minor) != 2)
		return -EBADMSG;

	for (size_t i = 0; i < uses->n; i++) {
		const struct use *use = &uses->uses[i];

		if (use->major != device_major || use->minor != device_minor)
			continue;
		if (use->mounted)
			*ret_mounted = true;
		else
			*ret_in_use = true;
		if (by[0] == '\0')
			memcpy(by, use->by, sizeof(use->by));
	}
	return holder_of(directory, ret_in_use, by);
}

int uses_of(const struct uses *uses, unsigned major, unsigned minor, bool *ret_mounted,
	    bool *ret_in_use, char by[static 64])
{
	_cleanup_closedir_ DIR *stream = NULL;
	bool mounted = false, in_use = false;
	const struct dirent *entry;
	char path[64], who[64] = "";
	int r;

	(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major, minor);
	stream = opendir(path);
	if (!stream)
		return -errno;
	r = uses_of_one(uses, dirfd(stream), &mounted, &in_use, who);
	if (r < 0)
		return r;

	/* Partitions are the subdirectories that hold a file "partition". */
	while ((entry = readdir(stream))) {
		_cleanup_close_ int part = -1;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		part = openat(dirfd(stream), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (part < 0 || faccessat(part, "partition", F_OK, 0) < 0)
			continue;
		r = uses_of_one(uses, part, &mounted, &in_use, who);
		if (r < 0)
			return r;
	}
	*ret_mounted = mounted;
	*ret_in_use = in_use;
	memcpy(by, who, sizeof(who));
	return 0;
}
