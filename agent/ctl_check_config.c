/* SPDX-License-Identifier: Apache-2.0 */
/* The volume files, and what else names their disks and mount points. */
#include <limits.h>
#include <mntent.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl_check.h"
#include "disks/config.h"

#define KEEPER_CONF "/etc/emberlock/keeper.conf"
#define AREA	    "config"

static bool load(struct check *check)
{
	_cleanup_free_ char *text = check_read(check, KEEPER_CONF);
	struct config_error config_error;
	char error[256];

	if (configs_load(check->root, &check->agent, check->volumes, VOLUMES_MAX, &check->n_volumes,
			 error) < 0) {
		finding_add(check, FINDING_MISSING, AREA, "%s", error);
		check->n_volumes = 0;
		return false;
	}
	keeper_config_init(&check->keeper);
	if (text && keeper_config_parse(text, strlen(text), &check->keeper, &config_error) < 0) {
		finding_add(check, FINDING_MISSING, AREA, KEEPER_CONF ":%u: %s", config_error.line,
			    config_error.text);
		return false;
	}
	return true;
}

/* Whether PATH lies below DIRECTORY. */
static bool is_below(const char *path, const char *directory)
{
	size_t n = strlen(directory);

	return n > 0 && strncmp(path, directory, n) == 0 && path[n] == '/';
}

/* What is mounted on a bound volume would wait for the admission with it, and with it the boot. */
static void check_bound(struct check *check, const struct volume_config *bound)
{
	for (size_t i = 0; i < check->n_volumes; i++) {
		const struct volume_config *volume = &check->volumes[i];

		if (!volume->bind && is_below(volume->mount_point, bound->mount_point))
			finding_add(check, FINDING_CONFLICT, AREA,
				    "volume '%s': MountPoint=%s lies on volume '%s', which comes "
				    "after the admission (Bind=yes); this one does not",
				    volume->name, volume->mount_point, bound->name);
	}
}

static void check_volumes(struct check *check)
{
	if (check->n_volumes == 0)
		finding_add(check, FINDING_WARNING, AREA,
			    "no volume files in volumes.d: no disk is encrypted");
	for (size_t i = 0; i < check->n_volumes; i++)
		for (size_t k = 0; k < i; k++)
			if (check->volumes[i].mount_point[0] &&
			    strcmp(check->volumes[i].mount_point, check->volumes[k].mount_point) ==
				    0)
				finding_add(check, FINDING_CONFLICT, AREA,
					    "volumes '%s' and '%s' both have MountPoint=%s",
					    check->volumes[k].name, check->volumes[i].name,
					    check->volumes[i].mount_point);
	for (size_t i = 0; i < check->n_volumes && !check->agent.keep_boot_key; i++)
		if (check->volumes[i].hot_plug)
			finding_add(check, FINDING_MISSING, AREA,
				    "volume '%s': HotPlug=yes needs the boot key, which "
				    "KeepBootKey=no of agent.conf erases",
				    check->volumes[i].name);
	for (size_t i = 0; i < check->n_volumes; i++)
		if (check->volumes[i].bind)
			check_bound(check, &check->volumes[i]);
	if (!check->agent.keep_boot_key)
		finding_add(check, FINDING_WARNING, AREA,
			    "agent.conf: KeepBootKey=no: no volume can be grown, added, or made "
			    "again in a boot");
}

static bool is_ours(const char *device)
{
	return strncmp(device, "/dev/mapper/emberlock-", strlen("/dev/mapper/emberlock-")) == 0;
}

/* Whether a line of fstab names the disk of VOLUME as its file does. */
static bool names_disk(const char *device, const struct volume_config *volume)
{
	static const char label[] = "LABEL=";

	if (strncmp(device, label, strlen(label)) == 0)
		return volume->match[MATCH_LABEL][0] &&
		       strcmp(device + strlen(label), volume->match[MATCH_LABEL]) == 0;
	return volume->match[MATCH_PATH][0] && strcmp(device, volume->match[MATCH_PATH]) == 0;
}

static void check_mount(struct check *check, const struct mntent *mount)
{
	if (is_ours(mount->mnt_fsname)) {
		finding_add(check, FINDING_CONFLICT, "fstab",
			    "/etc/fstab: %s: the volume file makes the unit for it",
			    mount->mnt_fsname);
		return;
	}
	if (strcmp(mount->mnt_type, "swap") == 0) {
		finding_add(check, FINDING_WARNING, "fstab",
			    "/etc/fstab: %s: swap that is no volume of Emberlock's",
			    mount->mnt_fsname);
		return;
	}
	for (size_t i = 0; i < check->n_volumes; i++) {
		const struct volume_config *volume = &check->volumes[i];

		if (strcmp(mount->mnt_dir, volume->mount_point) == 0)
			finding_add(check, FINDING_CONFLICT, "fstab",
				    "/etc/fstab: %s on %s: is MountPoint= of volume '%s'",
				    mount->mnt_fsname, mount->mnt_dir, volume->name);
		if (volume->bind && is_below(mount->mnt_dir, volume->mount_point) &&
		    !hasmntopt(mount, "nofail") && !hasmntopt(mount, "noauto"))
			finding_add(check, FINDING_CONFLICT, "fstab",
				    "/etc/fstab: %s on %s: lies on volume '%s', which comes after "
				    "the admission (Bind=yes); nofail lets the boot go on without",
				    mount->mnt_fsname, mount->mnt_dir, volume->name);
		if (names_disk(mount->mnt_fsname, volume))
			finding_add(check, FINDING_CONFLICT, "fstab",
				    "/etc/fstab: %s on %s: mounts the bare disk of volume '%s'",
				    mount->mnt_fsname, mount->mnt_dir, volume->name);
	}
}

static void check_fstab(struct check *check)
{
	char path[PATH_MAX], line[4096];
	struct mntent mount;
	FILE *f;

	snprintf(path, sizeof(path), "%s/etc/fstab", check->root);
	f = setmntent(path, "re");
	if (!f)
		return;
	while (getmntent_r(f, &mount, line, sizeof(line)))
		check_mount(check, &mount);
	endmntent(f);
}

static void check_crypttab_line(struct check *check, const char *name, const char *device)
{
	if (strncmp(name, "emberlock-", strlen("emberlock-")) == 0)
		finding_add(check, FINDING_CONFLICT, "crypttab",
			    "/etc/crypttab: %s: names beginning with emberlock- are Emberlock's",
			    name);
	for (size_t i = 0; i < check->n_volumes; i++)
		if (strcmp(device, check->volumes[i].match[MATCH_PATH]) == 0)
			finding_add(check, FINDING_CONFLICT, "crypttab",
				    "/etc/crypttab: %s: %s is Path= of volume '%s'", name, device,
				    check->volumes[i].name);
}

static void check_crypttab(struct check *check)
{
	_cleanup_free_ char *text = check_read(check, "/etc/crypttab");
	char *next = text, *line, *save, *name, *device;

	while ((line = strsep(&next, "\n"))) {
		name = strtok_r(line, " \t", &save);
		device = name ? strtok_r(NULL, " \t", &save) : NULL;
		if (device && name[0] != '#')
			check_crypttab_line(check, name, device);
	}
}

static void check_zram(struct check *check)
{
	static const char *const files[] = {
		"/etc/systemd/zram-generator.conf", "/run/systemd/zram-generator.conf",
		"/usr/lib/systemd/zram-generator.conf", "/etc/default/zramswap"};

	for (size_t i = 0; i < ELEMENTSOF(files); i++)
		if (check_exists(check, files[i]) && !check_is_masked(check, files[i]))
			finding_add(check, FINDING_WARNING, "zram",
				    "%s: sets up zram: swapped pages stay in memory in the clear, "
				    "and a backing device takes them to its disk",
				    files[i]);
}

/* What kernel-install(8) gives the kernel; other ways are the image builder's. */
static void check_cmdline_file(struct check *check)
{
	_cleanup_free_ char *text =
		check->running ? NULL : check_read(check, "/etc/kernel/cmdline");

	if (text)
		check_command_line(check, "/etc/kernel/cmdline", text);
}

void check_config(struct check *check)
{
	check->known = load(check);
	if (check->known)
		check_volumes(check);
	check_fstab(check);
	check_crypttab(check);
	check_zram(check);
	check_cmdline_file(check);
}
