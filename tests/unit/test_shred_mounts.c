/* SPDX-License-Identifier: Apache-2.0 */
/* What a shred does with which mount: over a table of mounts and trees of ordinary files. Nothing
 * is unmounted: the system calls that would are the test's own. */
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "shred/mounts.h"

#define LONG_PATH 256

/* A thread cannot be taken back, so each test gets a new one. */
static struct mounts all[16];
static unsigned n_all;
static struct mounts *mounts;
static char detached[8][LONG_PATH];
static unsigned n_detached, n_synced;
static int detach_error;
static bool stalled, held;
static char told; /* what .fails is given */
static bool asked;
static int start_fd; /* the working directory of the test */

int umount2(const char *target, int flags)
{
	assert_int_equal(flags, MNT_DETACH | UMOUNT_NOFOLLOW);
	assert_true(n_detached < 8);
	assert_true(strlen(target) < LONG_PATH);
	strcpy(detached[n_detached++], target);
	errno = detach_error;
	return detach_error ? -1 : 0;
}

int syncfs(int fd)
{
	n_synced++;
	errno = EIO;
	return -1;
}

static bool fails(void *argument, const char *volume)
{
	assert_ptr_equal(argument, &told);
	asked = true;
	assert_string_equal(volume, "data");
	return !stalled;
}

static bool is_held(void *argument, dev_t device)
{
	assert_ptr_equal(argument, &told);
	assert_int_equal(device, mounts->volumes[0].device);
	return held;
}

static int directory_open(const struct scratch *scratch, const char *name)
{
	char path[128];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", scratch->path, name);
	(void)mkdir(path, 0755);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static int begin(void **state)
{
	char path[128];

	if (scratch_make(state) < 0)
		return -1;
	start_fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(n_all < 16);
	mounts = &all[n_all++];
	mounts->proc_fd = directory_open(*state, "proc");
	mounts->sys_fd = directory_open(*state, "sys");
	mounts->fails = fails;
	mounts->is_held = is_held;
	mounts->argument = &told;
	n_detached = n_synced = 0;
	detach_error = 0;
	stalled = asked = held = false;
	scratch_text(*state, "root/here", "");
	scratch_text(*state, "proc/1/mountinfo", "");
	(void)snprintf(path, sizeof(path), "%s/proc/1/root", ((struct scratch *)*state)->path);
	return symlink("../../root", path);
}

static int end(void **state)
{
	assert_int_equal(fchdir(start_fd), 0);
	close(start_fd);
	close(mounts->proc_fd);
	close(mounts->sys_fd);
	return scratch_done(state);
}

/* The device that the scratch directory is on. */
static dev_t own_device(const struct scratch *scratch)
{
	struct stat st;

	assert_int_equal(stat(scratch->path, &st), 0);
	return st.st_dev;
}

/* One line of the table, of a mount at PATH. */
static void mount_here(const struct scratch *scratch, const char *path, const char *type,
		       const char *source)
{
	char name[LONG_PATH];
	dev_t device = own_device(scratch);
	FILE *file;

	(void)snprintf(name, sizeof(name), "%s/proc/1/mountinfo", scratch->path);
	file = fopen(name, "ae");
	assert_non_null(file);
	fprintf(file, "36 35 %u:%u / %s rw,noatime shared:1 - %s %s rw\n", major(device),
		minor(device), path, type, source);
	fclose(file);
}

static void volume_here(const struct scratch *scratch)
{
	char name[LONG_PATH];
	dev_t device = own_device(scratch);

	(void)snprintf(name, sizeof(name), "sys/dev/block/%u:%u/dm/uuid", major(device),
		       minor(device));
	scratch_text(scratch, name, "EMBERLOCK-VOLUME-data\n");
}

static bool is_there(const struct scratch *scratch, const char *name)
{
	char path[LONG_PATH];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/root/%s", scratch->path, name);
	return lstat(path, &st) == 0;
}

/* Clears, with threads. */
static bool clear_all(void)
{
	int done_fd = eventfd(0, EFD_CLOEXEC);
	bool ok;

	assert_int_equal(mounts_start(mounts, done_fd), 0);
	ok = mounts_clear(mounts);
	while (mounts_are_busy(mounts))
		usleep(1000);
	/* Their descriptor stays theirs. */
	return ok && !atomic_load(&mounts->left);
}

static void lines(void **state)
{
	char full[] = "36 35 98:7 /a /var/a\\040b\\134 rw - ext4 /dev/x rw";
	char optional[] = "1 2 0:5 / /run rw,nosuid shared:5 master:3 - tmpfs tmpfs rw,mode=755";
	char none[] = "1 2 0:5 / / rw - overlay emberlock rw";
	char other[] = "1 2 0:5 / / rw - overlay other rw";
	char bad[][64] = {"",
			  "36 35 98:0 /",
			  "36 35 98:0 / /x rw shared:1",
			  "36 35 x / /x rw - ext4 /dev/x rw",
			  "36 35 98:0 / x rw - ext4 /dev/x rw",
			  "36 35 98:0 / /x rw - ext4"};
	struct mount_entry entry;

	assert_true(mount_entry_parse(mounts, full, &entry));
	assert_int_equal(entry.device, makedev(98, 7));
	assert_string_equal(entry.path, "/var/a b\\");
	assert_int_equal(entry.kind, MOUNT_FOREIGN);
	assert_true(mount_entry_parse(mounts, optional, &entry));
	assert_int_equal(entry.kind, MOUNT_MEMORY);
	assert_string_equal(entry.path, "/run");
	assert_true(mount_entry_parse(mounts, none, &entry));
	assert_int_equal(entry.kind, MOUNT_OVERLAY);
	assert_true(mount_entry_parse(mounts, other, &entry));
	assert_int_equal(entry.kind, MOUNT_FOREIGN);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(mount_entry_parse(mounts, bad[i], &entry));
}

static void memory_is_emptied(void **state)
{
	char path[LONG_PATH];

	scratch_text(*state, "root/run/a", "x");
	scratch_text(*state, "root/run/deep/er/b", "x");
	scratch_text(*state, "root/other/c", "x");
	(void)snprintf(path, sizeof(path), "%s/root/run/link", ((struct scratch *)*state)->path);
	assert_int_equal(symlink("../other", path), 0);
	for (unsigned i = 0; i < 100; i++) { /* more than one piece of the directory */
		char name[64];

		(void)snprintf(name, sizeof(name), "root/run/many/file-%u", i);
		scratch_text(*state, name, "x");
	}
	mount_here(*state, "/run", "tmpfs", "tmpfs");
	assert_true(clear_all());
	assert_false(is_there(*state, "run/a"));
	assert_false(is_there(*state, "run/deep/er/b"));
	assert_false(is_there(*state, "run/link"));
	assert_false(is_there(*state, "run/many/file-0"));
	assert_false(is_there(*state, "run/many/file-99"));
	assert_true(is_there(*state, "run/deep/er"));
	assert_true(is_there(*state, "other/c"));
	assert_int_equal(n_detached, 0);
}

static void devices_keep_their_links(void **state)
{
	char path[LONG_PATH];

	scratch_text(*state, "root/dev/file", "x");
	(void)snprintf(path, sizeof(path), "%s/root/dev/link", ((struct scratch *)*state)->path);
	assert_int_equal(symlink("x", path), 0);
	mount_here(*state, "/dev", "devtmpfs", "udev");
	assert_true(clear_all());
	assert_false(is_there(*state, "dev/file"));
	assert_true(is_there(*state, "dev/link"));
}

/* Deeper than there is room for: said to be left; and detached, which gives it all back. */
static void what_cannot_be_emptied_is_detached(void **state)
{
	char name[1024] = "root/run";

	for (unsigned i = 0; i < EMPTY_DEPTH_MAX; i++)
		strcat(name, "/d");
	strcat(name, "/file");
	scratch_text(*state, name, "x");
	mount_here(*state, "/run", "tmpfs", "tmpfs");
	assert_true(clear_all());
	assert_int_equal(n_detached, 1);
	assert_string_equal(detached[0], "run");
	n_detached = 0;
	detach_error = EBUSY;
	assert_false(clear_all());
}

static void something_else_above_is_left_alone(void **state)
{
	scratch_text(*state, "root/run/a", "x");
	scratch_text(*state, "proc/1/mountinfo", "36 35 0:12345 / /run rw - tmpfs tmpfs rw\n");
	assert_false(clear_all());
	assert_true(is_there(*state, "run/a"));
}

static void volumes_fail_and_are_detached(void **state)
{
	scratch_text(*state, "root/data/a", "x");
	volume_here(*state);
	mount_here(*state, "/", "ext4", "/dev/mapper/emberlock-data");
	mount_here(*state, "/data", "ext4", "/dev/mapper/emberlock-data");
	assert_true(clear_all());
	assert_true(asked);
	assert_int_equal(n_synced, 2);
	assert_int_equal(n_detached, 2);
	/* By several threads. */
	assert_true(strcmp(detached[0], "data") == 0 || strcmp(detached[1], "data") == 0);
	assert_true(strcmp(detached[0], ".") == 0 || strcmp(detached[1], ".") == 0);
	assert_true(is_there(*state, "data/a"));
	assert_false(mounts_hold(mounts));
	held = true;
	assert_true(mounts_hold(mounts));
}

static void a_stalled_disk_is_not_waited_for(void **state)
{
	volume_here(*state);
	mount_here(*state, "/", "ext4", "/dev/mapper/emberlock-data");
	stalled = true;
	assert_false(clear_all());
	assert_int_equal(n_synced, 0);
	assert_int_equal(n_detached, 0);
}

static void one_that_went_with_another_is_gone(void **state)
{
	volume_here(*state);
	mount_here(*state, "/", "xfs", "/dev/dm-1");
	detach_error = EINVAL;
	assert_true(clear_all());
	detach_error = EBUSY;
	assert_false(clear_all());
}

static void the_overlay_fails_and_stays(void **state)
{
	mount_here(*state, "/", "overlay", "emberlock");
	assert_true(clear_all());
	assert_int_equal(n_synced, 1);
	assert_int_equal(n_detached, 0);
	assert_true(mounts_hold(mounts));
}

static void foreign_ones_are_left_alone(void **state)
{
	scratch_text(*state, "root/a", "x");
	mount_here(*state, "/", "ext4", "/dev/vda1");
	mount_here(*state, "/", "nfs", "server:/a");
	assert_true(clear_all());
	assert_int_equal(n_synced, 0);
	assert_int_equal(n_detached, 0);
	assert_true(is_there(*state, "a"));
	assert_false(mounts_hold(mounts));
}

static void without_a_table_nothing_is_done(void **state)
{
	char path[LONG_PATH];

	(void)snprintf(path, sizeof(path), "%s/proc/1/mountinfo", ((struct scratch *)*state)->path);
	assert_int_equal(unlink(path), 0);
	assert_false(clear_all());
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lines),
		TEST(memory_is_emptied),
		TEST(devices_keep_their_links),
		TEST(what_cannot_be_emptied_is_detached),
		TEST(something_else_above_is_left_alone),
		TEST(volumes_fail_and_are_detached),
		TEST(a_stalled_disk_is_not_waited_for),
		TEST(one_that_went_with_another_is_gone),
		TEST(the_overlay_fails_and_stays),
		TEST(foreign_ones_are_left_alone),
		TEST(without_a_table_nothing_is_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
