/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes mapped and undone, each by a worker (agent_worker.c).
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
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "disks/segment.h"
#include "disks/volume.h"

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
	bind_failed(a, index);
	keeper_save(a);
	control_changed(a, index, -EIO, volume->reason);
}

/* MS: of each step; NULL where it was another agent's worker that took the time. */
static void ready_log(const struct state_volume *volume, const uint32_t ms[VOLUME_STEP__MAX])
{
	char steps[128] = "";

	if (ms)
		snprintf(steps, sizeof(steps),
			 "; disk %u ms, segments %u ms, content %u ms, udev %u ms",
			 ms[VOLUME_STEP_DISK], ms[VOLUME_STEP_SEGMENTS], ms[VOLUME_STEP_CONTENT],
			 ms[VOLUME_STEP_UDEV]);
	log_info("volume %s: ready on %s, %u segments%s", volume->name, volume->disk,
		 volume->n_segments, steps);
}

static void volume_ready(struct agent *a, uint32_t index, const uint32_t ms[VOLUME_STEP__MAX])
{
	struct state_volume *volume = &a->state.volumes[index];

	volume->state = VOLUME_READY;
	volume->reason[0] = '\0';
	if (keeper_save(a) == 0)
		ready_log(volume, ms);
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
void volume_forget(struct agent *a, uint32_t index, uint32_t first, uint32_t n)
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
	volume_forget(a, index, 0, a->state.volumes[index].n_segments);
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
static void map_ended(struct agent *a, uint32_t index, const struct work_said *result)
{
	if (result->r == 0) {
		volume_ready(a, index, result->ms);
		return;
	}
	if (!result->left)
		maps_forget(a, index);
	volume_failed(a, index, result->reason);
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
	volume_forget(a, index, 0,
		      volume->grow_to > volume->n_segments ? volume->grow_to : volume->n_segments);
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

void volume_worked(struct agent *a, uint32_t index, enum work_kind kind,
		   const struct work_result *result)
{
	struct agent_work *work = &a->carry.works[index];

	if (kind == WORK_UNPLUG)
		unplug_ended(a, index, result->reported ? result->said.r : -EINTR);
	else if (change_worked(a, index, kind, result))
		;
	else if (kind == WORK_ABANDON)
		volume_undo(a, index, WORK_SWEEP);
	else if (result->reported && kind == WORK_MAP)
		map_ended(a, index, &result->said);
	else if (result->reported)
		undo_ended(a, index, kind, result->said.r);
	else if (kind == WORK_MAP) {
		log_error("volume %s: worker ended by signal or without a word (%d)",
			  a->state.volumes[index].name, result->status);
		volume_undo(a, index, WORK_CLEAN);
	} else {
		undo_ended(a, index, kind, -EIO);
	}
	if (work->gone && work->kind == WORK_NONE)
		volume_gone(a, index);
	plan_continue(a);
}

void volume_recover(struct agent *a, uint32_t index)
{
	if (volume_ready_again(a->state.volumes[index].name) == 0)
		volume_ready(a, index, NULL);
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
		.gate_fd = -1,
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
			volume_forget(a, index, 0, i);
			return r;
		}
	}
	return 0;
}

/* "/dev/vdb /dev/vdc"; what does not fit is left out. */
void volume_disks_print(const struct agent *a, const struct plan_volume *planned, char *text,
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
int volume_boot_key_open(struct agent *a)
{
	return a->carry.boot_key_fd >= 0 ? 0 : keeper_boot_key(a, &a->carry.boot_key_fd);
}

void volume_boot_key_close(struct agent *a)
{
	if (!a->carry.settled)
		return;
	cleanup_close(&a->carry.boot_key_fd);
	a->carry.boot_key_fd = -1;
}

struct volume_job volume_job_make(struct agent *a, uint32_t index)
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
		.gate_fd = a->carry.gate_fd,
		.instance = a->state.volumes[index].instance,
		.queue_requests = a->config.queue_requests,
		.queue_max_kib = a->config.queue_max_kib,
	};

	memcpy(job.boot_id, a->keeper.hello.boot_id, sizeof(job.boot_id));
	job.has_share = bind_share(a, &job.share);
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
	volume_disks_print(a, planned, volume->disk, sizeof(volume->disk));
}

void volume_start(struct agent *a, uint32_t index)
{
	struct state_volume *volume = &a->state.volumes[index];
	struct volume_job job;
	char reason[128];
	int r = volume_boot_key_open(a);

	if (r < 0) {
		snprintf(reason, sizeof(reason),
			 "volume %s: the boot key was erased (KeepBootKey=no)", volume->name);
		volume_failed(a, index, reason);
		return;
	}
	page_mapping(a, index);
	job = volume_job_make(a, index);
	if (keeper_save(a) < 0)
		return;
	r = maps_announce(a, index);
	if (r == 0) {
		r = worker_fork(a, index, &job, WORK_MAP);
		if (r < 0)
			maps_forget(a, index);
	}
	volume_boot_key_close(a);
	if (r < 0) {
		snprintf(reason, sizeof(reason), "volume %s: cannot be started: %s", volume->name,
			 strerror(-r));
		volume_failed(a, index, reason);
	}
}

int volume_swap_start(struct agent *a, uint32_t index, uint64_t bytes)
{
	struct volume_job job = volume_job_make(a, index);

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
		.gate_fd = -1,
	};
	int r;

	work->gone = work->kind != WORK_NONE;
	/* It is looked for again before it is mapped. */
	if (work->kind == WORK_BIND)
		work->gone = false;
	/* Without its root the system ends; nothing is to be cleaned up under it. */
	if (work->gone || work->kind == WORK_BIND || volume->use == VOLUME_OVERLAY)
		return;
	if (volume->state == VOLUME_FAILED && a->carry.configs[index].hot_plug)
		plan_wait(a, index);
	if (volume->state != VOLUME_READY)
		return;
	r = worker_fork(a, index, &job, WORK_UNPLUG);
	if (r < 0)
		unplug_ended(a, index, r);
}
