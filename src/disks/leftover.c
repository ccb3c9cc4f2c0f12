/* SPDX-License-Identifier: Apache-2.0 */
/* Which volumes the kernel holds maps of. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "disks/maps.h"
#include "disks/segment.h"
#include "disks/volume.h"

#define NAME_PREFIX    "emberlock-"
#define SEGMENT_SUFFIX "-s"

struct list {
	struct volume_leftover *leftovers;
	size_t n, max;
};

static int leftover_get(struct list *list, const char *name, struct volume_leftover **ret_leftover)
{
	struct volume_leftover *leftover;
	int r;

	for (size_t i = 0; i < list->n; i++)
		if (strcmp(list->leftovers[i].name, name) == 0) {
			*ret_leftover = &list->leftovers[i];
			return 0;
		}
	if (list->n == list->max)
		return -E2BIG;
	leftover = &list->leftovers[list->n];
	*leftover = (struct volume_leftover){.n_segments = 0};
	r = copy_text(leftover->name, sizeof(leftover->name), name);
	if (r < 0)
		return r;
	list->n++;
	*ret_leftover = leftover;
	return 0;
}

/* "emberlock-NAME-sN" → NAME and N. A volume's name may hold "-s" too: the last one counts. */
static int segment_name_split(const char *dm_name, char volume[static VOLUME_NAME_MAX + 1],
			      uint32_t *ret_number)
{
	const char *name = dm_name + strlen(NAME_PREFIX), *suffix = NULL;
	uint32_t number;

	if (strncmp(dm_name, NAME_PREFIX, strlen(NAME_PREFIX)) != 0)
		return -EINVAL;
	for (const char *p = name; (p = strstr(p, SEGMENT_SUFFIX)); p++)
		suffix = p;
	if (!suffix || suffix - name > VOLUME_NAME_MAX)
		return -EINVAL;
	if (parse_u32(suffix + strlen(SEGMENT_SUFFIX), &number) < 0 || number >= SEGMENTS_MAX)
		return -EINVAL;
	(void)snprintf(volume, VOLUME_NAME_MAX + 1, "%.*s", (int)(suffix - name), name);
	*ret_number = number;
	return 0;
}

static int found(const char *name, void *userdata)
{
	struct volume_leftover *leftover;
	char volume[VOLUME_NAME_MAX + 1], uuid[DM_NAME_MAX + 1];
	struct map_info info;
	uint32_t number;
	int r;

	r = map_info(name, &info);
	if (r == -ENXIO)
		return 0;
	if (r < 0)
		return r;
	if (strncmp(info.uuid, VOLUME_UUID_PREFIX, strlen(VOLUME_UUID_PREFIX)) == 0) {
		r = leftover_get(userdata, info.uuid + strlen(VOLUME_UUID_PREFIX), &leftover);
		if (r < 0)
			return r;
		leftover->mapped = true;
		return 0;
	}
	if (segment_name_split(name, volume, &number) < 0)
		return 0;
	segment_dm_uuid(uuid, volume, number);
	if (strcmp(info.uuid, uuid) != 0)
		return 0;
	r = leftover_get(userdata, volume, &leftover);
	if (r < 0)
		return r;
	if (leftover->n_segments <= number)
		leftover->n_segments = number + 1;
	return 0;
}

static int leftover_compare(const void *a, const void *b)
{
	return strcmp(((const struct volume_leftover *)a)->name,
		      ((const struct volume_leftover *)b)->name);
}

int volumes_leftover(struct volume_leftover *leftovers, size_t max, size_t *ret_n)
{
	struct list list = {.leftovers = leftovers, .max = max};
	int r;

	r = maps_each(found, &list);
	if (r < 0)
		return r;
	qsort(leftovers, list.n, sizeof(leftovers[0]), leftover_compare);
	*ret_n = list.n;
	return 0;
}
