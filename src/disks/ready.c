/* SPDX-License-Identifier: Apache-2.0 */
/* Telling udev, and so systemd, that a volume can be used. */
#include "disks/ready.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "disks/heard.h"
#include "disks/maps.h"
#include "disks/udev.h"

#define UDEV_LIMIT_US (10 * 1000 * 1000ull)

#define NAME_DIRECTORY "/dev/mapper"
#define NAME_PATH_SIZE (sizeof(NAME_DIRECTORY) + DM_NAME_MAX + 2)

#define READY_PATH_SIZE (sizeof(READY_DIRECTORY) + DM_NAME_MAX + 2)

static void ready_path(char path[static READY_PATH_SIZE], const char *volume)
{
	char name[DM_NAME_MAX + 1];

	volume_dm_name(name, volume);
	(void)snprintf(path, READY_PATH_SIZE, READY_DIRECTORY "/%s", name);
}

size_t ready_text(const struct volume_config *config, const struct owner *owner, char *text,
		  size_t size)
{
	int n = config->use == VOLUME_RAW ? snprintf(text, size,
						     "EMBERLOCK_READY=1\nEMBERLOCK_OWNER=%u\n"
						     "EMBERLOCK_GROUP=%u\nEMBERLOCK_MODE=%04o\n",
						     owner->uid, owner->gid, owner->mode)
					  : snprintf(text, size, "EMBERLOCK_READY=1\n");

	return (size_t)n;
}

/* --- without udev: what its rules would make of the event */

static void name_path(char path[static NAME_PATH_SIZE], const char *volume)
{
	char name[DM_NAME_MAX + 1];

	volume_dm_name(name, volume);
	(void)snprintf(path, NAME_PATH_SIZE, NAME_DIRECTORY "/%s", name);
}

/* The map was not there before: a link of that name is what an earlier one has left. */
static int name_make(const struct volume_config *config, const struct owner *owner, unsigned minor)
{
	char path[NAME_PATH_SIZE], to[MAP_NODE_SIZE];

	name_path(path, config->name);
	(void)snprintf(to, sizeof(to), "../dm-%u", minor);
	if ((unlink(path) < 0 && errno != ENOENT) || symlink(to, path) < 0)
		return -errno;
	if (config->use != VOLUME_RAW)
		return 0;
	return chown(path, owner->uid, owner->gid) < 0 || chmod(path, owner->mode) < 0 ? -errno : 0;
}

static int name_remove(const char *volume)
{
	char path[NAME_PATH_SIZE];

	name_path(path, volume);
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

/* --- with it */

/* A synthetic event: Documentation/ABI/testing/sysfs-uevent. */
static int uevent_change(unsigned major, unsigned minor)
{
	_cleanup_close_ int fd = -1;
	char path[64];

	(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/uevent", major, minor);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return fd_write_full(fd, "change", strlen("change"));
}

/* The volume is usable whether udev is heard or not. */
static int uevent_change_heard(unsigned major, unsigned minor)
{
	_cleanup_heard_ struct heard heard = {.event = NULL};
	bool listens = heard_begin(&heard, major, minor, "EMBERLOCK_READY") == 0;
	int r = uevent_change(major, minor);

	if (r == 0 && listens)
		(void)heard_wait(&heard, UDEV_LIMIT_US);
	return r;
}

int ready_set(const struct volume_config *config, const struct owner *owner,
	      char reason[static REASON_SIZE])
{
	char path[READY_PATH_SIZE], name[DM_NAME_MAX + 1], text[128];
	bool udev = udev_runs();
	struct map_info info;
	size_t n;
	int r;

	volume_dm_name(name, config->name);
	r = map_info(name, &info);
	if (r == 0 && !udev)
		r = name_make(config, owner, info.minor);
	if (r < 0)
		return reason_errno(reason, r, "volume %s: its name " NAME_DIRECTORY "/%s",
				    config->name, name);
	n = ready_text(config, owner, text, sizeof(text));
	ready_path(path, config->name);
	r = file_write_atomic(path, text, n, 0644);
	if (r < 0)
		return reason_errno(reason, r, "volume %s: %s", config->name, path);
	if (udev)
		r = uevent_change_heard(info.major, info.minor);
	if (r < 0)
		return reason_errno(reason, r, "volume %s: the change event of %s", config->name,
				    name);
	return 0;
}

int volume_ready_again(const char *volume)
{
	char path[READY_PATH_SIZE], name[DM_NAME_MAX + 1];
	struct map_info info;
	int r;

	ready_path(path, volume);
	if (access(path, F_OK) < 0)
		return -errno;
	volume_dm_name(name, volume);
	r = map_info(name, &info);
	return r < 0 ? r : uevent_change(info.major, info.minor);
}

bool ready_is_set(const char *volume)
{
	char path[READY_PATH_SIZE];

	ready_path(path, volume);
	return access(path, F_OK) == 0;
}

int ready_clear(const char *volume)
{
	char path[READY_PATH_SIZE];

	ready_path(path, volume);
	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	return udev_runs() ? 0 : name_remove(volume);
}
