/* SPDX-License-Identifier: Apache-2.0 */
/* emberlock-generator: turns the volume files into mount and swap units, systemd.generator(7). */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "core/plan.h"
#include "disks/config.h"
#include "generator_unit.h"

#define PATH_SIZE (2 * UNIT_NAME_SIZE)

static const char *arg_root = "";
static int units_fd = -1; /* the directory of the units */

/* Run by systemd there is no journal yet, and standard error goes nowhere: say it in the kernel's
 * log. */
static void say_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say_error(const char *format, ...)
{
	_cleanup_close_ int kmsg = -1;
	char text[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	log_error("%s", text);
	if (getenv("SYSTEMD_SCOPE"))
		kmsg = open("/dev/kmsg", O_WRONLY | O_CLOEXEC | O_NOCTTY);
	if (kmsg >= 0)
		dprintf(kmsg, "<3>emberlock-generator: %s\n", text);
}

/* DIRECTORY/NAME below the directory of the units; makes DIRECTORY where it is missing. */
static int path_make(const char *directory, const char *name, char path[static PATH_SIZE])
{
	int n = snprintf(path, PATH_SIZE, "%s/%s", directory, name);

	if (n < 0 || n >= PATH_SIZE)
		return -ENAMETOOLONG;
	if (mkdirat(units_fd, directory, 0755) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

/* Writes TEXT as the new file DIRECTORY/NAME. */
static int unit_write(const char *directory, const char *name, const char *text)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_SIZE];
	int r = path_make(directory, name, path);

	if (r < 0)
		return r;
	fd = openat(units_fd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return -errno;
	return fd_write_full(fd, text, strlen(text));
}

/* The target of the directory WANTS wants UNIT. */
static int unit_want(const char *wants, const char *unit)
{
	char path[PATH_SIZE], to[UNIT_NAME_SIZE + 8];
	int r = path_make(wants, unit, path);

	if (r < 0)
		return r;
	snprintf(to, sizeof(to), "../%s", unit);
	return symlinkat(to, units_fd, path) < 0 ? -errno : 0;
}

static int device_write(const struct volume_config *volume)
{
	char path[sizeof("/dev/mapper/") + DM_NAME_MAX], dm_name[DM_NAME_MAX + 1];
	char name[UNIT_NAME_SIZE], text[UNIT_TEXT_SIZE];
	int r;

	volume_dm_name(dm_name, volume->name);
	snprintf(path, sizeof(path), "/dev/mapper/%s", dm_name);
	r = unit_name_from_path(path, ".device.d", name);
	if (r == 0)
		r = volume_device_text(volume, text);
	return r < 0 ? r : unit_write(name, "50-emberlock.conf", text);
}

/* Nothing that comes before the admission may wait for a bound volume. */
static const char *wants_directory(const struct volume_config *volume)
{
	if (volume->bind)
		return "emberlock-admitted.target.wants";
	return volume->use == VOLUME_SWAP ? "swap.target.wants" : "local-fs.target.wants";
}

static int volume_write(const struct volume_config *volume)
{
	char name[UNIT_NAME_SIZE], text[UNIT_TEXT_SIZE];
	int r;

	if (volume->use == VOLUME_OVERLAY) /* mounted in the initramfs, below everything */
		return 0;
	r = device_write(volume);
	if (r < 0 || !volume_has_unit(volume))
		return r;
	r = volume_unit_name(volume, name);
	if (r == 0)
		r = volume_unit_text(volume, text);
	if (r == 0)
		r = unit_write(".", name, text);
	if (r == 0 && !volume->hot_plug)
		r = unit_want(wants_directory(volume), name);
	return r;
}

/* emberlock-admitted.target comes only when the required volumes are mounted and swapped on. */
static int admitted_write(const struct volume_config *volumes, size_t n)
{
	char units[VOLUMES_MAX * UNIT_NAME_SIZE] = "", text[2 * sizeof(units) + 64];
	char name[UNIT_NAME_SIZE];
	size_t used = 0;
	int r;

	for (size_t i = 0; i < n; i++) {
		if (!volumes[i].required || !volume_has_unit(&volumes[i]))
			continue;
		r = volume_unit_name(&volumes[i], name);
		if (r < 0)
			return r;
		used += (size_t)snprintf(units + used, sizeof(units) - used, " %s", name);
	}
	if (used == 0)
		return 0;
	snprintf(text, sizeof(text), "[Unit]\nRequires=%s\nAfter=%s\n", units + 1, units + 1);
	return unit_write("emberlock-admitted.target.d", "50-volumes.conf", text);
}

static int run(void)
{
	static struct volume_config volumes[VOLUMES_MAX];
	struct agent_config agent;
	char error[256];
	size_t n = 0;
	int r, result = 0;

	r = configs_load(arg_root, &agent, volumes, VOLUMES_MAX, &n, error);
	if (r < 0) {
		say_error("%s", error);
		return r;
	}
	for (size_t i = 0; i < n; i++) {
		r = volume_write(&volumes[i]);
		if (r < 0) {
			say_error("volume '%s': cannot write its units: %s", volumes[i].name,
				  r == -EEXIST ? "another volume has the same MountPoint="
					       : strerror(-r));
			result = r;
		}
	}
	r = admitted_write(volumes, n);
	if (r < 0) {
		say_error("emberlock-admitted.target: cannot write its drop-in: %s", strerror(-r));
		result = r;
	}
	return result;
}

static void help(void)
{
	puts("emberlock-generator [--root=DIR] NORMAL-DIR EARLY-DIR LATE-DIR\n\n"
	     "Writes mount and swap units for Emberlock's volumes to EARLY-DIR. Run by systemd.\n\n"
	     "  --root=DIR   read the volume files below DIR\n"
	     "  --help       show this text\n"
	     "  --version    show the version\n\n"
	     "See emberlock-generator(8).");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"root", required_argument, NULL, 'r'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'r')
			arg_root = optarg;
		else if (c == 'h')
			return help(), EXIT_SUCCESS;
		else if (c == 'V')
			return puts("emberlock-generator " EMBERLOCK_VERSION), EXIT_SUCCESS;
		else
			return 2;
	}
	if (argc - optind != 3) {
		log_error("emberlock-generator: three directories are needed; see --help");
		return 2;
	}
	/* The early directory goes before fstab's units: a mount point that both name is ours. */
	units_fd = open(argv[optind + 1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (units_fd < 0) {
		say_error("%s: %s", argv[optind + 1], strerror(errno));
		return EXIT_FAILURE;
	}
	return run() < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
