/* SPDX-License-Identifier: Apache-2.0 */
/* What else on a machine takes disks by itself: cloud-init, systemd's own generator, LVM, mdadm,
 * multipath, swap files. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl_check.h"

#define CLOUD	      "/etc/cloud/"
#define CLOUD_AREA    "cloud"
#define GPT_GENERATOR "systemd-gpt-auto-generator"

static bool has_line(const char *text, const char *beginning)
{
	size_t n = strlen(beginning);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, beginning, n) == 0)
			return true;
	}
	return false;
}

/* --- cloud-init: YAML, of which only keys in the first column are looked at */

static void check_cloud_file(struct check *check, const char *path)
{
	static const struct {
		const char *key, *does;
	} keys[] = {
		{"disk_setup:", "partitions disks"},
		{"fs_setup:", "makes file systems on disks"},
		{"swap:", "makes a swap file, in the clear where the root is"},
		{"mounts:", "mounts and formats what the cloud attaches"},
	};
	_cleanup_free_ char *text = check_read(check, path);

	for (size_t i = 0; text && i < ELEMENTSOF(keys); i++)
		if (has_line(text, keys[i].key))
			finding_add(check, FINDING_CONFLICT, CLOUD_AREA,
				    "%s: %s cloud-init %s, whatever the volume files say", path,
				    keys[i].key, keys[i].does);
}

static bool ends_in(const char *name, const char *suffix)
{
	size_t n = strlen(name), m = strlen(suffix);

	return n > m && strcmp(name + n - m, suffix) == 0;
}

static void check_cloud(struct check *check)
{
	_cleanup_closedir_ DIR *stream = NULL;
	const struct dirent *entry;
	char path[PATH_MAX];

	if (check_exists(check, CLOUD "cloud-init.disabled"))
		return;
	check_cloud_file(check, CLOUD "cloud.cfg");
	snprintf(path, sizeof(path), "%s" CLOUD "cloud.cfg.d", check->root);
	stream = opendir(path);
	while (stream && (entry = readdir(stream))) {
		if (!ends_in(entry->d_name, ".cfg"))
			continue;
		snprintf(path, sizeof(path), CLOUD "cloud.cfg.d/%s", entry->d_name);
		check_cloud_file(check, path);
	}
}

/* --- assembly by udev: it acts on a signature, before the agent has the disk */

/* Whether the file NAME of udev's rules counts: it is there and not masked. */
static bool has_rules(const struct check *check, const char *name)
{
	static const char *const directories[] = {"/usr/lib/udev/rules.d", "/lib/udev/rules.d",
						  "/etc/udev/rules.d"};
	char path[PATH_MAX];
	bool found = false;

	snprintf(path, sizeof(path), "/etc/udev/rules.d/%s", name);
	if (check_is_masked(check, path))
		return false;
	for (size_t i = 0; i < ELEMENTSOF(directories); i++) {
		snprintf(path, sizeof(path), "%s/%s", directories[i], name);
		found = found || check_exists(check, path);
	}
	return found;
}

/* The first volume that would take a disk with SIGNATURE; NULL: none. */
static const struct volume_config *taker_of(const struct check *check, const char *signature)
{
	for (size_t i = 0; i < check->n_volumes; i++) {
		const char *destroy = check->volumes[i].destroy, *at = strstr(destroy, signature);
		size_t n = strlen(signature);

		if (strcmp(destroy, "any") == 0 ||
		    (at && (at == destroy || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0')))
			return &check->volumes[i];
	}
	return NULL;
}

static void check_assembly(struct check *check)
{
	static const struct {
		const char *area, *signature, *does, *rules[3];
	} assemblers[] = {
		{"lvm",
		 "LVM2_member",
		 "activates volume groups",
		 {"69-lvm.rules", "69-lvm-metad.rules"}},
		{"mdadm", "linux_raid_member", "assembles arrays", {"64-md-raid-assembly.rules"}},
	};

	for (size_t i = 0; i < ELEMENTSOF(assemblers); i++) {
		const struct volume_config *taker = taker_of(check, assemblers[i].signature);

		for (size_t k = 0; taker && k < 3 && assemblers[i].rules[k]; k++)
			if (has_rules(check, assemblers[i].rules[k]))
				finding_add(
					check, FINDING_CONFLICT, assemblers[i].area,
					"/usr/lib/udev/rules.d/%s: %s as soon as a disk appears; "
					"one with %s, which Destroy= of volume '%s' allows to be "
					"lost, is then in use (mask it in /etc/udev/rules.d)",
					assemblers[i].rules[k], assemblers[i].does,
					assemblers[i].signature, taker->name);
	}
}

/* Whether multipath.conf(5) has find_multipaths with one of the words that mean "all of them". */
static bool maps_everything(char *text)
{
	static const char *const words[] = {"no", "off", "greedy"};
	char *line, *save;

	while ((line = strsep(&text, "\n"))) {
		const char *key = strtok_r(line, " \t\"", &save);
		const char *value = key ? strtok_r(NULL, " \t\"", &save) : NULL;

		for (size_t i = 0; value && i < ELEMENTSOF(words); i++)
			if (strcmp(key, "find_multipaths") == 0 && strcmp(value, words[i]) == 0)
				return true;
	}
	return false;
}

/* It takes disks by their WWN, blank ones too. */
static void check_multipath(struct check *check)
{
	_cleanup_free_ char *text = check_read(check, "/etc/multipath.conf");

	if (!has_rules(check, "60-multipath.rules") || check->n_volumes == 0)
		return;
	if (text && maps_everything(text))
		finding_add(
			check, FINDING_CONFLICT, "multipath",
			"/etc/multipath.conf: find_multipaths: maps every disk, those of volumes "
			"too");
	else
		finding_add(check, FINDING_WARNING, "multipath",
			    "60-multipath.rules: maps a disk that it sees twice; those of volumes "
			    "belong into the blacklist of /etc/multipath.conf");
}

/* --- swap */

static void check_gpt_auto(struct check *check)
{
	_cleanup_free_ char *cmdline =
		check_read(check, check->running ? "/proc/cmdline" : "/etc/kernel/cmdline");

	if (!check_exists(check, "/usr/lib/systemd/system-generators/" GPT_GENERATOR) ||
	    check_is_masked(check, "/etc/systemd/system-generators/" GPT_GENERATOR) ||
	    (cmdline &&
	     (strstr(cmdline, "systemd.gpt_auto=0") || strstr(cmdline, "systemd.gpt_auto=no"))))
		return;
	finding_add(check, FINDING_WARNING, "gpt",
		    GPT_GENERATOR ": under UEFI it swaps on, in the clear, each GPT swap partition "
				  "of the root's disk (systemd.gpt_auto=0, or mask it)");
}

static void check_swap_files(struct check *check)
{
	static const char *const files[] = {"/etc/dphys-swapfile", "/etc/systemd/swap.conf"};

	for (size_t i = 0; i < ELEMENTSOF(files); i++)
		if (check_exists(check, files[i]))
			finding_add(check, FINDING_CONFLICT, "swap",
				    "%s: makes swap files where the root is", files[i]);
}

void check_others(struct check *check)
{
	check_cloud(check);
	check_assembly(check);
	check_multipath(check);
	check_gpt_auto(check);
	check_swap_files(check);
}
