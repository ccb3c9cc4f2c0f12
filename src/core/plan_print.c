/* SPDX-License-Identifier: Apache-2.0 */
/* The plan as people read it and as it is hashed, and the names of its maps. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/plan.h"

struct text {
	char *bytes;
	size_t size, len;
};

/* Adds to TEXT; once it is full, len is at least size. */
__attribute__((format(printf, 2, 3))) static void add(struct text *text, const char *format, ...)
{
	va_list arguments;
	int n;

	if (text->len >= text->size)
		return;
	va_start(arguments, format);
	n = vsnprintf(text->bytes + text->len, text->size - text->len, format, arguments);
	va_end(arguments);
	text->len = n < 0 ? text->size : text->len + (size_t)n;
}

static void add_disks(struct text *text, const struct plan_volume *volume,
		      const struct disk_facts *disks)
{
	for (uint32_t k = 0; k < volume->n_disks; k++)
		add(text, " %s", disks[volume->disks[k]].path);
}

static void add_volume(struct text *text, const struct plan *plan, const struct plan_volume *volume,
		       const struct disk_facts *disks)
{
	const struct volume_config *config = volume->config;
	char name[DM_NAME_MAX + 1];

	if (volume->refusal != PLAN_OK) {
		add(text, "volume %s %s refused (%s): %s\n", config->name,
		    volume_use_name(config->use), plan_refusal_name(volume->refusal),
		    volume->reason);
		return;
	}
	add(text, "volume %s %s on", config->name, volume_use_name(config->use));
	add_disks(text, volume, disks);
	add(text, ", %ju bytes in %u segments", (uintmax_t)volume->bytes, volume->n_segments);
	if (config->layout == LAYOUT_STRIPED)
		add(text, ", striped by %u bytes", config->stripe_bytes);
	if (config->bind)
		add(text, ", after admission (Bind=yes)");
	add(text, "\n");
	for (uint32_t i = 0; i < volume->n_segments; i++) {
		const struct plan_segment *segment = &plan->segments[volume->first_segment + i];

		segment_dm_name(name, config->name, i);
		add(text, "  segment %s, sectors %ju to %ju", name,
		    (uintmax_t)segment->offset_sectors,
		    (uintmax_t)(segment->offset_sectors + segment->length_sectors - 1));
		if (volume->n_disks > 1)
			add(text, " of %s", disks[segment->disk].path);
		add(text, "\n");
	}
}

int plan_print(const struct plan *plan, const struct disk_facts *disks, char *text, size_t size)
{
	struct text out = {.bytes = text, .size = size};

	if (size == 0)
		return -ENOBUFS;
	text[0] = '\0';
	for (uint32_t i = 0; i < plan->n_volumes; i++)
		add_volume(&out, plan, &plan->volumes[i], disks);
	return out.len < size ? (int)out.len : -ENOBUFS;
}

void volume_dm_name(char to[static DM_NAME_MAX + 1], const char *volume)
{
	snprintf(to, DM_NAME_MAX + 1, "emberlock-%.*s", VOLUME_NAME_MAX, volume);
}

void segment_dm_name(char to[static DM_NAME_MAX + 1], const char *volume, unsigned segment)
{
	snprintf(to, DM_NAME_MAX + 1, "emberlock-%.*s-s%u", VOLUME_NAME_MAX, volume, segment);
}
