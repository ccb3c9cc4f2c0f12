/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that can be abandoned in what they do. */
#include "unit.h"

#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shred/signals.h"
#include "shred/workers.h"

#define BIT(signal) (1ull << ((signal)-1))
#define ALL_SIGNALS (UINT64_MAX & ~BIT(SIGKILL) & ~BIT(SIGSTOP))

struct job {
	sem_t release;
	atomic_int done;
	uint64_t blocked;
	size_t stack;
};

static int done_fd;

/* As the kernel has it: libc hides two. */
static uint64_t blocked_signals(void)
{
	uint64_t mask = 0;

	assert_int_equal(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, sizeof(mask)), 0);
	return mask;
}

static void wait_for_release(void *argument)
{
	struct job *job = argument;

	job->blocked = blocked_signals();
	while (sem_wait(&job->release) < 0)
		;
	atomic_fetch_add(&job->done, 1);
}

static void count(void *argument)
{
	atomic_fetch_add(&((struct job *)argument)->done, 1);
}

static void wait_until_done(struct worker *worker)
{
	struct pollfd poll_fd = {.fd = done_fd, .events = POLLIN};
	eventfd_t n;

	while (worker_is_busy(worker)) {
		assert_int_equal(poll(&poll_fd, 1, 10000), 1);
		assert_int_equal(eventfd_read(done_fd, &n), 0);
	}
}

static int make_done_fd(void **state)
{
	done_fd = eventfd(0, EFD_CLOEXEC);
	return done_fd < 0;
}

static int close_done_fd(void **state)
{
	return close(done_fd);
}

static void does_one_job_after_the_other(void **state)
{
	static struct worker worker;
	static struct job job;

	assert_int_equal(worker_start(&worker, done_fd), 0);
	for (int i = 1; i <= 3; i++) {
		assert_true(worker_give(&worker, count, &job));
		wait_until_done(&worker);
		assert_int_equal(job.done, i);
	}
}

static void takes_nothing_before_its_start(void **state)
{
	static struct worker worker;
	static struct job job;

	assert_false(worker_give(&worker, count, &job));
	assert_int_equal(job.done, 0);
}

static void one_is_abandoned_others_go_on(void **state)
{
	static struct worker blocked, other;
	static struct job stalled, quick;

	sem_init(&stalled.release, 0, 0);
	assert_int_equal(worker_start(&blocked, done_fd), 0);
	assert_int_equal(worker_start(&other, done_fd), 0);
	assert_true(worker_give(&blocked, wait_for_release, &stalled));
	assert_true(worker_give(&other, count, &quick));
	wait_until_done(&other);

	assert_int_equal(quick.done, 1);
	assert_true(worker_is_busy(&blocked));
	assert_false(worker_give(&blocked, count, &stalled));
	assert_int_equal(stalled.done, 0);

	sem_post(&stalled.release);
	wait_until_done(&blocked);
	assert_int_equal(stalled.done, 1);
}

static void all_signals_are_blocked_there(void **state)
{
	static struct worker worker, another;
	static struct job job;
	uint64_t before;

	assert_int_equal(blocked_signals(), 0);
	sem_init(&job.release, 0, 1);
	assert_int_equal(worker_start(&worker, done_fd), 0);
	assert_true(worker_give(&worker, wait_for_release, &job));
	wait_until_done(&worker);
	assert_int_equal(job.blocked, ALL_SIGNALS);
	assert_int_equal(blocked_signals(), 0);

	/* Who has blocked all keeps them blocked. */
	signals_block(&before);
	assert_int_equal(before, 0);
	assert_int_equal(worker_start(&another, done_fd), 0);
	assert_int_equal(blocked_signals(), ALL_SIGNALS);
	signals_restore(before);
	assert_int_equal(blocked_signals(), 0);
}

static void second_start_makes_no_second_thread(void **state)
{
	static struct worker worker;

	assert_int_equal(worker_start(&worker, done_fd), 0);
	/* A new thread would need a stack, and there is no memory for any. */
	assert_int_equal(worker_start(&worker, -1), 0);
	assert_int_equal(worker.done_fd, done_fd);
}

struct place {
	int policy;
	cpu_set_t set;
};

static void note_place(void *argument)
{
	struct place *place = argument;

	place->policy = sched_getscheduler(0);
	assert_int_equal(sched_getaffinity(0, sizeof(place->set), &place->set), 0);
}

static void step_back(void *argument)
{
	worker_step_back();
	note_place(argument);
}

/* The first processor is theirs who have not stepped back. */
static void who_steps_back_leaves_a_processor(void **state)
{
	static struct worker busy, important;
	struct place all, others, first;
	cpu_set_t set;

	note_place(&all);
	assert_int_equal(worker_start(&busy, done_fd), 0);
	assert_int_equal(worker_start(&important, done_fd), 0);
	assert_true(worker_give(&busy, step_back, &others));
	wait_until_done(&busy);
	assert_int_equal(others.policy, SCHED_IDLE);
	assert_true(worker_give(&important, note_place, &first));
	wait_until_done(&important);
	assert_int_equal(first.policy, all.policy);
	assert_true(CPU_EQUAL(&first.set, &all.set));

	/* While it sleeps. */
	worker_keep_apart(&important);
	worker_keep_apart(&important);
	assert_true(worker_give(&important, note_place, &first));
	wait_until_done(&important);
	assert_int_equal(CPU_COUNT(&first.set), 1);
	CPU_AND(&set, &first.set, &others.set);
	assert_int_equal(CPU_COUNT(&set), CPU_COUNT(&all.set) > 1 ? 0 : 1);
	CPU_OR(&set, &first.set, &others.set);
	assert_true(CPU_EQUAL(&set, &all.set));
	/* The caller is none of them. */
	note_place(&first);
	assert_true(CPU_EQUAL(&first.set, &all.set));
	worker_keep_apart(NULL);
	note_place(&first);
	assert_int_equal(CPU_COUNT(&first.set), 1);
	assert_int_equal(sched_setaffinity(0, sizeof(all.set), &all.set), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_steps_back_leaves_a_processor),
		cmocka_unit_test(does_one_job_after_the_other),
		cmocka_unit_test(takes_nothing_before_its_start),
		cmocka_unit_test(one_is_abandoned_others_go_on),
		cmocka_unit_test(all_signals_are_blocked_there),
		cmocka_unit_test(second_start_makes_no_second_thread),
	};

	return cmocka_run_group_tests(tests, make_done_fd, close_done_fd);
}
