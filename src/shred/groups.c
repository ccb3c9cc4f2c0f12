/* SPDX-License-Identifier: Apache-2.0 */
/* Ends every process but PID 1 and ours, by control groups. */
#include "shred/groups.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "shred/freezer.h"

#define GROUPS_ROOT "fs/cgroup" /* below /sys */

/* Of whom the receipt needs, until it is out. */
static const char *const helpers[] = {
	"system.slice/emberlock-agent.service",
	"system.slice/emberlock-watchdog.service",
};

typedef bool (*group_fn)(int group_fd, uint64_t end_ns);

/* "0::/system.slice/emberlock-keeper.service\n"; in the root group, or where it cannot be told: "".
 */
static void own_find(struct groups *groups)
{
	char text[GROUPS_PATH_MAX + 64], *line;
	ssize_t n = file_read(groups->proc_fd, "self/cgroup", text, sizeof(text) - 1);

	groups->own[0] = '\0';
	if (n < 0)
		return;
	text[n] = '\0';
	line = strstr(text, "0::/");
	if (!line)
		return;
	line += strlen("0::/");
	line[strcspn(line, "\n")] = '\0';
	if (strlen(line) < sizeof(groups->own))
		strcpy(groups->own, line);
}

/* Whether GROUP is BELOW, or one of the groups above it. */
static bool holds(const char *group, const char *below)
{
	size_t n = strlen(group);

	return strncmp(group, below, n) == 0 && (below[n] == '\0' || below[n] == '/');
}

/* A group that holds one of ours is not ended as a whole; one whose path is too long holds none. */
static bool is_spared(struct groups *groups, const char *parent, const char *name)
{
	const char *group = groups->path;
	int n = snprintf(groups->path, sizeof(groups->path), "%s%s%s", parent, parent[0] ? "/" : "",
			 name);

	if (n < 0 || (size_t)n >= sizeof(groups->path))
		return false;
	for (size_t i = 0; i < ELEMENTSOF(helpers); i++)
		if (holds(group, helpers[i]))
			return true;
	return holds(group, groups->own) || strcmp(group, FREEZER_GROUP) == 0;
}

static int group_open(const struct groups *groups, const char *path)
{
	_cleanup_close_ int root_fd = openat(groups->sys_fd, GROUPS_ROOT, O_PATH | O_CLOEXEC);
	int fd;

	if (root_fd < 0)
		return -errno;
	fd = openat(root_fd, path[0] ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static bool file_write(int group_fd, const char *file, const char *text)
{
	_cleanup_close_ int fd = openat(group_fd, file, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, text, strlen(text)) > 0;
}

static bool stop_forks(int group_fd, uint64_t end_ns)
{
	/* A group without that controller can still be killed. */
	(void)file_write(group_fd, "pids.max", "0");
	return true;
}

static bool kill_all(int group_fd, uint64_t end_ns)
{
	return file_write(group_fd, "cgroup.kill", "1");
}

static bool is_empty(int events_fd)
{
	char text[128];
	ssize_t n = pread(events_fd, text, sizeof(text) - 1, 0);

	if (n < 0)
		return errno == ENODEV; /* the group is gone */
	text[n] = '\0';
	return strstr(text, "populated 0") != NULL;
}

/* The kernel tells a change by POLLPRI. */
static bool wait_empty(int group_fd, uint64_t end_ns)
{
	_cleanup_close_ int fd = openat(group_fd, "cgroup.events", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT || errno == ENODEV;
	while (!is_empty(fd)) {
		struct pollfd change = {.fd = fd, .events = POLLPRI};
		uint64_t now_ns = clock_boottime_ns();

		if (now_ns >= end_ns)
			return false;
		(void)poll(&change, 1, (int)((end_ns - now_ns) / NSEC_PER_MSEC) + 1);
	}
	return true;
}

static bool child_do(int parent_fd, const char *name, group_fn fn, uint64_t end_ns)
{
	_cleanup_close_ int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* It may have gone meanwhile. */
	return fd < 0 ? errno == ENOENT : fn(fd, end_ns);
}

/* FN for each group directly below PARENT that is not spared; with ALL for those too. */
static bool children_do(struct groups *groups, const char *parent, bool all, group_fn fn,
			uint64_t end_ns)
{
	_cleanup_close_ int fd = group_open(groups, parent);
	bool ok = true;
	ssize_t n;

	/* Above one of ours that does not run there may be no group. */
	if (fd < 0)
		return fd == -ENOENT && parent[0];
	while ((n = getdents64(fd, groups->entries, sizeof(groups->entries))) > 0) {
		for (char *at = groups->entries; at < groups->entries + n;) {
			const struct dirent64 *entry = (const void *)at;

			at += entry->d_reclen;
			if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
				continue;
			if (all || !is_spared(groups, parent, entry->d_name))
				ok &= child_do(fd, entry->d_name, fn, end_ns);
		}
	}
	return ok && n == 0;
}

/* FN below each group that holds SPARED; but for those that hold one of the N in DONE too. */
static bool beside_do(struct groups *groups, const char *spared, const char *const *done, size_t n,
		      group_fn fn, uint64_t end_ns)
{
	char parent[GROUPS_PATH_MAX];
	bool ok = true;

	for (const char *slash = strchr(spared, '/'); slash; slash = strchr(slash + 1, '/')) {
		bool is_done = false;

		memcpy(parent, spared, (size_t)(slash - spared));
		parent[slash - spared] = '\0';
		for (size_t i = 0; i < n; i++)
			is_done |= holds(parent, done[i]);
		if (!is_done)
			ok &= children_do(groups, parent, false, fn, end_ns);
	}
	return ok;
}

/* FN for each group that can be ended as a whole. */
static bool others_do(struct groups *groups, group_fn fn, uint64_t end_ns)
{
	bool ok = children_do(groups, "", false, fn, end_ns);

	for (size_t i = 0; i < ELEMENTSOF(helpers); i++)
		ok &= beside_do(groups, helpers[i], helpers, i, fn, end_ns);
	return beside_do(groups, groups->own, helpers, ELEMENTSOF(helpers), fn, end_ns) && ok;
}

bool groups_kill(struct groups *groups)
{
	own_find(groups);
	(void)children_do(groups, "", true, stop_forks, 0);
	return others_do(groups, kill_all, 0);
}

bool groups_wait(struct groups *groups, uint64_t end_ns)
{
	return others_do(groups, wait_empty, end_ns);
}

bool groups_kill_spared(struct groups *groups, uint64_t end_ns)
{
	static const group_fn steps[] = {kill_all, wait_empty};
	bool ok = true;

	for (size_t step = 0; step < ELEMENTSOF(steps); step++) {
		for (size_t i = 0; i < ELEMENTSOF(helpers); i++) {
			_cleanup_close_ int fd = group_open(groups, helpers[i]);

			ok &= fd < 0 ? fd == -ENOENT : steps[step](fd, end_ns);
		}
	}
	return ok;
}
