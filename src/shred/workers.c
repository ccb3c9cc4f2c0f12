/* SPDX-License-Identifier: Apache-2.0 */
/* Threads with small locked stacks that wait for work and may be abandoned in it. */
#include "shred/workers.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "shred/signals.h"

static void *worker_main(void *argument)
{
	struct worker *worker = argument;

	signals_block(NULL);
	atomic_store(&worker->thread, gettid());
	for (;;) {
		while (sem_wait(&worker->go) < 0)
			;
		worker->job(worker->argument);
		atomic_store(&worker->busy, false);
		(void)eventfd_write(worker->done_fd, 1);
	}
	return NULL;
}

/* mlockall(MCL_FUTURE) locks all of it; the guard holds nothing. */
static int stack_new(void **ret_stack)
{
	size_t guard = (size_t)sysconf(_SC_PAGESIZE);
	void *stack;

	stack = mmap(NULL, WORKER_STACK_SIZE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (stack == MAP_FAILED)
		return -errno;
	if (mprotect(stack, guard, PROT_NONE) < 0 || munlock(stack, guard) < 0) {
		int r = -errno;

		munmap(stack, WORKER_STACK_SIZE);
		return r;
	}
	*ret_stack = stack;
	return 0;
}

static int thread_new(struct worker *worker, void *stack)
{
	pthread_attr_t attributes;
	pthread_t thread;
	uint64_t before;
	int r;

	r = pthread_attr_init(&attributes);
	if (r != 0)
		return -r;
	r = pthread_attr_setstack(&attributes, stack, WORKER_STACK_SIZE);
	if (r == 0)
		r = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	if (r == 0) {
		/* The new thread begins with this mask; the first one made opens signal 33 here. */
		signals_block(&before);
		r = pthread_create(&thread, &attributes, worker_main, worker);
		signals_restore(before);
	}
	pthread_attr_destroy(&attributes);
	return -r;
}

int worker_start(struct worker *worker, int done_fd)
{
	void *stack = NULL;
	int r;

	if (atomic_load(&worker->started))
		return 0;
	if (sem_init(&worker->go, 0, 0) < 0)
		return -errno;
	worker->done_fd = done_fd;

	r = stack_new(&stack);
	if (r < 0)
		return r;
	r = thread_new(worker, stack);
	if (r < 0) {
		munmap(stack, WORKER_STACK_SIZE);
		return r;
	}
	atomic_store(&worker->started, true);
	return 0;
}

bool worker_give(struct worker *worker, void (*job)(void *argument), void *argument)
{
	if (!atomic_load(&worker->started) || atomic_load(&worker->busy))
		return false;
	worker->job = job;
	worker->argument = argument;
	atomic_store(&worker->busy, true);
	return sem_post(&worker->go) == 0;
}

bool worker_is_busy(struct worker *worker)
{
	return atomic_load(&worker->busy);
}

bool worker_wait(struct worker *worker, unsigned ms)
{
	uint64_t end = clock_boottime_ns() + ms * NSEC_PER_MSEC;

	while (worker_is_busy(worker)) {
		struct pollfd poll_fd = {.fd = worker->done_fd, .events = POLLIN};
		uint64_t now = clock_boottime_ns();
		eventfd_t count;

		if (now >= end)
			return false;
		if (poll(&poll_fd, 1, (int)((end - now) / NSEC_PER_MSEC) + 1) > 0)
			(void)eventfd_read(worker->done_fd, &count);
	}
	return true;
}

/* Of the processors that THREAD (0: the caller) may use, the first alone, or the others. */
static void divide(pid_t thread, bool first)
{
	cpu_set_t set, others;
	int n = 0;

	if (sched_getaffinity(thread, sizeof(set), &set) < 0 || CPU_COUNT(&set) < 2)
		return;
	while (!CPU_ISSET(n, &set))
		n++;
	others = set;
	CPU_CLR(n, &others);
	CPU_XOR(&set, &set, &others);
	(void)sched_setaffinity(thread, sizeof(set), first ? &set : &others);
}

void worker_step_back(void)
{
	const struct sched_param none = {};

	(void)sched_setscheduler(0, SCHED_IDLE, &none);
	divide(0, false);
}

void worker_keep_apart(struct worker *worker)
{
	pid_t thread = worker ? atomic_load(&worker->thread) : gettid();

	if (thread > 0)
		divide(thread, true);
}
