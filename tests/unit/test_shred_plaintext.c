/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of step 4: their order, their time, what is said of them. Over files in place of /proc
 * and /sys; the system calls that would take something away are the test's own. */
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/shm.h>

#include "base/clock.h"
#include "core/lease.h"
#include "shred/plaintext.h"

#define TIME_NS 800000000ull /* that it is given */

/* A thread cannot be taken back, so each test gets a new one. */
static struct plaintext all[16];
static unsigned n_all;
static struct plaintext *plaintext;
static struct shared *shared;
static int done_fd, caches_fd, start_fd;
static uint64_t t0;
static sem_t release; /* lets a removal that was told to stand still go on */
static bool stand_still, removal_fails;
static unsigned n_removed;

/* One segment of shared memory, at the index 2 and with the id 7. */
int shmctl(int id, int command, struct shmid_ds *buffer)
{
	if (command == SHM_INFO) {
		while (stand_still && sem_wait(&release) < 0)
			;
		return 2;
	}
	if (command == SHM_STAT_ANY && id == 2)
		return 7;
	errno = EINVAL;
	if (command != IPC_RMID || removal_fails)
		return -1;
	assert_int_equal(id, 7);
	n_removed++;
	return 0;
}

int msgctl(int id, int command, struct msqid_ds *buffer)
{
	if (command == MSG_INFO || (command == MSG_STAT_ANY && id == 0))
		return 0;
	assert_int_equal(command, IPC_RMID);
	n_removed++;
	return 0;
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
	char path[128];
	int fds[2];

	if (scratch_make(state) < 0)
		return -1;
	start_fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	scratch_text(*state, "sys/fs/cgroup/user.slice/cgroup.kill", "");
	scratch_text(*state, "sys/fs/cgroup/user.slice/cgroup.events", "populated 0\n");
	scratch_text(*state, "sys/fs/cgroup/system.slice/emberlock-agent.service/cgroup.kill", "");
	scratch_text(*state, "proc/self/cgroup", "0::/system.slice/emberlock-keeper.service\n");
	scratch_text(*state, "proc/1/mountinfo", "36 35 98:0 / / rw - ext4 /dev/vda1 rw\n");
	scratch_text(*state, "proc/sys/vm/drop_caches", "");
	(void)snprintf(path, sizeof(path), "%s/proc/1/root", ((struct scratch *)*state)->path);
	assert_int_equal(symlink("/", path), 0);

	assert_true(n_all < 16);
	plaintext = &all[n_all++];
	plaintext_init(plaintext);
	assert_int_equal(shared_new(&shared), 0);
	plaintext_open(plaintext, directory_open(*state, "proc"), directory_open(*state, "sys"), -1,
		       shared);
	assert_true(plaintext->caches_fd >= 0);
	close(plaintext->caches_fd);
	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
	caches_fd = fds[0];
	plaintext->caches_fd = fds[1];
	done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(plaintext_start(plaintext, done_fd), 0);
	sem_init(&release, 0, 0);
	stand_still = removal_fails = false;
	n_removed = 0;
	t0 = clock_boottime_ns();
	return 0;
}

static int end(void **state)
{
	assert_int_equal(fchdir(start_fd), 0);
	close(start_fd);
	return scratch_done(state);
}

/* Until it says that it is over, at AFTER from the start; or PARTS of them have begun. */
static bool run(uint64_t after_ns, unsigned n_parts)
{
	for (int i = 0; i < 1000; i++) {
		struct pollfd poll_fd = {.fd = done_fd, .events = POLLIN};
		eventfd_t count;

		if (plaintext_run(plaintext, t0 + after_ns))
			return true;
		if (n_parts < PLAINTEXT_PART__MAX && plaintext->work[n_parts - 1].begun &&
		    !worker_is_busy(&plaintext->work[0].worker))
			return false;
		(void)poll(&poll_fd, 1, 10);
		(void)eventfd_read(done_fd, &count);
	}
	return false;
}

static void assert_caches(const char *expected)
{
	char text[8] = "";

	(void)!read(caches_fd, text, sizeof(text) - 1);
	assert_string_equal(text, expected);
}

static void assert_said(const char *expected)
{
	char text[160];

	plaintext_print(plaintext, text, sizeof(text));
	assert_string_equal(text, expected);
}

static bool is_written(const struct scratch *scratch, const char *group)
{
	char path[256];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%s/sys/fs/cgroup/%s/cgroup.kill", scratch->path, group);
	assert_int_equal(stat(path, &st), 0);
	return st.st_size > 0;
}

static void all_parts_do_their_work(void **state)
{
	assert_false(plaintext_is_gone(plaintext));
	assert_int_equal(plaintext_next(plaintext), LEASE_NEVER);
	plaintext_begin(plaintext, t0, t0 + TIME_NS);
	assert_in_range(plaintext_next(plaintext), t0 + 1, t0 + TIME_NS);
	assert_true(run(NSEC_PER_MSEC, PLAINTEXT_PART__MAX));
	assert_true(plaintext_is_gone(plaintext));
	assert_true(is_written(*state, "user.slice"));
	assert_int_equal(n_removed, 2);
	/* No file system on a volume is left whose pages would have to be swept up. */
	assert_caches("");
	assert_said("processes 1 ms, files 0 ms, caches 0 ms");

	assert_false(is_written(*state, "system.slice/emberlock-agent.service"));
	plaintext_finish(plaintext);
	while (worker_is_busy(&plaintext->work[0].worker))
		usleep(1000);
	assert_true(is_written(*state, "system.slice/emberlock-agent.service"));
}

/* The next part does not wait for one that stands still; the step ends in its time. */
static void one_that_stands_still_stops_nothing(void **state)
{
	stand_still = true;
	plaintext_begin(plaintext, t0, t0 + TIME_NS);
	assert_false(run(NSEC_PER_MSEC, 2));
	assert_caches("");
	assert_false(plaintext_run(plaintext, plaintext_next(plaintext) - 1));
	assert_false(plaintext->work[PLAINTEXT_CACHES].begun);
	assert_false(plaintext_run(plaintext, plaintext_next(plaintext)));
	while (worker_is_busy(&plaintext->work[PLAINTEXT_CACHES].worker))
		usleep(1000);
	assert_caches("12");
	assert_int_equal(plaintext_next(plaintext), t0 + TIME_NS);
	assert_false(plaintext_run(plaintext, t0 + TIME_NS - 1));
	assert_true(plaintext_run(plaintext, t0 + TIME_NS));
	assert_false(plaintext_is_gone(plaintext));
	assert_said("processes 1 ms, files left after 799 ms, caches 199 ms");
	stand_still = false;
	sem_post(&release);
}

static void what_is_left_is_said(void **state)
{
	removal_fails = true;
	plaintext_begin(plaintext, t0, t0 + TIME_NS);
	assert_true(run(0, PLAINTEXT_PART__MAX));
	assert_false(plaintext_is_gone(plaintext));
	assert_said("processes 0 ms, files left after 0 ms, caches 0 ms");
}

/* The pages of one that is there still go by a sweep of all caches. */
static void an_overlay_is_swept(void **state)
{
	scratch_text(*state, "proc/1/mountinfo", "36 35 0:98 / / rw - overlay emberlock rw\n");
	plaintext_begin(plaintext, t0, t0 + TIME_NS);
	assert_true(run(0, PLAINTEXT_PART__MAX));
	assert_caches("12");
}

/* Which file systems may be waited for. */
static void a_volume_fails_where_all_its_maps_do(void **state)
{
	struct mounts *mounts = &plaintext->mounts;
	unsigned slots[2];

	assert_true(mounts->fails(mounts->argument, "data"));
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(shared_map_add(shared, i ? "two" : "one", "data", i, 8, &slots[i]),
				 0);
		shared_map_publish(shared, slots[i]);
	}
	atomic_store(&shared->maps[slots[0]].fails, 1);
	assert_false(mounts->fails(mounts->argument, "data"));
	assert_true(mounts->fails(mounts->argument, "other"));
	atomic_store(&shared->maps[slots[1]].fails, 1);
	assert_true(mounts->fails(mounts->argument, "data"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(all_parts_do_their_work),
		TEST(one_that_stands_still_stops_nothing),
		TEST(what_is_left_is_said),
		TEST(an_overlay_is_swept),
		TEST(a_volume_fails_where_all_its_maps_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
