/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes that every part agrees on. */
#pragma once

#define VOLUME_NAME_MAX	  31 /* characters of a volume's name */
#define ID_TEXT_MAX	  63 /* characters of a workspace's or VM's id */
#define VOLUMES_MAX	  16
#define VOLUME_DISKS_MAX  8
#define SEGMENTS_MAX	  64 /* of all volumes together */
#define DM_NAME_MAX	  127
#define SIGNING_KEYS_MAX  8
#define SECTOR_SIZE	  512u
#define CRYPT_SECTOR_SIZE 4096u
#define SEGMENT_BYTES_MAX (1ull << 40) /* AES-XTS: at most 2^36 blocks under one key */

#define BOOT_KEY_SIZE	   64
#define SEGMENT_KEY_SIZE   64
#define IDENTITY_SEED_SIZE 32 /* Ed25519, RFC 8032 */
#define BOOT_ID_SIZE	   16
#define HASH_SIZE	   32 /* SHA-256 */
#define CHALLENGE_SIZE	   32
#define PUBLIC_KEY_SIZE	   32 /* Ed25519 */
#define SIGNATURE_SIZE	   64 /* Ed25519 */
#define BIND_KEY_SIZE	   32 /* X25519 */
#define BIND_SHARE_SIZE	   32 /* the manager's part of the keys of volumes with Bind=yes */
#define BIND_SEALED_SIZE   (BIND_SHARE_SIZE + 16)
