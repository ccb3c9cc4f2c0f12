/* SPDX-License-Identifier: Apache-2.0 */
/* The request queue below a segment: its bound is how long a suspend, and so a wipe, can take. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "disks/reason.h"

/* Lowers nr_requests and max_sectors_kb of the disk (or of the disk of the partition) to at most
 * REQUESTS and MAX_KIB; never raises them. Both hold for the whole disk. 0, or negative errno with
 * REASON. */
int queue_bound(unsigned major, unsigned minor, uint32_t requests, uint32_t max_kib,
		char reason[static REASON_SIZE]);

/* Looks whether they are at most that. 0 or negative errno. */
int queue_is_bounded(unsigned major, unsigned minor, uint32_t requests, uint32_t max_kib,
		     bool *ret_bounded);

/* The same in the sysfs directory DIRECTORY of a queue. */
int queue_directory_bound(const char *directory, uint32_t requests, uint32_t max_kib,
			  char reason[static REASON_SIZE]);
int queue_directory_is_bounded(const char *directory, uint32_t requests, uint32_t max_kib,
			       bool *ret_bounded);
