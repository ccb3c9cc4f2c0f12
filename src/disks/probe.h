/* SPDX-License-Identifier: Apache-2.0 */
/* What libblkid sees on a device. */
#pragma once

#include <stddef.h>

/* Copies TEXT, with everything but printable ASCII as '?': a label or serial number may hold
 * anything, and goes to consoles and into the plan. "" where it does not fit: a cut text could
 * match what the whole one does not. */
void fact_copy(char *to, size_t size, const char *text);

/* The same of a property of udev, which may write bytes as \x20 (blkid_encode_string() of libblkid):
 * decoded, each stretch of blanks as one space and none at either end, as lsblk(8) shows it. */
void fact_copy_property(char *to, size_t size, const char *text);

/* Fills SIGNATURE (TYPE of a superblock, PTTYPE of a partition table; "" none, "ambiguous" where
 * there are several, "unreadable" where the device cannot be read) and LABEL ("" none) from the
 * device FD. Reads only. */
void disk_probe(int fd, char signature[static 32], char label[static 64]);
