/* SPDX-License-Identifier: Apache-2.0 */
/* Strict parsing of values: the whole text or an error, never a prefix. */
#include "base/parse.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"

/* Reads the digits TEXT begins with; *ret_rest is what follows them. */
static int digits(const char *text, uint64_t *ret_value, const char **ret_rest)
{
	uint64_t value = 0;
	const char *p = text;

	for (; *p >= '0' && *p <= '9'; p++) {
		uint64_t digit = (uint64_t)(*p - '0');

		if (value > (UINT64_MAX - digit) / 10)
			return -ERANGE;
		value = value * 10 + digit;
	}
	if (p == text)
		return -EINVAL;
	*ret_value = value;
	*ret_rest = p;
	return 0;
}

struct unit {
	const char *name;
	uint64_t factor;
};

static int parse_with_unit(const char *text, const struct unit *units, size_t n_units,
			   uint64_t *ret_value)
{
	uint64_t value;
	const char *rest;
	int r = digits(text, &value, &rest);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n_units; i++) {
		if (strcmp(rest, units[i].name) != 0)
			continue;
		if (value > UINT64_MAX / units[i].factor)
			return -ERANGE;
		*ret_value = value * units[i].factor;
		return 0;
	}
	return -EINVAL;
}

int parse_u64(const char *text, uint64_t *ret_value)
{
	static const struct unit none = {"", 1};

	return parse_with_unit(text, &none, 1, ret_value);
}

int parse_u32(const char *text, uint32_t *ret_value)
{
	uint64_t value;
	int r = parse_u64(text, &value);

	if (r < 0)
		return r;
	if (value > UINT32_MAX)
		return -ERANGE;
	*ret_value = (uint32_t)value;
	return 0;
}

int parse_bool(const char *text, bool *ret_value)
{
	static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};

	for (size_t i = 0; i < ELEMENTSOF(words); i++)
		if (strcmp(text, words[i]) == 0) {
			*ret_value = i % 2 == 1;
			return 0;
		}
	return -EINVAL;
}

int parse_size(const char *text, uint64_t *ret_bytes)
{
	static const struct unit units[] = {
		{"", 1}, {"K", 1ull << 10}, {"M", 1ull << 20}, {"G", 1ull << 30}, {"T", 1ull << 40},
	};

	return parse_with_unit(text, units, ELEMENTSOF(units), ret_bytes);
}

int parse_duration(const char *text, uint64_t *ret_ms)
{
	static const struct unit units[] = {
		{"", 1000}, {"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000},
	};

	return parse_with_unit(text, units, ELEMENTSOF(units), ret_ms);
}

int parse_mode(const char *text, uint32_t *ret_mode)
{
	size_t len = strnlen(text, 5);
	uint32_t mode = 0;

	if (len < 3 || len > 4)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '7')
			return -EINVAL;
		mode = mode << 3 | (uint32_t)(text[i] - '0');
	}
	*ret_mode = mode;
	return 0;
}

static bool name_character(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '.' || c == '_' || c == '-';
}

bool name_is_valid(const char *text, size_t max)
{
	size_t len = strnlen(text, max + 1);

	if (len == 0 || len > max || text[0] == '.' || text[0] == '-')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!name_character(text[i]))
			return false;
	return true;
}

int copy_text(char *to, size_t size, const char *text)
{
	size_t len = strnlen(text, size);

	if (len == size)
		return -ENAMETOOLONG;
	memset(to, 0, size);
	memcpy(to, text, len);
	return 0;
}
