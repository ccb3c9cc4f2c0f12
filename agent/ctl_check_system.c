/* SPDX-License-Identifier: Apache-2.0 */
/* What only a running system shows: its kernel, its credentials, its swap and disks in the clear. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "core/frames.h"
#include "ctl_check.h"
#include "disks/config.h"
#include "disks/overlay.h"
#include "disks/selftest.h"

#define AREA "system"

/* memfd_secret(2); glibc 2.36 has no wrapper. */
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif

static void check_secret_memory(struct check *check)
{
	_cleanup_close_ int fd = (int)syscall(SYS_memfd_secret, 0);
	bool required = check->known && check->keeper.require_memfd_secret;

	if (fd < 0)
		finding_add(check, required ? FINDING_MISSING : FINDING_WARNING, AREA,
			    "memfd_secret(2): %s: the boot key lies in plain locked memory%s",
			    strerror(errno),
			    required ? ", which RequireMemfdSecret=yes refuses" : "");
}

static void check_watchdog(struct check *check)
{
	const char *path = check->known ? check->keeper.watchdog : "/dev/watchdog";

	/* Looked at only: to open it would start it. */
	if (strcmp(path, "none") != 0 && !check_exists(check, path))
		finding_add(check, FINDING_WARNING, AREA,
			    "%s: no watchdog device below the keeper (keeper.conf: Watchdog=)",
			    path);
}

static void check_credentials(struct check *check)
{
	static const char *const names[] = {"emberlock.vm", "emberlock.manager", "emberlock.ca"};
	/* systemd.exec(5), LoadCredential= */
	static const char *const directories[] = {"/run/credentials/@system", "/etc/credstore",
						  "/run/credstore", "/usr/lib/credstore"};
	char path[128];

	for (size_t i = 0; i < ELEMENTSOF(names); i++) {
		bool found = false;

		for (size_t k = 0; k < ELEMENTSOF(directories) && !found; k++) {
			snprintf(path, sizeof(path), "%s/%s", directories[k], names[i]);
			found = check_exists(check, path);
		}
		if (!found)
			finding_add(check, FINDING_MISSING, AREA,
				    "credential %s: without it this VM cannot be admitted",
				    names[i]);
	}
}

/* Whether the block device is a volume or segment of ours, by its dm name. */
static bool is_ours(struct check *check, unsigned major, unsigned minor)
{
	char path[64];
	_cleanup_free_ char *name = NULL;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/dm/name", major, minor);
	name = check_read(check, path);
	return name && strncmp(name, "emberlock-", strlen("emberlock-")) == 0;
}

static void check_swaps(struct check *check)
{
	_cleanup_free_ char *text = check_read(check, "/proc/swaps");
	char *next = text, *line, device[512];
	struct stat st;

	strsep(&next, "\n"); /* the heading */
	while ((line = strsep(&next, "\n"))) {
		if (sscanf(line, "%511s", device) != 1)
			continue;
		if (stat(device, &st) == 0 && S_ISBLK(st.st_mode) &&
		    is_ours(check, major(st.st_rdev), minor(st.st_rdev)))
			continue;
		finding_add(check, FINDING_CONFLICT, AREA,
			    "%s: swap in the clear, no volume of Emberlock's", device);
	}
}

/* One warning a disk: proc(5), "/proc/PID/mountinfo". */
static void check_mounts(struct check *check)
{
	_cleanup_free_ char *text = check_read(check, "/proc/self/mountinfo");
	char *next = text, *line, point[256], options[256];
	unsigned id, parent, maj, min;
	char seen[4096] = "";

	while ((line = strsep(&next, "\n"))) {
		char number[32];

		if (sscanf(line, "%u %u %u:%u %*s %255s %255s", &id, &parent, &maj, &min, point,
			   options) != 6)
			continue;
		/* Major 0: no disk. */
		if (maj == 0 || strncmp(options, "rw", 2) != 0 || is_ours(check, maj, min))
			continue;
		snprintf(number, sizeof(number), " %u:%u ", maj, min);
		if (strstr(seen, number) || strlen(seen) + strlen(number) >= sizeof(seen))
			continue;
		strcat(seen, number);
		finding_add(check, FINDING_WARNING, AREA,
			    "%s: is writable and in the clear, on block device %u:%u", point, maj,
			    min);
	}
}

static void check_self_test(struct check *check)
{
	uint32_t passed = 0, failed = 0;

	/* Reading tables is root's. */
	if (!check->known || geteuid() != 0 || access("/dev/mapper/control", R_OK | W_OK) < 0)
		return;
	disks_self_test(&check->agent, check->volumes, check->n_volumes, &passed, &failed);
	if (failed & SELF_TEST_KEYS_REFERENCED)
		finding_add(check, FINDING_MISSING, AREA,
			    "not seen that every segment's table names its key and holds none");
	if (failed & SELF_TEST_QUEUES_BOUNDED)
		finding_add(check, FINDING_MISSING, AREA,
			    "not seen that every disk's queue is within QueueRequests= and "
			    "QueueMaxKiB=");
	if (failed & SELF_TEST_PANIC)
		finding_add(check, FINDING_WARNING, AREA,
			    "kernel.panic is 0: a dead kernel holds keys until someone resets it");
}

/* What the initramfs of this boot carried, and what it would carry now. */
static void check_initramfs_config(struct check *check)
{
	_cleanup_free_ char *carried = check_read(check, INITRAMFS_HASH);
	struct initramfs_config config;
	char error[256], hex[2 * HASH_SIZE + 1];
	bool mounted = false;

	if (!check->known || configs_initramfs("", &config, error) < 0)
		return;
	if (config.n > 0 && (overlay_is_mounted("/", &mounted) < 0 || !mounted))
		finding_add(check, FINDING_MISSING, AREA,
			    "/ is no overlay, and a volume has Use=overlay: the initramfs was made "
			    "without it (update-initramfs -u, dracut --force)");
	if (!carried)
		return;
	hex_encode(config.hash, sizeof(config.hash), hex);
	if (config.n == 0 || strncmp(carried, hex, strlen(hex)) != 0)
		finding_add(check, FINDING_MISSING, AREA,
			    "the initramfs of this boot carried another configuration or version "
			    "(update-initramfs -u, dracut --force)");
}

void check_system(struct check *check)
{
	_cleanup_free_ char *line = check_read(check, "/proc/cmdline");

	if (line)
		check_command_line(check, "/proc/cmdline", line);
	check_secret_memory(check);
	check_watchdog(check);
	check_credentials(check);
	check_swaps(check);
	check_mounts(check);
	check_self_test(check);
	check_initramfs_config(check);
}
