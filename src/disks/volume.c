/* SPDX-License-Identifier: Apache-2.0 */
/* Carrying out one volume of a plan, and undoing it. */
#include "disks/volume.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "disks/content.h"
#include "disks/maps.h"
#include "disks/ready.h"
#include "disks/segment.h"
#include "disks/take.h"
#include "disks/volume_parts.h"
#include "keys/secret.h"

void volume_dm_uuid(char to[static DM_NAME_MAX + 1], const char *volume)
{
	(void)snprintf(to, DM_NAME_MAX + 1, VOLUME_UUID_PREFIX "%s", volume);
}

int volume_node(const char *volume, char node[static MAP_NODE_SIZE])
{
	char name[DM_NAME_MAX + 1];

	volume_dm_name(name, volume);
	return map_node(name, node);
}

void volume_worker_begin(void)
{
	maps_release();
}

bool volume_job_shares(const struct volume_job *job)
{
	return job->n_mapped > 0 || plan_is_part(job->config);
}

int segments_map(const struct volume_job *job, char reason[static REASON_SIZE])
{
	_cleanup_secret_ struct secret boot_key = {.bytes = NULL};
	int r;

	r = secret_map(job->boot_key_fd, BOOT_KEY_SIZE, &boot_key);
	if (r < 0)
		return reason_errno(reason, r, "volume %s: the boot key", job->config->name);
	for (uint32_t i = job->n_mapped; i < job->n_segments; i++) {
		r = segment_map(job, boot_key.bytes, i, reason);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The segments from *AT on that are the next stretch: one, or a row of stripes. */
static int stretch_make(const struct volume_job *job, uint32_t *at, struct map_stretch *ret_stretch)
{
	uint32_t n = job->config->layout == LAYOUT_STRIPED ? job->n_disks : 1;

	*ret_stretch = (struct map_stretch){
		.n_devices = n, .stripe_sectors = job->config->stripe_bytes / SECTOR_SIZE};
	for (uint32_t i = 0; i < n; i++, (*at)++) {
		char name[DM_NAME_MAX + 1];
		struct map_info info;
		int r;

		segment_dm_name(name, job->config->name, *at);
		r = map_info(name, &info);
		if (r < 0)
			return r;
		ret_stretch->devices[i].major = info.major;
		ret_stretch->devices[i].minor = info.minor;
		ret_stretch->length_sectors += job->segments[*at].length_sectors;
	}
	return 0;
}

int stretches_make(const struct volume_job *job, struct map_stretch stretches[static SEGMENTS_MAX],
		   size_t *ret_n)
{
	uint32_t at = 0;
	size_t n = 0;
	int r = 0;

	while (r == 0 && at < job->n_segments)
		r = stretch_make(job, &at, &stretches[n++]);
	if (r == 0)
		*ret_n = n;
	return r;
}

static uint64_t segments_bytes(const struct volume_job *job)
{
	uint64_t sectors = 0;

	for (uint32_t i = 0; i < job->n_segments; i++)
		sectors += job->segments[i].length_sectors;
	return sectors * SECTOR_SIZE;
}

/* The volume's own map, over its segments. */
static int upper_map(const struct volume_job *job, char reason[static REASON_SIZE])
{
	char name[DM_NAME_MAX + 1], uuid[DM_NAME_MAX + 1];
	struct map_stretch stretches[SEGMENTS_MAX];
	size_t n;
	int r;

	volume_dm_name(name, job->config->name);
	volume_dm_uuid(uuid, job->config->name);
	r = stretches_make(job, stretches, &n);
	r = r < 0 ? r : map_create(name, uuid, stretches, n);
	if (r < 0)
		return reason_errno(reason, r, "volume %s: the map %s", job->config->name, name);
	return 0;
}

/* The time since *SINCE_NS, which becomes now. */
static uint32_t lap_ms(uint64_t *since_ns)
{
	uint64_t now = clock_boottime_ns(), passed = now - *since_ns;

	*since_ns = now;
	return (uint32_t)(passed / NSEC_PER_MSEC);
}

static int carry_out(const struct volume_job *job, const struct owner *owner, struct taken *taken,
		     char reason[static REASON_SIZE], uint32_t ms[static VOLUME_STEP__MAX])
{
	uint64_t since = clock_boottime_ns();
	int r;

	r = segments_map(job, reason);
	if (r < 0)
		return r;
	ms[VOLUME_STEP_SEGMENTS] = lap_ms(&since);
	/* The others' turn. */
	if (volume_job_shares(job))
		taken_release(taken);
	r = upper_map(job, reason);
	if (r < 0)
		return r;
	r = content_make(job->config, segments_bytes(job), owner, reason);
	if (r < 0)
		return r;
	ms[VOLUME_STEP_CONTENT] = lap_ms(&since);
	r = ready_set(job->config, owner, reason);
	ms[VOLUME_STEP_UDEV] = lap_ms(&since);
	return r;
}

/* Nothing of ours may exist yet: what an error below undoes is then what was made here. */
int nothing_mapped(const struct volume_job *job, char reason[static REASON_SIZE])
{
	char name[DM_NAME_MAX + 1];
	struct map_info info;

	volume_dm_name(name, job->config->name);
	if (job->n_mapped == 0 && map_info(name, &info) != -ENXIO)
		return reason_set(reason, -EEXIST, "volume %s: the map %s exists already",
				  job->config->name, name);
	for (uint32_t i = job->n_mapped; i < job->n_segments; i++) {
		segment_dm_name(name, job->config->name, i);
		if (map_info(name, &info) != -ENXIO)
			return reason_set(reason, -EEXIST, "volume %s: the map %s exists already",
					  job->config->name, name);
	}
	return 0;
}

int volume_map(const struct volume_job *job, char reason[static 256], bool *ret_left,
	       uint32_t ret_ms[static VOLUME_STEP__MAX])
{
	uint64_t since = clock_boottime_ns();
	uint32_t ms[VOLUME_STEP__MAX] = {0};
	const struct volume_config *config = job->config;
	_cleanup_taken_ struct taken taken = TAKEN_NONE;
	struct owner owner;
	int r, undone;

	*ret_left = false;
	if (job->n_segments == 0 || job->n_segments > SEGMENTS_MAX || job->n_disks == 0 ||
	    job->n_disks > VOLUME_DISKS_MAX)
		return reason_set(reason, -EINVAL, "volume %s: %u segments", config->name,
				  job->n_segments);
	r = owner_resolve(config, &owner, reason);
	if (r < 0)
		return r;
	r = nothing_mapped(job, reason);
	if (r < 0) {
		*ret_left = true;
		return r;
	}
	r = disks_take(job, &taken, reason);
	if (r < 0)
		return r;

	ms[VOLUME_STEP_DISK] = lap_ms(&since);
	r = carry_out(job, &owner, &taken, reason, ms);
	if (r < 0) {
		undone = volume_unmap(config->name, job->n_segments);
		if (undone < 0) {
			size_t n = strlen(reason);

			*ret_left = true;
			(void)snprintf(reason + n, REASON_SIZE - n, "; undoing it failed: %s",
				       strerror(-undone));
		}
		return r;
	}
	memcpy(ret_ms, ms, sizeof(ms));
	return 0;
}

int volume_unmap(const char *name, unsigned n_segments)
{
	char dm_name[DM_NAME_MAX + 1], uuid[DM_NAME_MAX + 1];
	int first, r;

	volume_dm_name(dm_name, name);
	volume_dm_uuid(uuid, name);
	r = map_remove(dm_name, uuid);
	if (r == -EBUSY)
		return ready_is_set(name) ? -EBUSY : -EAGAIN;
	/* Without the map above gone, each of those below would only wait to be told the same. */
	if (r < 0)
		return r;
	first = ready_clear(name);
	for (unsigned i = n_segments; i-- > 0;) {
		r = segment_unmap(name, i);
		if (first == 0)
			first = r;
	}
	return first;
}
