/* SPDX-License-Identifier: Apache-2.0 */
/* Taking the disks of a volume, before its segments are made. */
#pragma once

#include "disks/reason.h"
#include "disks/volume.h"

/* The disks that are shared, while they are being taken: other workers of ours leave them alone. */
struct taken {
	int locks[VOLUME_DISKS_MAX];
};
#define TAKEN_NONE                                                                                 \
	{                                                                                          \
		.locks = { -1, -1, -1, -1, -1, -1, -1, -1 }                                        \
	}
void taken_release(struct taken *taken);
#define _cleanup_taken_ __attribute__((cleanup(taken_release)))

/* Looks whether each disk of the job is still as planned and can be had, holds all segments, and
 * bounds its queue. Device-mapper takes its own claim with the first segment. */
int disks_take(const struct volume_job *job, struct taken *taken, char reason[static REASON_SIZE]);
