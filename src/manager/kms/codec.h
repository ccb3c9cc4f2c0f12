/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 and CRC-32C as the wires of the clouds have them. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum base64_kind {
	BASE64,	    /* RFC 4648 section 4, padded */
	BASE64_URL, /* section 5, without padding */
};

/* Characters of N encoded bytes, with the NUL. */
#define BASE64_SIZE(n) (((n) + 2) / 3 * 4 + 1)

/* TEXT has BASE64_SIZE(N) bytes; returns the length. */
size_t base64_encode(enum base64_kind kind, const void *bytes, size_t n, char *text);

/* The whole of TEXT or nothing: -EINVAL where it is not of the KIND (padding may be there or absent
 * in BASE64_URL), -EMSGSIZE above MAX bytes; BYTES is then wiped. BYTES has MAX bytes. */
int base64_decode(enum base64_kind kind, const char *text, size_t len, void *bytes, size_t max,
		  size_t *ret_n);

/* RFC 3720 appendix B.4 (Castagnoli). */
uint32_t crc32c(const void *bytes, size_t n);
