/* SPDX-License-Identifier: Apache-2.0 */
/* Workers: one forked process maps, or undoes, one volume.
 *
 * The order, and why an agent may be killed between any two lines:
 *
 *	1 page: MAPPING, next instance, number of segments
 *	2 KEEPER_MAP_ADD for each segment
 *	3 the worker maps, makes the ready file, ends
 *	4 page: READY
 *
 * - before 1: the page says PLANNED; nothing was made. The next agent plans again.
 * - between 1 and 3: the page names every map that may exist, and the keeper knows each before it
 *   exists, so a shred at any of these instants finds all keys. The next agent undoes by the page:
 *   the maps first, then KEEPER_MAP_REMOVE (-ENOENT where 2 had not come that far), then PLANNED.
 *   An instance is on the page before its key exists, so no key is ever derived twice.
 * - between 3 and 4: the page says MAPPING, but the ready file, which is made last and whole, says
 *   that the volume is whole; it may be in use. The next agent repeats the event that the worker may
 *   not have come to, and makes up for step 4.
 * - within the undoing: all of it may be repeated.
 *
 * A worker dies with its agent (PR_SET_PDEATHSIG), and systemd starts the next agent when the unit's
 * processes have ended: two workers never work on one volume. */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "disks/segment.h"
#include "disks/volume.h"
#include "keys/hygiene.h"

/* Making a file system takes a second or so; a disk that stalls must not stall the boot's report. */
#define WORKER_LIMIT_NS (120 * NSEC_PER_SEC)
#define SWAP_LIMIT_NS	(1800 * NSEC_PER_SEC)

struct work_result {
	int32_t r;
	bool left; /* maps that could not be undone may exist */
	char reason[256];
};

/* --- in the worker */

/* Leaves nothing of the agent's open: above all not its connection to the keeper, which must end
 * when the agent does. */
static void close_others(int a, int b)
{
	unsigned low = (unsigned)(a < b ? a : b), high = (unsigned)(a < b ? b : a);

	if (a < 0 || b < 0)
		low = high;
	if (low > 3)
		close_range(3, low - 1, 0);
	if (high > low + 1)
		close_range(low + 1, high - 1, 0);
	close_range(high + 1, ~0u, 0);
}

static int worker_settle(pid_t parent)
{
	sigset_t none;

	sigemptyset(&none);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || sigprocmask(SIG_SETMASK, &none, NULL) < 0)
		return -errno;
	if (getppid() != parent)
		_exit(EXIT_FAILURE); /* the agent ended before it could take us with it */
	return process_lock();
}

static int work_do(const struct volume_job *job, enum work_kind kind, struct work_result *result)
{
	switch (kind) {
	case WORK_MAP:
		return volume_map(job, result->reason, &result->left);
	case WORK_GROW:
		return volume_grow(job, result->reason, &result->left);
	case WORK_UNGROW:
		return volume_growth_undo(job->config->name, job->n_mapped, job->n_segments);
	case WORK_SWAP:
		return volume_swap_resize(job, result->reason);
	case WORK_UNPLUG:
		return volume_unplug(job->config->name, job->n_segments);
	default:
		return volume_unmap(job->config->name, job->n_segments);
	}
}

__attribute__((noreturn)) static void worker_run(const struct volume_job *job, enum work_kind kind,
						 int result_fd, pid_t parent)
{
	struct work_result result = {0};

	volume_worker_begin();
	close_others(result_fd, job->boot_key_fd);
	result.r = worker_settle(parent);
	if (result.r < 0)
		snprintf(result.reason, sizeof(result.reason), "volume %s: worker: %s",
			 job->config->name, strerror(-result.r));
	else
		result.r = work_do(job, kind, &result);
	registers_scrub();
	_exit(fd_write_full(result_fd, &result, sizeof(result)) < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

/* --- in the agent */

static void work_end(struct agent_work *work, enum work_kind next)
{
	work->child = sd_event_source_disable_unref(work->child);
	work->limit = sd_event_source_disable_unref(work->limit);
	cleanup_close(&work->result_fd);
	work->result_fd = -1;
	work->pid = 0;
	work->kind = next;
}

void volume_failed(struct agent *a, uint32_t index, const char *reason)
{
	struct state_volume *volume = &a->state.volumes[index];

	a->carry.works[index].kind = WORK_NONE;
	volume->state = VOLUME_FAILED;
	text_escape(volume->reason, sizeof(volume->reason), reason, strlen(reason));
	if (volume->required)
		agent_fail(a, "%s (Required=yes)", volume->reason);
	else
		log_warning("%s", volume->reason);
	keeper_save(a);
	control_changed(a, index, -EIO, volume->reason);
}

static void volume_ready(struct agent *a, uint32_t index)
{
	struct state_volume *volume = &a->state.volumes[index];

	volume->state = VOLUME_READY;
	volume->reason[0] = '\0';
	if (keeper_save(a) == 0)
		log_info("volume %s: ready on %s, %u segments", volume->name, volume->disk,
			 volume->n_segments);
	control_changed(a, index, 0, "");
}

/* Whether the boot's report says that the volume has this segment: then a receipt must speak of it, be it
 * to say that it is absent. */
static bool report_lists(const struct agent *a, uint32_t index, uint32_t segment)
{
	struct boot_report report;

	if (!a->state.reported ||
	    boot_report_decode(a->state.report, sizeof(a->state.report), &report) < 0)
		return false;
	for (uint32_t i = 0; i < report.n_volumes; i++)
		if (strcmp(report.volumes[i].name, a->state.volumes[index].name) == 0)
			return report.volumes[i].state == VOLUME_READY &&
			       segment < report.volumes[i].n_segments;
	return false;
}

/* The maps of segments FIRST to N - 1 are gone: the keeper need know them no more. */
static void maps_forget_from(struct agent *a, uint32_t index, uint32_t first, uint32_t n)
{
	const struct state_volume *volume = &a->state.volumes[index];

	for (uint32_t i = first; i < n; i++) {
		int r = report_lists(a, index, i) ? 0 : keeper_map_remove(a, volume->name, i);

		if (r < 0 && r != -ENOENT)
			log_errno(r, "keeper: volume %s, segment %u", volume->name, i);
	}
}

static void maps_forget(struct agent *a, uint32_t index)
{
	maps_forget_from(a, index, 0, a->state.volumes[index].n_segments);
}

/* The end of an undoing. Maps that stayed keep their place in the keeper's list: a shred finds
 * them. */
static void undo_ended(struct agent *a, uint32_t index, enum work_kind kind, int r)
{
	struct state_volume *volume = &a->state.volumes[index];
	char reason[128];

	if (kind == WORK_SWEEP) { /* the volume has its reason already */
		if (r < 0)
			log_errno(r, "volume %s: what its abandoned worker left", volume->name);
		else
			maps_forget(a, index);
		return;
	}
	if (r < 0) {
		snprintf(reason, sizeof(reason),
			 "volume %s: what is left of it cannot be undone: %s", volume->name,
			 strerror(-r));
		volume_failed(a, index, reason);
		return;
	}
	maps_forget(a, index);
	if (kind == WORK_CLEAN) {
		snprintf(reason, sizeof(reason), "volume %s: its worker was killed", volume->name);
		volume_failed(a, index, reason);
		return;
	}
	volume->state = VOLUME_PLANNED;
	if (keeper_save(a) < 0)
		return;
	a->carry.works[index].kind = WORK_WAIT;
	sd_event_source_set_enabled(a->carry.begin_look, SD_EVENT_ONESHOT);
}

/* As in undo_ended(): maps that may have stayed keep their place in the keeper's list. */
static void map_ended(struct agent *a, uint32_t index, const struct work_result *result)
{
	if (result->r == 0) {
		volume_ready(a, index);
		return;
	}
	if (!result->left)
		maps_forget(a, index);
	volume_failed(a, index, result->reason);
}

static void ungrow_ended(struct agent *a, uint32_t index, int r)
{
	struct state_volume *volume = &a->state.volumes[index];

	if (r < 0) {
		log_errno(r, "volume %s: what is left of its growth cannot be undone",
			  volume->name);
		return;
	}
	maps_forget_from(a, index, volume->n_segments, volume->grow_to);
	volume->grow_to = 0;
	(void)keeper_save(a);
}

/* One that was killed may have come to the file system, or not. */
static void grow_ended(struct agent *a, uint32_t index, bool reported,
		       const struct work_result *result)
{
	struct state_volume *volume = &a->state.volumes[index];
	char reason[128];

	if (reported) {
		change_grown(a, index, result->r, result->reason);
		return;
	}
	if (volume->n_segments < volume->grow_to && volume_grow_recover(a, index) &&
	    volume_grow_start(a, index) == 0)
		return;
	snprintf(reason, sizeof(reason), "volume %s: its worker was killed", volume->name);
	change_grown(a, index, -EINTR, reason);
}

static void unplug_ended(struct agent *a, uint32_t index, int r)
{
	struct state_volume *volume = &a->state.volumes[index];
	char reason[256];

	/* Maps that stayed keep their place in the keeper's list. */
	if (r < 0) {
		snprintf(reason, sizeof(reason),
			 "volume %s: disk %s is gone, and cannot be cleaned up after: %s",
			 volume->name, volume->disk, strerror(-r));
		volume_failed(a, index, reason);
		return;
	}
	maps_forget_from(a, index, 0,
			 volume->grow_to > volume->n_segments ? volume->grow_to
							      : volume->n_segments);
	volume->grow_to = 0;
	log_info("volume %s: disk %s is gone, and its keys", volume->name, volume->disk);
	if (a->carry.configs[index].hot_plug) {
		control_changed(a, index, -ENODEV, "its disk is gone");
		plan_wait(a, index);
		return;
	}
	snprintf(reason, sizeof(reason), "volume %s: disk %s is gone", volume->name, volume->disk);
	volume_failed(a, index, reason);
}

/* What became of a volume that is ready and stays so. Whether KIND is of that sort. */
static bool change_worker_ended(struct agent *a, uint32_t index, enum work_kind kind, bool reported,
				const struct work_result *result)
{
	if (kind == WORK_GROW)
		grow_ended(a, index, reported, result);
	else if (kind == WORK_UNGROW)
		ungrow_ended(a, index, reported ? result->r : -EINTR);
	else if (kind == WORK_SWAP)
		control_changed(a, index, reported ? result->r : -EINTR,
				reported ? result->reason : "the worker was killed");
	else if (kind == WORK_UNPLUG)
		unplug_ended(a, index, reported ? result->r : -EINTR);
	return kind >= WORK_GROW && kind <= WORK_UNPLUG;
}

static int on_worker_end(sd_event_source *s, const siginfo_t *si, void *userdata)
{
	struct agent_work *work = userdata;
	struct agent *a = work->agent;
	enum work_kind kind = work->kind;
	struct work_result result = {0};
	bool reported =
		work->result_fd >= 0 && fd_read_full(work->result_fd, &result, sizeof(result)) == 0;

	result.reason[sizeof(result.reason) - 1] = '\0';
	work_end(work, WORK_NONE);
	if (a->shred.begun)
		return 0;
	if (change_worker_ended(a, work->index, kind, reported, &result))
		;
	else if (kind == WORK_ABANDON)
		volume_undo(a, work->index, WORK_SWEEP);
	else if (reported && kind == WORK_MAP)
		map_ended(a, work->index, &result);
	else if (reported)
		undo_ended(a, work->index, kind, result.r);
	else if (kind == WORK_MAP) {
		log_error("volume %s: worker ended by signal or without a word (%d)",
			  a->state.volumes[work->index].name, si->si_status);
		volume_undo(a, work->index, WORK_CLEAN);
	} else {
		undo_ended(a, work->index, kind, -EIO);
	}
	if (work->gone && work->kind == WORK_NONE)
		volume_gone(a, work->index);
	plan_continue(a);
	return 0;
}

/* A worker that waits for a stalled disk cannot be killed either; its maps stay in the keeper's
 * list until it has ended and they have been undone. That is tried once. */
static int on_worker_limit(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct agent_work *work = userdata;
	struct agent *a = work->agent;
	char reason[128];

	sd_event_source_send_child_signal(work->child, SIGKILL, NULL, 0);
	if (work->kind == WORK_SWEEP || (work->kind >= WORK_GROW && work->kind <= WORK_UNPLUG))
		return 0;
	snprintf(reason, sizeof(reason), "volume %s: not made within %ju s",
		 a->state.volumes[work->index].name, (uintmax_t)(WORKER_LIMIT_NS / NSEC_PER_SEC));
	volume_failed(a, work->index, reason);
	work->kind = WORK_ABANDON;
	plan_continue(a);
	return 0;
}

static void worker_watch(struct agent *a, struct agent_work *work)
{
	/* To read back what was swapped out takes as long as it takes. */
	uint64_t limit_ns = work->kind == WORK_SWAP ? SWAP_LIMIT_NS : WORKER_LIMIT_NS;
	int r = sd_event_add_child(a->event, &work->child, work->pid, WEXITED, on_worker_end, work);

	r = r < 0 ? r
		  : sd_event_add_time(a->event, &work->limit, CLOCK_BOOTTIME,
				      (clock_boottime_ns() + limit_ns) / 1000, 0, on_worker_limit,
				      work);
	if (r < 0) /* takes the worker with it; the next agent undoes what it left */
		agent_exit(a, log_errno(r, "worker"));
}

static int worker_fork(struct agent *a, uint32_t index, const struct volume_job *job,
		       enum work_kind kind)
{
	struct agent_work *work = &a->carry.works[index];
	pid_t parent = getpid();
	int fds[2], r;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	work->pid = fork();
	if (work->pid == 0)
		worker_run(job, kind, fds[1], parent);
	r = work->pid < 0 ? -errno : 0;
	close(fds[1]);
	if (r < 0) {
		close(fds[0]);
		return r;
	}
	work->kind = kind;
	work->result_fd = fds[0];
	worker_watch(a, work);
	return 0;
}

void volume_recover(struct agent *a, uint32_t index)
{
	if (volume_ready_again(a->state.volumes[index].name) == 0)
		volume_ready(a, index);
	else
		volume_undo(a, index, WORK_UNDO);
}

void volume_undo(struct agent *a, uint32_t index, enum work_kind kind)
{
	struct state_volume *volume = &a->state.volumes[index];
	struct volume_job job = {
		.config = &a->carry.configs[index],
		.n_segments = volume->n_segments,
		.boot_key_fd = -1,
	};
	int r = worker_fork(a, index, &job, kind);

	if (r < 0)
		undo_ended(a, index, kind, r);
}

int volume_announce(struct agent *a, const char *volume, uint32_t segment, uint64_t sectors)
{
	struct segment_table table;
	uint64_t length;
	int r = keeper_map_add(a, volume, segment, sectors);

	if (r != -EEXIST || segment_look(volume, segment, &table, &length) != -ENXIO)
		return r;
	r = keeper_map_remove(a, volume, segment);
	return r < 0 ? r : keeper_map_add(a, volume, segment, sectors);
}

/* On an error none is announced that was not before: a map of that name may be there, with its key. */
static int maps_announce(struct agent *a, uint32_t index)
{
	const struct plan_volume *planned = &a->carry.plan.volumes[index];

	for (uint32_t i = 0; i < planned->n_segments; i++) {
		const struct plan_segment *segment =
			&a->carry.plan.segments[planned->first_segment + i];
		int r = volume_announce(a, planned->config->name, i, segment->length_sectors);

		if (r < 0) {
			maps_forget_from(a, index, 0, i);
			return r;
		}
	}
	return 0;
}

/* "/dev/vdb /dev/vdc"; what does not fit is left out. */
static void disks_print(const struct agent *a, const struct plan_volume *planned, char *text,
			size_t size)
{
	size_t used = 0;

	memset(text, 0, size);
	for (uint32_t k = 0; k < planned->n_disks; k++) {
		const char *path = a->carry.disks[planned->disks[k]].path;
		size_t n = strlen(path);

		if (used + n + 2 > size)
			break;
		if (k > 0)
			text[used++] = ' ';
		memcpy(text + used, path, n);
		used += n;
	}
}

/* The descriptor of the boot key, which is held open only while the plan is carried out. */
static int boot_key_open(struct agent *a)
{
	return a->carry.boot_key_fd >= 0 ? 0 : keeper_boot_key(a, &a->carry.boot_key_fd);
}

static void boot_key_close(struct agent *a)
{
	if (!a->carry.settled)
		return;
	cleanup_close(&a->carry.boot_key_fd);
	a->carry.boot_key_fd = -1;
}

static struct volume_job job_make(struct agent *a, uint32_t index)
{
	const struct plan_volume *planned = &a->carry.plan.volumes[index];
	struct volume_job job = {
		.config = &a->carry.configs[index],
		.disks = a->carry.disks,
		.chosen = planned->disks,
		.n_disks = planned->n_disks,
		.segments = &a->carry.plan.segments[planned->first_segment],
		.n_segments = planned->n_segments,
		.boot_key_fd = a->carry.boot_key_fd,
		.instance = a->state.volumes[index].instance,
		.queue_requests = a->config.queue_requests,
		.queue_max_kib = a->config.queue_max_kib,
	};

	memcpy(job.boot_id, a->keeper.hello.boot_id, sizeof(job.boot_id));
	return job;
}

static void page_mapping(struct agent *a, uint32_t index)
{
	const struct plan_volume *planned = &a->carry.plan.volumes[index];
	struct state_volume *volume = &a->state.volumes[index];

	volume->state = VOLUME_MAPPING;
	volume->instance++;
	volume->n_segments = planned->n_segments;
	volume->bytes = planned->bytes;
	disks_print(a, planned, volume->disk, sizeof(volume->disk));
}

void volume_start(struct agent *a, uint32_t index)
{
	struct state_volume *volume = &a->state.volumes[index];
	struct volume_job job;
	char reason[128];
	int r = boot_key_open(a);

	if (r < 0) {
		snprintf(reason, sizeof(reason),
			 "volume %s: the boot key was erased (KeepBootKey=no)", volume->name);
		volume_failed(a, index, reason);
		return;
	}
	page_mapping(a, index);
	job = job_make(a, index);
	if (keeper_save(a) < 0)
		return;
	r = maps_announce(a, index);
	if (r == 0) {
		r = worker_fork(a, index, &job, WORK_MAP);
		if (r < 0)
			maps_forget(a, index);
	}
	boot_key_close(a);
	if (r < 0) {
		snprintf(reason, sizeof(reason), "volume %s: cannot be started: %s", volume->name,
			 strerror(-r));
		volume_failed(a, index, reason);
	}
}

int volume_grow_start(struct agent *a, uint32_t index)
{
	const struct state_volume *volume = &a->state.volumes[index];
	struct volume_job job;
	int r = volume->n_segments < volume->grow_to ? boot_key_open(a) : 0;

	if (r < 0)
		return r;
	job = job_make(a, index);
	job.n_mapped = volume->n_segments;
	r = worker_fork(a, index, &job, WORK_GROW);
	boot_key_close(a);
	return r;
}

int volume_swap_start(struct agent *a, uint32_t index, uint64_t bytes)
{
	struct volume_job job = job_make(a, index);

	job.bytes = bytes;
	return worker_fork(a, index, &job, WORK_SWAP);
}

void volume_gone(struct agent *a, uint32_t index)
{
	struct agent_work *work = &a->carry.works[index];
	const struct state_volume *volume = &a->state.volumes[index];
	struct volume_job job = {
		.config = &a->carry.configs[index],
		/* A growth may have been under way. */
		.n_segments =
			volume->grow_to > volume->n_segments ? volume->grow_to : volume->n_segments,
		.boot_key_fd = -1,
	};
	int r;

	work->gone = work->kind != WORK_NONE;
	/* Without its root the system ends; nothing is to be cleaned up under it. */
	if (work->gone || volume->use == VOLUME_OVERLAY)
		return;
	if (volume->state == VOLUME_FAILED && a->carry.configs[index].hot_plug)
		plan_wait(a, index);
	if (volume->state != VOLUME_READY)
		return;
	r = worker_fork(a, index, &job, WORK_UNPLUG);
	if (r < 0)
		unplug_ended(a, index, r);
}

static void growth_undo(struct agent *a, uint32_t index)
{
	const struct state_volume *volume = &a->state.volumes[index];
	struct volume_job job = {
		.config = &a->carry.configs[index],
		.n_mapped = volume->n_segments,
		.n_segments = volume->grow_to,
		.boot_key_fd = -1,
	};
	int r = worker_fork(a, index, &job, WORK_UNGROW);

	if (r < 0)
		ungrow_ended(a, index, r);
}

bool volume_grow_recover(struct agent *a, uint32_t index)
{
	const struct plan_volume *planned = &a->carry.plan.volumes[index];
	struct state_volume *volume = &a->state.volumes[index];
	uint32_t n = 0;

	if (volume_growth_look(volume->name, &n) < 0 || n < volume->grow_to) {
		growth_undo(a, index);
		return false;
	}
	volume->n_segments = volume->grow_to;
	if (plan_refresh(a, index) == 0) {
		volume->bytes = planned->bytes;
		disks_print(a, planned, volume->disk, sizeof(volume->disk));
	}
	return keeper_save(a) == 0;
}

void volumes_abort(struct agent *a)
{
	for (uint32_t i = 0; i < a->state.n_volumes; i++)
		if (a->carry.works[i].child)
			sd_event_source_send_child_signal(a->carry.works[i].child, SIGKILL, NULL,
							  0);
}
