/* SPDX-License-Identifier: Apache-2.0 */
/* What must lie in a root file system: programs, units, rules, users, tools. */
#include <ctype.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl_check.h"

#define UNITS "/usr/lib/systemd/system/"

static void check_files(struct check *check)
{
	static const struct {
		const char *area, *path, *reason;
	} files[] = {
		{"program", "/usr/lib/emberlock/emberlock-keeper", "package emberlock-agent"},
		{"program", "/usr/lib/emberlock/emberlock-agent", "package emberlock-agent"},
		{"program", "/usr/lib/emberlock/emberlock-watchdog", "package emberlock-agent"},
		{"program", "/usr/bin/emberlockctl", "package emberlock-agent"},
		{"program", "/usr/lib/systemd/system-generators/emberlock-generator",
		 "package emberlock-agent: makes mount and swap units"},
		{"program", "/usr/lib/systemd/system-shutdown/emberlock.shutdown",
		 "package emberlock-agent: wipes keys at an orderly end"},
		{"program", "/usr/lib/systemd/systemd", "package systemd"},
		{"unit", UNITS "emberlock-keeper.service", "package emberlock-agent"},
		{"unit", UNITS "emberlock-agent.service", "package emberlock-agent"},
		{"unit", UNITS "emberlock-watchdog.service", "package emberlock-agent"},
		{"unit", UNITS "emberlock-admitted.service", "package emberlock-agent"},
		{"unit", UNITS "emberlock-admitted.target", "package emberlock-agent"},
		{"unit", UNITS "emberlock-failed.target", "package emberlock-agent"},
		{"unit", UNITS "emberlock-ending@.service",
		 "package emberlock-agent: bounds the time of an orderly end"},
		{"udev", "/usr/lib/udev/rules.d/54-emberlock.rules",
		 "package emberlock-agent: without it each event of a map is one for dmsetup"},
		{"udev", "/usr/lib/udev/rules.d/55-dm.rules",
		 "package dmsetup: without it no volume becomes ready"},
		{"udev", "/usr/lib/udev/rules.d/58-emberlock.rules",
		 "package emberlock-agent: without it no volume becomes ready"},
	};

	for (size_t i = 0; i < ELEMENTSOF(files); i++)
		if (!check_exists(check, files[i].path))
			finding_add(check, FINDING_MISSING, files[i].area, "%s (%s)", files[i].path,
				    files[i].reason);
}

static void check_masks(struct check *check)
{
	static const struct {
		const char *area, *path;
	} masks[] = {
		{"unit", "/etc/systemd/system/emberlock-keeper.service"},
		{"unit", "/etc/systemd/system/emberlock-agent.service"},
		{"unit", "/etc/systemd/system/emberlock-watchdog.service"},
		{"unit", "/etc/systemd/system/emberlock-admitted.service"},
		{"unit", "/etc/systemd/system/emberlock-admitted.target"},
		{"unit", "/etc/systemd/system/systemd-modules-load.service"},
		{"unit", "/etc/systemd/system-generators/emberlock-generator"},
		{"udev", "/etc/udev/rules.d/54-emberlock.rules"},
		{"udev", "/etc/udev/rules.d/55-dm.rules"},
		{"udev", "/etc/udev/rules.d/58-emberlock.rules"},
		{"udev", "/etc/udev/rules.d/60-persistent-storage-dm.rules"},
	};

	for (size_t i = 0; i < ELEMENTSOF(masks); i++)
		if (check_is_masked(check, masks[i].path))
			finding_add(check, FINDING_MISSING, masks[i].area,
				    "%s: masks what Emberlock needs", masks[i].path);
}

static void check_enabled(struct check *check)
{
	static const struct {
		const char *wants, *unit;
	} units[] = {
		{"sysinit.target.wants", "emberlock-keeper.service"},
		{"sysinit.target.wants", "emberlock-agent.service"},
		{"sysinit.target.wants", "emberlock-watchdog.service"},
		{"multi-user.target.wants", "emberlock-admitted.target"},
	};
	static const char *const directories[] = {"/etc/systemd/system", "/run/systemd/system",
						  "/usr/lib/systemd/system"};
	char path[256];

	for (size_t i = 0; i < ELEMENTSOF(units); i++) {
		bool enabled = false;

		for (size_t k = 0; k < ELEMENTSOF(directories) && !enabled; k++) {
			snprintf(path, sizeof(path), "%s/%s/%s", directories[k], units[i].wants,
				 units[i].unit);
			enabled = check_exists(check, path);
		}
		if (!enabled)
			finding_add(check, FINDING_MISSING, "unit",
				    "%s is not enabled (systemctl enable %s)", units[i].unit,
				    units[i].unit);
	}
}

/* Whether the table TEXT, of the form of passwd(5), has NAME. */
static bool table_has(const char *text, const char *name)
{
	size_t n = strlen(name);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, name, n) == 0 && line[n] == ':')
			return true;
	}
	return false;
}

static void check_name(struct check *check, const char *path, const char *text, const char *name,
		       const char *reason)
{
	if (!text || !table_has(text, name))
		finding_add(check, FINDING_MISSING, "users", "%s: has no '%s' (%s)", path, name,
			    reason);
}

/* Owner= and Group= of the volume files, unless they are numbers. */
static void check_owners(struct check *check, const char *passwd, const char *group)
{
	char reason[64];

	for (size_t i = 0; i < check->n_volumes; i++) {
		const struct volume_config *volume = &check->volumes[i];

		snprintf(reason, sizeof(reason), "Owner= of volume '%s'", volume->name);
		if (volume->owner[0] && !isdigit((unsigned char)volume->owner[0]))
			check_name(check, "/etc/passwd", passwd, volume->owner, reason);
		snprintf(reason, sizeof(reason), "Group= of volume '%s'", volume->name);
		if (volume->group[0] && !isdigit((unsigned char)volume->group[0]))
			check_name(check, "/etc/group", group, volume->group, reason);
	}
}

static void check_users(struct check *check)
{
	_cleanup_free_ char *passwd = check_read(check, "/etc/passwd");
	_cleanup_free_ char *group = check_read(check, "/etc/group");

	check_name(check, "/etc/passwd", passwd, "emberlock-watchdog",
		   "the watchdog's uid; systemd-sysusers makes it");
	check_name(check, "/etc/group", group, "emberlock",
		   "who may ask for the status; systemd-sysusers makes it");
	check_owners(check, passwd, group);
}

static void check_tools(struct check *check)
{
	static const struct {
		enum volume_use use;
		const char *path, *package;
	} tools[] = {
		{VOLUME_EXT4, "/sbin/mkfs.ext4", "e2fsprogs"},
		{VOLUME_OVERLAY, "/sbin/mkfs.ext4", "e2fsprogs"},
		{VOLUME_XFS, "/sbin/mkfs.xfs", "xfsprogs"},
		{VOLUME_SWAP, "/sbin/mkswap", "util-linux"},
	};

	for (size_t i = 0; i < ELEMENTSOF(tools); i++)
		if (check->known && check_uses(check, tools[i].use) &&
		    !check_exists(check, tools[i].path))
			finding_add(check, FINDING_MISSING, "program",
				    "%s (package %s): a volume has Use=%s", tools[i].path,
				    tools[i].package, volume_use_name(tools[i].use));
}

/* A root that is an overlay is made in the initramfs, whichever of the two programs makes that. */
static void check_initramfs(struct check *check)
{
	static const struct {
		const char *program, *ours;
	} makers[] = {
		{"/usr/sbin/mkinitramfs", "/usr/share/initramfs-tools/hooks/emberlock"},
		{"/usr/bin/dracut", "/usr/lib/dracut/modules.d/90emberlock/module-setup.sh"},
	};
	bool found = false;

	if (!check->known || !check_uses(check, VOLUME_OVERLAY))
		return;
	for (size_t i = 0; i < ELEMENTSOF(makers); i++) {
		if (!check_exists(check, makers[i].program))
			continue;
		found = true;
		if (!check_exists(check, makers[i].ours))
			finding_add(check, FINDING_MISSING, "program",
				    "%s (package emberlock-agent): a volume has Use=overlay",
				    makers[i].ours);
	}
	if (!found)
		finding_add(check, FINDING_MISSING, "program",
			    "neither %s (package initramfs-tools) nor %s (package dracut): a "
			    "volume has Use=overlay",
			    makers[0].program, makers[1].program);
}

void check_image(struct check *check)
{
	check_files(check);
	check_masks(check);
	check_enabled(check);
	check_users(check);
	check_tools(check);
	check_initramfs(check);
}
