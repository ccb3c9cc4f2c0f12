/* SPDX-License-Identifier: Apache-2.0 */
/* What systemd is told of one volume: unit names and unit files as text. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/config.h"

#define UNIT_NAME_SIZE 256 /* systemd.unit(5): at most 255 characters */
#define UNIT_TEXT_SIZE 2048

/* The unit name of PATH, which is absolute and normalised, with SUFFIX (".mount"):
 * systemd.unit(5), "String Escaping for Inclusion in Unit Names". 0 or -ENAMETOOLONG. */
int unit_name_from_path(const char *path, const char *suffix, char ret_name[static UNIT_NAME_SIZE]);

/* Whether systemd mounts the volume or swaps on it; the others only have a device unit. */
bool volume_has_unit(const struct volume_config *volume);

/* The name of the mount or swap unit of a volume that has one. 0 or -ENAMETOOLONG. */
int volume_unit_name(const struct volume_config *volume, char ret_name[static UNIT_NAME_SIZE]);

/* The mount or swap unit of a volume that has one. A required volume's is waited for by
 * local-fs.target or swap.target, which go on without it should it fail: it never ends in
 * emergency.target. An optional volume's is waited for by nobody. 0 or -ENOBUFS. */
int volume_unit_text(const struct volume_config *volume, char ret_text[static UNIT_TEXT_SIZE]);

/* The drop-in of the volume's device unit: from when on and how long those who need the device wait
 * for it: DeviceTimeoutSec= and the time to make the volume. 0 or -ENOBUFS. */
int volume_device_text(const struct volume_config *volume, char ret_text[static UNIT_TEXT_SIZE]);
