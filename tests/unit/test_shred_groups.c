/* SPDX-License-Identifier: Apache-2.0 */
/* Which control groups a shred kills, over a tree of ordinary files. */
#include "scratch.h"

#include <fcntl.h>
#include <poll.h>

#include "base/clock.h"
#include "shred/groups.h"

#define TREE "sys/fs/cgroup/"
#define OWN  "system.slice/emberlock-keeper.service"

static struct groups groups;

static void make_group(const struct scratch *scratch, const char *group, bool populated)
{
	char name[256];

	(void)snprintf(name, sizeof(name), TREE "%s/cgroup.kill", group);
	scratch_text(scratch, name, "");
	(void)snprintf(name, sizeof(name), TREE "%s/pids.max", group);
	scratch_text(scratch, name, "max");
	(void)snprintf(name, sizeof(name), TREE "%s/cgroup.events", group);
	scratch_text(scratch, name, populated ? "populated 1\nfrozen 0\n" : "populated 0\n");
}

static const struct scratch *to_empty;
static unsigned n_polls;

/* The kernel's word that a group has changed. */
int poll(struct pollfd *fds, nfds_t n, int timeout)
{
	n_polls++;
	make_group(to_empty, "system.slice/postgresql.service", false);
	return 1;
}

static int directory_open(const struct scratch *scratch, const char *name)
{
	char path[128];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", scratch->path, name);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static int begin(void **state)
{
	static const char *const all[] = {
		"init.scope",
		"machine.slice",
		"user.slice",
		"user.slice/emberlock-agent.service",
		"system.slice",
		OWN,
		"system.slice/emberlock-agent.service",
		"system.slice/emberlock-watchdog.service",
		"system.slice/emberlock-agent.service2",
		"system.slice/postgresql.service",
		"system.slice/system-getty.slice",
	};

	if (scratch_make(state) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		make_group(*state, all[i], false);
	scratch_text(*state, TREE "cgroup.procs", "");
	scratch_text(*state, "proc/self/cgroup", "0::/" OWN "\n");
	groups = (struct groups){
		.proc_fd = directory_open(*state, "proc"),
		.sys_fd = directory_open(*state, "sys"),
	};
	return 0;
}

static int end(void **state)
{
	close(groups.proc_fd);
	close(groups.sys_fd);
	return scratch_done(state);
}

static bool is_written(const struct scratch *scratch, const char *group, const char *file,
		       const char *text)
{
	char path[512], found[64] = "";
	FILE *stream;

	(void)snprintf(path, sizeof(path), "%s/" TREE "%s/%s", scratch->path, group, file);
	stream = fopen(path, "re");
	assert_non_null(stream);
	assert_true(fread(found, 1, sizeof(found) - 1, stream) < sizeof(found));
	fclose(stream);
	return strncmp(found, text, strlen(text)) == 0 && found[0] != '\0';
}

static bool is_killed(void **state, const char *group)
{
	return is_written(*state, group, "cgroup.kill", "1");
}

static void all_but_ours_and_the_first_process(void **state)
{
	assert_true(groups_kill(&groups));
	assert_true(is_killed(state, "machine.slice"));
	assert_true(is_killed(state, "user.slice"));
	assert_true(is_killed(state, "system.slice/postgresql.service"));
	assert_true(is_killed(state, "system.slice/system-getty.slice"));
	assert_true(is_killed(state, "system.slice/emberlock-agent.service2"));
	assert_false(is_killed(state, "system.slice"));
	assert_false(is_killed(state, OWN));
	assert_false(is_killed(state, "system.slice/emberlock-agent.service"));
	assert_false(is_killed(state, "system.slice/emberlock-watchdog.service"));
	assert_false(is_killed(state, "init.scope"));
	/* As a whole: a name of ours elsewhere spares nobody. */
	assert_false(is_killed(state, "user.slice/emberlock-agent.service"));
}

static void nothing_new_anywhere(void **state)
{
	assert_true(groups_kill(&groups));
	assert_true(is_written(*state, "init.scope", "pids.max", "0"));
	assert_true(is_written(*state, "system.slice", "pids.max", "0"));
	assert_true(is_written(*state, "user.slice", "pids.max", "0"));
	assert_true(is_written(*state, OWN, "pids.max", "max"));
}

static void helpers_last(void **state)
{
	assert_true(groups_kill(&groups));
	make_group(*state, "system.slice/emberlock-watchdog.service", true);
	assert_false(groups_kill_spared(&groups, 0));
	make_group(*state, "system.slice/emberlock-watchdog.service", false);
	assert_true(groups_kill_spared(&groups, 0));
	assert_true(is_killed(state, "system.slice/emberlock-agent.service"));
	assert_true(is_killed(state, "system.slice/emberlock-watchdog.service"));
	assert_false(is_killed(state, OWN));
	assert_false(is_killed(state, "init.scope"));
}

/* One that was born in an initramfs and is in PID 1's group still. */
static void wherever_this_process_is(void **state)
{
	scratch_text(*state, "proc/self/cgroup", "0::/init.scope\n");
	assert_true(groups_kill(&groups));
	assert_true(is_killed(state, OWN));
	assert_false(is_killed(state, "init.scope"));
	assert_false(is_killed(state, "system.slice"));
	assert_false(is_killed(state, "system.slice/emberlock-agent.service"));

	make_group(*state, "a", false);
	make_group(*state, "a/b", false);
	make_group(*state, "a/b/c", false);
	make_group(*state, "a/b/d", false);
	make_group(*state, "a/e", false);
	scratch_text(*state, "proc/self/cgroup", "0::/a/b/c\n");
	assert_true(groups_kill(&groups));
	assert_false(is_killed(state, "a"));
	assert_false(is_killed(state, "a/b"));
	assert_false(is_killed(state, "a/b/c"));
	assert_true(is_killed(state, "a/b/d"));
	assert_true(is_killed(state, "a/e"));
}

static void one_that_refuses_is_told(void **state)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/" TREE "machine.slice/cgroup.kill",
		       ((struct scratch *)*state)->path);
	assert_int_equal(unlink(path), 0);
	assert_false(groups_kill(&groups));
	assert_true(is_killed(state, "user.slice"));
}

static void waits_for_the_last_process(void **state)
{
	make_group(*state, OWN, true);
	make_group(*state, "system.slice", true);
	assert_true(groups_kill(&groups));
	assert_true(groups_wait(&groups, 0));
	make_group(*state, "system.slice/postgresql.service", true);
	assert_false(groups_wait(&groups, 0));
	assert_int_equal(n_polls, 0);
	to_empty = *state;
	assert_true(groups_wait(&groups, clock_boottime_ns() + 3600 * NSEC_PER_SEC));
	assert_int_equal(n_polls, 1);
}

static void without_groups_nothing_is_killed(void **state)
{
	struct groups none = {.proc_fd = -1, .sys_fd = -1};

	assert_false(groups_kill(&none));
	assert_false(groups_wait(&none, 0));
	assert_false(groups_kill_spared(&none, 0));
	assert_false(is_killed(state, "user.slice"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(all_but_ours_and_the_first_process),
		TEST(nothing_new_anywhere),
		TEST(helpers_last),
		TEST(wherever_this_process_is),
		TEST(one_that_refuses_is_told),
		TEST(waits_for_the_last_process),
		TEST(without_groups_nothing_is_killed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
