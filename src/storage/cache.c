/* SPDX-License-Identifier: Apache-2.0 */
/* DEKs at hand: in locked memory, each until its time is over. */
#include "storage/cache.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/locked.h"

#define MAX_DEFAULT  1024
#define MAX_MOST     65536
#define THREAD_STACK (64 * 1024)

/* What a DEK was asked for by; which DEK it is depends on all of it. */
struct name {
	size_t size;
	char context[EMBERLOCK_CONTEXT_MAX + 1];
	unsigned char blob[];
};

struct slot {
	struct name *name; /* NULL: the slot is free */
	uint64_t until_ns;
};

struct cache {
	pthread_mutex_t lock;
	pthread_t thread;
	bool started;
	int timer, stop; /* CLOCK_BOOTTIME, an eventfd */
	unsigned max, n;
	struct slot *slots;
	uint8_t *deks; /* locked; EMBERLOCK_DEK_SIZE a slot */
};

static uint8_t *dek_of(const struct cache *cache, const struct slot *slot)
{
	return cache->deks + (size_t)(slot - cache->slots) * EMBERLOCK_DEK_SIZE;
}

static void drop(struct cache *cache, struct slot *slot)
{
	bytes_wipe(dek_of(cache, slot), EMBERLOCK_DEK_SIZE);
	free(slot->name);
	*slot = (struct slot){0};
	cache->n--;
}

/* Wakes the thread when the next one ends. The kernel refuses no time that is not negative. */
static void arm(struct cache *cache)
{
	uint64_t next = UINT64_MAX;
	struct itimerspec when = {0};

	for (unsigned i = 0; i < cache->max; i++)
		if (cache->slots[i].name && cache->slots[i].until_ns < next)
			next = cache->slots[i].until_ns;
	if (next != UINT64_MAX) {
		when.it_value.tv_sec = (time_t)(next / NSEC_PER_SEC);
		when.it_value.tv_nsec = (long)(next % NSEC_PER_SEC);
	}
	(void)timerfd_settime(cache->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static void drop_ended(struct cache *cache)
{
	uint64_t now = clock_boottime_ns();

	for (unsigned i = 0; i < cache->max; i++)
		if (cache->slots[i].name && cache->slots[i].until_ns <= now)
			drop(cache, &cache->slots[i]);
	arm(cache);
}

static void *thread_main(void *userdata)
{
	struct cache *cache = userdata;
	struct pollfd fds[] = {{.fd = cache->timer, .events = POLLIN},
			       {.fd = cache->stop, .events = POLLIN}};
	uint64_t count;

	for (;;) {
		if (poll(fds, ELEMENTSOF(fds), -1) < 0 && errno != EINTR)
			return NULL;
		if (fds[1].revents)
			return NULL;
		pthread_mutex_lock(&cache->lock);
		(void)!read(cache->timer, &count, sizeof(count));
		drop_ended(cache);
		pthread_mutex_unlock(&cache->lock);
	}
}

static bool is_name(const struct slot *slot, const struct emberlock_dek_blob *blob,
		    const char *context)
{
	const struct name *name = slot->name;

	return name && name->size == blob->size &&
	       memcmp(name->blob, blob->bytes, blob->size) == 0 &&
	       strcmp(name->context, context) == 0;
}

/* One whose time is over is none, whether the thread has come to it or not. */
static struct slot *find(struct cache *cache, const struct emberlock_dek_blob *blob,
			 const char *context)
{
	for (unsigned i = 0; i < cache->max; i++)
		if (is_name(&cache->slots[i], blob, context))
			return cache->slots[i].until_ns > clock_boottime_ns() ? &cache->slots[i]
									      : NULL;
	return NULL;
}

/* Of the same name, free, or the one that ends first. */
static struct slot *make_room(struct cache *cache, const struct emberlock_dek_blob *blob,
			      const char *context)
{
	struct slot *room = &cache->slots[0];

	for (unsigned i = 0; i < cache->max; i++) {
		struct slot *slot = &cache->slots[i];

		if (is_name(slot, blob, context)) {
			room = slot;
			break;
		}
		if (slot->until_ns < room->until_ns)
			room = slot;
	}
	if (room->name)
		drop(cache, room);
	return room;
}

int cache_put(struct cache *cache, const struct emberlock_dek_blob *blob, const char *context,
	      const char *hex, uint64_t until_ns)
{
	struct name *name = malloc(sizeof(*name) + blob->size);
	struct slot *slot;
	int r;

	if (!name)
		return -ENOMEM;
	name->size = blob->size;
	memcpy(name->blob, blob->bytes, blob->size);
	strcpy(name->context, context);
	pthread_mutex_lock(&cache->lock);
	slot = make_room(cache, blob, context);
	r = hex_decode(hex, strlen(hex), dek_of(cache, slot), EMBERLOCK_DEK_SIZE) < 0 ? -EBADMSG
	    : until_ns <= clock_boottime_ns()					      ? -EKEYEXPIRED
										      : 0;
	if (r == 0) {
		*slot = (struct slot){.name = TAKE_PTR(name), .until_ns = until_ns};
		cache->n++;
		arm(cache);
	} else {
		bytes_wipe(dek_of(cache, slot), EMBERLOCK_DEK_SIZE);
	}
	pthread_mutex_unlock(&cache->lock);
	free(name);
	return r;
}

bool cache_has(struct cache *cache, const struct emberlock_dek_blob *blob, const char *context)
{
	bool has;

	pthread_mutex_lock(&cache->lock);
	has = find(cache, blob, context) != NULL;
	pthread_mutex_unlock(&cache->lock);
	return has;
}

bool cache_use(struct cache *cache, const struct emberlock_dek_blob *blob, const char *context,
	       emberlock_dek_function function, void *userdata, int *ret_r)
{
	const struct slot *slot;

	pthread_mutex_lock(&cache->lock);
	slot = find(cache, blob, context);
	if (slot)
		*ret_r = function(dek_of(cache, slot), userdata);
	pthread_mutex_unlock(&cache->lock);
	return slot != NULL;
}

void cache_drop(struct cache *cache)
{
	pthread_mutex_lock(&cache->lock);
	for (unsigned i = 0; i < cache->max; i++)
		if (cache->slots[i].name)
			drop(cache, &cache->slots[i]);
	arm(cache);
	pthread_mutex_unlock(&cache->lock);
}

unsigned cache_count(struct cache *cache)
{
	unsigned n;

	pthread_mutex_lock(&cache->lock);
	n = cache->n;
	pthread_mutex_unlock(&cache->lock);
	return n;
}

/* Signals are the program's: the thread is born with all of them blocked. */
static int start(struct cache *cache)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	int r;

	cache->timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	cache->stop = eventfd(0, EFD_CLOEXEC);
	if (cache->timer < 0 || cache->stop < 0)
		return -errno;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, THREAD_STACK);
	r = -pthread_create(&cache->thread, &attributes, thread_main, cache);
	pthread_attr_destroy(&attributes);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	cache->started = r == 0;
	return r;
}

static void cleanup_cache(struct cache **cache)
{
	*cache = cache_free(*cache);
}

int cache_new(unsigned max, struct cache **ret_cache)
{
	_cleanup_(cleanup_cache) struct cache *cache = NULL;
	void *deks;
	int r;

	if (max > MAX_MOST)
		return -EINVAL;
	cache = calloc(1, sizeof(*cache));
	if (!cache)
		return -ENOMEM;
	pthread_mutex_init(&cache->lock, NULL);
	cache->timer = cache->stop = -1;
	cache->max = max > 0 ? max : MAX_DEFAULT;
	cache->slots = calloc(cache->max, sizeof(*cache->slots));
	if (!cache->slots)
		return -ENOMEM;
	r = locked_new((size_t)cache->max * EMBERLOCK_DEK_SIZE, &deks);
	if (r < 0)
		return r;
	cache->deks = deks;
	r = start(cache);
	if (r < 0)
		return r;
	*ret_cache = TAKE_PTR(cache);
	return 0;
}

struct cache *cache_free(struct cache *cache)
{
	if (!cache)
		return NULL;
	if (cache->started) {
		(void)eventfd_write(cache->stop, 1);
		pthread_join(cache->thread, NULL);
	}
	for (unsigned i = 0; cache->slots && i < cache->max; i++)
		free(cache->slots[i].name);
	locked_free(cache->deks, (size_t)cache->max * EMBERLOCK_DEK_SIZE);
	cleanup_close(&cache->timer);
	cleanup_close(&cache->stop);
	pthread_mutex_destroy(&cache->lock);
	free(cache->slots);
	free(cache);
	return NULL;
}
