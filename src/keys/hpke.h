/* SPDX-License-Identifier: Apache-2.0 */
/* HPKE (RFC 9180), base mode, one message: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
 *
 * Callers keep private keys and plain texts in locked memory, wipe them, and call registers_scrub()
 * after the last use of one. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "keys/aead.h"

#define HPKE_KEY_SIZE  32 /* of an X25519 key, private or public, and of an encapsulated one */
#define HPKE_SEED_SIZE 32
#define HPKE_INFO_MAX  256

/* What both sides must agree in, besides the keys. */
struct hpke_context {
	const void *info, *additional;
	size_t info_size, additional_size; /* at most HPKE_INFO_MAX, AEAD_TEXT_MAX */
};

/* DeriveKeyPair() of section 7.1.3. 0; -EIO where OpenSSL fails, RET_PRIVATE is then wiped. */
int hpke_key_derive(const uint8_t seed[static HPKE_SEED_SIZE],
		    uint8_t ret_private[static HPKE_KEY_SIZE],
		    uint8_t ret_public[static HPKE_KEY_SIZE]);

/* SealBase() for the holder of the private half of RECIPIENT. SEED: fresh random bytes, for this
 * message only. SEALED takes N bytes and AEAD_TAG_SIZE after them. 0; -E2BIG; -EBADMSG where
 * RECIPIENT is no key that anything can be sealed to; -EIO where OpenSSL fails. */
int hpke_seal(const uint8_t recipient[static HPKE_KEY_SIZE],
	      const uint8_t seed[static HPKE_SEED_SIZE], const struct hpke_context *context,
	      const uint8_t *plain, size_t n, uint8_t ret_encapsulated[static HPKE_KEY_SIZE],
	      uint8_t *sealed);

/* OpenBase(): PLAIN takes the N bytes before the tag. 0; -EBADMSG where SEALED was not made for
 * this key and context, or is damaged; -E2BIG; -EIO where OpenSSL fails. On error PLAIN is wiped. */
int hpke_open(const uint8_t private_key[static HPKE_KEY_SIZE],
	      const uint8_t encapsulated[static HPKE_KEY_SIZE], const struct hpke_context *context,
	      const uint8_t *sealed, size_t n, uint8_t *plain);
