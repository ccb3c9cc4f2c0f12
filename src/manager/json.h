/* SPDX-License-Identifier: Apache-2.0 */
/* JSON from outside, read strictly through a table of members; no secret stays in freed memory. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Makes jansson wipe all memory it frees. Once, first thing in main(), before any thread. */
void json_wipe_freed(void);

enum json_member_type {
	JSON_MEMBER_TEXT,	 /* to: char[size]; printable ASCII, 1 to size-1 characters */
	JSON_MEMBER_NAME,	 /* to: char[size]; name_is_valid() */
	JSON_MEMBER_UNSIGNED,	 /* to: uint64_t; 0 to UINT32_MAX */
	JSON_MEMBER_BOOL,	 /* to: bool */
	JSON_MEMBER_BYTES,	 /* to: uint8_t[size]; exactly 2*size hex digits */
	JSON_MEMBER_BYTES_ARRAY, /* to: struct json_bytes_array, of elements of size bytes */
	JSON_MEMBER_BLOB,	 /* to: uint8_t[size]; hex digits of 1 to size bytes, *n of them */
	JSON_MEMBER_OBJECTS,	 /* to: struct json_objects */
	JSON_MEMBER_OBJECT,	 /* to: struct json_inner */
	JSON_MEMBER_WORDS,	 /* to: struct json_words */
};

#define JSON_OBJECT_MEMBERS_MAX 4

/* An array of 1 to MAX objects, into an array of structures: MEMBERS' .to and .n point into its first
 * element, and the others lie STRIDE bytes apart. */
struct json_objects {
	const struct json_member *members;
	size_t n_members, stride, max, n;
};

/* One object, through a table of its own. */
struct json_inner {
	const struct json_member *members;
	size_t n_members;
	bool given; /* it is there */
};

/* An array of one or more of WORDS, each once: bit I of SET for word I. */
struct json_words {
	const char *const *words;
	size_t n_words;
	unsigned set;
};

struct json_bytes_array {
	uint8_t *bytes; /* the caller's: max × size */
	size_t max, n;
};

struct json_member {
	const char *name;
	enum json_member_type type;
	void *to; /* left as it is where an optional member is absent */
	size_t size;
	bool optional;
	size_t *n; /* of JSON_MEMBER_BLOB */
};

/* Reads the JSON object in TEXT (LEN bytes, anything) into MEMBERS. Refused are: other than one
 * object, duplicate keys, members not in the table (by name), missing ones, wrong types, values out
 * of bounds. 0, or -EBADMSG with ERROR naming the member; no value is put into ERROR. */
int json_read_object(const char *text, size_t len, const struct json_member *members,
		     size_t n_members, char error[static 256]);
