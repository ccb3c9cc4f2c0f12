/* SPDX-License-Identifier: Apache-2.0 */
/* JSON from outside, read strictly through a table of members; no secret stays in freed memory. */
#include "manager/json.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/parse.h"

static void free_wiped(void *p)
{
	if (p)
		bytes_wipe(p, malloc_usable_size(p));
	free(p);
}

void json_wipe_freed(void)
{
	json_set_alloc_funcs(malloc, free_wiped);
}

static bool text_is_printable(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] < ' ' || text[i] > '~')
			return false;
	return true;
}

static const char *read_text(const json_t *value, const struct json_member *member)
{
	const char *text = json_string_value(value);
	size_t len = json_string_length(value);

	if (!text)
		return "must be a string";
	if (len == 0 || len >= member->size || !text_is_printable(text, len))
		return "must be a short text of printable ASCII characters";
	if (member->type == JSON_MEMBER_NAME && !name_is_valid(text, member->size - 1))
		return "must be a name of A-Z a-z 0-9 . _ - that does not begin with . or -";
	memset(member->to, 0, member->size);
	memcpy(member->to, text, len);
	return NULL;
}

static const char *read_bytes(const json_t *value, size_t size, uint8_t *to)
{
	if (!json_is_string(value) ||
	    hex_decode(json_string_value(value), json_string_length(value), to, size) < 0)
		return "must be hex digits of the right number";
	return NULL;
}

static const char *read_bytes_array(const json_t *value, const struct json_member *member)
{
	struct json_bytes_array *array = member->to;
	size_t n = json_array_size(value);

	if (!json_is_array(value) || n > array->max)
		return "must be an array of a few hex strings";
	for (size_t i = 0; i < n; i++) {
		const char *why = read_bytes(json_array_get(value, i), member->size,
					     array->bytes + i * member->size);

		if (why)
			return why;
	}
	array->n = n;
	return NULL;
}

static const char *read_blob(const json_t *value, const struct json_member *member)
{
	size_t len = json_string_length(value);

	if (!json_is_string(value) || len == 0 || len / 2 > member->size ||
	    hex_decode(json_string_value(value), len, member->to, len / 2) < 0)
		return "must be hex digits, two a byte";
	*member->n = len / 2;
	return NULL;
}

static const char *read_words(const json_t *value, const struct json_member *member)
{
	struct json_words *words = member->to;
	unsigned set = 0;

	for (size_t i = 0; i < json_array_size(value); i++) {
		const char *text = json_string_value(json_array_get(value, i));
		size_t k = 0;

		while (k < words->n_words && (!text || strcmp(words->words[k], text) != 0))
			k++;
		if (k == words->n_words || set & 1u << k)
			return "holds a word that is not known, or is there twice";
		set |= 1u << k;
	}
	if (set == 0)
		return "must be an array of one or more words";
	words->set = set;
	return NULL;
}

/* NULL, or what the value must be. */
static const char *read_value(const json_t *value, const struct json_member *member)
{
	json_int_t number;

	switch (member->type) {
	case JSON_MEMBER_TEXT:
	case JSON_MEMBER_NAME:
		return read_text(value, member);
	case JSON_MEMBER_UNSIGNED:
		number = json_integer_value(value);
		if (!json_is_integer(value) || number < 0 || number > UINT32_MAX)
			return "must be a whole number that is not negative";
		*(uint64_t *)member->to = (uint64_t)number;
		return NULL;
	case JSON_MEMBER_BOOL:
		if (!json_is_boolean(value))
			return "must be true or false";
		*(bool *)member->to = json_is_true(value);
		return NULL;
	case JSON_MEMBER_BYTES:
		return read_bytes(value, member->size, member->to);
	case JSON_MEMBER_BYTES_ARRAY:
		return read_bytes_array(value, member);
	case JSON_MEMBER_BLOB:
		return read_blob(value, member);
	case JSON_MEMBER_WORDS:
		return read_words(value, member);
	case JSON_MEMBER_OBJECTS:
	case JSON_MEMBER_OBJECT:
		break;
	}
	return "has no type";
}

static const struct json_member *find_member(const struct json_member *members, size_t n,
					     const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(members[i].name, name) == 0)
			return &members[i];
	return NULL;
}

static int read_members(json_t *object, const struct json_member *members, size_t n_members,
			char error[static 256]);

/* Element I of OBJECTS. */
static int read_element(json_t *object, const struct json_objects *objects, size_t i,
			char error[static 256])
{
	struct json_member members[JSON_OBJECT_MEMBERS_MAX];

	assert(objects->n_members <= JSON_OBJECT_MEMBERS_MAX);
	for (size_t k = 0; k < objects->n_members; k++) {
		members[k] = objects->members[k];
		members[k].to = (char *)members[k].to + i * objects->stride;
		if (members[k].n)
			members[k].n =
				(size_t *)(void *)((char *)members[k].n + i * objects->stride);
	}
	return read_members(object, members, objects->n_members, error);
}

static int read_objects(const json_t *value, const struct json_member *member,
			char error[static 256])
{
	struct json_objects *objects = member->to;
	size_t n = json_array_size(value);
	char inner[256];

	if (!json_is_array(value) || n == 0 || n > objects->max) {
		snprintf(error, 256, "member '%s' must be an array of 1 to %zu objects",
			 member->name, objects->max);
		return -EBADMSG;
	}
	for (size_t i = 0; i < n; i++) {
		json_t *object = json_array_get(value, i);

		if (!json_is_object(object))
			snprintf(inner, sizeof(inner), "not an object");
		else if (read_element(object, objects, i, inner) == 0)
			continue;
		snprintf(error, 256, "member '%.32s', element %zu: %.180s", member->name, i, inner);
		return -EBADMSG;
	}
	objects->n = n;
	return 0;
}

static int read_inner(json_t *value, const struct json_member *member, char error[static 256])
{
	struct json_inner *inner = member->to;
	char why[256] = "must be an object";

	if (json_is_object(value) &&
	    read_members(value, inner->members, inner->n_members, why) == 0) {
		inner->given = true;
		return 0;
	}
	snprintf(error, 256, "member '%.32s'%s %.200s", member->name,
		 json_is_object(value) ? ":" : "", why);
	return -EBADMSG;
}

static int read_members(json_t *object, const struct json_member *members, size_t n_members,
			char error[static 256])
{
	const char *name;
	json_t *value;

	json_object_foreach(object, name, value)
	{
		if (!find_member(members, n_members, name)) {
			snprintf(error, 256, "unknown member '%.64s'",
				 text_is_printable(name, strlen(name)) ? name : "?");
			return -EBADMSG;
		}
	}
	for (size_t i = 0; i < n_members; i++) {
		const char *why;

		value = json_object_get(object, members[i].name);
		if (!value && members[i].optional)
			continue;
		if (value && members[i].type == JSON_MEMBER_OBJECTS) {
			if (read_objects(value, &members[i], error) < 0)
				return -EBADMSG;
			continue;
		}
		if (value && members[i].type == JSON_MEMBER_OBJECT) {
			if (read_inner(value, &members[i], error) < 0)
				return -EBADMSG;
			continue;
		}
		why = value ? read_value(value, &members[i]) : "is missing";
		if (why) {
			snprintf(error, 256, "member '%s' %s", members[i].name, why);
			return -EBADMSG;
		}
	}
	return 0;
}

int json_read_object(const char *text, size_t len, const struct json_member *members,
		     size_t n_members, char error[static 256])
{
	json_error_t problem;
	json_t *object;
	int r;

	if (len == 0) {
		snprintf(error, 256, "empty");
		return -EBADMSG;
	}
	object = json_loadb(text, len, JSON_REJECT_DUPLICATES, &problem);
	if (!json_is_object(object)) {
		/* jansson's own text may quote the input, so only the place is told. */
		if (object)
			snprintf(error, 256, "not a JSON object");
		else if (json_error_code(&problem) == json_error_duplicate_key)
			snprintf(error, 256, "line %d: a member is given twice", problem.line);
		else
			snprintf(error, 256, "line %d, column %d: not valid JSON", problem.line,
				 problem.column);
		json_decref(object);
		return -EBADMSG;
	}
	r = read_members(object, members, n_members, error);
	json_decref(object);
	return r;
}
