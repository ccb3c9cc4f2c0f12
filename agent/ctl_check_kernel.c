/* SPDX-License-Identifier: Apache-2.0 */
/* What a kernel must have been built with, and be started with. */
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ctl_check.h"

#define AREA "kernel"

/* When an option matters: always, or for volumes of one use. */
enum need {
	NEED_ALWAYS,
	NEED_EXT4,
	NEED_XFS,
	NEED_SWAP,
	NEED_OVERLAY,
	NEED_EXT4_QUOTA,
	NEED_XFS_QUOTA,
	NEED_SECRET_MEMORY
};

static const struct kernel_option {
	const char *names; /* any of these, separated by '|' */
	bool module;	   /* =m is enough */
	enum finding_level level;
	enum need need;
	const char *only_with; /* matters only where this one is set; NULL: always */
	const char *reason;
} kernel_options[] = {
	/* What menus of others are in: unset, they take all of those with them. */
	{"X86_64|ARM64", false, FINDING_MISSING, NEED_ALWAYS, NULL,
	 "the programs are of 64 bits (CONFIG_64BIT=y)"},
	{"BLOCK", false, FINDING_MISSING, NEED_ALWAYS, NULL,
	 "disks; CONFIG_MD and file systems on disks depend on it"},
	{"CRYPTO", false, FINDING_MISSING, NEED_ALWAYS, NULL,
	 "the menu of ciphers; CONFIG_DM_CRYPT needs one"},
	{"NET", false, FINDING_MISSING, NEED_ALWAYS, NULL,
	 "sockets; CONFIG_UNIX and CONFIG_INET depend on it"},
	{"SHMEM", false, FINDING_MISSING, NEED_ALWAYS, NULL,
	 "memory without a disk; CONFIG_TMPFS and CONFIG_MEMFD_CREATE depend on it"},
	{"MULTIUSER", false, FINDING_MISSING, NEED_ALWAYS, NULL,
	 "the watchdog's own user; CONFIG_NAMESPACES depends on it"},
	/* Volumes. */
	{"MD", false, FINDING_MISSING, NEED_ALWAYS, NULL,
	 "the menu that device mapper is in; CONFIG_BLK_DEV_DM depends on it"},
	{"BLK_DEV_DM", true, FINDING_MISSING, NEED_ALWAYS, NULL,
	 "device mapper: segments and volumes are its maps"},
	{"DM_CRYPT", true, FINDING_MISSING, NEED_ALWAYS, NULL, "dm-crypt: encrypts segments"},
	{"CRYPTO_XTS", true, FINDING_MISSING, NEED_ALWAYS, NULL, "the cipher's mode, aes-xts"},
	{"CRYPTO_AES", true, FINDING_MISSING, NEED_ALWAYS, NULL, "the cipher, aes-xts"},
	{"KEYS", false, FINDING_MISSING, NEED_ALWAYS, NULL,
	 "key rings: tables name keys and hold none"},
	{"DEVTMPFS", false, FINDING_MISSING, NEED_ALWAYS, NULL, "device nodes of the maps"},
	{"EXT4_FS", true, FINDING_MISSING, NEED_EXT4, NULL, "volumes with Use=ext4"},
	{"XFS_FS", true, FINDING_MISSING, NEED_XFS, NULL, "volumes with Use=xfs"},
	{"SWAP", false, FINDING_MISSING, NEED_SWAP, NULL, "volumes with Use=swap"},
	{"QUOTA", false, FINDING_MISSING, NEED_EXT4_QUOTA, NULL,
	 "ext4 volumes with ProjectQuota=yes are not mounted without it"},
	{"QFMT_V2", true, FINDING_MISSING, NEED_EXT4_QUOTA, NULL,
	 "ext4 volumes with ProjectQuota=yes"},
	{"XFS_QUOTA", false, FINDING_MISSING, NEED_XFS_QUOTA, NULL,
	 "xfs volumes with ProjectQuota=yes"},
	{"OVERLAY_FS", true, FINDING_MISSING, NEED_OVERLAY, NULL, "the volume with Use=overlay"},
	{"BLK_DEV_INITRD", false, FINDING_MISSING, NEED_OVERLAY, NULL,
	 "the volume with Use=overlay is mapped in an initramfs"},
	{"CRYPTO_AES_NI_INTEL", true, FINDING_WARNING, NEED_ALWAYS, "X86_64",
	 "AES by the CPU's own instructions; without it volumes are many times slower"},
	{"CRYPTO_AES_ARM64_CE_BLK|CRYPTO_AES_ARM64_NEON_BLK", true, FINDING_WARNING, NEED_ALWAYS,
	 "ARM64", "AES by the CPU's own instructions; without it volumes are many times slower"},
	/* Keeper. */
	{"SECRETMEM", false, FINDING_WARNING, NEED_SECRET_MEMORY, NULL,
	 "memfd_secret(2): the boot key in memory that not even root reads; "
	 "RequireMemfdSecret=yes does not start without"},
	{"MEMFD_CREATE", false, FINDING_MISSING, NEED_ALWAYS, NULL,
	 "memory that keeper and agent share"},
	{"UNIX", false, FINDING_MISSING, NEED_ALWAYS, NULL,
	 "local sockets between keeper, agent and watchdog; =m comes too late"},
	{"PROC_FS", false, FINDING_MISSING, NEED_ALWAYS, NULL, "/proc"},
	{"SYSFS", false, FINDING_MISSING, NEED_ALWAYS, NULL, "/sys: disks and their queues"},
	{"FUTEX", false, FINDING_MISSING, NEED_ALWAYS, NULL, "threads of keeper and watchdog"},
	{"EVENTFD", false, FINDING_MISSING, NEED_ALWAYS, NULL, "the keeper's threads"},
	{"EPOLL", false, FINDING_MISSING, NEED_ALWAYS, NULL, "the agent's event loop"},
	{"SIGNALFD", false, FINDING_MISSING, NEED_ALWAYS, NULL, "the programs' signals"},
	{"TIMERFD", false, FINDING_MISSING, NEED_ALWAYS, NULL, "deadlines"},
	{"CGROUPS", false, FINDING_MISSING, NEED_ALWAYS, NULL,
	 "systemd, and the shred of processes"},
	{"MAGIC_SYSRQ", false, FINDING_MISSING, NEED_ALWAYS, NULL,
	 "/proc/sysrq-trigger: the second rung of the power-off"},
	{"ACPI", false, FINDING_WARNING, NEED_ALWAYS, "X86_64",
	 "power-off; without it the machine halts with its memory on"},
	{"WATCHDOG", false, FINDING_WARNING, NEED_ALWAYS, NULL,
	 "the last rung of the power-off; Watchdog=none does without"},
	{"SOFT_WATCHDOG|I6300ESB_WDT|ITCO_WDT|SBSA_GWDT|ARM_SP805_WATCHDOG", true, FINDING_WARNING,
	 NEED_ALWAYS, NULL, "a watchdog device below the keeper; Watchdog=none does without"},
	{"RTC_CLASS", false, FINDING_WARNING, NEED_ALWAYS, NULL,
	 "/dev/rtc0: tells a pause of the hypervisor, which no clock of the guest counts"},
	{"RTC_DRV_CMOS|RTC_DRV_PL031|RTC_DRV_EFI", true, FINDING_WARNING, NEED_ALWAYS, NULL,
	 "a driver for /dev/rtc0"},
	/* Watchdog process. */
	{"INET", false, FINDING_MISSING, NEED_ALWAYS, NULL, "the way to the manager"},
	/* Units. */
	{"SECCOMP_FILTER", false, FINDING_WARNING, NEED_ALWAYS, NULL,
	 "SystemCallFilter= and the like: the units' sandboxes"},
	{"CGROUP_BPF", false, FINDING_WARNING, NEED_ALWAYS, NULL,
	 "DeviceAllow= and IPAddressDeny= of the agent's unit"},
	{"NAMESPACES", false, FINDING_WARNING, NEED_ALWAYS, NULL, "the watchdog's sandbox"},
	{"USER_NS", false, FINDING_WARNING, NEED_ALWAYS, NULL, "PrivateUsers= of the watchdog"},
	{"TMPFS", false, FINDING_MISSING, NEED_ALWAYS, NULL, "/run, and the units' credentials"},
	{"DMI_SYSFS|FW_CFG_SYSFS", false, FINDING_WARNING, NEED_ALWAYS, NULL,
	 "credentials by SMBIOS or fw_cfg; =m comes too late; other ways need neither"},
};

/* 'y', 'm', or 0: TEXT's value of the option whose name is the first N characters of NAME. */
static char option_value(const char *text, const char *name, size_t n)
{
	const char prefix[] = "CONFIG_";

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, prefix, sizeof(prefix) - 1) != 0)
			continue;
		line += sizeof(prefix) - 1;
		if (strncmp(line, name, n) == 0 && line[n] == '=')
			return line[n + 1] == 'y' || line[n + 1] == 'm' ? line[n + 1] : 0;
	}
	return 0;
}

/* The best value of the alternatives NAMES. */
static char best_value(const char *text, const char *names)
{
	char best = 0;

	for (const char *name = names; *name && best != 'y';) {
		size_t n = strcspn(name, "|");
		char value = option_value(text, name, n);

		best = value ? value : best;
		name += n + (name[n] == '|');
	}
	return best;
}

static enum finding_level level_of(const struct check *check, const struct kernel_option *option)
{
	if (option->need == NEED_SECRET_MEMORY && check->known &&
	    check->keeper.require_memfd_secret)
		return FINDING_MISSING;
	return option->level;
}

static bool has_quota(const struct check *check, enum volume_use use)
{
	for (size_t i = 0; i < check->n_volumes; i++)
		if (check->volumes[i].use == use && check->volumes[i].project_quota)
			return true;
	return false;
}

static bool is_needed(const struct check *check, const struct kernel_option *option,
		      const char *text)
{
	if (option->only_with && !best_value(text, option->only_with))
		return false;
	switch (option->need) {
	case NEED_EXT4:
		return check_uses(check, VOLUME_EXT4) || check_uses(check, VOLUME_OVERLAY);
	case NEED_XFS:
		return check_uses(check, VOLUME_XFS);
	case NEED_SWAP:
		return check_uses(check, VOLUME_SWAP);
	case NEED_OVERLAY:
		return check->known && check_uses(check, VOLUME_OVERLAY);
	case NEED_EXT4_QUOTA:
		return has_quota(check, VOLUME_EXT4);
	case NEED_XFS_QUOTA:
		return has_quota(check, VOLUME_XFS);
	case NEED_ALWAYS:
	case NEED_SECRET_MEMORY:
		break;
	}
	return true;
}

/* "CONFIG_A=y, CONFIG_B=y or =m". */
static void names_text(const struct kernel_option *option, char *to, size_t size)
{
	FILE *f = fmemopen(to, size, "w");

	if (!f)
		return;
	for (const char *name = option->names; *name;) {
		size_t n = strcspn(name, "|");

		fprintf(f, "%sCONFIG_%.*s=y%s", name == option->names ? "" : " or ", (int)n, name,
			option->module ? "/m" : "");
		name += n + (name[n] == '|');
	}
	fclose(f);
}

void check_kernel_text(struct check *check, const char *name, const char *text)
{
	/* Compressed ones are binary, and a file without any option is something else. */
	if (strncmp(text, "CONFIG_", 7) != 0 && !strstr(text, "\nCONFIG_")) {
		finding_add(check, FINDING_MISSING, AREA,
			    "%s: is no kernel configuration in plain text", name);
		return;
	}
	for (size_t i = 0; i < ELEMENTSOF(kernel_options); i++) {
		const struct kernel_option *option = &kernel_options[i];
		char value, names[256] = "";

		if (!is_needed(check, option, text))
			continue;
		value = best_value(text, option->names);
		if (value == 'y' || (value == 'm' && option->module))
			continue;
		names_text(option, names, sizeof(names));
		finding_add(check, level_of(check, option), AREA, "%s: %s%s: %s", name, names,
			    value == 'm' ? " (is =m)" : "", option->reason);
	}
}

static bool check_kernel_file(struct check *check, const char *path)
{
	_cleanup_free_ char *text = check_read(check, path);

	if (!text)
		return false;
	check_kernel_text(check, path, text);
	return true;
}

static bool check_release(struct check *check, const char *release)
{
	char path[512];

	snprintf(path, sizeof(path), "/boot/config-%s", release);
	if (check_kernel_file(check, path))
		return true;
	snprintf(path, sizeof(path), "/lib/modules/%s/config", release);
	return check_kernel_file(check, path);
}

/* The releases of an image are the directories of its modules. */
static unsigned check_releases(struct check *check)
{
	_cleanup_closedir_ DIR *stream = NULL;
	char path[PATH_MAX];
	struct dirent *entry;
	unsigned n = 0;

	snprintf(path, sizeof(path), "%s/lib/modules", check->root);
	stream = opendir(path);
	while (stream && (entry = readdir(stream)))
		if (entry->d_name[0] != '.')
			n += check_release(check, entry->d_name);
	return n;
}

void check_kernels(struct check *check)
{
	struct utsname name;

	if (check->running) {
		if (uname(&name) == 0 && !check_release(check, name.release))
			finding_add(check, FINDING_WARNING, AREA,
				    "no /boot/config-%s: name its configuration with "
				    "--kernel-config",
				    name.release);
		return;
	}
	if (check_releases(check) == 0)
		finding_add(check, FINDING_WARNING, AREA,
			    "no kernel configuration in /boot or /lib/modules: name one with "
			    "--kernel-config");
}

/* The value of the last word NAME=VALUE of a command line, "" for one without; NULL: none. */
static const char *word_value(const char *line, const char *name, char *to, size_t size)
{
	const char *found = NULL;
	size_t n = strlen(name);

	for (const char *word = line + strspn(line, " \n"); *word;) {
		size_t length = strcspn(word, " \n");

		if (length > n && length - n - 1 < size && strncmp(word, name, n) == 0 &&
		    word[n] == '=') {
			memcpy(to, word + n + 1, length - n - 1);
			to[length - n - 1] = '\0';
			found = to;
		}
		word += length;
		word += strspn(word, " \n");
	}
	return found;
}

void check_command_line(struct check *check, const char *name, const char *text)
{
	char value[64];
	const char *v = word_value(text, "emberlock.power", value, sizeof(value));
	uint32_t seconds = 0;

	if (!v || strcmp(v, "armed") != 0)
		finding_add(check, FINDING_MISSING, AREA,
			    "%s: emberlock.power=armed: without it a shred leaves the VM on", name);
	v = word_value(text, "init_on_free", value, sizeof(value));
	if (!v || strcmp(v, "1") != 0)
		finding_add(check, FINDING_WARNING, AREA,
			    "%s: init_on_free=1: without it freed memory keeps plaintext after a "
			    "shred",
			    name);
	v = word_value(text, "panic", value, sizeof(value));
	if (!v || parse_u32(v, &seconds) < 0 || seconds == 0)
		finding_add(check, FINDING_WARNING, AREA,
			    "%s: panic=1: without it a dead kernel holds keys until someone resets "
			    "it",
			    name);
	/* A running system is asked itself. */
	if (check->running)
		return;
	v = word_value(text, "secretmem.enable", value, sizeof(value));
	if (!v || strcmp(v, "1") != 0)
		finding_add(check, FINDING_WARNING, AREA,
			    "%s: secretmem.enable=1: needed for memfd_secret before Linux 6.5",
			    name);
}
