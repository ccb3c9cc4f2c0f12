/* SPDX-License-Identifier: Apache-2.0 */
/* When the keeper may stop PID 1's group: once there is one, and never its own. */
#include "scratch.h"

#include <fcntl.h>
#include <sys/eventfd.h>

#include "shred/freezer.h"

#define FILE_NAME "sys/" FREEZER_FILE

static struct freezer freezer;
static int proc_fd, sys_fd;

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
	if (scratch_make(state) < 0)
		return -1;
	freezer = (struct freezer){.fd = -1};
	proc_fd = directory_open(*state, "proc");
	sys_fd = directory_open(*state, "sys");
	return 0;
}

static int end(void **state)
{
	close(proc_fd);
	close(sys_fd);
	if (freezer.fd >= 0)
		close(freezer.fd);
	return scratch_done(state);
}

static void waits_for_the_real_root(void **state)
{
	scratch_text(*state, "proc/self/cgroup", "0::/system.slice/emberlock-keeper.service\n");
	freezer_open(&freezer, proc_fd, sys_fd);
	assert_int_equal(freezer.fd, -1);
	scratch_text(*state, FILE_NAME, "");
	freezer_open(&freezer, proc_fd, sys_fd);
	assert_true(freezer.fd >= 0);
}

static void never_its_own_group(void **state)
{
	scratch_text(*state, FILE_NAME, "");
	freezer_open(&freezer, proc_fd, sys_fd); /* not known */
	assert_int_equal(freezer.fd, -1);
	scratch_text(*state, "proc/self/cgroup", "0::/init.scope\n");
	freezer_open(&freezer, proc_fd, sys_fd);
	assert_int_equal(freezer.fd, -1);
}

/* A keeper whose thread was started before there was a group to freeze. */
static void freezes_what_it_found_later(void **state)
{
	int done_fd = eventfd(0, EFD_CLOEXEC);
	char path[128], word[2] = "";
	eventfd_t count;
	FILE *file;

	assert_int_equal(freezer_start(&freezer, done_fd), 0);
	freezer_freeze(&freezer); /* nothing yet */
	assert_int_equal(eventfd_read(done_fd, &count), 0);
	scratch_text(*state, "proc/self/cgroup", "0::/other\n");
	scratch_text(*state, FILE_NAME, "");
	freezer_open(&freezer, proc_fd, sys_fd);
	freezer_freeze(&freezer);
	assert_int_equal(eventfd_read(done_fd, &count), 0);

	(void)snprintf(path, sizeof(path), "%s/" FILE_NAME, ((struct scratch *)*state)->path);
	file = fopen(path, "re");
	assert_non_null(file);
	assert_int_equal(fread(word, 1, 2, file), 1);
	assert_int_equal(word[0], '1');
	fclose(file);
	close(done_fd);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(waits_for_the_real_root),
		TEST(never_its_own_group),
		TEST(freezes_what_it_found_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
