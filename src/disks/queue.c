/* SPDX-License-Identifier: Apache-2.0 */
/* The request queue below a segment, by sysfs: Documentation/ABI/stable/sysfs-block. */
#include "disks/queue.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/parse.h"

static int attribute_read(const char *directory, const char *name, uint32_t *ret_value)
{
	char path[PATH_MAX], text[32];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	n = file_read(AT_FDCWD, path, text, sizeof(text) - 1);
	if (n < 0)
		return (int)n;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return parse_u32(text, ret_value);
}

static int attribute_write(const char *directory, const char *name, uint32_t value)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX], text[16];
	int n;

	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = snprintf(text, sizeof(text), "%u", value);
	return fd_write_full(fd, text, (size_t)n);
}

/* Lowers one attribute, and looks whether it took. */
static int attribute_bound(const char *directory, const char *name, const char *setting,
			   uint32_t bound, char reason[static REASON_SIZE])
{
	uint32_t value;
	int r;

	r = attribute_read(directory, name, &value);
	if (r < 0)
		return reason_errno(reason, r, "%s %s/%s cannot be read", setting, directory, name);
	if (value <= bound)
		return 0;
	r = attribute_write(directory, name, bound);
	if (r < 0)
		return reason_errno(reason, r, "%s%u cannot be written to %s/%s", setting, bound,
				    directory, name);
	r = attribute_read(directory, name, &value);
	if (r < 0 || value > bound)
		return reason_set(reason, -EIO, "%s%u had no effect on %s/%s", setting, bound,
				  directory, name);
	return 0;
}

int queue_directory_bound(const char *directory, uint32_t requests, uint32_t max_kib,
			  char reason[static REASON_SIZE])
{
	int r;

	r = attribute_bound(directory, "nr_requests", "QueueRequests=", requests, reason);
	if (r < 0)
		return r;
	return attribute_bound(directory, "max_sectors_kb", "QueueMaxKiB=", max_kib, reason);
}

int queue_directory_is_bounded(const char *directory, uint32_t requests, uint32_t max_kib,
			       bool *ret_bounded)
{
	uint32_t now_requests, now_kib;
	int r;

	r = attribute_read(directory, "nr_requests", &now_requests);
	if (r < 0)
		return r;
	r = attribute_read(directory, "max_sectors_kb", &now_kib);
	if (r < 0)
		return r;
	*ret_bounded = now_requests <= requests && now_kib <= max_kib;
	return 0;
}

/* A partition has no queue of its own: its disk is the directory above it. */
static void queue_directory(char directory[static 64], unsigned major, unsigned minor)
{
	(void)snprintf(directory, 64, "/sys/dev/block/%u:%u/partition", major, minor);
	(void)snprintf(directory, 64, "/sys/dev/block/%u:%u/%s", major, minor,
		       access(directory, F_OK) == 0 ? "../queue" : "queue");
}

int queue_bound(unsigned major, unsigned minor, uint32_t requests, uint32_t max_kib,
		char reason[static REASON_SIZE])
{
	char directory[64];

	queue_directory(directory, major, minor);
	return queue_directory_bound(directory, requests, max_kib, reason);
}

int queue_is_bounded(unsigned major, unsigned minor, uint32_t requests, uint32_t max_kib,
		     bool *ret_bounded)
{
	char directory[64];

	queue_directory(directory, major, minor);
	return queue_directory_is_bounded(directory, requests, max_kib, ret_bounded);
}
