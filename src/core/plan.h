/* SPDX-License-Identifier: Apache-2.0 */
/* Volume files and what is known of the disks → which disk each volume takes, and its segments.
 * Pure; a plan prints. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/config.h"
#include "core/limits.h"

#define DISKS_MAX	64
#define DISK_RANGES_MAX 32

/* A stretch of a disk. */
struct disk_range {
	uint64_t offset_sectors, length_sectors;
};

/* One whole disk or partition as disks/find.h saw it. Texts are "" where unknown. */
struct disk_facts {
	char path[64];	  /* /dev/vdb */
	char links[2048]; /* its other names, space-separated: /dev/disk/by-id/… */
	char serial[64], wwn[64], model[64];
	char label[64];	    /* of the file system or partition on it */
	char signature[32]; /* TYPE or PTTYPE, "" none; "ambiguous" where libblkid saw several */
	uint32_t major, minor;
	uint64_t bytes;
	bool read_only;
	bool mounted;	  /* it or a partition of it */
	bool in_use;	  /* swap, a holder (dm, md, LVM), or opened exclusively */
	char used_by[64]; /* "/var", "swap", "dm-3": for the message */
	bool partition;	  /* partitions are matched by Path= and Label= only */
	bool ours; /* in_use, by segments of ours alone, which are .ranges: another volume with
			     Offset= or Length= may have the rest */
	uint32_t n_ranges;
	struct disk_range ranges[DISK_RANGES_MAX]; /* in no order; neighbours may be one */
};

enum plan_refusal {
	PLAN_OK,
	PLAN_MISSING,	/* no disk matches, or fewer than Disks= */
	PLAN_AMBIGUOUS, /* more disks match than Disks= */
	PLAN_TAKEN,	/* two volumes match one disk, or overlap on it: both are refused */
	PLAN_MOUNTED,
	PLAN_IN_USE,
	PLAN_SIGNED, /* a signature Destroy= does not allow */
	PLAN_READ_ONLY,
	PLAN_TOO_SMALL, /* under 16 MiB, or shorter than Offset= and Length= ask for */
	PLAN_TOO_MANY,	/* more than SEGMENTS_MAX segments in all */
	PLAN_FIXED,	/* Length= is given: it does not grow */
	PLAN_NO_LARGER, /* no disk of it has grown by 16 MiB */
	PLAN_REFUSAL__MAX
};

struct plan_segment {
	uint32_t disk; /* index into disks */
	uint64_t offset_sectors,
		length_sectors; /* on the disk, 512-byte sectors; both multiples of 2048 */
};

struct plan_volume {
	const struct volume_config *config;
	enum plan_refusal refusal;
	char reason[256]; /* of a refusal: names volume, disk, signature and setting */
	uint32_t n_disks; /* 0 of a refused one */
	uint32_t disks[VOLUME_DISKS_MAX];   /* indices into disks, rising */
	uint32_t n_segments, first_segment; /* in plan.segments */
	uint64_t bytes;
};

struct plan {
	uint32_t n_volumes;
	struct plan_volume volumes[VOLUMES_MAX];
	uint32_t n_segments;
	struct plan_segment segments[SEGMENTS_MAX];
};

/* Plans CONFIGS against DISKS. A partition of a disk that another volume takes counts as the same
 * disk. 0; -E2BIG where there are more than VOLUMES_MAX or DISKS_MAX.
 * Refusals are in the plan, not in the result. PLAN is the caller's, and refers to CONFIGS
 * afterwards. Of each disk the part of Offset= and Length= is used, or the whole disk, rounded down
 * to 1 MiB; segments are of at most segment_bytes.
 *
 *	linear    the disks one after the other, each cut:       a0 a1 b0 b1
 *	striped   as much of each as the smallest has, in rows:  a0 b0 · a1 b1 */
int plan_make(struct plan *plan, const struct volume_config *configs, size_t n_configs,
	      const struct disk_facts *disks, size_t n_disks);

/* Plans the growth of volume INDEX, whose disks are larger now than when its segments were planned:
 * what follows its last segment on each disk becomes new segments of it, in rows where it is striped;
 * those that it has stay as they are. Segments that it has are the first n_segments of before. Only
 * .refusal and .reason of the volume change where that is refused. Offset= with a percentage is not
 * looked at again: a volume never moves. */
void plan_grow(struct plan *plan, uint32_t index, const struct disk_facts *disks);

/* Forgets the segments and disks of volume INDEX: those of the others move up. */
void plan_drop(struct plan *plan, uint32_t index);

/* Whether the volume asks for a part of its disks, so that it can share them. */
bool plan_is_part(const struct volume_config *config);

/* The first range of DISK that a volume of ours has and that overlaps RANGE; NULL: none. */
const struct disk_range *disk_range_taken(const struct disk_facts *disk,
					  const struct disk_range *range);

/* Prints the plan as people read it and as it is hashed: one line a volume and one a segment, no
 * time and no random part. Returns the length without the NUL, or -ENOBUFS. */
int plan_print(const struct plan *plan, const struct disk_facts *disks, char *text, size_t size);

const char *plan_refusal_name(enum plan_refusal refusal);

/* "emberlock-NAME" (the volume's map) and "emberlock-NAME-sN" (a segment's). TO has DM_NAME_MAX + 1
 * bytes. The dm UUID of a volume's map is "EMBERLOCK-VOLUME-NAME"; a segment's is
 * "CRYPT-PLAIN-emberlock-NAME-sN". A volume is always the upper map, also over one segment. */
void volume_dm_name(char to[static DM_NAME_MAX + 1], const char *volume);
void segment_dm_name(char to[static DM_NAME_MAX + 1], const char *volume, unsigned segment);
