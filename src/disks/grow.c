/* SPDX-License-Identifier: Apache-2.0 */
/* Growing a volume that is ready. The one step that counts is the change of the volume's map: before
 * it the new segments carry nothing, and behind it the volume has them. */
#include <errno.h>
#include <string.h>

#include "disks/content.h"
#include "disks/maps.h"
#include "disks/segment.h"
#include "disks/take.h"
#include "disks/volume_parts.h"

static int upper_change(const struct volume_job *job, char reason[static REASON_SIZE])
{
	struct map_stretch stretches[SEGMENTS_MAX];
	char name[DM_NAME_MAX + 1];
	size_t n;
	int r;

	volume_dm_name(name, job->config->name);
	r = stretches_make(job, stretches, &n);
	r = r < 0 ? r : map_change(name, stretches, n);
	if (r < 0)
		return reason_errno(reason, r, "volume %s: the map %s", job->config->name, name);
	return 0;
}

static int segments_add(const struct volume_job *job, char reason[static REASON_SIZE])
{
	_cleanup_taken_ struct taken taken = TAKEN_NONE;
	int r;

	r = disks_take(job, &taken, reason);
	r = r < 0 ? r : segments_map(job, reason);
	return r < 0 ? r : upper_change(job, reason);
}

int volume_grow(const struct volume_job *job, char reason[static 256], bool *ret_left)
{
	int r;

	*ret_left = false;
	if (job->n_mapped == 0 || job->n_mapped > job->n_segments ||
	    job->n_segments > SEGMENTS_MAX || job->n_disks == 0)
		return reason_set(reason, -EINVAL, "volume %s: %u segments, %u of them mapped",
				  job->config->name, job->n_segments, job->n_mapped);
	if (job->n_mapped < job->n_segments) {
		r = nothing_mapped(job, reason);
		r = r < 0 ? r : segments_add(job, reason);
		if (r < 0) {
			*ret_left = true;
			return r;
		}
	}
	return content_grow(job->config, reason);
}

int volume_growth_look(const char *volume, uint32_t *ret_n)
{
	char name[DM_NAME_MAX + 1];

	volume_dm_name(name, volume);
	return map_devices(name, ret_n);
}

int volume_growth_undo(const char *volume, uint32_t first, uint32_t n)
{
	char name[DM_NAME_MAX + 1];
	int result, r;

	/* A table that was loaded and never made live holds them open. */
	volume_dm_name(name, volume);
	result = map_clear(name);
	for (uint32_t i = n; i-- > first;) {
		r = segment_unmap(volume, i);
		if (result == 0)
			result = r;
	}
	return result;
}
