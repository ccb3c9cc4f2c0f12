/* SPDX-License-Identifier: Apache-2.0 */
/* The entries that announce an orderly end: heard once each, by their names. */
#include "unit.h"

#include <errno.h>

#include "scratch.h"
#include "shred/announce.h"

static void make(const struct scratch *scratch, const char *name)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/ending/%s", scratch->path, name);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(rmdir(path), 0);
}

static void newest_name_counts(void **state)
{
	const struct scratch *scratch = *state;
	char path[128];
	struct stat st;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/ending", scratch->path);
	fd = announce_open(path);
	assert_true(fd >= 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(announce_read(fd), 0);
	make(scratch, "poweroff");
	assert_int_equal(announce_read(fd), END_POWEROFF);
	assert_int_equal(announce_read(fd), 0);
	make(scratch, "halt");
	make(scratch, "reboo");
	make(scratch, "unknown");
	assert_int_equal(announce_read(fd), 0);
	make(scratch, "poweroff");
	make(scratch, "kexec");
	make(scratch, "nothing");
	assert_int_equal(announce_read(fd), END_KEXEC);
	/* Of the keeper before, which failed at its start. */
	close(fd);
	fd = announce_open(path);
	make(scratch, "reboot");
	assert_int_equal(announce_read(fd), END_REBOOT);
	close(fd);
}

static void directory_that_cannot_be_made(void **state)
{
	const struct scratch *scratch = *state;
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/missing/ending", scratch->path);
	assert_int_equal(announce_open(path), -ENOENT);
	scratch_text(scratch, "file", "");
	(void)snprintf(path, sizeof(path), "%s/file", scratch->path);
	assert_int_equal(announce_open(path), -ENOTDIR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(newest_name_counts, scratch_make, scratch_done),
		cmocka_unit_test_setup_teardown(directory_that_cannot_be_made, scratch_make,
						scratch_done),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
