/* SPDX-License-Identifier: Apache-2.0 */
/* Carries out the plan: starts what may be mapped now, waits for disks that are missing, and says
 * when every volume is settled.
 *
 * A volume that waits is planned again at each block device that udev has finished with, together
 * with the others that wait. Nothing is decided while udev has not finished with some block device,
 * which could match as well, until the volume's time runs out. What was decided before stays
 * decided. Afterwards the same goes on for volumes that are hot-plugged or added, and for those whose
 * disk is gone. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "agent.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "disks/find.h"
#include "disks/segment.h"

static bool disk_is_planned(const struct plan *plan, uint32_t disk)
{
	for (uint32_t i = 0; i < plan->n_volumes; i++)
		for (uint32_t k = 0; k < plan->volumes[i].n_disks; k++)
			if (plan->volumes[i].disks[k] == disk)
				return true;
	return false;
}

/* The place of DISK among the plan's: that which it has, or a free one. -E2BIG. */
static int disk_place(struct agent *a, const struct disk_facts *disk)
{
	struct agent_carry *c = &a->carry;
	int place = -E2BIG;

	for (uint32_t i = 0; i < DISKS_MAX; i++) {
		if (!disk_is_planned(&c->plan, i)) {
			place = place < 0 ? (int)i : place;
			continue;
		}
		if (c->disks[i].major == disk->major && c->disks[i].minor == disk->minor) {
			place = (int)i;
			break;
		}
	}
	if (place >= 0)
		c->disks[place] = *disk;
	return place;
}

/* Takes DECIDED, with its SEGMENTS on DISKS, as volume INDEX of the plan. -E2BIG: too many segments,
 * or disks. */
static int decision_take(struct agent *a, uint32_t index, const struct plan_volume *decided,
			 const struct plan_segment *segments, const struct disk_facts *disks)
{
	struct agent_carry *c = &a->carry;
	struct plan_volume *to = &c->plan.volumes[index];
	uint32_t places[DISKS_MAX];

	plan_drop(&c->plan, index);
	if (decided->n_segments > SEGMENTS_MAX - c->plan.n_segments)
		return -E2BIG;
	*to = *decided;
	to->config = &c->configs[index];
	to->n_disks = 0;
	for (uint32_t k = 0; k < decided->n_disks; k++) {
		int place = disk_place(a, &disks[decided->disks[k]]);

		if (place < 0) {
			to->n_disks = to->n_segments = 0;
			return place;
		}
		places[decided->disks[k]] = to->disks[k] = (uint32_t)place;
		to->n_disks++;
	}
	to->first_segment = c->plan.n_segments;
	for (uint32_t i = 0; i < decided->n_segments; i++) {
		struct plan_segment *segment = &c->plan.segments[c->plan.n_segments++];

		*segment = segments[i];
		segment->disk = places[segments[i].disk];
	}
	return 0;
}

void plan_decide(struct agent *a, uint32_t index, const struct plan_volume *decided,
		 bool unfinished)
{
	struct agent_work *work = &a->carry.works[index];
	char reason[256];

	if ((unfinished || decided->refusal == PLAN_MISSING) &&
	    clock_boottime_ns() < work->wait_until_ns)
		return;
	if (decision_take(a, index, decided, &a->carry.round.segments[decided->first_segment],
			  a->carry.round_disks) < 0) {
		snprintf(reason, sizeof(reason),
			 "volume %s: more than %d segments (see SegmentSize=) or %d disks in all",
			 decided->config->name, SEGMENTS_MAX, DISKS_MAX);
		a->carry.plan.volumes[index].refusal = PLAN_TOO_MANY;
		snprintf(a->carry.plan.volumes[index].reason, sizeof(reason), "%s", reason);
		volume_failed(a, index, reason);
	} else if (decided->refusal == PLAN_MISSING) {
		snprintf(reason, sizeof(reason), "%.200s after %ju s (DeviceTimeoutSec=)",
			 decided->reason, (uintmax_t)decided->config->device_timeout_ms / 1000);
		volume_failed(a, index, reason);
	} else if (decided->refusal != PLAN_OK) {
		volume_failed(a, index, decided->reason);
	} else if (!bind_may_map(a, index)) {
		bind_wait(a, index);
	} else {
		volume_start(a, index);
	}
}

bool plan_has_disk(const struct agent *a, uint32_t index, const struct disk_facts *disk)
{
	const struct agent_carry *c = &a->carry;
	const struct plan_volume *volume = &c->plan.volumes[index];

	for (uint32_t k = 0; k < volume->n_disks; k++)
		if (c->disks[volume->disks[k]].major == disk->major &&
		    c->disks[volume->disks[k]].minor == disk->minor)
			return true;
	return false;
}

/* The segments of volume INDEX as the kernel has them, with their disks as they are now; those are in
 * use, and not waited for: leases are to be renewed meanwhile. */
int plan_refresh(struct agent *a, uint32_t index)
{
	unsigned majors[VOLUME_DISKS_MAX], minors[VOLUME_DISKS_MAX];
	const struct state_volume *volume = &a->state.volumes[index];
	struct plan_volume found = {.refusal = PLAN_OK};
	struct plan_segment segments[SEGMENTS_MAX];
	int r;

	if (volume->n_segments > SEGMENTS_MAX)
		return -E2BIG;
	r = segments_look(volume->name, volume->n_segments, segments, majors, minors,
			  &found.n_disks);
	for (uint32_t k = 0; r >= 0 && k < found.n_disks; k++) {
		r = disk_describe(majors[k], minors[k], &a->carry.round_disks[k]);
		found.disks[k] = k;
	}
	if (r < 0)
		return r;
	found.n_segments = volume->n_segments;
	for (uint32_t i = 0; i < found.n_segments; i++)
		found.bytes += segments[i].length_sectors * SECTOR_SIZE;
	return decision_take(a, index, &found, segments, a->carry.round_disks);
}

/* A volume that an agent before made: its place in the plan is what it has, so that the plan's hash is
 * that of the boot and not of this process. -ENODEV, -ENXIO: a disk of it is gone, or has been, and an
 * agent before was cleaning up. */
static int ready_replan(struct agent *a, uint32_t index)
{
	struct plan_volume *planned = &a->carry.plan.volumes[index];
	char disk[sizeof(a->state.volumes[index].disk)];
	int r = plan_refresh(a, index);

	if (r >= 0)
		return 0;
	planned->refusal = PLAN_MISSING;
	memcpy(disk, a->state.volumes[index].disk, sizeof(disk));
	snprintf(planned->reason, sizeof(planned->reason), "made before, on %s", disk);
	return r;
}

/* Volume INDEX, which an agent before made: what there is of it. */
static void ready_read(struct agent *a, uint32_t index)
{
	const struct state_volume *volume = &a->state.volumes[index];
	int r = ready_replan(a, index);

	if (r == -ENODEV || r == -ENXIO)
		volume_gone(a, index);
	/* Its last step again, where it came to that. */
	else if (volume->grow_to > 0 && volume_grow_recover(a, index))
		(void)volume_grow_start(a, index);
}

void plan_unread(struct agent *a)
{
	for (uint32_t i = 0; i < a->state.n_volumes; i++) {
		struct agent_work *work = &a->carry.works[i];

		if (work->unread && a->state.volumes[i].state == VOLUME_READY)
			ready_read(a, i);
		work->unread = false;
	}
}

static bool is_removed(sd_device *device, dev_t *ret_number)
{
	sd_device_action_t action;

	return sd_device_get_action(device, &action) >= 0 && action == SD_DEVICE_REMOVE &&
	       sd_device_get_devnum(device, ret_number) >= 0;
}

/* Whether volume INDEX is hot-plugged and none of the disks there were was good: one less may do. */
static bool was_refused(const struct agent *a, uint32_t index)
{
	return a->carry.configs[index].hot_plug && a->carry.plan.volumes[index].n_disks == 0 &&
	       a->state.volumes[index].state == VOLUME_FAILED;
}

/* A disk is gone; or the map of a volume that was unplugged, which kept a new one from being made. */
static void device_gone(struct agent *a, sd_device *device, dev_t number)
{
	const struct disk_facts disk = {.major = major(number), .minor = minor(number)};
	const char *map = NULL;
	char name[DM_NAME_MAX + 1];

	(void)sd_device_get_property_value(device, "DM_NAME", &map);
	for (uint32_t i = 0; i < a->state.n_volumes; i++) {
		volume_dm_name(name, a->state.volumes[i].name);
		if (map ? strcmp(map, name) == 0 && a->state.volumes[i].state == VOLUME_FAILED
			: plan_has_disk(a, i, &disk) || was_refused(a, i))
			volume_gone(a, i);
	}
}

static int on_block_device(sd_device_monitor *monitor, sd_device *device, void *userdata)
{
	struct agent *a = userdata;
	dev_t number;

	if (is_removed(device, &number) && !a->shred.begun) {
		a->carry.look_stale = true;
		device_gone(a, device, number);
	}
	/* One that is removed, too: it may be what udev had not finished with. */
	sd_event_source_set_enabled(a->carry.begin_look, SD_EVENT_ONESHOT);
	return 0;
}

static int on_waited(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct agent *a = userdata;

	sd_event_source_set_enabled(a->carry.begin_look, SD_EVENT_ONESHOT);
	return 0;
}

static int monitor_start(struct agent *a)
{
	struct agent_carry *c = &a->carry;
	int r;

	r = sd_event_add_defer(a->event, &c->begin_look, look_begin, a);
	r = r < 0 ? r : sd_device_monitor_new(&c->monitor);
	r = r < 0 ? r
		  : sd_device_monitor_filter_add_match_subsystem_devtype(c->monitor, "block", NULL);
	r = r < 0 ? r : sd_device_monitor_attach_event(c->monitor, a->event);
	return r < 0 ? r : sd_device_monitor_start(c->monitor, on_block_device, a);
}

/* For the report: the plan as it was carried out, and its hash. */
static void plan_tell(struct agent *a)
{
	struct agent_carry *c = &a->carry;
	int n = plan_print(&c->plan, c->disks, c->text, sizeof(c->text));
	char hex[2 * HASH_SIZE + 1], *line, *rest = c->text;

	if (n < 0 || sha256(c->text, (size_t)n, c->hash) < 0) {
		agent_fail(a, "the plan cannot be printed: %s", strerror(n < 0 ? -n : EIO));
	} else {
		hex_encode(c->hash, sizeof(c->hash), hex);
		log_info("plan %s", hex);
		while ((line = strsep(&rest, "\n")))
			if (*line)
				log_info("plan: %s", line);
	}
}

static void settle(struct agent *a)
{
	struct agent_carry *c = &a->carry;

	if (!a->state.reported)
		plan_tell(a);
	c->settled = true;
	if (a->initramfs_root)
		initramfs_done(a);
	else
		report_make(a);
}

void plan_continue(struct agent *a)
{
	struct agent_carry *c = &a->carry;
	uint64_t next = LEASE_NEVER;
	bool waits = false, run = workers_run(a) || (look_runs(a) && !look_is_stuck(a));

	for (uint32_t i = 0; i < a->state.n_volumes; i++) {
		const struct agent_work *work = &c->works[i];

		waits |= work->kind == WORK_WAIT && work->wait_until_ns != LEASE_NEVER;
		if (work->kind == WORK_WAIT && work->wait_until_ns < next)
			next = work->wait_until_ns;
	}
	agent_timer(a, &c->timer, next, on_waited);
	if (c->look_due && !run && !look_runs(a))
		sd_event_source_set_enabled(c->begin_look, SD_EVENT_ONESHOT);
	if (!waits && !run && !c->settled)
		settle(a);
	if (c->settled)
		bind_settle(a);
}

void plan_wait(struct agent *a, uint32_t index)
{
	struct state_volume *volume = &a->state.volumes[index];

	plan_drop(&a->carry.plan, index);
	a->carry.plan.volumes[index].refusal = PLAN_OK;
	volume->state = VOLUME_PLANNED;
	volume->reason[0] = '\0';
	a->carry.works[index].kind = WORK_WAIT;
	a->carry.works[index].wait_until_ns = LEASE_NEVER;
	(void)keeper_save(a);
	sd_event_source_set_enabled(a->carry.begin_look, SD_EVENT_ONESHOT);
}

/* What this agent has to do for volume INDEX of the page. */
static void work_begin(struct agent *a, uint32_t index)
{
	struct state_volume *volume = &a->state.volumes[index];
	struct plan_volume *planned = &a->carry.plan.volumes[index];

	if (volume->state == VOLUME_MAPPING)
		volume_recover(a, index);
	initramfs_check(a, index);
	switch ((enum volume_state)volume->state) {
	case VOLUME_MAPPING: /* is being undone */
		break;
	case VOLUME_PLANNED:
		a->carry.works[index].kind = WORK_WAIT;
		break;
	case VOLUME_READY:
		if (a->state.reported && volume->grow_to == 0)
			a->carry.works[index].unread = true;
		else
			ready_read(a, index);
		break;
	default:
		if (a->carry.configs[index].hot_plug) {
			plan_wait(a, index);
			break;
		}
		planned->refusal = PLAN_MISSING;
		memcpy(planned->reason, volume->reason, sizeof(planned->reason));
		if (volume->required)
			agent_fail(a, "%s (Required=yes)", volume->reason);
	}
}

/* The volume's file; what the page says of it where that file is gone, and no segment size. */
static void volume_configure(struct agent *a, uint32_t index)
{
	const struct state_volume *volume = &a->state.volumes[index];
	struct volume_config *config = &a->carry.configs[index];

	memcpy(config->name, volume->name, sizeof(config->name));
	config->use = volume->use;
	config->required = volume->required;
	for (size_t i = 0; i < a->n_volumes; i++)
		if (strcmp(a->volumes[i].name, volume->name) == 0)
			*config = a->volumes[i];
}

static void volume_init(struct agent *a, uint32_t index, uint64_t now_ns)
{
	struct agent_work *work = &a->carry.works[index];
	const struct volume_config *config = &a->carry.configs[index];

	volume_configure(a, index);
	*work = (struct agent_work){
		.agent = a,
		.index = index,
		.result_fd = -1,
		.wait_until_ns = config->hot_plug
					 ? LEASE_NEVER
					 : now_ns + config->device_timeout_ms * NSEC_PER_MSEC,
	};
	a->carry.plan.volumes[index].config = config;
}

static bool page_has(const struct agent *a, const char *name)
{
	for (uint32_t i = 0; i < a->state.n_volumes; i++)
		if (strcmp(a->state.volumes[i].name, name) == 0)
			return true;
	return false;
}

/* The volumes of the configuration that the page has not: all, or, where the initramfs' agent began
 * it, those that the root did not need. Once in the real root. */
static int page_complete(struct agent *a)
{
	bool whole = true;

	for (size_t i = 0; i < a->n_volumes; i++) {
		struct state_volume *volume = &a->state.volumes[a->state.n_volumes];

		if (page_has(a, a->volumes[i].name))
			continue;
		if (a->state.n_volumes == VOLUMES_MAX) {
			agent_fail(a,
				   "configuration: more than %d volumes, the initramfs' included",
				   VOLUMES_MAX);
			whole = false;
			break;
		}
		memcpy(volume->name, a->volumes[i].name, sizeof(volume->name));
		volume->state = VOLUME_PLANNED;
		volume->use = a->volumes[i].use;
		volume->required = a->volumes[i].required;
		a->state.n_volumes++;
	}
	a->state.complete = whole && !a->initramfs_root;
	return keeper_save(a);
}

int plan_add(struct agent *a, const char *name)
{
	const struct volume_config *config = NULL;
	struct state_volume *volume;
	uint32_t index = 0;

	for (size_t i = 0; i < a->n_volumes; i++)
		if (strcmp(a->volumes[i].name, name) == 0)
			config = &a->volumes[i];
	if (!config)
		return -ENOENT;
	if (config->use == VOLUME_OVERLAY)
		return -EINVAL;
	while (index < a->state.n_volumes && strcmp(a->state.volumes[index].name, name) != 0)
		index++;
	if (index == VOLUMES_MAX)
		return -E2BIG;
	volume = &a->state.volumes[index];
	memcpy(volume->name, config->name, sizeof(volume->name));
	volume->state = VOLUME_PLANNED;
	volume->use = config->use;
	volume->required = config->required;
	volume->reason[0] = '\0';
	if (index == a->state.n_volumes)
		a->carry.plan.n_volumes = ++a->state.n_volumes;
	plan_drop(&a->carry.plan, index);
	a->carry.plan.volumes[index].refusal = PLAN_OK;
	volume_init(a, index, clock_boottime_ns());
	a->carry.works[index].kind = WORK_WAIT;
	sd_event_source_set_enabled(a->carry.begin_look, SD_EVENT_ONESHOT);
	return keeper_save(a) < 0 ? -EIO : (int)index;
}

int plan_start(struct agent *a)
{
	struct agent_carry *c = &a->carry;
	uint64_t now = clock_boottime_ns();
	int r = a->state.complete ? 0 : page_complete(a);

	r = r < 0 ? r : monitor_start(a);
	if (r < 0)
		return log_errno(r, "plan");
	r = keeper_boot_key(a, &c->boot_key_fd);
	if (r < 0 && r != -ENOKEY)
		return log_errno(r, "keeper: boot key");
	r = volume_gate_new(&c->gate_fd);
	if (r < 0)
		return log_errno(r, "plan");
	c->plan.n_volumes = a->state.n_volumes;
	for (uint32_t i = 0; i < a->state.n_volumes; i++)
		volume_init(a, i, now);
	for (uint32_t i = 0; i < a->state.n_volumes; i++)
		work_begin(a, i);
	return 0;
}
