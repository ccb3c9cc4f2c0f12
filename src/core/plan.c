/* SPDX-License-Identifier: Apache-2.0 */
/* Volume files and what is known of the disks → which disks each volume takes. */
#include "core/plan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "core/plan_cut.h"
#include "core/plan_match.h"

void plan_refuse(struct plan_volume *volume, enum plan_refusal refusal, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(volume->reason, sizeof(volume->reason), format, arguments);
	va_end(arguments);
	for (char *c = volume->reason; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	volume->refusal = refusal;
}

/* A volume that is refused has no disk. */
#define refuse(volume, ...) (plan_refuse(volume, __VA_ARGS__), (void)((volume)->n_disks = 0))

static void refuse_fewer(struct plan_volume *volume, const char *criteria)
{
	const struct volume_config *config = volume->config;

	if (config->n_disks == 1)
		refuse(volume, PLAN_MISSING, "volume %s: no disk matches %s", config->name,
		       criteria);
	else
		refuse(volume, PLAN_MISSING, "volume %s: %u disks, not Disks=%u, match %s",
		       config->name, volume->n_disks, config->n_disks, criteria);
}

/* Finds the disks that CONFIG describes; refuses VOLUME where they are not as many as it says. */
static void choose_disks(struct plan_volume *volume, const struct disk_facts *disks, size_t n_disks)
{
	const struct volume_config *config = volume->config;
	char criteria[160];

	match_print(config, criteria, sizeof(criteria));
	for (uint32_t i = 0; i < n_disks; i++) {
		if (!disk_matches(config, &disks[i]))
			continue;
		if (volume->n_disks == config->n_disks) {
			refuse(volume, PLAN_AMBIGUOUS, "volume %s: %.63s and %.63s both match %s",
			       config->name, disks[volume->disks[volume->n_disks - 1]].path,
			       disks[i].path, criteria);
			return;
		}
		volume->disks[volume->n_disks++] = i;
	}
	if (volume->n_disks < config->n_disks)
		refuse_fewer(volume, criteria);
}

/* Whether the two take the same bytes of a disk; *RET_DISK is A's. */
static bool volumes_collide(const struct plan_volume *a, const struct plan_volume *b,
			    const struct disk_facts *disks, uint32_t *ret_disk)
{
	for (uint32_t i = 0; i < a->n_disks; i++)
		for (uint32_t j = 0; j < b->n_disks; j++) {
			const struct disk_facts *one = &disks[a->disks[i]],
						*other = &disks[b->disks[j]];
			struct disk_range range, beside;

			if (!disks_overlap(one, other))
				continue;
			*ret_disk = a->disks[i];
			if (one != other || !plan_part(a->config, one, &range) ||
			    !plan_part(b->config, other, &beside) ||
			    ranges_overlap(&range, &beside))
				return true;
		}
	return false;
}

static void refuse_taken(struct plan_volume *volume, const struct disk_facts *disk,
			 const struct volume_config *other)
{
	if (plan_is_part(volume->config) && plan_is_part(other))
		refuse(volume, PLAN_TAKEN,
		       "volume %s: its part of disk %.63s and that of volume %s overlap; see "
		       "Offset= "
		       "and Length=",
		       volume->config->name, disk->path, other->name);
	else
		refuse(volume, PLAN_TAKEN,
		       "volume %s: disk %.63s is also matched by volume %s; the settings of [Disk] "
		       "must tell them apart",
		       volume->config->name, disk->path, other->name);
}

/* Refuses every volume whose disk, or a part of it, another one was to take. */
static void refuse_shared(struct plan *plan, const struct disk_facts *disks)
{
	struct plan_volume chosen[VOLUMES_MAX];

	memcpy(chosen, plan->volumes, sizeof(chosen));
	for (uint32_t i = 0; i < plan->n_volumes; i++)
		for (uint32_t j = 0; j < plan->n_volumes; j++) {
			uint32_t disk;

			if (i == j || plan->volumes[i].n_disks == 0 ||
			    !volumes_collide(&chosen[i], &chosen[j], disks, &disk))
				continue;
			refuse_taken(&plan->volumes[i], &disks[disk], chosen[j].config);
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

/* A disk that other volumes have parts of: its part must be free, and what the disk carried is lost
 * already. */
static void check_rest(struct plan_volume *volume, const struct disk_facts *disk)
{
	struct disk_range range;

	if (!plan_part(volume->config, disk, &range))
		return;
	if (!plan_is_part(volume->config))
		refuse(volume, PLAN_IN_USE, "volume %s: disk %.63s is in use (%.63s)",
		       volume->config->name, disk->path, disk->used_by);
	else if (disk_range_taken(disk, &range))
		refuse(volume, PLAN_IN_USE,
		       "volume %s: its part of disk %.63s is in use (%.63s); see Offset= and "
		       "Length=",
		       volume->config->name, disk->path, disk->used_by);
}

/* Refuses a disk that is not free, or not for us to overwrite. */
static void check_disk(struct plan_volume *volume, const struct disk_facts *disk)
{
	const char *name = volume->config->name;
	struct disk_range range;

	if (disk->read_only)
		refuse(volume, PLAN_READ_ONLY, "volume %s: disk %.63s is read-only", name,
		       disk->path);
	else if (disk->mounted)
		refuse(volume, PLAN_MOUNTED, "volume %s: disk %.63s is mounted (%.63s)", name,
		       disk->path, disk->used_by);
	else if (disk->in_use && disk->ours)
		check_rest(volume, disk);
	else if (disk->in_use)
		refuse(volume, PLAN_IN_USE, "volume %s: disk %.63s is in use (%.63s)", name,
		       disk->path, disk->used_by);
	else if (!destroy_allows(volume->config->destroy, disk->signature))
		refuse_signed(volume, disk);
	if (volume->refusal != PLAN_OK || plan_part(volume->config, disk, &range))
		return;
	if (plan_is_part(volume->config))
		refuse(volume, PLAN_TOO_SMALL,
		       "volume %s: disk %.63s has %ju bytes; Offset= and Length= leave no 16 MiB "
		       "of it, or end beyond it",
		       name, disk->path, (uintmax_t)disk->bytes);
	else
		refuse(volume, PLAN_TOO_SMALL,
		       "volume %s: disk %.63s has %ju bytes; a volume needs 16 MiB", name,
		       disk->path, (uintmax_t)disk->bytes);
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
		choose_disks(&plan->volumes[i], disks, n_disks);
	}
	refuse_shared(plan, disks);
	for (uint32_t i = 0; i < plan->n_volumes; i++) {
		struct plan_volume *volume = &plan->volumes[i];
		uint32_t chosen = volume->n_disks;

		for (uint32_t k = 0; k < chosen && volume->refusal == PLAN_OK; k++)
			check_disk(volume, &disks[volume->disks[k]]);
		if (volume->refusal == PLAN_OK)
			plan_cut(plan, volume, disks);
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
		[PLAN_FIXED] = "fixed",
		[PLAN_NO_LARGER] = "no larger",
	};

	return refusal < ELEMENTSOF(names) ? names[refusal] : "unknown";
}
