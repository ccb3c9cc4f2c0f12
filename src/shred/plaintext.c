/* SPDX-License-Identifier: Apache-2.0 */
/* Step 4 of a shred: the parts, each in a thread of its own, one after the other. */
#include "shred/plaintext.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "core/lease.h"
#include "core/shred.h"
#include "shred/drain.h"
#include "shred/sysv.h"

/* When the part after PART begins at the latest, or all is given up: a quarter of the time, three
 * quarters, the whole. */
static uint64_t part_end(const struct plaintext *plaintext, enum plaintext_part part)
{
	static const unsigned quarters[PLAINTEXT_PART__MAX] = {1, 3, 4};

	return plaintext->begin_ns + (plaintext->end_ns - plaintext->begin_ns) / 4 * quarters[part];
}

static bool kill_processes(struct plaintext_work *work)
{
	struct groups *groups = &work->plaintext->groups;
	bool killed = groups_kill(groups);

	return groups_wait(groups, work->plaintext->end_ns) && killed;
}

static bool clear_files(struct plaintext_work *work)
{
	struct mounts *mounts = &work->plaintext->mounts;
	bool memory;

	worker_step_back();
	memory = mounts->proc_fd >= 0 && sysv_remove();

	return mounts_clear(mounts) && memory;
}

static bool drop_caches(struct plaintext_work *work)
{
	struct mounts *mounts = &work->plaintext->mounts;
	int fd = work->plaintext->caches_fd;
	bool drained = drain_processors();

	worker_step_back();
	if (work->plaintext->files_over && !mounts_hold(mounts))
		return drained;
	/* Pages first: the slabs, of inodes and names, take longer. */
	return write(fd, "1", 1) == 1 && write(fd, "2", 1) == 1;
}

static bool (*const parts[PLAINTEXT_PART__MAX])(struct plaintext_work *work) = {
	[PLAINTEXT_PROCESSES] = kill_processes,
	[PLAINTEXT_FILES] = clear_files,
	[PLAINTEXT_CACHES] = drop_caches,
};

/* In the part's thread. */
static void part_do(void *argument)
{
	struct plaintext_work *work = argument;
	enum plaintext_part part = (enum plaintext_part)(work - work->plaintext->work);

	atomic_store(&work->ok, parts[part](work));
}

/* What a volume lies on fails at once where none of its maps reaches a disk any more. */
static bool volume_fails(void *argument, const char *volume)
{
	struct plaintext *plaintext = argument;

	for (unsigned i = 0; i < SEGMENTS_MAX; i++) {
		struct shared_map *map = &plaintext->shared->maps[i];

		if (atomic_load(&map->used) && strcmp(map->volume, volume) == 0 &&
		    !atomic_load(&map->fails))
			return false;
	}
	return true;
}

static bool volume_is_held(void *argument, dev_t device)
{
	struct plaintext *plaintext = argument;

	return dm_is_open(plaintext->dm_fd, &plaintext->buffer, device);
}

void plaintext_init(struct plaintext *plaintext)
{
	plaintext->caches_fd = plaintext->dm_fd = -1;
	plaintext->groups.proc_fd = plaintext->groups.sys_fd = -1;
	plaintext->mounts.proc_fd = plaintext->mounts.sys_fd = -1;
}

void plaintext_open(struct plaintext *plaintext, int proc_fd, int sys_fd, int dm_fd,
		    struct shared *shared)
{
	plaintext->caches_fd = openat(proc_fd, "sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
	plaintext->groups.proc_fd = plaintext->mounts.proc_fd = proc_fd;
	plaintext->groups.sys_fd = plaintext->mounts.sys_fd = sys_fd;
	plaintext->dm_fd = dm_fd;
	plaintext->shared = shared;
	plaintext->mounts.fails = volume_fails;
	plaintext->mounts.is_held = volume_is_held;
	plaintext->mounts.argument = plaintext;
}

int plaintext_start(struct plaintext *plaintext, int done_fd)
{
	for (unsigned i = 0; i < PLAINTEXT_PART__MAX; i++) {
		int r = worker_start(&plaintext->work[i].worker, done_fd);

		if (r < 0)
			return r;
		plaintext->work[i].plaintext = plaintext;
	}
	return mounts_start(&plaintext->mounts, done_fd);
}

static void part_begin(struct plaintext *plaintext, enum plaintext_part part, uint64_t now_ns)
{
	struct plaintext_work *work = &plaintext->work[part];

	work->start_ns = now_ns;
	work->done_ns = 0;
	atomic_store(&work->ok, false);
	work->begun = true;
	plaintext->files_over = plaintext->work[PLAINTEXT_FILES].done_ns != 0;
	(void)worker_give(&work->worker, part_do, work);
}

void plaintext_begin(struct plaintext *plaintext, uint64_t now_ns, uint64_t end_ns)
{
	plaintext->begin_ns = now_ns;
	plaintext->end_ns = end_ns;
	worker_keep_apart(&plaintext->work[PLAINTEXT_PROCESSES].worker);
	for (unsigned i = 0; i < PLAINTEXT_PART__MAX; i++)
		plaintext->work[i].begun = false;
	part_begin(plaintext, PLAINTEXT_PROCESSES, now_ns);
}

static bool part_is_over(struct plaintext *plaintext, enum plaintext_part part)
{
	struct plaintext_work *work = &plaintext->work[part];

	return work->begun && !worker_is_busy(&work->worker) &&
	       (part != PLAINTEXT_FILES || !mounts_are_busy(&plaintext->mounts));
}

bool plaintext_run(struct plaintext *plaintext, uint64_t now_ns)
{
	bool over = true;

	for (unsigned i = 0; plaintext->begin_ns && i < PLAINTEXT_PART__MAX; i++) {
		struct plaintext_work *work = &plaintext->work[i];
		bool late = now_ns >= part_end(plaintext, i);

		if (work->done_ns == 0 && part_is_over(plaintext, i))
			work->done_ns = now_ns;
		over &= work->done_ns != 0;
		if (i + 1 == PLAINTEXT_PART__MAX)
			return over || late;
		if (plaintext->work[i + 1].begun)
			continue;
		if (work->done_ns == 0 && !late)
			return false;
		part_begin(plaintext, i + 1, now_ns);
	}
	return true;
}

uint64_t plaintext_next(const struct plaintext *plaintext)
{
	unsigned i = 0;

	if (plaintext->begin_ns == 0)
		return LEASE_NEVER;
	while (i + 1 < PLAINTEXT_PART__MAX && plaintext->work[i + 1].begun)
		i++;
	return part_end(plaintext, i);
}

static bool is_done(struct plaintext_work *work)
{
	const struct mounts *mounts = &work->plaintext->mounts;
	bool is_files = work == &work->plaintext->work[PLAINTEXT_FILES];

	return work->done_ns != 0 && atomic_load(&work->ok) &&
	       !(is_files && atomic_load(&mounts->left));
}

bool plaintext_is_gone(struct plaintext *plaintext)
{
	bool gone = plaintext->begin_ns != 0;

	for (unsigned i = 0; gone && i < PLAINTEXT_PART__MAX; i++)
		gone &= is_done(&plaintext->work[i]);
	return gone;
}

void plaintext_print(struct plaintext *plaintext, char *text, size_t size)
{
	static const char *const names[PLAINTEXT_PART__MAX] = {"processes", "files", "caches"};
	size_t n = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < PLAINTEXT_PART__MAX && n < size; i++) {
		struct plaintext_work *work = &plaintext->work[i];
		uint64_t end_ns = work->done_ns ? work->done_ns : plaintext->end_ns;

		n += (size_t)snprintf(text + n, size - n, "%s%s%s %ju ms", i ? ", " : "", names[i],
				      is_done(work) ? "" : " left after",
				      (uintmax_t)((end_ns - work->start_ns) / NSEC_PER_MSEC));
	}
}

static void kill_spared(void *argument)
{
	(void)groups_kill_spared(argument,
				 clock_boottime_ns() + PLAINTEXT_FINISH_MS * NSEC_PER_MSEC);
}

void plaintext_finish(struct plaintext *plaintext)
{
	struct worker *worker = &plaintext->work[PLAINTEXT_PROCESSES].worker;

	if (worker_give(worker, kill_spared, &plaintext->groups))
		(void)worker_wait(worker, PLAINTEXT_FINISH_MS);
}
