/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of the records that are more than an integer. */
#include "core/field.h"

#include <string.h>

#include "base/bytes.h"
#include "base/parse.h"

bool field_starts(const uint8_t *bytes, size_t size, size_t size_wanted, const char *magic)
{
	return size == size_wanted && memcmp(bytes, magic, MAGIC_SIZE) == 0;
}

void field_put_text(uint8_t *bytes, size_t size, const char *text)
{
	size_t len = strnlen(text, size - 1);

	memset(bytes, 0, size);
	memcpy(bytes, text, len);
}

bool field_get_text(const uint8_t *bytes, size_t size, char *to)
{
	size_t len = strnlen((const char *)bytes, size);

	if (len == size || !bytes_are_zero(bytes + len, size - len))
		return false;
	for (size_t i = 0; i < len; i++)
		if (bytes[i] < ' ' || bytes[i] > '~')
			return false;
	memcpy(to, bytes, size);
	return true;
}

bool field_get_name(const uint8_t *bytes, size_t size, char *to)
{
	return field_get_text(bytes, size, to) && name_is_valid(to, size - 1);
}

void field_put_sequence(uint8_t *bytes, struct sequence sequence)
{
	put_be64(bytes, sequence.epoch);
	put_be64(bytes + 8, sequence.counter);
}

struct sequence field_get_sequence(const uint8_t *bytes)
{
	return (struct sequence){.epoch = get_be64(bytes), .counter = get_be64(bytes + 8)};
}
