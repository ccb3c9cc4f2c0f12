/* SPDX-License-Identifier: Apache-2.0 */
/* The key of a segment, from the boot key. */
#pragma once

#include <stdint.h>

#include "core/limits.h"

/* HKDF-SHA-512 (RFC 5869): salt = boot id; info = "emberlock v1 segment" with its NUL ‖ length of
 * NAME (u32, big-endian) ‖ NAME ‖ INSTANCE (u64) ‖ SEGMENT (u64). The caller keeps RET_KEY in
 * locked memory, wipes it, and calls registers_scrub() after the last use of a key. 0; -EIO where
 * OpenSSL fails, RET_KEY is then wiped; -ENAMETOOLONG where NAME is over VOLUME_NAME_MAX. */
int segment_key_derive(const uint8_t boot_key[static BOOT_KEY_SIZE],
		       const uint8_t boot_id[static BOOT_ID_SIZE], const char *name,
		       uint64_t instance, uint64_t segment,
		       uint8_t ret_key[static SEGMENT_KEY_SIZE]);

/* The same of a volume with Bind=yes: the key is BOOT_KEY ‖ SHARE, the info begins with "emberlock v1
 * bound segment" with its NUL. */
int bound_segment_key_derive(const uint8_t boot_key[static BOOT_KEY_SIZE],
			     const uint8_t share[static BIND_SHARE_SIZE],
			     const uint8_t boot_id[static BOOT_ID_SIZE], const char *name,
			     uint64_t instance, uint64_t segment,
			     uint8_t ret_key[static SEGMENT_KEY_SIZE]);
