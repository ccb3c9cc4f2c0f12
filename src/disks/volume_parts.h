/* SPDX-License-Identifier: Apache-2.0 */
/* Steps of making a volume that growing it shares; for disks/volume.c and disks/grow.c. */
#pragma once

#include "disks/maps.h"
#include "disks/reason.h"
#include "disks/volume.h"

void volume_dm_uuid(char to[static DM_NAME_MAX + 1], const char *volume);

/* map_node() of the volume's map. */
int volume_node(const char *volume, char node[static MAP_NODE_SIZE]);

/* None of the maps that the job is to make may exist: what an error undoes is then what was made. */
int nothing_mapped(const struct volume_job *job, char reason[static REASON_SIZE]);

/* Makes the segments behind .n_mapped. */
int segments_map(const struct volume_job *job, char reason[static REASON_SIZE]);

/* What the volume's map consists of: all its segments, in rows where it is striped. */
int stretches_make(const struct volume_job *job, struct map_stretch stretches[static SEGMENTS_MAX],
		   size_t *ret_n);
