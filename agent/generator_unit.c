/* SPDX-License-Identifier: Apache-2.0 */
/* What systemd is told of one volume: unit names and unit files as text. Pure. */
#include "generator_unit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/plan.h"

#define MAKE_VOLUME_MS 90000 /* beyond DeviceTimeoutSec=: to map the volume, and to mkfs 1 TB */

/* Appends to TEXT of SIZE bytes, of which *USED are. */
static int append(char *text, size_t size, size_t *used, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static int append(char *text, size_t size, size_t *used, const char *format, ...)
{
	va_list arguments;
	int n;

	va_start(arguments, format);
	n = vsnprintf(text + *used, size - *used, format, arguments);
	va_end(arguments);
	if (n < 0 || (size_t)n >= size - *used)
		return -ENOBUFS;
	*used += (size_t)n;
	return 0;
}

static bool is_plain(char c, bool first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == ':' || c == '_' || (c == '.' && !first);
}

int unit_name_from_path(const char *path, const char *suffix, char ret_name[static UNIT_NAME_SIZE])
{
	char name[UNIT_NAME_SIZE];
	size_t used = 0;
	int r = 0;

	while (*path == '/')
		path++;
	if (!*path)
		r = append(name, sizeof(name), &used, "-");
	for (const char *c = path; *c && r == 0; c++) {
		if (*c == '/')
			r = append(name, sizeof(name), &used, "-");
		else if (is_plain(*c, c == path))
			r = append(name, sizeof(name), &used, "%c", *c);
		else
			r = append(name, sizeof(name), &used, "\\x%02x", (unsigned char)*c);
	}
	if (r == 0)
		r = append(name, sizeof(name), &used, "%s", suffix);
	if (r < 0)
		return -ENAMETOOLONG;
	memcpy(ret_name, name, sizeof(name));
	return 0;
}

bool volume_has_unit(const struct volume_config *volume)
{
	return volume->use == VOLUME_SWAP || volume->mount_point[0];
}

static int device_name(const struct volume_config *volume, const char *suffix,
		       char ret_name[static UNIT_NAME_SIZE])
{
	char path[sizeof("/dev/mapper/") + DM_NAME_MAX], name[DM_NAME_MAX + 1];

	volume_dm_name(name, volume->name);
	snprintf(path, sizeof(path), "/dev/mapper/%s", name);
	return unit_name_from_path(path, suffix, ret_name);
}

int volume_unit_name(const struct volume_config *volume, char ret_name[static UNIT_NAME_SIZE])
{
	if (volume->use != VOLUME_SWAP)
		return unit_name_from_path(volume->mount_point, ".mount", ret_name);
	return device_name(volume, ".swap", ret_name);
}

/* It is unmounted when its disk goes. */
static int append_binding(char *text, size_t *used, const struct volume_config *volume)
{
	char name[UNIT_NAME_SIZE];
	int r = device_name(volume, ".device", name);

	return r < 0 ? r : append(text, UNIT_TEXT_SIZE, used, "BindsTo=%s\n", name);
}

static int append_head(char *text, size_t *used, const struct volume_config *volume)
{
	int r = append(text, UNIT_TEXT_SIZE, used,
		       "# Made by emberlock-generator(8) from volumes.d/%s.conf\n\n[Unit]\n"
		       "Description=Emberlock volume %s\n"
		       "Documentation=man:emberlock-volume.conf(5)\n"
		       "Wants=emberlock-agent.service\n",
		       volume->name, volume->name);

	/* systemd.swap(5) orders every swap unit before swap.target, "nofail" or not. */
	if (r == 0 && volume->use == VOLUME_SWAP && (!volume->required || volume->bind))
		r = append(
			text, UNIT_TEXT_SIZE, used,
			"DefaultDependencies=no\nConflicts=umount.target\nBefore=umount.target\n");
	if (r == 0 && volume->hot_plug)
		r = append_binding(text, used, volume);
	return r;
}

/* No value of a volume file can hold a '%', a space or a line end, so none needs escaping. */
static int append_mount(char *text, size_t *used, const struct volume_config *volume)
{
	/* mkfs leaves inode tables unwritten; to zero them later would be of no use in one boot. */
	bool lazy = volume->use == VOLUME_EXT4 && !strstr(volume->mount_options, "init_itable");
	bool discard = volume->discard == DISCARD_ALWAYS;

	/* systemd.mount(5): a mount with "nofail" is not before local-fs.target. */
	return append(text, UNIT_TEXT_SIZE, used,
		      "\n[Mount]\nWhat=/dev/mapper/emberlock-%s\nWhere=%s\nType=%s\n"
		      "Options=%s%s%s%s%s\n",
		      volume->name, volume->mount_point, volume_use_name(volume->use),
		      volume->mount_options, lazy ? ",noinit_itable" : "",
		      discard ? ",discard" : "", volume->project_quota ? ",prjquota" : "",
		      volume->required && !volume->bind ? "" : ",nofail");
}

static int append_swap(char *text, size_t *used, const struct volume_config *volume)
{
	int r = append(text, UNIT_TEXT_SIZE, used, "\n[Swap]\nWhat=/dev/mapper/emberlock-%s\n",
		       volume->name);

	if (r == 0 && volume->swap_priority >= 0)
		r = append(text, UNIT_TEXT_SIZE, used, "Priority=%" PRId32 "\n",
			   volume->swap_priority);
	if (r == 0 && volume->discard == DISCARD_ALWAYS)
		r = append(text, UNIT_TEXT_SIZE, used, "Options=discard\n");
	return r;
}

int volume_unit_text(const struct volume_config *volume, char ret_text[static UNIT_TEXT_SIZE])
{
	size_t used = 0;
	int r = append_head(ret_text, &used, volume);

	if (r < 0)
		return r;
	return volume->use == VOLUME_SWAP ? append_swap(ret_text, &used, volume)
					  : append_mount(ret_text, &used, volume);
}

int volume_device_text(const struct volume_config *volume, char ret_text[static UNIT_TEXT_SIZE])
{
	char name[UNIT_NAME_SIZE];
	size_t used = 0;
	int r;

	/* Whenever it comes, it is mounted; until then nothing waits for it. */
	if (volume->hot_plug && volume->mount_point[0]) {
		r = volume_unit_name(volume, name);
		return r < 0 ? r
			     : append(ret_text, UNIT_TEXT_SIZE, &used, "[Unit]\nWants=%s\n", name);
	}
	if (volume->hot_plug)
		return append(ret_text, UNIT_TEXT_SIZE, &used, "[Unit]\n");
	/* Mapped before that service ends; until then, which may be long, nothing times out. */
	if (volume->bind)
		return append(ret_text, UNIT_TEXT_SIZE, &used,
			      "[Unit]\nAfter=emberlock-admitted.service\n"
			      "JobRunningTimeoutSec=%" PRIu64 "ms\n",
			      volume->device_timeout_ms + MAKE_VOLUME_MS);
	/* The agent starts when the keeper has: its DeviceTimeoutSec= and this run side by side,
	 * however late in the boot that is. */
	return append(ret_text, UNIT_TEXT_SIZE, &used,
		      "[Unit]\nAfter=emberlock-keeper.service\nJobRunningTimeoutSec=%" PRIu64
		      "ms\n",
		      volume->device_timeout_ms + MAKE_VOLUME_MS);
}
