/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes added, grown and re-sized at run time. One change of a volume at a time; whoever asked is
 * told when it is over.
 *
 * Growth, and why an agent may be killed between any two lines:
 *
 *	1 page: READY, .grow_to, next instance
 *	2 KEEPER_MAP_ADD for each new segment
 *	3 the worker makes the new segments, by keys of the new instance
 *	4 it changes the volume's map, in one step
 *	5 it grows the file system
 *	6 page: the new number of segments; then .grow_to 0
 *
 * Between 1 and 6 the next agent looks at the volume's map. Where that has the new segments, the page
 * takes them and 5 is done again, which does no harm; else they carry nothing, and are undone. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "disks/config.h"
#include "disks/volume.h"

#define TEXT_SIZE 256

static int refuse(char text[static TEXT_SIZE], int r, const char *volume, const char *why)
{
	snprintf(text, TEXT_SIZE, "volume %s: %s", volume, why);
	return r;
}

static int find(const struct agent *a, const char *name)
{
	for (uint32_t i = 0; i < a->state.n_volumes; i++)
		if (strcmp(a->state.volumes[i].name, name) == 0)
			return (int)i;
	return -ENOENT;
}

/* A volume that is ready and of which nothing is under way. Its index, or negative errno. */
static int find_ready(const struct agent *a, const char *name, char text[static TEXT_SIZE])
{
	int index = find(a, name);

	if (index < 0)
		return refuse(text, index, name, "there is none of this name");
	if (a->state.volumes[index].state != VOLUME_READY)
		return refuse(text, -ENODEV, name, "it is not ready");
	if (a->carry.works[index].kind != WORK_NONE)
		return refuse(text, -EBUSY, name, "a change of it is under way");
	if (a->carry.configs[index].segment_bytes == 0)
		return refuse(text, -ENOENT, name, "its file is gone from volumes.d");
	return index;
}

static int boot_key_check(const struct agent *a, const char *name, char text[static TEXT_SIZE])
{
	if (a->config.keep_boot_key && !a->state.boot_key_erased)
		return 0;
	return refuse(text, -ENOKEY, name, "the boot key was erased (KeepBootKey=no)");
}

/* A new volume, or one that failed: its file is read again. */
static int add(struct agent *a, const struct control_change *request, char text[static TEXT_SIZE])
{
	const char *name = request->volume;
	int index = find(a, name), r = boot_key_check(a, name, text);
	struct agent_config unused;
	char error[TEXT_SIZE];

	if (r < 0)
		return r;
	if (index >= 0 && (a->state.volumes[index].state != VOLUME_FAILED ||
			   a->carry.works[index].kind != WORK_NONE))
		return refuse(text, -EEXIST, name, "it is there, or is being made");
	r = configs_load("", &unused, a->volumes, VOLUMES_MAX, &a->n_volumes, error);
	if (r < 0) {
		a->n_volumes = 0;
		snprintf(text, TEXT_SIZE, "%.250s", error);
		return r;
	}
	r = plan_add(a, name);
	if (r == -ENOENT)
		return refuse(text, r, name, "there is no such file in volumes.d");
	if (r == -EINVAL)
		return refuse(text, r, name, "Use=overlay is made in the initramfs alone");
	if (r == -E2BIG)
		return refuse(text, r, name, "there are as many volumes as there may be");
	return r < 0 ? refuse(text, r, name, strerror(-r)) : r;
}

/* The segments that volume INDEX is to have, in the plan; the page has the others. */
static int grow_plan(struct agent *a, uint32_t index, char text[static TEXT_SIZE])
{
	struct plan_volume *planned = &a->carry.plan.volumes[index];
	int r = plan_refresh(a, index);

	if (r < 0)
		return refuse(text, r, a->state.volumes[index].name, strerror(-r));
	plan_grow(&a->carry.plan, index, a->carry.disks);
	if (planned->refusal == PLAN_OK)
		return 0;
	memcpy(text, planned->reason, TEXT_SIZE);
	planned->refusal = PLAN_OK;
	return -ENOSPC;
}

static int grow_announce(struct agent *a, uint32_t index)
{
	const struct plan_volume *planned = &a->carry.plan.volumes[index];
	const struct state_volume *volume = &a->state.volumes[index];
	int r = 0;

	for (uint32_t i = volume->n_segments; i < planned->n_segments && r == 0; i++)
		r = volume_announce(
			a, volume->name, i,
			a->carry.plan.segments[planned->first_segment + i].length_sectors);
	return r;
}

int volume_grow_start(struct agent *a, uint32_t index)
{
	const struct state_volume *volume = &a->state.volumes[index];
	struct volume_job job;
	int r = volume->n_segments < volume->grow_to ? volume_boot_key_open(a) : 0;

	if (r < 0)
		return r;
	job = volume_job_make(a, index);
	job.n_mapped = volume->n_segments;
	r = worker_fork(a, index, &job, WORK_GROW);
	volume_boot_key_close(a);
	return r;
}

static void ungrow_ended(struct agent *a, uint32_t index, int r)
{
	struct state_volume *volume = &a->state.volumes[index];

	if (r < 0) {
		log_errno(r, "volume %s: what is left of its growth cannot be undone",
			  volume->name);
		return;
	}
	volume_forget(a, index, volume->n_segments, volume->grow_to);
	volume->grow_to = 0;
	(void)keeper_save(a);
}

static void growth_undo(struct agent *a, uint32_t index)
{
	const struct state_volume *volume = &a->state.volumes[index];
	struct volume_job job = {
		.config = &a->carry.configs[index],
		.n_mapped = volume->n_segments,
		.n_segments = volume->grow_to,
		.boot_key_fd = -1,
		.gate_fd = -1,
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
		volume_disks_print(a, planned, volume->disk, sizeof(volume->disk));
	}
	return keeper_save(a) == 0;
}

static int grow(struct agent *a, const struct control_change *request, char text[static TEXT_SIZE])
{
	int index = find_ready(a, request->volume, text);
	struct state_volume *volume = &a->state.volumes[index < 0 ? 0 : index];
	int r = index < 0 ? index : boot_key_check(a, request->volume, text);

	if (r < 0)
		return r;
	if (volume->grow_to > 0)
		return refuse(text, -EBUSY, volume->name,
			      "what is left of a growth before cannot be undone");
	r = grow_plan(a, (uint32_t)index, text);
	if (r < 0)
		return r;
	volume->grow_to = a->carry.plan.volumes[index].n_segments;
	volume->instance++;
	r = keeper_save(a);
	r = r < 0 ? r : grow_announce(a, (uint32_t)index);
	r = r < 0 ? r : volume_grow_start(a, (uint32_t)index);
	if (r < 0) {
		(void)volume_grow_recover(a, (uint32_t)index);
		return refuse(text, r, volume->name, strerror(-r));
	}
	log_info("volume %s: grows to %u segments", volume->name, volume->grow_to);
	return index;
}

void change_grown(struct agent *a, uint32_t index, int r, const char *text)
{
	struct state_volume *volume = &a->state.volumes[index];

	if (volume->grow_to > 0 && volume_grow_recover(a, index)) {
		volume->grow_to = 0;
		(void)keeper_save(a);
		log_info("volume %s: has grown, %u segments", volume->name, volume->n_segments);
	}
	if (r < 0)
		log_error("%s", text);
	control_changed(a, index, r, text);
}

/* One that was killed may have come to the file system, or not. */
static void grow_ended(struct agent *a, uint32_t index, const struct work_result *result)
{
	struct state_volume *volume = &a->state.volumes[index];
	char reason[128];

	if (result->reported) {
		change_grown(a, index, result->said.r, result->said.reason);
		return;
	}
	if (volume->n_segments < volume->grow_to && volume_grow_recover(a, index) &&
	    volume_grow_start(a, index) == 0)
		return;
	snprintf(reason, sizeof(reason), "volume %s: its worker was killed", volume->name);
	change_grown(a, index, -EINTR, reason);
}

static int swap_resize(struct agent *a, const struct control_change *request,
		       char text[static TEXT_SIZE])
{
	int index = find_ready(a, request->volume, text), r;
	const struct state_volume *volume = &a->state.volumes[index < 0 ? 0 : index];
	uint64_t bytes = request->bytes ? request->bytes : volume->bytes;

	if (index < 0)
		return index;
	if (volume->use != VOLUME_SWAP)
		return refuse(text, -EINVAL, volume->name, "it is not Use=swap");
	if (bytes > volume->bytes)
		return refuse(text, -ENOSPC, volume->name,
			      "it is smaller than that; grow it first");
	if (bytes < 1 << 20)
		return refuse(text, -EINVAL, volume->name, "a swap area needs 1 MiB");
	r = volume_swap_start(a, (uint32_t)index, bytes);
	return r < 0 ? refuse(text, r, volume->name, strerror(-r)) : index;
}

bool change_worked(struct agent *a, uint32_t index, enum work_kind kind,
		   const struct work_result *result)
{
	int r = result->reported ? result->said.r : -EINTR;

	if (kind == WORK_GROW)
		grow_ended(a, index, result);
	else if (kind == WORK_UNGROW)
		ungrow_ended(a, index, r);
	else if (kind == WORK_SWAP)
		control_changed(a, index, r,
				result->reported ? result->said.reason : "the worker was killed");
	else
		return false;
	return true;
}

int change_begin(struct agent *a, uint16_t type, const struct control_change *request,
		 char text[static TEXT_SIZE])
{
	static int (*const changes[CONTROL_FRAME__MAX])(
		struct agent * a, const struct control_change *request, char *text) = {
		[CONTROL_ADD] = add,
		[CONTROL_GROW] = grow,
		[CONTROL_SWAP_RESIZE] = swap_resize,
	};

	if (!a->carry.settled)
		return refuse(text, -EAGAIN, request->volume,
			      "the volumes of this boot are still being made");
	if (a->shred.begun || a->state.lease.state >= LEASE_SHREDDING)
		return refuse(text, -ESHUTDOWN, request->volume, "the keys of this boot are going");
	return changes[type](a, request, text);
}
