/* SPDX-License-Identifier: Apache-2.0 */
/* Volume files and what is known of the disks → which disk each volume takes, and its segments. */
#include "core/plan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "core/plan_match.h"

#define MIB	  (1ull << 20)
#define BYTES_MIN (16 * MIB)

/* Refuses VOLUME with a reason that a console can show, whatever a disk calls itself. */
__attribute__((format(printf, 3, 4))) static void
refuse(struct plan_volume *volume, enum plan_refusal refusal, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(volume->reason, sizeof(volume->reason), format, arguments);
	va_end(arguments);
	for (char *c = volume->reason; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	volume->refusal = refusal;
	volume->disk = -1;
}

/* Finds the one disk that CONFIG describes; refuses VOLUME where there is none, or a second. */
static void choose_disk(struct plan_volume *volume, const struct disk_facts *disks, size_t n_disks)
{
	const struct volume_config *config = volume->config;
	char criteria[160];

	volume->disk = -1;
	for (size_t i = 0; i < n_disks; i++) {
		if (!disk_matches(config, &disks[i]))
			continue;
		if (volume->disk >= 0) {
			match_print(config, criteria, sizeof(criteria));
			refuse(volume, PLAN_AMBIGUOUS, "volume %s: %.63s and %.63s both match %s",
			       config->name, disks[volume->disk].path, disks[i].path, criteria);
			return;
		}
		volume->disk = (int)i;
	}
	if (volume->disk < 0) {
		match_print(config, criteria, sizeof(criteria));
		refuse(volume, PLAN_MISSING, "volume %s: no disk matches %s", config->name,
		       criteria);
	}
}

/* Refuses every volume whose disk, or a part of it, another one was to take. */
static void refuse_shared(struct plan *plan, const struct disk_facts *disks)
{
	int chosen[VOLUMES_MAX];

	for (uint32_t i = 0; i < plan->n_volumes; i++)
		chosen[i] = plan->volumes[i].disk;
	for (uint32_t i = 0; i < plan->n_volumes; i++)
		for (uint32_t j = 0; j < plan->n_volumes; j++) {
			struct plan_volume *volume = &plan->volumes[i];

			if (i == j || volume->disk < 0 || chosen[j] < 0 ||
			    !disks_overlap(&disks[chosen[i]], &disks[chosen[j]]))
				continue;
			refuse(volume, PLAN_TAKEN,
			       "volume %s: disk %.63s is also matched by volume %s; the settings "
			       "of [Disk] must tell them apart",
			       volume->config->name, disks[chosen[i]].path,
			       plan->volumes[j].config->name);
		}
}

static void refuse_signed(struct plan_volume *volume, const struct disk_facts *disk)
{
	const struct volume_config *config = volume->config;

	if (config->destroy[0] == '\0')
		refuse(volume, PLAN_SIGNED,
		       "volume %s: disk %.63s carries %.31s; without Destroy=%.31s it is not "
		       "overwritten",
		       config->name, disk->path, disk->signature, disk->signature);
	else
		refuse(volume, PLAN_SIGNED,
		       "volume %s: disk %.63s carries %.31s, which Destroy=%.80s does not allow to "
		       "be lost",
		       config->name, disk->path, disk->signature, config->destroy);
}

/* Refuses a disk that is not free, or not for us to overwrite. */
static void check_disk(struct plan_volume *volume, const struct disk_facts *disk)
{
	const char *name = volume->config->name;

	if (disk->read_only)
		refuse(volume, PLAN_READ_ONLY, "volume %s: disk %.63s is read-only", name,
		       disk->path);
	else if (disk->mounted)
		refuse(volume, PLAN_MOUNTED, "volume %s: disk %.63s is mounted (%.63s)", name,
		       disk->path, disk->used_by);
	else if (disk->in_use)
		refuse(volume, PLAN_IN_USE, "volume %s: disk %.63s is in use (%.63s)", name,
		       disk->path, disk->used_by);
	else if (!destroy_allows(volume->config->destroy, disk->signature))
		refuse_signed(volume, disk);
	else if (disk->bytes < BYTES_MIN)
		refuse(volume, PLAN_TOO_SMALL,
		       "volume %s: disk %.63s has %ju bytes; a volume needs 16 MiB", name,
		       disk->path, (uintmax_t)disk->bytes);
}

/* Cuts the disk into segments, the last one shorter. */
static void cut_segments(struct plan *plan, struct plan_volume *volume,
			 const struct disk_facts *disk)
{
	uint64_t bytes = disk->bytes / MIB * MIB, size = volume->config->segment_bytes;
	uint64_t n = bytes / size + (bytes % size != 0);

	if (n > SEGMENTS_MAX - plan->n_segments) {
		refuse(volume, PLAN_TOO_MANY,
		       "volume %s: disk %.63s needs %ju segments of SegmentSize=%juM; %u of %u are "
		       "left",
		       volume->config->name, disk->path, (uintmax_t)n, (uintmax_t)(size / MIB),
		       SEGMENTS_MAX - plan->n_segments, SEGMENTS_MAX);
		return;
	}
	volume->bytes = bytes;
	volume->n_segments = (uint32_t)n;
	volume->first_segment = plan->n_segments;
	for (uint64_t at = 0; at < bytes; at += size) {
		uint64_t length = bytes - at < size ? bytes - at : size;

		plan->segments[plan->n_segments++] = (struct plan_segment){
			.offset_sectors = at / SECTOR_SIZE,
			.length_sectors = length / SECTOR_SIZE,
		};
	}
}

int plan_make(struct plan *plan, const struct volume_config *configs, size_t n_configs,
	      const struct disk_facts *disks, size_t n_disks)
{
	if (n_configs > VOLUMES_MAX || n_disks > DISKS_MAX)
		return -E2BIG;
	memset(plan, 0, sizeof(*plan));
	plan->n_volumes = (uint32_t)n_configs;
	for (uint32_t i = 0; i < plan->n_volumes; i++) {
		plan->volumes[i].config = &configs[i];
		choose_disk(&plan->volumes[i], disks, n_disks);
	}
	refuse_shared(plan, disks);
	for (uint32_t i = 0; i < plan->n_volumes; i++) {
		struct plan_volume *volume = &plan->volumes[i];

		if (volume->refusal == PLAN_OK)
			check_disk(volume, &disks[volume->disk]);
		if (volume->refusal == PLAN_OK)
			cut_segments(plan, volume, &disks[volume->disk]);
	}
	return 0;
}

const char *plan_refusal_name(enum plan_refusal refusal)
{
	static const char *const names[PLAN_REFUSAL__MAX] = {
		[PLAN_OK] = "ok",
		[PLAN_MISSING] = "missing",
		[PLAN_AMBIGUOUS] = "ambiguous",
		[PLAN_TAKEN] = "taken",
		[PLAN_MOUNTED] = "mounted",
		[PLAN_IN_USE] = "in use",
		[PLAN_SIGNED] = "signed",
		[PLAN_READ_ONLY] = "read-only",
		[PLAN_TOO_SMALL] = "too small",
		[PLAN_TOO_MANY] = "too many segments",
	};

	return refusal < ELEMENTSOF(names) ? names[refusal] : "unknown";
}
