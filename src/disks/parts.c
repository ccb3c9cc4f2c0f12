/* SPDX-License-Identifier: Apache-2.0 */
/* Which parts of a disk are segments of ours: the holders of sysfs, and their tables. */
#include "disks/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "disks/maps.h"
#include "disks/segment.h"

#define OUR_UUID SEGMENT_UUID_PREFIX "emberlock-"

static int attribute_read(int directory, const char *holder, const char *name, char *text,
			  size_t size)
{
	char path[128];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "%.32s/dm/%s", holder, name);
	n = file_read(directory, path, text, size - 1);
	if (n < 0)
		return (int)n;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return 0;
}

/* Neighbours become one: a long volume has many segments. */
static int range_add(struct disk_facts *facts, const struct disk_range *range)
{
	for (uint32_t i = 0; i < facts->n_ranges; i++) {
		struct disk_range *known = &facts->ranges[i];

		if (known->offset_sectors + known->length_sectors == range->offset_sectors) {
			known->length_sectors += range->length_sectors;
			return 0;
		}
		if (range->offset_sectors + range->length_sectors == known->offset_sectors) {
			known->offset_sectors = range->offset_sectors;
			known->length_sectors += range->length_sectors;
			return 0;
		}
	}
	if (facts->n_ranges == DISK_RANGES_MAX)
		return -E2BIG;
	facts->ranges[facts->n_ranges++] = *range;
	return 0;
}

static int holder_add(struct disk_facts *facts, int directory, const char *holder)
{
	char name[DM_NAME_MAX + 2], uuid[MAP_UUID_SIZE + 1], table[MAP_TABLE_SIZE];
	struct segment_table look;
	struct disk_range range;
	int r;

	r = attribute_read(directory, holder, "uuid", uuid, sizeof(uuid));
	if (r < 0)
		return r;
	if (strncmp(uuid, OUR_UUID, strlen(OUR_UUID)) != 0)
		return -EEXIST;
	r = attribute_read(directory, holder, "name", name, sizeof(name));
	if (r < 0)
		return r;
	r = map_table(name, "crypt", table, &range.length_sectors);
	if (r < 0)
		return r;
	segment_table_look(table, &look);
	bytes_wipe(table, sizeof(table));
	if (look.major != facts->major || look.minor != facts->minor)
		return -EBADMSG;
	range.offset_sectors = look.offset_sectors;
	return range_add(facts, &range);
}

void parts_read(struct disk_facts *facts)
{
	_cleanup_closedir_ DIR *stream = NULL;
	const struct dirent *entry;
	char path[64];
	int r = 0;

	facts->ours = false;
	facts->n_ranges = 0;
	(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/holders", facts->major,
		       facts->minor);
	stream = opendir(path);
	while (stream && r == 0 && (entry = readdir(stream)))
		if (entry->d_name[0] != '.')
			r = holder_add(facts, dirfd(stream), entry->d_name);
	facts->ours = r == 0 && facts->n_ranges > 0;
	if (!facts->ours)
		facts->n_ranges = 0;
}
