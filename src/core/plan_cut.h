/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of disks, and cutting them into segments; for core/plan*.c. */
#pragma once

#include <stdbool.h>

#include "core/plan.h"

/* Refuses VOLUME with a reason that a console can show, whatever a disk calls itself. */
void plan_refuse(struct plan_volume *volume, enum plan_refusal refusal, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The part of DISK that CONFIG asks for: false where it is under 16 MiB or ends beyond the disk. */
bool plan_part(const struct volume_config *config, const struct disk_facts *disk,
	       struct disk_range *ret_range);

bool ranges_overlap(const struct disk_range *a, const struct disk_range *b);

/* Cuts VOLUME, whose disks are chosen and free, into the plan's next segments; refuses it, without
 * disks, where too few are left. */
void plan_cut(struct plan *plan, struct plan_volume *volume, const struct disk_facts *disks);
