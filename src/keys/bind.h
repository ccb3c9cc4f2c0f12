/* SPDX-License-Identifier: Apache-2.0 */
/* The share of a boot: random bytes of the manager's that go into the keys of volumes with Bind=yes,
 * sealed by HPKE (RFC 9180) for a key pair that follows from the boot key. So the share is opened
 * where a key is made, and is kept nowhere but sealed; without the boot key nobody opens it.
 *
 *	boot key, boot id ─ HKDF-SHA-512 ─ DeriveKeyPair() ─▶ private and public half
 *	info = "emberlock v1 bind share" with its NUL, additional data = the admission
 *
 * Callers keep what is secret in locked memory, wipe it, and call registers_scrub() afterwards. */
#pragma once

#include <stdint.h>

#include "core/message.h"

/* The public half of the boot's key pair. 0; -ENOKEY for a boot key that is all zero; -EIO where
 * OpenSSL fails. */
int bind_public(const uint8_t boot_key[static BOOT_KEY_SIZE],
		const uint8_t boot_id[static BOOT_ID_SIZE],
		uint8_t ret_public[static BIND_KEY_SIZE]);

/* Seals SHARE for the holder of KEY, in the boot of ADMISSION: fills in all of RET_SHARE but what
 * signing does. 0; -EBADMSG where KEY is no key; -EIO where OpenSSL fails. */
int bind_seal(const uint8_t key[static BIND_KEY_SIZE], const uint8_t admission[static HASH_SIZE],
	      const uint8_t share[static BIND_SHARE_SIZE], struct bind_share *ret_share);

/* 0; -EBADMSG where it was not sealed for this boot key, boot id and admission; -ENOKEY for a boot
 * key that is all zero; -EIO where OpenSSL fails. On error RET_SHARE is wiped. */
int bind_open(const uint8_t boot_key[static BOOT_KEY_SIZE],
	      const uint8_t boot_id[static BOOT_ID_SIZE], const struct bind_share *share,
	      uint8_t ret_share[static BIND_SHARE_SIZE]);
