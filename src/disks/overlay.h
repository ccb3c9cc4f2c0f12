/* SPDX-License-Identifier: Apache-2.0 */
/* The writable layer of a root that is itself only read: overlayfs, Documentation/filesystems in
 * the kernel's source.
 *
 *	ROOT                     overlay: what the system sees as /
 *	├── upper, work          ext4 on /dev/mapper/emberlock-NAME: every write; gone with the boot
 *	└── lower                what was mounted at ROOT: ext4, erofs, squashfs; read-only
 *
 * The file system of the upper layer is at no path afterwards; overlayfs alone holds it. */
#pragma once

#include <stdbool.h>

#include "disks/reason.h"

/* Mounts it over ROOT, in the initramfs. What is mounted there must be read-only; its block device
 * is set read-only too, so that nobody mounts or opens it writable later in this boot. 0, or
 * negative errno with REASON, which names volume, root and setting. */
int overlay_mount(const char *volume, const char *root, char reason[static REASON_SIZE]);

/* Whether what is mounted at PATH is an overlay. 0 or negative errno. */
int overlay_is_mounted(const char *path, bool *ret_mounted);
