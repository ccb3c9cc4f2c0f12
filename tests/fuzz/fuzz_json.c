/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of JSON from outside (admin API, receipt bundles, key files), with a member of each
 * type: what it takes is within the bounds of its table, what it refuses has a reason. */
#include "base/cleanup.h"
#include "base/parse.h"
#include "fuzz.h"
#include "manager/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	uint8_t fixed[4], items[3][4];
	struct json_bytes_array array = {.bytes = items[0], .max = ELEMENTSOF(items)};
	char text[8] = "", name[8] = "", error[256] = "";
	uint64_t number = 0;
	bool flag = false;
	struct {
		uint8_t blob[4];
		size_t n;
	} parts[2] = {0};
	const struct json_member part[] = {
		{"blob", JSON_MEMBER_BLOB, parts[0].blob, sizeof(parts[0].blob), false,
		 &parts[0].n},
	};
	struct json_objects objects = {part, ELEMENTSOF(part), sizeof(parts[0]), ELEMENTSOF(parts),
				       0};
	char word[4] = "";
	const struct json_member in[] = {{"word", JSON_MEMBER_NAME, word, sizeof(word)}};
	struct json_inner inner = {in, ELEMENTSOF(in)};
	static const char *const known[] = {"A", "B"};
	struct json_words words = {known, ELEMENTSOF(known)};
	const struct json_member members[] = {
		{"text", JSON_MEMBER_TEXT, text, sizeof(text), true},
		{"name", JSON_MEMBER_NAME, name, sizeof(name)},
		{"number", JSON_MEMBER_UNSIGNED, &number, 0, true},
		{"flag", JSON_MEMBER_BOOL, &flag, 0, true},
		{"bytes", JSON_MEMBER_BYTES, fixed, sizeof(fixed), true},
		{"array", JSON_MEMBER_BYTES_ARRAY, &array, sizeof(items[0]), true},
		{"parts", JSON_MEMBER_OBJECTS, &objects, 0, true},
		{"words", JSON_MEMBER_WORDS, &words, 0, true},
		{"inner", JSON_MEMBER_OBJECT, &inner, 0, true},
	};

	if (json_read_object((const char *)bytes, size, members, ELEMENTSOF(members), error) < 0) {
		must(error[0] && memchr(error, 0, sizeof(error)));
		return 0;
	}
	must(memchr(text, 0, sizeof(text)) && memchr(name, 0, sizeof(name)));
	must(name_is_valid(name, sizeof(name) - 1));
	must(memchr(word, 0, sizeof(word)) && inner.given == (word[0] != 0));
	must(words.set < 4);
	must(number <= UINT32_MAX && array.n <= ELEMENTSOF(items));
	must(objects.n <= ELEMENTSOF(parts));
	for (size_t i = 0; i < objects.n; i++)
		must(parts[i].n > 0 && parts[i].n <= sizeof(parts[i].blob));
	return 0;
}
