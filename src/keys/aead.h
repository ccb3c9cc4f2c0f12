/* SPDX-License-Identifier: Apache-2.0 */
/* AES-256-GCM (NIST SP 800-38D) over whole texts in memory. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define AEAD_KEY_SIZE	32
#define AEAD_NONCE_SIZE 12
#define AEAD_TAG_SIZE	16
#define AEAD_TEXT_MAX	65536 /* bytes of a text, and of its additional data */

/* SEALED takes N bytes and the tag after them. A key and nonce seal one text, ever. 0; -E2BIG; -EIO
 * where OpenSSL fails. */
int aead_seal(const uint8_t key[static AEAD_KEY_SIZE], const uint8_t nonce[static AEAD_NONCE_SIZE],
	      const void *additional, size_t additional_size, const uint8_t *plain, size_t n,
	      uint8_t *sealed);

/* PLAIN takes the N bytes before the tag. 0; -EBADMSG where the tag is not that of key, nonce,
 * additional data and text; -E2BIG; -EIO. On error PLAIN is wiped. */
int aead_open(const uint8_t key[static AEAD_KEY_SIZE], const uint8_t nonce[static AEAD_NONCE_SIZE],
	      const void *additional, size_t additional_size, const uint8_t *sealed, size_t n,
	      uint8_t *plain);
