/* SPDX-License-Identifier: Apache-2.0 */
/* What disks there are, and what is on them. Reads only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/plan.h"

/* Whole disks and partitions that udev has finished with and that one of CONFIGS (N_CONFIGS of them)
 * asks for, but for the label that is looked for on them; sorted by path; without device-mapper maps
 * (ours or others': their queues cannot be bounded), loop, zram, ram, optical and floppy drives, and
 * drives of size 0. No other disk is opened: one that is stalled, or about to be mounted, is left
 * alone. A disk that cannot be read has the signature "unreadable", one with
 * several signatures "ambiguous". *ret_unfinished is whether there are others that udev has not
 * finished with: what matches one disk now may match several then. Where no udev runs, all are taken
 * as they are, and what they are is what sysfs says. 0; -E2BIG where there are more
 * than MAX; or negative errno. */
int disks_find(const struct volume_config *configs, size_t n_configs, struct disk_facts *facts,
	       size_t max, size_t *ret_n, bool *ret_unfinished);

/* The same of one device by its major and minor number. -ENODEV where there is none such. */
int disk_read(unsigned major, unsigned minor, struct disk_facts *ret_facts);

/* As far as can be told without opening it, so without waiting for a disk that stalls: no signature, no
 * label. */
int disk_describe(unsigned major, unsigned minor, struct disk_facts *ret_facts);
