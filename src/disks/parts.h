/* SPDX-License-Identifier: Apache-2.0 */
/* Which parts of a disk are segments of ours. */
#pragma once

#include "core/plan.h"

/* Fills .ours, .n_ranges and .ranges of FACTS, of which the device number is known, from the disk's
 * holders and their tables. Uses libdevmapper. A holder that is none of ours, or that cannot be
 * looked at, or more ranges than there is room for: not ours. */
void parts_read(struct disk_facts *facts);
