/* SPDX-License-Identifier: Apache-2.0 */
/* Strict parsing: tables of what is taken and what is not. */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "unit.h"

struct number_case {
	const char *text;
	int r;
	uint64_t value;
};

/* A refused text leaves the output as it was. */
static void check_numbers(int (*parse)(const char *text, uint64_t *ret), size_t n,
			  const struct number_case *cases)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t value = 12345;

		assert_int_equal(parse(cases[i].text, &value), cases[i].r);
		assert_int_equal(value, cases[i].r < 0 ? 12345 : cases[i].value);
	}
}

static void u64(void **state)
{
	static const struct number_case cases[] = {
		{"0", 0, 0},
		{"007", 0, 7},
		{"18446744073709551615", 0, UINT64_MAX},
		{"18446744073709551616", -ERANGE, 0},
		{"99999999999999999999999", -ERANGE, 0},
		{"", -EINVAL, 0},
		{" 1", -EINVAL, 0},
		{"1 ", -EINVAL, 0},
		{"+1", -EINVAL, 0},
		{"-1", -EINVAL, 0},
		{"0x10", -EINVAL, 0},
		{"1e3", -EINVAL, 0},
		{"1.0", -EINVAL, 0},
	};

	check_numbers(parse_u64, ELEMENTSOF(cases), cases);
}

static void u32(void **state)
{
	uint32_t value = 7;

	assert_int_equal(parse_u32("4294967295", &value), 0);
	assert_int_equal(value, UINT32_MAX);
	assert_int_equal(parse_u32("4294967296", &value), -ERANGE);
	assert_int_equal(parse_u32("x", &value), -EINVAL);
	assert_int_equal(value, UINT32_MAX);
}

static void size(void **state)
{
	static const struct number_case cases[] = {
		{"1", 0, 1},
		{"4K", 0, 4096},
		{"3M", 0, 3145728},
		{"2G", 0, 2147483648},
		{"1T", 0, 1099511627776},
		{"16777215T", 0, 16777215ull << 40},
		{"16777216T", -ERANGE, 0},
		{"1k", -EINVAL, 0},
		{"1 K", -EINVAL, 0},
		{"1KB", -EINVAL, 0},
		{"1P", -EINVAL, 0},
		{"K", -EINVAL, 0},
	};

	check_numbers(parse_size, ELEMENTSOF(cases), cases);
}

static void duration(void **state)
{
	static const struct number_case cases[] = {
		{"30", 0, 30000},
		{"30s", 0, 30000},
		{"250ms", 0, 250},
		{"5min", 0, 300000},
		{"2h", 0, 7200000},
		{"0", 0, 0},
		{"18446744073709551615", -ERANGE, 0},
		{"5m", -EINVAL, 0},
		{"5 min", -EINVAL, 0},
		{"1min30s", -EINVAL, 0},
		{"infinity", -EINVAL, 0},
	};

	check_numbers(parse_duration, ELEMENTSOF(cases), cases);
}

static void boolean(void **state)
{
	static const char *const yes[] = {"yes", "true", "on", "1"};
	static const char *const no[] = {"no", "false", "off", "0"};
	static const char *const neither[] = {"", "Yes", "y", "2", "no ", "00"};
	bool value = false;

	for (size_t i = 0; i < ELEMENTSOF(yes); i++) {
		assert_int_equal(parse_bool(yes[i], &value), 0);
		assert_true(value);
		assert_int_equal(parse_bool(no[i], &value), 0);
		assert_false(value);
	}
	for (size_t i = 0; i < ELEMENTSOF(neither); i++)
		assert_int_equal(parse_bool(neither[i], &value), -EINVAL);
}

static void mode(void **state)
{
	static const char *const bad[] = {"", "7", "75", "07555", "758", "-75", "0x1", "75 "};
	uint32_t value = 1;

	assert_int_equal(parse_mode("0755", &value), 0);
	assert_int_equal(value, 0755);
	assert_int_equal(parse_mode("600", &value), 0);
	assert_int_equal(value, 0600);
	assert_int_equal(parse_mode("1777", &value), 0);
	assert_int_equal(value, 01777);
	for (size_t i = 0; i < ELEMENTSOF(bad); i++)
		assert_int_equal(parse_mode(bad[i], &value), -EINVAL);
}

static void names(void **state)
{
	static const char *const good[] = {"a", "A-b_c.9", "0", "_x", "1234567"};
	static const char *const bad[] = {"",	 ".",	     ".a",	 "-a", "a b",
					  "a/b", "12345678", "\xc3\xa4", "a\n"};

	for (size_t i = 0; i < ELEMENTSOF(good); i++)
		assert_true(name_is_valid(good[i], 7));
	for (size_t i = 0; i < ELEMENTSOF(bad); i++)
		assert_false(name_is_valid(bad[i], 7));
}

static void copying(void **state)
{
	char to[4] = {'x', 'x', 'x', 'x'};

	assert_int_equal(copy_text(to, sizeof(to), "abcd"), -ENAMETOOLONG);
	assert_memory_equal(to, "xxxx", 4);
	assert_int_equal(copy_text(to, sizeof(to), "a"), 0);
	assert_memory_equal(to, "a\0\0\0", 4);
	assert_int_equal(copy_text(to, sizeof(to), "abc"), 0);
	assert_string_equal(to, "abc");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(u64),	    cmocka_unit_test(u32),     cmocka_unit_test(size),
		cmocka_unit_test(duration), cmocka_unit_test(boolean), cmocka_unit_test(mode),
		cmocka_unit_test(names),    cmocka_unit_test(copying),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
