/* SPDX-License-Identifier: Apache-2.0 */
/* Mounts of a device that is gone, in a mount namespace of the test's own: those of a tmpfs stand for them. */
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "disks/mounts.h"

#define SOURCE "/dev/mapper/emberlock-hot"

static const struct scratch *scratch;

static int set_up(void **state)
{
	int r = scratch_make(state);

	scratch = *state;
	return r;
}

static void at(const char *name, char path[static 256])
{
	(void)snprintf(path, 256, "%s/%s", scratch->path, name);
}

static dev_t device_at(const char *name)
{
	char path[256];
	struct stat st;

	at(name, path);
	assert_int_equal(stat(path, &st), 0);
	return st.st_dev;
}

/* A file system of its own. */
static void mount_at(const char *name)
{
	char path[256];

	at(name, path);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(mount(SOURCE, path, "tmpfs", 0, NULL), 0);
}

static void bind_at(const char *from, const char *name)
{
	char source[256], path[256];

	at(from, source);
	at(name, path);
	if (mkdir(path, 0755) < 0)
		assert_int_equal(errno, EEXIST);
	assert_int_equal(mount(source, path, NULL, MS_BIND, NULL), 0);
}

static int detach(dev_t device)
{
	return mounts_detach(major(device), minor(device));
}

/* Anybody may call a FUSE mount as the volume's. */
static void only_the_device_counts(void **state)
{
	dev_t volume, others, below;

	mount_at("volume");
	mount_at("others");
	bind_at("volume", "a second place");
	volume = device_at("volume");
	others = device_at("others");
	below = device_at(".");
	assert_int_equal(detach(volume), 0);
	assert_int_equal(device_at("volume"), below);
	assert_int_equal(device_at("a second place"), below);
	assert_int_equal(device_at("others"), others);
	assert_int_equal(detach(volume), 0);
}

static void what_lies_above_stays(void **state)
{
	dev_t volume, above;

	mount_at("below");
	volume = device_at("below");
	mount_at("above");
	above = device_at("above");
	bind_at("above", "below");
	assert_int_equal(detach(volume), -EBUSY);
	assert_int_equal(device_at("below"), above);
}

/* What the tests leave is mounted below it. */
static int tear_down(void **state)
{
	static const char *const left[] = {"others", "above", "below", "below"};
	char path[256];

	for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
		at(left[i], path);
		(void)umount2(path, MNT_DETACH);
	}
	return scratch_done(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_device_counts),
		cmocka_unit_test(what_lies_above_stays),
	};

	/* Propagation ends where the namespace is the test's own. In a chroot there is none to be had. */
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		(void)puts("no mount namespace can be had: left out");
		return EXIT_SUCCESS;
	}
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
