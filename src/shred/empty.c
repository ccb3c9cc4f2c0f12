/* SPDX-License-Identifier: Apache-2.0 */
/* Removes all regular files and symbolic links of one file system in memory. */
#include "shred/empty.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

/* The next entry; NULL at the end. *ok: whether it is one. */
static const struct dirent64 *next_entry(struct empty_level *level, bool *ok)
{
	const struct dirent64 *entry;

	if (level->at >= level->n) {
		ssize_t n = getdents64(level->fd, level->entries, sizeof(level->entries));

		*ok &= n >= 0;
		if (n <= 0)
			return NULL;
		level->n = (int)n;
		level->at = 0;
	}
	entry = (const void *)(level->entries + level->at);
	level->at += entry->d_reclen;
	return entry;
}

/* Opens the directory NAME, unless another file system is mounted there (-EXDEV). */
static int directory_open(int parent_fd, const char *name, dev_t device)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return st.st_dev == device ? TAKE_FD(fd) : -EXDEV;
}

static bool is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Into the directory NAME, by one level more. */
static bool descend(struct empty *empty, unsigned *depth, const char *name, dev_t device)
{
	int fd = directory_open(empty->levels[*depth].fd, name, device);

	if (fd < 0)
		return fd == -EXDEV;
	if (*depth + 1 == EMPTY_DEPTH_MAX) {
		close(fd);
		return false;
	}
	(*depth)++;
	empty->levels[*depth].fd = fd;
	empty->levels[*depth].n = empty->levels[*depth].at = 0;
	return true;
}

bool empty_tree(struct empty *empty, int root_fd, bool links)
{
	unsigned depth = 0;
	struct stat st;
	bool ok = true;

	empty->levels[0].fd = root_fd;
	empty->levels[0].n = empty->levels[0].at = 0;
	if (fstat(root_fd, &st) < 0) {
		close(root_fd);
		return false;
	}
	for (;;) {
		struct empty_level *level = &empty->levels[depth];
		const struct dirent64 *entry = next_entry(level, &ok);

		if (!entry) {
			close(level->fd);
			if (depth == 0)
				return ok;
			depth--;
		} else if (entry->d_type == DT_REG || (links && entry->d_type == DT_LNK)) {
			ok &= unlinkat(level->fd, entry->d_name, 0) == 0;
		} else if (entry->d_type == DT_DIR && !is_dot(entry->d_name)) {
			ok &= descend(empty, &depth, entry->d_name, st.st_dev);
		}
	}
}
