/* SPDX-License-Identifier: Apache-2.0 */
/* Threads with small locked stacks that wait for work and may be abandoned in it: whoever gives
 * them work never waits for them, and they share no lock with anyone. */
#pragma once

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>

/* The least that pthread_attr_setstack(3) takes. The lowest page of it is the guard, which is not
 * locked; above it an ioctl or two and libc's own few KiB have three pages. */
#if defined(__SANITIZE_ADDRESS__)
#define WORKER_STACK_SIZE 262144
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WORKER_STACK_SIZE 262144
#endif
#endif
#ifndef WORKER_STACK_SIZE
#define WORKER_STACK_SIZE 16384
#endif

struct worker {
	sem_t go;
	atomic_bool started, busy;
	void (*job)(void *argument);
	void *argument;
	int done_fd;
};

/* Starts the thread, all signals blocked; again on one that runs: nothing. DONE_FD (an eventfd, the
 * caller's) is written after each job. WORKER must stay where it is. 0 or negative errno. */
int worker_start(struct worker *worker, int done_fd);

/* Gives it one job. False, and nothing is done, while it is busy or where it was never started. */
bool worker_give(struct worker *worker, void (*job)(void *argument), void *argument);

/* All that the job stored before is seen after this has returned false. */
bool worker_is_busy(struct worker *worker);

/* Waits for that, MS at most; reads .done_fd meanwhile. False where it is still busy. */
bool worker_wait(struct worker *worker, unsigned ms);

/* In a thread's job that frees much memory: takes away its priority. The keeper's is a real-time
 * one, and would leave a processor neither to the agent nor to the network, who have a receipt to
 * bring out. */
void worker_step_back(void);
