/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of disks, and cutting them into segments. */
#include "core/plan_cut.h"

#include <string.h>

#define MIB	      (1ull << 20)
#define SECTORS_MIN   (16 * MIB / SECTOR_SIZE)
#define SECTORS_A_MIB (MIB / SECTOR_SIZE)

bool plan_is_part(const struct volume_config *config)
{
	return config->offset.bytes > 0 || config->offset.percent > 0 || config->length.bytes > 0 ||
	       config->length.percent > 0;
}

/* Hundredths are rounded down to 1 MiB, so that those of neighbours meet. */
static uint64_t share_sectors(const struct disk_share *share, uint64_t disk_bytes)
{
	uint64_t bytes = share->percent ? disk_bytes / 100 * share->percent : share->bytes;

	return bytes / MIB * SECTORS_A_MIB;
}

bool plan_part(const struct volume_config *config, const struct disk_facts *disk,
	       struct disk_range *ret_range)
{
	uint64_t sectors = disk->bytes / MIB * SECTORS_A_MIB;
	uint64_t offset = share_sectors(&config->offset, disk->bytes);
	bool all = config->length.bytes == 0 && config->length.percent == 0;
	uint64_t length;

	if (offset > sectors)
		return false;
	length = all ? sectors - offset : share_sectors(&config->length, disk->bytes);
	if (length < SECTORS_MIN || length > sectors - offset)
		return false;
	*ret_range = (struct disk_range){.offset_sectors = offset, .length_sectors = length};
	return true;
}

bool ranges_overlap(const struct disk_range *a, const struct disk_range *b)
{
	return a->offset_sectors < b->offset_sectors + b->length_sectors &&
	       b->offset_sectors < a->offset_sectors + a->length_sectors;
}

const struct disk_range *disk_range_taken(const struct disk_facts *disk,
					  const struct disk_range *range)
{
	for (uint32_t i = 0; i < disk->n_ranges && i < DISK_RANGES_MAX; i++)
		if (ranges_overlap(&disk->ranges[i], range))
			return &disk->ranges[i];
	return NULL;
}

static uint64_t pieces_of(uint64_t sectors, uint64_t piece)
{
	return sectors / piece + (sectors % piece != 0);
}

/* How many segments PARTS of the volume's disks are cut into. */
static uint64_t pieces_count(const struct plan_volume *volume,
			     const struct disk_range parts[static VOLUME_DISKS_MAX])
{
	uint64_t piece = volume->config->segment_bytes / SECTOR_SIZE, n = 0;

	for (uint32_t k = 0; k < volume->n_disks; k++)
		n += pieces_of(parts[k].length_sectors, piece);
	return n;
}

static void segment_add(struct plan *plan, struct plan_volume *volume, uint32_t disk,
			uint64_t offset_sectors, uint64_t length_sectors)
{
	plan->segments[plan->n_segments++] = (struct plan_segment){
		.disk = disk,
		.offset_sectors = offset_sectors,
		.length_sectors = length_sectors,
	};
	volume->n_segments++;
	volume->bytes += length_sectors * SECTOR_SIZE;
}

/* The piece AT sectors into PART, the last one shorter. */
static void piece_add(struct plan *plan, struct plan_volume *volume, uint32_t disk,
		      const struct disk_range *part, uint64_t at)
{
	uint64_t piece = volume->config->segment_bytes / SECTOR_SIZE;
	uint64_t left = part->length_sectors - at;

	segment_add(plan, volume, disk, part->offset_sectors + at, left < piece ? left : piece);
}

static void pieces_add(struct plan *plan, struct plan_volume *volume,
		       const struct disk_range parts[static VOLUME_DISKS_MAX])
{
	uint64_t piece = volume->config->segment_bytes / SECTOR_SIZE;

	if (volume->config->layout == LAYOUT_STRIPED) {
		for (uint64_t at = 0; at < parts[0].length_sectors; at += piece)
			for (uint32_t k = 0; k < volume->n_disks; k++)
				piece_add(plan, volume, volume->disks[k], &parts[k], at);
		return;
	}
	for (uint32_t k = 0; k < volume->n_disks; k++)
		for (uint64_t at = 0; at < parts[k].length_sectors; at += piece)
			piece_add(plan, volume, volume->disks[k], &parts[k], at);
}

/* Stripes are of one length: that of the shortest part. */
static void parts_level(const struct plan_volume *volume,
			struct disk_range parts[static VOLUME_DISKS_MAX])
{
	uint64_t shortest = parts[0].length_sectors;

	for (uint32_t k = 1; k < volume->n_disks; k++)
		if (parts[k].length_sectors < shortest)
			shortest = parts[k].length_sectors;
	for (uint32_t k = 0; k < volume->n_disks; k++)
		parts[k].length_sectors = shortest;
}

static bool too_many(struct plan *plan, struct plan_volume *volume, uint64_t n,
		     const struct disk_facts *disks)
{
	if (n <= SEGMENTS_MAX - plan->n_segments)
		return false;
	plan_refuse(
		volume, PLAN_TOO_MANY,
		"volume %s: disk %.63s needs %ju segments of SegmentSize=%juM; %u of %u are left",
		volume->config->name, disks[volume->disks[0]].path, (uintmax_t)n,
		(uintmax_t)(volume->config->segment_bytes / MIB), SEGMENTS_MAX - plan->n_segments,
		SEGMENTS_MAX);
	return true;
}

void plan_cut(struct plan *plan, struct plan_volume *volume, const struct disk_facts *disks)
{
	struct disk_range parts[VOLUME_DISKS_MAX];

	for (uint32_t k = 0; k < volume->n_disks; k++)
		(void)plan_part(volume->config, &disks[volume->disks[k]], &parts[k]);
	if (volume->config->layout == LAYOUT_STRIPED)
		parts_level(volume, parts);
	if (too_many(plan, volume, pieces_count(volume, parts), disks)) {
		volume->n_disks = 0;
		return;
	}
	volume->first_segment = plan->n_segments;
	pieces_add(plan, volume, parts);
}

/* What follows the volume's last segment on its disk K; empty where that is less than 16 MiB or
 * another volume's. */
static struct disk_range part_behind(const struct plan *plan, const struct plan_volume *volume,
				     uint32_t k, const struct disk_facts *disk)
{
	uint64_t sectors = disk->bytes / MIB * SECTORS_A_MIB;
	struct disk_range part = {.length_sectors = 0};

	for (uint32_t i = 0; i < volume->n_segments; i++) {
		const struct plan_segment *segment = &plan->segments[volume->first_segment + i];
		uint64_t end = segment->offset_sectors + segment->length_sectors;

		if (segment->disk == volume->disks[k] && end > part.offset_sectors)
			part.offset_sectors = end;
	}
	if (sectors >= part.offset_sectors + SECTORS_MIN)
		part.length_sectors = sectors - part.offset_sectors;
	if (part.length_sectors > 0 && disk_range_taken(disk, &part))
		part.length_sectors = 0;
	return part;
}

/* The volume's segments become the last of the plan, so that more can follow: one after the other, the
 * first of them changes places with all that are behind it. */
static void segments_to_end(struct plan *plan, struct plan_volume *volume)
{
	uint32_t first = volume->first_segment, n = volume->n_segments;

	for (uint32_t i = 0; i < n; i++) {
		struct plan_segment segment = plan->segments[first];

		for (uint32_t k = first; k + 1 < plan->n_segments; k++)
			plan->segments[k] = plan->segments[k + 1];
		plan->segments[plan->n_segments - 1] = segment;
	}
	for (uint32_t i = 0; i < plan->n_volumes; i++)
		if (plan->volumes[i].first_segment > first)
			plan->volumes[i].first_segment -= n;
	volume->first_segment = plan->n_segments - n;
}

void plan_grow(struct plan *plan, uint32_t index, const struct disk_facts *disks)
{
	struct plan_volume *volume = &plan->volumes[index];
	const struct volume_config *config = volume->config;
	struct disk_range parts[VOLUME_DISKS_MAX];
	uint64_t n;

	volume->refusal = PLAN_OK;
	volume->reason[0] = '\0';
	if (config->length.bytes > 0 || config->length.percent > 0) {
		plan_refuse(volume, PLAN_FIXED, "volume %s: Length= is given, so it does not grow",
			    config->name);
		return;
	}
	for (uint32_t k = 0; k < volume->n_disks; k++)
		parts[k] = part_behind(plan, volume, k, &disks[volume->disks[k]]);
	if (config->layout == LAYOUT_STRIPED)
		parts_level(volume, parts);
	n = pieces_count(volume, parts);
	if (n == 0) {
		plan_refuse(volume, PLAN_NO_LARGER,
			    "volume %s: no 16 MiB are free behind it on %s%.63s", config->name,
			    volume->n_disks > 1 ? "its disks, the first of which is " : "disk ",
			    disks[volume->disks[0]].path);
		return;
	}
	if (too_many(plan, volume, n, disks))
		return;
	segments_to_end(plan, volume);
	pieces_add(plan, volume, parts);
}

void plan_drop(struct plan *plan, uint32_t index)
{
	struct plan_volume *volume = &plan->volumes[index];
	uint32_t first = volume->first_segment, n = volume->n_segments;

	if (n > 0) {
		memmove(&plan->segments[first], &plan->segments[first + n],
			(plan->n_segments - first - n) * sizeof(struct plan_segment));
		plan->n_segments -= n;
		for (uint32_t i = 0; i < plan->n_volumes; i++)
			if (plan->volumes[i].first_segment > first)
				plan->volumes[i].first_segment -= n;
	}
	volume->n_disks = volume->n_segments = volume->first_segment = 0;
	volume->bytes = 0;
}
