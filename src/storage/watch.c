/* SPDX-License-Identifier: Apache-2.0 */
/* Hears from the manager at once when the DEKs at hand must go. */
#include "storage/watch.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"
#include "storage/ask.h"

#define PATH	   "/v1/deks/watch"
#define ANSWER_MAX 4096
#define RETRY_S	   1

struct watch {
	struct cache *cache;
	struct ask *ask;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t thread;
	bool started, stop;
};

/* False at the end. */
static bool wait_for_deks(struct watch *watch)
{
	bool stop;

	pthread_mutex_lock(&watch->lock);
	while (!watch->stop && cache_count(watch->cache) == 0)
		pthread_cond_wait(&watch->changed, &watch->lock);
	stop = watch->stop;
	pthread_mutex_unlock(&watch->lock);
	return !stop;
}

/* The manager is away, or has too much to do. */
static void pause_a_while(struct watch *watch)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += RETRY_S;
	pthread_mutex_lock(&watch->lock);
	if (!watch->stop)
		(void)pthread_cond_clockwait(&watch->changed, &watch->lock, CLOCK_MONOTONIC,
					     &until);
	pthread_mutex_unlock(&watch->lock);
}

static void *thread_main(void *userdata)
{
	struct watch *watch = userdata;

	while (wait_for_deks(watch)) {
		int r = ask_wait(watch->ask, PATH);

		if (r == -EKEYREVOKED || r == -EACCES)
			cache_drop(watch->cache);
		else if (r < 0)
			pause_a_while(watch);
	}
	return NULL;
}

void watch_kick(struct watch *watch)
{
	pthread_mutex_lock(&watch->lock);
	pthread_cond_signal(&watch->changed);
	pthread_mutex_unlock(&watch->lock);
}

/* Signals are the program's. */
static int start(struct watch *watch)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	r = -pthread_create(&watch->thread, NULL, thread_main, watch);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	watch->started = r == 0;
	return r;
}

int watch_new(const char *directory, struct cache *cache, struct watch **ret_watch, char *error)
{
	struct watch *watch = calloc(1, sizeof(*watch));
	int r;

	if (!watch)
		return ask_refuse(error, -ENOMEM, "out of memory");
	watch->cache = cache;
	pthread_mutex_init(&watch->lock, NULL);
	pthread_cond_init(&watch->changed, NULL);
	r = ask_new(directory, ANSWER_MAX, &watch->ask, error);
	if (r == 0) {
		r = start(watch);
		if (r < 0)
			(void)ask_refuse(error, r, "cannot start a thread");
	}
	if (r < 0) {
		watch_free(watch);
		return r;
	}
	*ret_watch = watch;
	return 0;
}

struct watch *watch_free(struct watch *watch)
{
	if (!watch)
		return NULL;
	if (watch->started) {
		pthread_mutex_lock(&watch->lock);
		watch->stop = true;
		pthread_cond_signal(&watch->changed);
		pthread_mutex_unlock(&watch->lock);
		ask_interrupt(watch->ask);
		pthread_join(watch->thread, NULL);
	}
	ask_free(watch->ask);
	pthread_cond_destroy(&watch->changed);
	pthread_mutex_destroy(&watch->lock);
	free(watch);
	return NULL;
}
