/* SPDX-License-Identifier: Apache-2.0 */
/* Telling udev, and so systemd, that a volume can be used. */
#pragma once

#include <stdbool.h>

#include "disks/content.h"

/* Writes the ready file and makes a change event of the map, which the udev rule reads it at. Waits, for
 * 10 s at most, until udev has dealt with that: the name below /dev/mapper, with its owner, is there for
 * whoever is told that the volume is ready. Where no udev runs, makes that name itself. */
int ready_set(const struct volume_config *config, const struct owner *owner,
	      char reason[static REASON_SIZE]);

bool ready_is_set(const char *volume);

/* Removes the file, where there is one, and without udev the name. 0 or negative errno. */
int ready_clear(const char *volume);

/* The file's text. Returns its length. */
size_t ready_text(const struct volume_config *config, const struct owner *owner, char *text,
		  size_t size);
