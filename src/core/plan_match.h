/* SPDX-License-Identifier: Apache-2.0 */
/* What of a disk a volume file's [Disk] asks for; for plan.c, and for disks/find.c, which looks at no
 * disk that nobody asks for. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/plan.h"

/* Whether DISK is all that CONFIG asks for. A partition is a candidate for Path= and Label= only,
 * lest Serial= of a disk match its partitions too. */
bool disk_matches(const struct volume_config *config, const struct disk_facts *disk);

/* The same as far as it shows without opening DISK: whether all but Label= matches. */
bool disk_may_match(const struct volume_config *config, const struct disk_facts *disk);

/* Whether A and B are the same disk, or one is a partition of the other by its name. */
bool disks_overlap(const struct disk_facts *a, const struct disk_facts *b);

/* Whether Destroy=DESTROY lets SIGNATURE be lost; "" is nothing to lose. */
bool destroy_allows(const char *destroy, const char *signature);

/* Writes the settings of CONFIG's [Disk] as they could stand in its file, cut to SIZE. */
void match_print(const struct volume_config *config, char *text, size_t size);
