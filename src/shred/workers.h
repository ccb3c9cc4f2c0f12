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
	atomic_int thread; /* its id; 0 until it runs */
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

/* A job that frees much memory keeps the processor busy that it runs on. The keeper's own threads
 * would wait there for what of it cannot be interrupted; and where processors are emulated, their
 * host lets a busy one stand still for some tenths of a second and an idle one go on at once. So the
 * first processor is left to those who have evidence to bring out and power to switch. On a machine
 * of one processor both come to priorities alone. */

/* In such a job: idle priority, and every processor but the first. The keeper's real-time one would
 * leave a processor neither to the agent nor to the network. */
void worker_step_back(void);
/* Keeps the thread of WORKER, or the calling one (NULL), to the first processor. */
void worker_keep_apart(struct worker *worker);
