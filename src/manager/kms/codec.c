/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 and CRC-32C as the wires of the clouds have them. */
#include "manager/kms/codec.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/bytes.h"

#define CRC32C_POLYNOMIAL 0x82f63b78u /* reflected */

static void to_url(char *text, size_t *len)
{
	while (*len > 0 && text[*len - 1] == '=')
		text[--*len] = '\0';
	for (size_t i = 0; i < *len; i++)
		text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
}

size_t base64_encode(enum base64_kind kind, const void *bytes, size_t n, char *text)
{
	size_t len = (size_t)EVP_EncodeBlock((unsigned char *)text, bytes, (int)n);

	if (kind == BASE64_URL)
		to_url(text, &len);
	return len;
}

/* The value of a character, -1 where there is none. */
static int value_of(enum base64_kind kind, char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == (kind == BASE64 ? '+' : '-'))
		return 62;
	return c == (kind == BASE64 ? '/' : '_') ? 63 : -1;
}

/* EVP_DecodeBlock() knows one alphabet and counts padding as bytes, so the bits are put together
 * here. Secret bits index no table. */
static int decode(enum base64_kind kind, const char *text, size_t len, uint8_t *bytes, size_t max,
		  size_t *ret_n)
{
	uint32_t bits = 0;
	unsigned have = 0;
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		int value = value_of(kind, text[i]);

		if (value < 0)
			return -EINVAL;
		bits = bits << 6 | (uint32_t)value;
		have += 6;
		if (have < 8)
			continue;
		have -= 8;
		if (n == max)
			return -EMSGSIZE;
		bytes[n++] = (uint8_t)(bits >> have);
	}
	/* What is left over of the last character is zero, and less than one. */
	if (have >= 6 || (bits & ((1u << have) - 1)) != 0)
		return -EINVAL;
	*ret_n = n;
	return 0;
}

int base64_decode(enum base64_kind kind, const char *text, size_t len, void *bytes, size_t max,
		  size_t *ret_n)
{
	size_t padding = 0;
	int r;

	while (padding < 2 && len > padding && text[len - 1 - padding] == '=')
		padding++;
	if ((kind == BASE64 || padding > 0) && len % 4 != 0)
		return -EINVAL;
	r = decode(kind, text, len - padding, bytes, max, ret_n);
	if (r < 0)
		bytes_wipe(bytes, max);
	return r;
}

uint32_t crc32c(const void *bytes, size_t n)
{
	const uint8_t *p = bytes;
	uint32_t crc = UINT32_MAX;

	while (n-- > 0) {
		crc ^= *p++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (CRC32C_POLYNOMIAL & -(crc & 1));
	}
	return ~crc;
}
