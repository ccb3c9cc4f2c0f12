/* SPDX-License-Identifier: Apache-2.0 */
/* A few threads that wait for KMSes so that the loop never does. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "manager/kms/kms.h"

#define WORKERS_MAX  64
#define WAITING_MAX  1024
#define WORKER_STACK (256 * 1024)

struct job_queue {
	struct kms_job *first, **last;
	unsigned n;
};

struct worker {
	struct kms_pool *pool;
	pthread_t thread;
	bool reserved; /* takes probes only, so that admissions cannot delay them */
};

struct kms_pool {
	sd_event_source *source;
	int eventfd;
	pthread_mutex_t lock;
	pthread_cond_t work;
	bool stop;
	struct job_queue probes, others, finished;
	struct worker workers[WORKERS_MAX];
	unsigned n_workers;
	void (*count)(const struct kms_job *job, void *userdata);
	void *userdata;
};

static void queue_init(struct job_queue *queue)
{
	*queue = (struct job_queue){.last = &queue->first};
}

static void queue_put(struct job_queue *queue, struct kms_job *job)
{
	job->next = NULL;
	*queue->last = job;
	queue->last = &job->next;
	queue->n++;
}

static struct kms_job *queue_take(struct job_queue *queue)
{
	struct kms_job *job = queue->first;

	if (!job)
		return NULL;
	queue->first = job->next;
	if (!queue->first)
		queue->last = &queue->first;
	queue->n--;
	return job;
}

static void queue_free(struct job_queue *queue)
{
	struct kms_job *job;

	while ((job = queue_take(queue)))
		job->free(job);
}

static struct kms_job *worker_wait(struct worker *worker)
{
	struct kms_pool *pool = worker->pool;
	struct kms_job *job = NULL;

	pthread_mutex_lock(&pool->lock);
	while (!pool->stop) {
		job = queue_take(&pool->probes);
		if (!job && !worker->reserved)
			job = queue_take(&pool->others);
		if (job)
			break;
		pthread_cond_wait(&pool->work, &pool->lock);
	}
	pthread_mutex_unlock(&pool->lock);
	return job;
}

static void *worker_main(void *userdata)
{
	struct worker *worker = userdata;
	struct kms_pool *pool = worker->pool;
	struct kms_job *job;

	while ((job = worker_wait(worker))) {
		job->run(job);
		pthread_mutex_lock(&pool->lock);
		queue_put(&pool->finished, job);
		pthread_mutex_unlock(&pool->lock);
		(void)eventfd_write(pool->eventfd, 1);
	}
	return NULL;
}

static int on_finished(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct kms_pool *pool = userdata;
	struct kms_job *job;
	eventfd_t count;

	(void)eventfd_read(fd, &count);
	for (;;) {
		pthread_mutex_lock(&pool->lock);
		job = queue_take(&pool->finished);
		pthread_mutex_unlock(&pool->lock);
		if (!job)
			return 0;
		job->done(job);
		if (pool->count)
			pool->count(job, pool->userdata);
		job->free(job);
	}
}

/* Signals are the loop's: workers are born with all of them blocked. */
static int workers_start(struct kms_pool *pool, unsigned n)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	int r = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, WORKER_STACK);
	while (r == 0 && pool->n_workers < n) {
		struct worker *worker = &pool->workers[pool->n_workers];

		*worker = (struct worker){.pool = pool, .reserved = pool->n_workers == 0};
		r = -pthread_create(&worker->thread, &attributes, worker_main, worker);
		if (r == 0)
			pool->n_workers++;
	}
	pthread_attr_destroy(&attributes);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

static void cleanup_pool(struct kms_pool **pool)
{
	*pool = kms_pool_free(*pool);
}

int kms_pool_new(sd_event *event, unsigned n_workers, struct kms_pool **ret_pool)
{
	_cleanup_(cleanup_pool) struct kms_pool *pool = calloc(1, sizeof(*pool));
	int r;

	if (!pool)
		return -ENOMEM;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->work, NULL);
	queue_init(&pool->probes);
	queue_init(&pool->others);
	queue_init(&pool->finished);
	pool->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (pool->eventfd < 0)
		return -errno;
	r = sd_event_add_io(event, &pool->source, pool->eventfd, EPOLLIN, on_finished, pool);
	if (r < 0)
		return r;
	/* A verdict must not wait behind requests. */
	r = sd_event_source_set_priority(pool->source, SD_EVENT_PRIORITY_IMPORTANT);
	if (r < 0)
		return r;
	r = workers_start(pool, n_workers < 2		  ? 2
				: n_workers > WORKERS_MAX ? WORKERS_MAX
							  : n_workers);
	if (r < 0)
		return r;
	*ret_pool = TAKE_PTR(pool);
	return 0;
}

void kms_pool_set_count(struct kms_pool *pool,
			void (*count)(const struct kms_job *job, void *userdata), void *userdata)
{
	pool->count = count;
	pool->userdata = userdata;
}

struct kms_pool *kms_pool_free(struct kms_pool *pool)
{
	if (!pool)
		return NULL;
	pthread_mutex_lock(&pool->lock);
	pool->stop = true;
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->n_workers; i++)
		pthread_join(pool->workers[i].thread, NULL);
	queue_free(&pool->probes);
	queue_free(&pool->others);
	queue_free(&pool->finished);
	sd_event_source_disable_unref(pool->source);
	cleanup_close(&pool->eventfd);
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
	return NULL;
}

int kms_pool_submit(struct kms_pool *pool, struct kms_job *job)
{
	int r = 0;

	pthread_mutex_lock(&pool->lock);
	if (job->reserved)
		queue_put(&pool->probes, job);
	else if (pool->others.n < WAITING_MAX)
		queue_put(&pool->others, job);
	else
		r = -EAGAIN;
	/* All: the one that wakes might be the reserved worker, which leaves other jobs alone. */
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	return r;
}
