/* SPDX-License-Identifier: Apache-2.0 */
/* The plan: every refusal with its message, segments, and a print that can be hashed. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "core/plan.h"
#include "core/plan_match.h"
#include "unit.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)

static struct plan plan;

static struct volume_config volume(const char *name, const char *serial)
{
	struct volume_config config = {
		.use = VOLUME_EXT4,
		.segment_bytes = SEGMENT_BYTES_MAX,
		.size_max = UINT64_MAX,
		.n_disks = 1,
	};

	snprintf(config.name, sizeof(config.name), "%s", name);
	snprintf(config.match[MATCH_SERIAL], sizeof(config.match[MATCH_SERIAL]), "%s", serial);
	return config;
}

static struct disk_facts disk(const char *path, const char *serial)
{
	struct disk_facts facts = {.bytes = 8 * GIB};

	snprintf(facts.path, sizeof(facts.path), "%s", path);
	snprintf(facts.serial, sizeof(facts.serial), "%s", serial);
	return facts;
}

/* Plans one volume, which must be refused in just these words. */
static void is_refused(const struct volume_config *config, const struct disk_facts *disks,
		       size_t n_disks, enum plan_refusal refusal, const char *reason)
{
	assert_int_equal(plan_make(&plan, config, 1, disks, n_disks), 0);
	assert_string_equal(plan.volumes[0].reason, reason);
	assert_int_equal(plan.volumes[0].refusal, refusal);
	assert_int_equal(plan.volumes[0].n_disks, 0);
	assert_int_equal(plan.volumes[0].n_segments, 0);
	assert_int_equal(plan.n_segments, 0);
}

static void is_taken(const struct volume_config *config, const struct disk_facts *disks,
		     size_t n_disks, uint32_t chosen)
{
	assert_int_equal(plan_make(&plan, config, 1, disks, n_disks), 0);
	assert_string_equal(plan.volumes[0].reason, "");
	assert_int_equal(plan.volumes[0].refusal, PLAN_OK);
	assert_int_equal(plan.volumes[0].n_disks, 1);
	assert_int_equal(plan.volumes[0].disks[0], chosen);
}

static void a_match(void **state)
{
	struct volume_config config = volume("data", "b");
	struct disk_facts disks[] = {disk("/dev/vda", "a"), disk("/dev/vdb", "b")};

	is_taken(&config, disks, 2, 1);
	assert_ptr_equal(plan.volumes[0].config, &config);
	assert_int_equal(plan.volumes[0].bytes, 8 * GIB);
	assert_int_equal(plan.n_segments, 1);
	assert_int_equal(plan.segments[0].offset_sectors, 0);
	assert_int_equal(plan.segments[0].length_sectors, 8 * GIB / 512);
}

static void each_key_must_match(void **state)
{
	struct disk_facts facts = disk("/dev/vdb", "b");
	struct volume_config config = volume("data", "b");

	snprintf(facts.links, sizeof(facts.links),
		 "/dev/disk/by-id/virtio-bb /dev/disk/by-id/virtio-b /dev/disk/by-path/p");
	strcpy(facts.label, "l");
	strcpy(facts.wwn, "w");
	strcpy(facts.model, "m");
	strcpy(config.match[MATCH_LABEL], "l");
	strcpy(config.match[MATCH_WWN], "w");
	strcpy(config.match[MATCH_MODEL], "m");
	strcpy(config.match[MATCH_PATH], "/dev/disk/by-id/virtio-b");
	config.size_min = config.size_max = 8 * GIB;
	is_taken(&config, &facts, 1, 0);
	for (int key = 0; key < MATCH__MAX; key++) {
		struct volume_config other = config;

		/* A prefix of the right value is not the value. */
		other.match[key][strlen(other.match[key]) - 1] = 'x';
		plan_make(&plan, &other, 1, &facts, 1);
		assert_int_equal(plan.volumes[0].refusal, PLAN_MISSING);
	}
	strcpy(config.match[MATCH_PATH], "/dev/disk/by-id/virtio-");
	plan_make(&plan, &config, 1, &facts, 1);
	assert_int_equal(plan.volumes[0].refusal, PLAN_MISSING);
	strcpy(config.match[MATCH_PATH], "/dev/disk/by-path/p");
	is_taken(&config, &facts, 1, 0);
	config.size_min = config.size_max = 8 * GIB + 1;
	plan_make(&plan, &config, 1, &facts, 1);
	assert_int_equal(plan.volumes[0].refusal, PLAN_MISSING);
	config.size_min = 0;
	is_taken(&config, &facts, 1, 0);
	config.size_max = 8 * GIB - 1;
	plan_make(&plan, &config, 1, &facts, 1);
	assert_int_equal(plan.volumes[0].refusal, PLAN_MISSING);
}

static void partitions_by_path_and_label_only(void **state)
{
	struct volume_config config = volume("data", "b");
	struct disk_facts disks[] = {disk("/dev/vdb", "b"), disk("/dev/vdb1", "b")};

	disks[1].partition = true;
	is_taken(&config, disks, 2, 0);
	strcpy(config.match[MATCH_LABEL], "l");
	strcpy(disks[1].label, "l");
	is_taken(&config, disks, 2, 1);
}

static void a_star_is_any_rest(void **state)
{
	static const struct {
		const char *wanted, *serial;
		bool matches;
	} cases[] = {
		{"data*", "data0", true},  {"data*", "data", true},  {"data*", "dat", false},
		{"data*", "xdata", false}, {"data", "data0", false}, {"da*ta", "da*ta", true},
		{"da*ta", "dabta", false},
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		struct volume_config config = volume("data", cases[i].wanted);
		struct disk_facts facts = disk("/dev/vdb", cases[i].serial);

		assert_int_equal(disk_matches(&config, &facts), cases[i].matches);
	}
	{
		struct volume_config config = volume("data", "");
		struct disk_facts facts = disk("/dev/vdb", "b");

		strcpy(config.match[MATCH_PATH], "/dev/disk/by-id/virtio-d*");
		strcpy(facts.links, "/dev/disk/by-path/p /dev/disk/by-id/virtio-data");
		assert_true(disk_matches(&config, &facts));
		strcpy(facts.links, "/dev/disk/by-path/p /dev/disk/by-id/virtio-");
		assert_false(disk_matches(&config, &facts));
	}
}

/* Which disks have to be opened: a label shows on the disk only, all else without. */
static void what_shows_without_opening(void **state)
{
	struct volume_config config = volume("data", "b");
	struct disk_facts facts = disk("/dev/vdb", "b"), other = disk("/dev/vdc", "c");

	assert_true(disk_may_match(&config, &facts));
	assert_false(disk_may_match(&config, &other));
	strcpy(config.match[MATCH_LABEL], "l");
	assert_true(disk_may_match(&config, &facts));
	assert_false(disk_may_match(&config, &other));
	assert_false(disk_matches(&config, &facts));
	strcpy(facts.label, "l");
	assert_true(disk_matches(&config, &facts));
	config.size_max = facts.bytes - 1;
	assert_false(disk_may_match(&config, &facts));
}

static void missing(void **state)
{
	struct volume_config config = volume("data", "b");
	struct disk_facts facts = disk("/dev/vda", "a");

	is_refused(&config, &facts, 1, PLAN_MISSING, "volume data: no disk matches Serial=b");
	is_refused(&config, NULL, 0, PLAN_MISSING, "volume data: no disk matches Serial=b");
	strcpy(config.match[MATCH_MODEL], "QEMU");
	config.size_min = config.size_max = 4096;
	is_refused(&config, &facts, 1, PLAN_MISSING,
		   "volume data: no disk matches Serial=b Model=QEMU Size=4096-4096");
}

static void ambiguous(void **state)
{
	struct volume_config config = volume("data", "b");
	struct disk_facts disks[] = {disk("/dev/vda", "b"), disk("/dev/vdb", "b"),
				     disk("/dev/vdc", "b")};

	is_refused(&config, disks, 3, PLAN_AMBIGUOUS,
		   "volume data: /dev/vda and /dev/vdb both match Serial=b");
}

static void not_free(void **state)
{
	struct volume_config config = volume("data", "b");
	struct disk_facts facts = disk("/dev/vdb", "b");

	facts.in_use = true;
	strcpy(facts.used_by, "dm-3");
	is_refused(&config, &facts, 1, PLAN_IN_USE, "volume data: disk /dev/vdb is in use (dm-3)");
	facts.mounted = true;
	strcpy(facts.used_by, "/var");
	is_refused(&config, &facts, 1, PLAN_MOUNTED,
		   "volume data: disk /dev/vdb is mounted (/var)");
	facts.read_only = true;
	is_refused(&config, &facts, 1, PLAN_READ_ONLY, "volume data: disk /dev/vdb is read-only");
}

static void signed_by_another(void **state)
{
	struct volume_config config = volume("data", "b");
	struct disk_facts facts = disk("/dev/vdb", "b");

	strcpy(facts.signature, "ext4");
	is_refused(&config, &facts, 1, PLAN_SIGNED,
		   "volume data: disk /dev/vdb carries ext4; without Destroy=ext4 it is not "
		   "overwritten");
	strcpy(config.destroy, "xfs ext42 ext");
	is_refused(&config, &facts, 1, PLAN_SIGNED,
		   "volume data: disk /dev/vdb carries ext4, which Destroy=xfs ext42 ext does not "
		   "allow to be lost");
	strcpy(config.destroy, "next4");
	plan_make(&plan, &config, 1, &facts, 1);
	assert_int_equal(plan.volumes[0].refusal, PLAN_SIGNED);
	strcpy(config.destroy, "xfs ext4");
	is_taken(&config, &facts, 1, 0);
	strcpy(config.destroy, "ext4 xfs");
	is_taken(&config, &facts, 1, 0);
	strcpy(config.destroy, "any");
	is_taken(&config, &facts, 1, 0);
	strcpy(facts.signature, "ambiguous");
	is_taken(&config, &facts, 1, 0);
	strcpy(config.destroy, "ext4");
	plan_make(&plan, &config, 1, &facts, 1);
	assert_int_equal(plan.volumes[0].refusal, PLAN_SIGNED);
	facts.signature[0] = '\0';
	is_taken(&config, &facts, 1, 0);
}

static void any_destroys_nothing_in_use(void **state)
{
	struct volume_config config = volume("data", "b");
	struct disk_facts facts = disk("/dev/vdb", "b");

	strcpy(config.destroy, "any");
	strcpy(facts.signature, "ext4");
	facts.mounted = true;
	plan_make(&plan, &config, 1, &facts, 1);
	assert_int_equal(plan.volumes[0].refusal, PLAN_MOUNTED);
}

static void too_small(void **state)
{
	struct volume_config config = volume("data", "b");
	struct disk_facts facts = disk("/dev/vdb", "b");

	facts.bytes = 16 * MIB - 1;
	is_refused(&config, &facts, 1, PLAN_TOO_SMALL,
		   "volume data: disk /dev/vdb has 16777215 bytes; a volume needs 16 MiB");
	facts.bytes = 16 * MIB;
	is_taken(&config, &facts, 1, 0);
}

static void taken_twice(void **state)
{
	struct volume_config configs[] = {volume("data", "b"), volume("other", "c"),
					  volume("swap", "b")};
	struct disk_facts disks[] = {disk("/dev/vdb", "b"), disk("/dev/vdc", "c")};

	assert_int_equal(plan_make(&plan, configs, 3, disks, 2), 0);
	assert_int_equal(plan.volumes[0].refusal, PLAN_TAKEN);
	assert_string_equal(
		plan.volumes[0].reason,
		"volume data: disk /dev/vdb is also matched by volume swap; the settings of "
		"[Disk] must tell them apart");
	assert_int_equal(plan.volumes[1].refusal, PLAN_OK);
	assert_int_equal(plan.volumes[2].refusal, PLAN_TAKEN);
	assert_string_equal(
		plan.volumes[2].reason,
		"volume swap: disk /dev/vdb is also matched by volume data; the settings of "
		"[Disk] must tell them apart");
	assert_int_equal(plan.n_segments, 1);
}

/* One takes a disk, another a partition of it. */
static void taken_in_part(void **state)
{
	static const struct {
		const char *whole, *part;
		bool overlap;
	} cases[] = {
		{"/dev/vdb", "/dev/vdb1", true},
		{"/dev/vdb", "/dev/vdb12", true},
		{"/dev/nvme0n1", "/dev/nvme0n1p2", true},
		{"/dev/vdb", "/dev/vdc1", false},
		{"/dev/vda", "/dev/vdaa1", false},
		{"/dev/nvme0n1", "/dev/nvme0n11p1", false},
		{"/dev/nvme0n1", "/dev/nvme0n1p", false},
		{"/dev/md1", "/dev/md112", false},
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		struct volume_config configs[] = {volume("data", "b"), volume("swap", "")};
		struct disk_facts disks[] = {disk(cases[i].whole, "b"), disk(cases[i].part, "")};
		enum plan_refusal expected = cases[i].overlap ? PLAN_TAKEN : PLAN_OK;

		strcpy(configs[1].match[MATCH_LABEL], "l");
		strcpy(disks[1].label, "l");
		disks[1].partition = true;
		assert_int_equal(plan_make(&plan, configs, 2, disks, 2), 0);
		assert_int_equal(plan.volumes[0].refusal, expected);
		assert_int_equal(plan.volumes[1].refusal, expected);
	}
}

static void segments_are_cut(void **state)
{
	struct volume_config configs[] = {volume("data", "b"), volume("swap", "c")};
	struct disk_facts disks[] = {disk("/dev/vdb", "b"), disk("/dev/vdc", "c")};

	configs[0].segment_bytes = 3 * GIB;
	disks[0].bytes = 8 * GIB + 5 * MIB + 512;
	assert_int_equal(plan_make(&plan, configs, 2, disks, 2), 0);
	assert_int_equal(plan.n_segments, 4);
	assert_int_equal(plan.volumes[0].n_segments, 3);
	assert_int_equal(plan.volumes[0].first_segment, 0);
	assert_int_equal(plan.volumes[0].bytes, 8 * GIB + 5 * MIB);
	assert_int_equal(plan.segments[1].offset_sectors, 3 * GIB / 512);
	assert_int_equal(plan.segments[1].length_sectors, 3 * GIB / 512);
	assert_int_equal(plan.segments[2].offset_sectors, 6 * GIB / 512);
	assert_int_equal(plan.segments[2].length_sectors, (2 * GIB + 5 * MIB) / 512);
	assert_int_equal(plan.volumes[1].first_segment, 3);
	assert_int_equal(plan.volumes[1].n_segments, 1);
	assert_int_equal(plan.segments[3].offset_sectors, 0);
}

static void too_many_segments(void **state)
{
	struct volume_config configs[] = {volume("data", "b"), volume("swap", "c"),
					  volume("temp", "d")};
	struct disk_facts disks[] = {disk("/dev/vdb", "b"), disk("/dev/vdc", "c"),
				     disk("/dev/vdd", "d")};

	configs[0].segment_bytes = 16 * MIB;
	disks[0].bytes = 60 * 16 * MIB;
	configs[1].segment_bytes = 16 * MIB;
	disks[1].bytes = 4 * 16 * MIB + MIB;
	assert_int_equal(plan_make(&plan, configs, 3, disks, 3), 0);
	assert_int_equal(plan.volumes[0].refusal, PLAN_OK);
	assert_int_equal(plan.volumes[1].refusal, PLAN_TOO_MANY);
	assert_string_equal(
		plan.volumes[1].reason,
		"volume swap: disk /dev/vdc needs 5 segments of SegmentSize=16M; 4 of 64 "
		"are left");
	assert_int_equal(plan.volumes[2].refusal, PLAN_OK);
	assert_int_equal(plan.volumes[2].first_segment, 60);
	disks[1].bytes = 4 * 16 * MIB;
	assert_int_equal(plan_make(&plan, configs, 2, disks, 2), 0);
	assert_int_equal(plan.n_segments, SEGMENTS_MAX);
	disks[0].bytes = UINT64_MAX;
	assert_int_equal(plan_make(&plan, configs, 1, disks, 1), 0);
	assert_int_equal(plan.volumes[0].refusal, PLAN_TOO_MANY);
}

static void segment_is(uint32_t index, uint32_t chosen, uint64_t offset, uint64_t length)
{
	assert_int_equal(plan.segments[index].disk, chosen);
	assert_int_equal(plan.segments[index].offset_sectors, offset / SECTOR_SIZE);
	assert_int_equal(plan.segments[index].length_sectors, length / SECTOR_SIZE);
}

/* Each its part of one disk, in any unit; the last one all that is left. */
static void parts_of_one_disk(void **state)
{
	struct volume_config configs[] = {volume("a", "b"), volume("b", "b"), volume("c", "b")};
	struct disk_facts facts = disk("/dev/vdb", "b");

	facts.bytes = 10 * GIB + 3 * MIB + 512;
	configs[0].length.bytes = 3 * GIB;
	configs[1].offset.bytes = 3 * GIB;
	configs[1].length.percent = 50;
	configs[2].offset.percent = 90;
	assert_int_equal(plan_make(&plan, configs, 3, &facts, 1), 0);
	assert_int_equal(plan.n_segments, 3);
	segment_is(0, 0, 0, 3 * GIB);
	segment_is(1, 0, 3 * GIB, 5 * GIB + MIB);
	segment_is(2, 0, 9 * GIB + 2 * MIB, GIB + MIB);
	for (int i = 0; i < 3; i++)
		assert_int_equal(plan.volumes[i].refusal, PLAN_OK);
}

/* Hundredths of any disk meet, and never overlap. */
static void hundredths_meet(void **state)
{
	for (uint64_t bytes = 3 * GIB; bytes < 3 * GIB + 300 * MIB; bytes += 7 * MIB + 512)
		for (uint32_t percent = 1; percent < 100; percent++) {
			struct volume_config configs[] = {volume("a", "b"), volume("b", "b")};
			struct disk_facts facts = disk("/dev/vdb", "b");

			facts.bytes = bytes;
			configs[0].length.percent = configs[1].offset.percent = percent;
			plan_make(&plan, configs, 2, &facts, 1);
			assert_int_equal(plan.volumes[0].refusal, PLAN_OK);
			assert_int_equal(plan.volumes[1].refusal, PLAN_OK);
			assert_int_equal(plan.segments[0].length_sectors,
					 plan.segments[1].offset_sectors);
		}
}

static void parts_that_overlap(void **state)
{
	struct volume_config configs[] = {volume("a", "b"), volume("b", "b")};
	struct disk_facts facts = disk("/dev/vdb", "b");

	configs[0].length.bytes = 2 * GIB;
	configs[1].offset.bytes = 2 * GIB - MIB;
	assert_int_equal(plan_make(&plan, configs, 2, &facts, 1), 0);
	assert_int_equal(plan.volumes[0].refusal, PLAN_TAKEN);
	assert_int_equal(plan.volumes[1].refusal, PLAN_TAKEN);
	assert_string_equal(plan.volumes[1].reason,
			    "volume b: its part of disk /dev/vdb and that of volume a overlap; see "
			    "Offset= and Length=");
	configs[1].offset.bytes = 2 * GIB;
	assert_int_equal(plan_make(&plan, configs, 2, &facts, 1), 0);
	assert_int_equal(plan.n_segments, 2);
	/* One takes all of it. */
	configs[1].offset.bytes = 0;
	assert_int_equal(plan_make(&plan, configs, 2, &facts, 1), 0);
	assert_int_equal(plan.volumes[0].refusal, PLAN_TAKEN);
	assert_non_null(strstr(plan.volumes[0].reason, "is also matched by volume b"));
}

static void a_part_must_fit(void **state)
{
	struct volume_config config = volume("data", "b");
	struct disk_facts facts = disk("/dev/vdb", "b");

	facts.bytes = GIB;
	config.offset.bytes = GIB - 16 * MIB + MIB;
	is_refused(&config, &facts, 1, PLAN_TOO_SMALL,
		   "volume data: disk /dev/vdb has 1073741824 bytes; Offset= and Length= leave no "
		   "16 MiB of it, or end beyond it");
	config.offset.bytes = 2 * GIB;
	plan_make(&plan, &config, 1, &facts, 1);
	assert_int_equal(plan.volumes[0].refusal, PLAN_TOO_SMALL);
	config.offset.bytes = 16 * MIB;
	config.length.bytes = GIB - 16 * MIB;
	is_taken(&config, &facts, 1, 0);
	config.length.bytes += MIB;
	plan_make(&plan, &config, 1, &facts, 1);
	assert_int_equal(plan.volumes[0].refusal, PLAN_TOO_SMALL);
	config.length.bytes = UINT64_MAX / MIB * MIB;
	plan_make(&plan, &config, 1, &facts, 1);
	assert_int_equal(plan.volumes[0].refusal, PLAN_TOO_SMALL);
}

/* A disk of which other volumes of ours have parts already. */
static void the_rest_of_a_disk(void **state)
{
	struct volume_config config = volume("data", "b");
	struct disk_facts facts = disk("/dev/vdb", "b");

	facts.in_use = facts.ours = true;
	strcpy(facts.used_by, "dm-3");
	facts.n_ranges = 2;
	facts.ranges[0] = (struct disk_range){0, GIB / 512};
	facts.ranges[1] = (struct disk_range){3 * GIB / 512, GIB / 512};
	is_refused(&config, &facts, 1, PLAN_IN_USE, "volume data: disk /dev/vdb is in use (dm-3)");
	config.offset.bytes = GIB;
	config.length.bytes = 2 * GIB;
	/* What was on it is lost already. */
	strcpy(facts.signature, "ext4");
	is_taken(&config, &facts, 1, 0);
	config.length.bytes += MIB;
	is_refused(&config, &facts, 1, PLAN_IN_USE,
		   "volume data: its part of disk /dev/vdb is in use (dm-3); see Offset= and "
		   "Length=");
	config.offset.bytes = GIB - MIB;
	config.length.bytes = 16 * MIB;
	plan_make(&plan, &config, 1, &facts, 1);
	assert_int_equal(plan.volumes[0].refusal, PLAN_IN_USE);
	config.offset.bytes = 4 * GIB;
	is_taken(&config, &facts, 1, 0);
	/* Somebody else has a part. */
	facts.ours = false;
	plan_make(&plan, &config, 1, &facts, 1);
	assert_int_equal(plan.volumes[0].refusal, PLAN_IN_USE);
}

static void as_many_disks_as_it_says(void **state)
{
	struct volume_config config = volume("data", "b");
	struct disk_facts disks[] = {disk("/dev/vda", "b"), disk("/dev/vdb", "c"),
				     disk("/dev/vdc", "b"), disk("/dev/vdd", "b")};

	config.n_disks = 2;
	assert_int_equal(plan_make(&plan, &config, 1, disks, 3), 0);
	assert_int_equal(plan.volumes[0].refusal, PLAN_OK);
	assert_int_equal(plan.volumes[0].n_disks, 2);
	assert_int_equal(plan.volumes[0].disks[0], 0);
	assert_int_equal(plan.volumes[0].disks[1], 2);
	is_refused(&config, disks, 2, PLAN_MISSING,
		   "volume data: 1 disks, not Disks=2, match Serial=b");
	is_refused(&config, disks, 4, PLAN_AMBIGUOUS,
		   "volume data: /dev/vdc and /dev/vdd both match Serial=b");
	/* Each of them must be free. */
	disks[2].read_only = true;
	is_refused(&config, disks, 3, PLAN_READ_ONLY, "volume data: disk /dev/vdc is read-only");
}

static void joined(void **state)
{
	struct volume_config config = volume("data", "b");
	struct disk_facts disks[] = {disk("/dev/vda", "b"), disk("/dev/vdb", "b")};

	config.n_disks = 2;
	config.segment_bytes = 5 * GIB;
	disks[1].bytes = 2 * GIB;
	assert_int_equal(plan_make(&plan, &config, 1, disks, 2), 0);
	assert_int_equal(plan.volumes[0].n_segments, 3);
	assert_int_equal(plan.volumes[0].bytes, 10 * GIB);
	segment_is(0, 0, 0, 5 * GIB);
	segment_is(1, 0, 5 * GIB, 3 * GIB);
	segment_is(2, 1, 0, 2 * GIB);
}

/* In rows, as long as the shortest disk. */
static void striped(void **state)
{
	static const char expected[] =
		"volume data ext4 on /dev/vda /dev/vdb, 4294967296 bytes in 4 segments, striped by "
		"65536 bytes\n"
		"  segment emberlock-data-s0, sectors 2048 to 3147775 of /dev/vda\n"
		"  segment emberlock-data-s1, sectors 2048 to 3147775 of /dev/vdb\n"
		"  segment emberlock-data-s2, sectors 3147776 to 4196351 of /dev/vda\n"
		"  segment emberlock-data-s3, sectors 3147776 to 4196351 of /dev/vdb\n";
	struct volume_config config = volume("data", "b");
	struct disk_facts disks[] = {disk("/dev/vda", "b"), disk("/dev/vdb", "b")};
	char text[1024];

	config.n_disks = 2;
	config.layout = LAYOUT_STRIPED;
	config.stripe_bytes = 65536;
	config.segment_bytes = 3 * GIB / 2;
	config.offset.bytes = MIB;
	disks[1].bytes = 2 * GIB + MIB;
	assert_int_equal(plan_make(&plan, &config, 1, disks, 2), 0);
	assert_int_equal(plan.volumes[0].bytes, 4 * GIB);
	plan_print(&plan, disks, text, sizeof(text));
	assert_string_equal(text, expected);
}

/* Beyond 1 TiB: as many keys as it takes, none for more than that. */
static void a_key_for_each_tebibyte(void **state)
{
	struct volume_config config = volume("data", "b");
	struct disk_facts facts = disk("/dev/vdb", "b");

	facts.bytes = (5ull << 39) + 5 * MIB;
	is_taken(&config, &facts, 1, 0);
	assert_int_equal(plan.volumes[0].n_segments, 3);
	segment_is(0, 0, 0, 1ull << 40);
	segment_is(1, 0, 1ull << 40, 1ull << 40);
	segment_is(2, 0, 1ull << 41, (1ull << 39) + 5 * MIB);
}

/* The first volume of two, which has grown to SIZE. */
static void grow_one(struct plan_volume *ret_before, struct disk_facts *disks, uint64_t size)
{
	*ret_before = plan.volumes[0];
	disks[0].bytes = size;
	plan_grow(&plan, 0, disks);
}

static void growth_adds_segments(void **state)
{
	struct volume_config configs[] = {volume("data", "b"), volume("swap", "c")};
	struct disk_facts disks[] = {disk("/dev/vdb", "b"), disk("/dev/vdc", "c")};
	struct plan_volume before;

	configs[0].segment_bytes = 3 * GIB;
	assert_int_equal(plan_make(&plan, configs, 2, disks, 2), 0);
	grow_one(&before, disks, 12 * GIB + MIB + 512);
	assert_int_equal(plan.volumes[0].refusal, PLAN_OK);
	assert_int_equal(before.n_segments, 3);
	assert_int_equal(plan.volumes[0].n_segments, 5);
	assert_int_equal(plan.volumes[0].bytes, 12 * GIB + MIB);
	/* Those of the other moved up. */
	assert_int_equal(plan.volumes[1].first_segment, 0);
	segment_is(0, 1, 0, 8 * GIB);
	assert_int_equal(plan.volumes[0].first_segment, 1);
	segment_is(1, 0, 0, 3 * GIB);
	segment_is(3, 0, 6 * GIB, 2 * GIB);
	segment_is(4, 0, 8 * GIB, 3 * GIB);
	segment_is(5, 0, 11 * GIB, GIB + MIB);
	assert_int_equal(plan.n_segments, 6);
}

static void is_not_grown(const struct plan_volume *before, enum plan_refusal refusal,
			 const char *reason)
{
	const struct plan_volume *volume = &plan.volumes[0];

	assert_int_equal(volume->refusal, refusal);
	assert_string_equal(volume->reason, reason);
	assert_int_equal(volume->n_segments, before->n_segments);
	assert_int_equal(volume->first_segment, before->first_segment);
	assert_int_equal(volume->bytes, before->bytes);
	assert_int_equal(volume->n_disks, before->n_disks);
}

static void growth_refused(void **state)
{
	struct volume_config config = volume("data", "b");
	struct disk_facts disks[] = {disk("/dev/vdb", "b")};
	struct plan_volume before;

	assert_int_equal(plan_make(&plan, &config, 1, disks, 1), 0);
	grow_one(&before, disks, 8 * GIB + 16 * MIB - 1);
	is_not_grown(&before, PLAN_NO_LARGER,
		     "volume data: no 16 MiB are free behind it on disk /dev/vdb");
	grow_one(&before, disks, 8 * GIB + 16 * MIB);
	assert_int_equal(plan.volumes[0].refusal, PLAN_OK);
	assert_int_equal(plan.volumes[0].n_segments, 2);
	/* A disk that shrank. */
	grow_one(&before, disks, 4 * GIB);
	is_not_grown(&before, PLAN_NO_LARGER,
		     "volume data: no 16 MiB are free behind it on disk /dev/vdb");
	/* Another volume has what follows. */
	disks[0].ranges[0] = (struct disk_range){(9 * GIB) / 512, MIB / 512};
	disks[0].n_ranges = 1;
	grow_one(&before, disks, 12 * GIB);
	is_not_grown(&before, PLAN_NO_LARGER,
		     "volume data: no 16 MiB are free behind it on disk /dev/vdb");
	disks[0].n_ranges = 0;
	config.segment_bytes = 16 * MIB;
	grow_one(&before, disks, 12 * GIB);
	assert_int_equal(plan.volumes[0].refusal, PLAN_TOO_MANY);
	config.segment_bytes = SEGMENT_BYTES_MAX;
	config.length.bytes = 8 * GIB;
	grow_one(&before, disks, 12 * GIB);
	is_not_grown(&before, PLAN_FIXED, "volume data: Length= is given, so it does not grow");
}

static void growth_of_several_disks(void **state)
{
	struct volume_config config = volume("data", "b");
	struct disk_facts disks[] = {disk("/dev/vda", "b"), disk("/dev/vdb", "b")};
	struct plan_volume before;

	config.n_disks = 2;
	assert_int_equal(plan_make(&plan, &config, 1, disks, 2), 0);
	grow_one(&before, disks, 9 * GIB);
	assert_int_equal(plan.volumes[0].n_segments, 3);
	segment_is(2, 0, 8 * GIB, GIB);

	/* Striped, it grows when all of them have. */
	config.layout = LAYOUT_STRIPED;
	disks[0].bytes = 8 * GIB;
	assert_int_equal(plan_make(&plan, &config, 1, disks, 2), 0);
	grow_one(&before, disks, 9 * GIB);
	is_not_grown(
		&before, PLAN_NO_LARGER,
		"volume data: no 16 MiB are free behind it on its disks, the first of which is "
		"/dev/vda");
	disks[1].bytes = 8 * GIB + 512 * MIB;
	grow_one(&before, disks, 9 * GIB);
	assert_int_equal(plan.volumes[0].n_segments, 4);
	segment_is(2, 0, 8 * GIB, 512 * MIB);
	segment_is(3, 1, 8 * GIB, 512 * MIB);
}

static void a_dropped_volume(void **state)
{
	struct volume_config configs[] = {volume("data", "b"), volume("swap", "c")};
	struct disk_facts disks[] = {disk("/dev/vdb", "b"), disk("/dev/vdc", "c")};

	configs[0].segment_bytes = 4 * GIB;
	assert_int_equal(plan_make(&plan, configs, 2, disks, 2), 0);
	plan_drop(&plan, 0);
	assert_int_equal(plan.n_segments, 1);
	assert_int_equal(plan.volumes[0].n_segments, 0);
	assert_int_equal(plan.volumes[0].n_disks, 0);
	assert_int_equal(plan.volumes[1].first_segment, 0);
	segment_is(0, 1, 0, 8 * GIB);
	plan_drop(&plan, 0);
	assert_int_equal(plan.n_segments, 1);
	plan_drop(&plan, 1);
	assert_int_equal(plan.n_segments, 0);
}

static void bounds(void **state)
{
	static struct volume_config configs[VOLUMES_MAX + 1];
	static struct disk_facts disks[DISKS_MAX + 1];

	assert_int_equal(plan_make(&plan, configs, VOLUMES_MAX + 1, disks, 1), -E2BIG);
	assert_int_equal(plan_make(&plan, configs, 1, disks, DISKS_MAX + 1), -E2BIG);
	assert_int_equal(plan_make(&plan, configs, 0, disks, DISKS_MAX), 0);
	assert_int_equal(plan.n_volumes, 0);
}

static void what_a_disk_says_is_printable(void **state)
{
	struct volume_config config = volume("data", "b");
	struct disk_facts facts = disk("/dev/vdb", "b");

	strcpy(facts.signature, "x\033[2J\n");
	plan_make(&plan, &config, 1, &facts, 1);
	assert_non_null(strstr(plan.volumes[0].reason, "carries x?[2J?;"));
}

/* Whatever lay in the plan, and whatever is not part of what is planned, does not show. */
static void print_is_stable(void **state)
{
	static const char expected[] =
		"volume data ext4 on /dev/vdb, 8589934592 bytes in 2 segments\n"
		"  segment emberlock-data-s0, sectors 0 to 10485759\n"
		"  segment emberlock-data-s1, sectors 10485760 to 16777215\n"
		"volume swap ext4 refused (missing): volume swap: no disk matches Serial=x\n";
	struct volume_config configs[] = {volume("data", "b"), volume("swap", "x")};
	struct disk_facts facts = disk("/dev/vdb", "b");
	char text[1024];

	configs[0].segment_bytes = 5 * GIB;
	memset(&plan, 0x5a, sizeof(plan));
	assert_int_equal(plan_make(&plan, configs, 2, &facts, 1), 0);
	assert_int_equal(plan_print(&plan, &facts, text, sizeof(text)), strlen(expected));
	assert_string_equal(text, expected);
	facts.major = 253;
	strcpy(facts.used_by, "x");
	assert_int_equal(plan_make(&plan, configs, 2, &facts, 1), 0);
	plan_print(&plan, &facts, text, sizeof(text));
	assert_string_equal(text, expected);
	assert_int_equal(plan_print(&plan, &facts, text, sizeof(expected)), sizeof(expected) - 1);
	for (size_t size = 0; size < sizeof(expected); size++)
		assert_int_equal(plan_print(&plan, &facts, text, size), -ENOBUFS);
}

/* That a volume is bound is in the plan, and so in its hash. */
static void print_bound(void **state)
{
	static const char expected[] =
		"volume data ext4 on /dev/vdb, 8589934592 bytes in 1 segments, after admission "
		"(Bind=yes)\n"
		"  segment emberlock-data-s0, sectors 0 to 16777215\n";
	struct volume_config config = volume("data", "b");
	struct disk_facts facts = disk("/dev/vdb", "b");
	char text[1024];

	config.bind = true;
	assert_int_equal(plan_make(&plan, &config, 1, &facts, 1), 0);
	plan_print(&plan, &facts, text, sizeof(text));
	assert_string_equal(text, expected);
}

static void names_of_maps(void **state)
{
	char name[DM_NAME_MAX + 1];

	volume_dm_name(name, "data");
	assert_string_equal(name, "emberlock-data");
	segment_dm_name(name, "data", 12);
	assert_string_equal(name, "emberlock-data-s12");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_match),
		cmocka_unit_test(each_key_must_match),
		cmocka_unit_test(partitions_by_path_and_label_only),
		cmocka_unit_test(what_shows_without_opening),
		cmocka_unit_test(missing),
		cmocka_unit_test(ambiguous),
		cmocka_unit_test(not_free),
		cmocka_unit_test(signed_by_another),
		cmocka_unit_test(any_destroys_nothing_in_use),
		cmocka_unit_test(too_small),
		cmocka_unit_test(taken_twice),
		cmocka_unit_test(taken_in_part),
		cmocka_unit_test(segments_are_cut),
		cmocka_unit_test(too_many_segments),
		cmocka_unit_test(a_star_is_any_rest),
		cmocka_unit_test(parts_of_one_disk),
		cmocka_unit_test(hundredths_meet),
		cmocka_unit_test(parts_that_overlap),
		cmocka_unit_test(a_part_must_fit),
		cmocka_unit_test(the_rest_of_a_disk),
		cmocka_unit_test(as_many_disks_as_it_says),
		cmocka_unit_test(joined),
		cmocka_unit_test(striped),
		cmocka_unit_test(a_key_for_each_tebibyte),
		cmocka_unit_test(growth_adds_segments),
		cmocka_unit_test(growth_refused),
		cmocka_unit_test(growth_of_several_disks),
		cmocka_unit_test(a_dropped_volume),
		cmocka_unit_test(bounds),
		cmocka_unit_test(what_a_disk_says_is_printable),
		cmocka_unit_test(print_is_stable),
		cmocka_unit_test(print_bound),
		cmocka_unit_test(names_of_maps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
