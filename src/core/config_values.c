/* SPDX-License-Identifier: Apache-2.0 */
/* Setters of the configuration's kinds of values. */
#include <string.h>

#include "base/bytes.h"
#include "base/parse.h"
#include "core/config_grammar.h"

bool config_set_bool(const struct config_key *key, const char *value, void *field)
{
	return parse_bool(value, field) == 0;
}

bool config_set_u32(const struct config_key *key, const char *value, void *field)
{
	uint32_t number;

	if (parse_u32(value, &number) < 0 || number < key->min || number > key->max)
		return false;
	memcpy(field, &number, sizeof(number));
	return true;
}

bool config_set_priority(const struct config_key *key, const char *value, void *field)
{
	uint32_t number;
	int32_t priority;

	if (parse_u32(value, &number) < 0 || number > INT16_MAX)
		return false;
	priority = (int32_t)number;
	memcpy(field, &priority, sizeof(priority));
	return true;
}

bool config_set_duration(const struct config_key *key, const char *value, void *field)
{
	uint64_t ms = UINT64_MAX;

	if (key->max != UINT64_MAX || strcmp(value, "infinity") != 0)
		if (parse_duration(value, &ms) < 0 || ms < key->min || ms > key->max)
			return false;
	memcpy(field, &ms, sizeof(ms));
	return true;
}

/* The index of VALUE in the words of KEY, or -1. */
static int find_word(const struct config_key *key, const char *value)
{
	for (int i = 0; key->words[i]; i++)
		if (strcmp(key->words[i], value) == 0)
			return i;
	return -1;
}

bool config_set_word(const struct config_key *key, const char *value, void *field)
{
	int index = find_word(key, value);
	unsigned word = (unsigned)index + (unsigned)key->min;

	if (index < 0)
		return false;
	memcpy(field, &word, sizeof(word));
	return true;
}

bool config_set_choice(const struct config_key *key, const char *value, void *field)
{
	int index = find_word(key, value);
	bool choice = index == 1;

	if (index < 0)
		return false;
	memcpy(field, &choice, sizeof(choice));
	return true;
}

bool config_set_mode(const struct config_key *key, const char *value, void *field)
{
	return parse_mode(value, field) == 0;
}

bool config_set_text(const struct config_key *key, const char *value, void *field)
{
	return copy_text(field, key->size, value) == 0;
}

bool config_set_name(const struct config_key *key, const char *value, void *field)
{
	return name_is_valid(value, key->size - 1) && copy_text(field, key->size, value) == 0;
}

bool config_set_hex(const struct config_key *key, const char *value, void *field)
{
	return hex_decode(value, strlen(value), field, key->size) == 0;
}
