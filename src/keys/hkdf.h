/* SPDX-License-Identifier: Apache-2.0 */
/* HKDF (RFC 5869): a key of any length from a key, a salt and what it is for. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum hkdf_hash { HKDF_SHA256, HKDF_SHA512 };

struct hkdf_input {
	const uint8_t *key, *salt, *info;
	size_t key_size, salt_size, info_size;
};

/* Extract and expand: N bytes into RET_BYTES. The caller keeps them in locked memory, wipes them, and
 * calls registers_scrub() after the last use of a key. 0; -EIO where OpenSSL fails, RET_BYTES is
 * then wiped. */
int hkdf(enum hkdf_hash hash, const struct hkdf_input *input, uint8_t *ret_bytes, size_t n);

/* The two halves, with the same rules. Extract needs no info, and N is the size of the hash; expand
 * needs no salt, and its key is what extract made. */
int hkdf_extract(enum hkdf_hash hash, const struct hkdf_input *input, uint8_t *ret_bytes, size_t n);
int hkdf_expand(enum hkdf_hash hash, const struct hkdf_input *input, uint8_t *ret_bytes, size_t n);
