/* SPDX-License-Identifier: Apache-2.0 */
/* Device-mapper maps by libdevmapper. */
#include "disks/maps.h"

#include <errno.h>
#include <libdevmapper.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/parse.h"

static void cleanup_task(struct dm_task **task)
{
	if (*task)
		dm_task_destroy(*task);
}
#define _cleanup_task_ _cleanup_(cleanup_task)

/* The library would print to standard error; the caller has the errno instead. */
static void quiet(int level, const char *file, int line, int dm_errno_or_class, const char *format,
		  ...) __attribute__((format(printf, 5, 6)));
static void quiet(int level, const char *file, int line, int dm_errno_or_class, const char *format,
		  ...)
{
}

static int task_new(int type, const char *name, struct dm_task **ret_task)
{
	struct dm_task *task;

	dm_log_with_errno_init(quiet);
	/* Else, without a cookie, events would tell udev's rules to leave names to the library. What they
	 * say now is in units/emberlock-early.rules. */
	dm_udev_set_sync_support(0);
	task = dm_task_create(type);
	if (!task)
		return -ENOMEM;
	if (name && !dm_task_set_name(task, name)) {
		dm_task_destroy(task);
		return -EINVAL;
	}
	*ret_task = task;
	return 0;
}

static int task_run(struct dm_task *task)
{
	int code;

	if (dm_task_run(task))
		return 0;
	code = dm_task_get_errno(task);
	return code > 0 ? -code : -EIO;
}

void maps_release(void)
{
	dm_lib_release();
}

int map_info(const char *name, struct map_info *ret_info)
{
	_cleanup_task_ struct dm_task *task = NULL;
	struct dm_info info;
	const char *uuid;
	int r;

	r = task_new(DM_DEVICE_INFO, name, &task);
	if (r < 0)
		return r;
	r = task_run(task);
	if (r < 0)
		return r;
	if (!dm_task_get_info(task, &info))
		return -EIO;
	if (!info.exists)
		return -ENXIO;
	uuid = dm_task_get_uuid(task);

	*ret_info = (struct map_info){
		.major = info.major, .minor = info.minor, .loaded = info.inactive_table};
	return copy_text(ret_info->uuid, sizeof(ret_info->uuid), uuid ? uuid : "");
}

int map_node(const char *name, char node[static MAP_NODE_SIZE])
{
	struct map_info info;
	int r = map_info(name, &info);

	if (r < 0)
		return r;
	(void)snprintf(node, MAP_NODE_SIZE, "/dev/dm-%u", info.minor);
	return 0;
}

int map_table(const char *name, const char *type, char table[static MAP_TABLE_SIZE],
	      uint64_t *ret_length_sectors)
{
	_cleanup_task_ struct dm_task *task = NULL;
	char *found_type = NULL, *parameters = NULL;
	uint64_t start, length;
	int r;

	r = task_new(DM_DEVICE_TABLE, name, &task);
	if (r < 0)
		return r;
	if (!dm_task_secure_data(task))
		return -EIO;
	r = task_run(task);
	if (r < 0)
		return r;
	if (dm_get_next_target(task, NULL, &start, &length, &found_type, &parameters) ||
	    !found_type || !parameters)
		r = -EBADMSG;
	else if (strcmp(found_type, type) != 0)
		r = -EBADMSG;
	else
		r = copy_text(table, MAP_TABLE_SIZE, parameters);
	if (parameters)
		bytes_wipe(parameters, strlen(parameters));
	if (r == 0)
		*ret_length_sectors = length;
	return r;
}

/* "MAJOR:MINOR 0", or "NUMBER CHUNK MAJOR:MINOR 0 …": Documentation/admin-guide/device-mapper,
 * linear and striped, in the kernel's source. */
static int target_add(struct dm_task *task, uint64_t start, const struct map_stretch *stretch)
{
	bool striped = stretch->n_devices > 1;
	char parameters[32 + 32 * VOLUME_DISKS_MAX];
	size_t n = 0;

	if (striped)
		n = (size_t)snprintf(parameters, sizeof(parameters), "%u %u", stretch->n_devices,
				     stretch->stripe_sectors);
	for (uint32_t i = 0; i < stretch->n_devices; i++)
		n += (size_t)snprintf(parameters + n, sizeof(parameters) - n, "%s%u:%u 0",
				      n > 0 ? " " : "", stretch->devices[i].major,
				      stretch->devices[i].minor);
	return dm_task_add_target(task, start, stretch->length_sectors,
				  striped ? "striped" : "linear", parameters)
		       ? 0
		       : -ENOMEM;
}

static int targets_add(struct dm_task *task, const struct map_stretch *stretches, size_t n)
{
	uint64_t start = 0;

	for (size_t i = 0; i < n; i++) {
		int r = target_add(task, start, &stretches[i]);

		if (r < 0)
			return r;
		start += stretches[i].length_sectors;
	}
	return 0;
}

static int create_new(const char *name, const char *uuid, struct dm_task **ret_task)
{
	int r = task_new(DM_DEVICE_CREATE, name, ret_task);

	return r == 0 && !dm_task_set_uuid(*ret_task, uuid) ? -EINVAL : r;
}

int map_create(const char *name, const char *uuid, const struct map_stretch *stretches, size_t n)
{
	_cleanup_task_ struct dm_task *task = NULL;
	int r;

	r = create_new(name, uuid, &task);
	r = r < 0 ? r : targets_add(task, stretches, n);
	return r < 0 ? r : task_run(task);
}

int map_create_crypt(const char *name, const char *uuid, uint64_t length_sectors, const char *table)
{
	_cleanup_task_ struct dm_task *task = NULL;
	int r;

	r = create_new(name, uuid, &task);
	if (r < 0)
		return r;
	if (!dm_task_add_target(task, 0, length_sectors, "crypt", table))
		return -ENOMEM;
	return task_run(task);
}

/* Makes the table live that was loaded: the kernel suspends, swaps and resumes within one call. */
static int table_swap(const char *name)
{
	_cleanup_task_ struct dm_task *task = NULL;
	int r;

	r = task_new(DM_DEVICE_RESUME, name, &task);
	if (r < 0)
		return r;
	if (!dm_task_no_flush(task) || !dm_task_skip_lockfs(task))
		return -EIO;
	return task_run(task);
}

int map_change(const char *name, const struct map_stretch *stretches, size_t n)
{
	_cleanup_task_ struct dm_task *task = NULL;
	int r;

	r = task_new(DM_DEVICE_RELOAD, name, &task);
	r = r < 0 ? r : targets_add(task, stretches, n);
	r = r < 0 ? r : task_run(task);
	return r < 0 ? r : table_swap(name);
}

int map_clear(const char *name)
{
	_cleanup_task_ struct dm_task *task = NULL;
	int r = task_new(DM_DEVICE_CLEAR, name, &task);

	return r < 0 ? r : task_run(task);
}

int map_devices(const char *name, uint32_t *ret_n)
{
	_cleanup_task_ struct dm_task *task = NULL;
	const struct dm_deps *deps;
	int r;

	r = task_new(DM_DEVICE_DEPS, name, &task);
	r = r < 0 ? r : task_run(task);
	if (r < 0)
		return r;
	deps = dm_task_get_deps(task);
	if (!deps)
		return -EIO;
	*ret_n = deps->count;
	return 0;
}

/* How a map is removed that somebody has open. */
static int remove_by(const char *name, const char *uuid, int (*how)(struct dm_task *task))
{
	_cleanup_task_ struct dm_task *task = NULL;
	struct map_info info;
	int r;

	r = map_info(name, &info);
	if (r == -ENXIO)
		return 0;
	if (r < 0)
		return r;
	if (strcmp(info.uuid, uuid) != 0)
		return -EEXIST;

	r = task_new(DM_DEVICE_REMOVE, name, &task);
	if (r < 0)
		return r;
	if (!how(task))
		return -EIO;
	r = task_run(task);
	return r == -ENXIO ? 0 : r;
}

int map_remove(const char *name, const char *uuid)
{
	return remove_by(name, uuid, dm_task_retry_remove);
}

int map_remove_later(const char *name, const char *uuid)
{
	return remove_by(name, uuid, dm_task_deferred_remove);
}

int map_fail(const char *name, uint64_t length_sectors)
{
	_cleanup_task_ struct dm_task *task = NULL;
	int r;

	r = task_new(DM_DEVICE_RELOAD, name, &task);
	if (r < 0)
		return r;
	if (!dm_task_add_target(task, 0, length_sectors, "error", ""))
		return -ENOMEM;
	r = task_run(task);
	return r < 0 ? r : table_swap(name);
}

int maps_each(int (*found)(const char *name, void *userdata), void *userdata)
{
	_cleanup_task_ struct dm_task *task = NULL;
	struct dm_names *names;
	uint32_t next = 0;
	int r;

	r = task_new(DM_DEVICE_LIST, NULL, &task);
	if (r < 0)
		return r;
	r = task_run(task);
	if (r < 0)
		return r;
	names = dm_task_get_names(task);
	if (!names)
		return -EIO;
	if (!names->dev)
		return 0;
	do {
		names = (struct dm_names *)(void *)((char *)names + next);
		r = found(names->name, userdata);
		if (r < 0)
			return r;
		next = names->next;
	} while (next);
	return 0;
}
