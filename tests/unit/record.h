/* SPDX-License-Identifier: Apache-2.0 */
/* What holds for the form of every record of core/message.h, as checks over a good one. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"
#include "unit.h"

#define RECORD_MAX 4096

/* decode() of a record into a struct of SIZE_OUT bytes. */
struct record_kind {
	size_t size, size_out;
	int (*decode)(const uint8_t *bytes, size_t size, void *ret);
};

/* A record is refused, and nothing is written. */
static inline void record_is_refused(const struct record_kind *kind, const uint8_t *bytes,
				     size_t size)
{
	static uint8_t out[2 * RECORD_MAX];

	memset(out, 0x5a, sizeof(out));
	assert_int_equal(kind->decode(bytes, size, out), -EBADMSG);
	for (size_t i = 0; i < sizeof(out); i++)
		assert_int_equal(out[i], 0x5a);
}

static inline void record_is_accepted(const struct record_kind *kind, const uint8_t *bytes)
{
	static uint8_t out[2 * RECORD_MAX];

	assert_true(kind->size_out <= sizeof(out));
	assert_int_equal(kind->decode(bytes, kind->size, out), 0);
}

/* Every other size is refused. */
static inline void record_has_one_size(const struct record_kind *kind, const uint8_t *good)
{
	uint8_t bytes[RECORD_MAX + 1] = {};

	memcpy(bytes, good, kind->size);
	record_is_accepted(kind, bytes);
	for (size_t size = 0; size <= kind->size + 1; size++)
		if (size != kind->size)
			record_is_refused(kind, bytes, size);
}

/* Every flipped bit in FROM … FROM + N - 1 is refused: magic and reserved bytes. */
static inline void record_is_fixed_at(const struct record_kind *kind, const uint8_t *good,
				      size_t from, size_t n)
{
	uint8_t bytes[RECORD_MAX];

	memcpy(bytes, good, kind->size);
	for (size_t i = from; i < from + n; i++)
		for (int bit = 0; bit < 8; bit++) {
			bytes[i] ^= (uint8_t)(1 << bit);
			record_is_refused(kind, bytes, kind->size);
			bytes[i] ^= (uint8_t)(1 << bit);
		}
}

/* The byte AT accepts LOWEST … HIGHEST and nothing else. */
static inline void record_takes_at(const struct record_kind *kind, const uint8_t *good, size_t at,
				   unsigned lowest, unsigned highest)
{
	uint8_t bytes[RECORD_MAX];

	memcpy(bytes, good, kind->size);
	for (unsigned value = 0; value < 256; value++) {
		bytes[at] = (uint8_t)value;
		if (value >= lowest && value <= highest)
			record_is_accepted(kind, bytes);
		else
			record_is_refused(kind, bytes, kind->size);
	}
}

/* The text at FROM, SIZE bytes, must be printable, end in NUL and be padded with it. IS_NAME: and
 * a name, which is not empty. */
static inline void record_has_text_at(const struct record_kind *kind, const uint8_t *good,
				      size_t from, size_t size, bool is_name)
{
	static const uint8_t bad[] = {0x01, '\n', 0x1f, 0x7f, 0x80, 0xff};
	uint8_t bytes[RECORD_MAX];

	memcpy(bytes, good, kind->size);
	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		bytes[from] = bad[i];
		record_is_refused(kind, bytes, kind->size);
	}
	memset(bytes + from, 'a', size);
	record_is_refused(kind, bytes, kind->size);
	bytes[from + size - 1] = '\0';
	record_is_accepted(kind, bytes);
	bytes[from + 1] = '\0';
	record_is_refused(kind, bytes, kind->size);
	memset(bytes + from, 0, size);
	if (is_name)
		record_is_refused(kind, bytes, kind->size);
	else
		record_is_accepted(kind, bytes);
	memcpy(bytes + from, "a b", 3);
	if (is_name)
		record_is_refused(kind, bytes, kind->size);
	else
		record_is_accepted(kind, bytes);
}
