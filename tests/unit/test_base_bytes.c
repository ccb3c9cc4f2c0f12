/* SPDX-License-Identifier: Apache-2.0 */
/* Byte order, comparison, wiping, hex. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "unit.h"

static void byte_order(void **state)
{
	uint8_t bytes[8];

	put_be64(bytes, 0x0102030405060708);
	assert_memory_equal(bytes, "\1\2\3\4\5\6\7\10", 8);
	assert_int_equal(get_be64(bytes), 0x0102030405060708);
	put_be32(bytes, 0xf1f2f3f4);
	assert_int_equal(get_be32(bytes), 0xf1f2f3f4);
	put_be16(bytes, 0xfefd);
	assert_memory_equal(bytes, "\xfe\xfd", 2);
	assert_int_equal(get_be16(bytes), 0xfefd);
}

static void comparison(void **state)
{
	uint8_t a[32] = {}, b[32] = {};

	assert_true(bytes_equal(a, b, sizeof(a)));
	assert_true(bytes_are_zero(a, sizeof(a)));
	for (size_t i = 0; i < sizeof(a); i++) {
		b[i] = 0x80;
		assert_false(bytes_equal(a, b, sizeof(a)));
		assert_false(bytes_are_zero(b, sizeof(b)));
		b[i] = 0;
	}
	assert_true(bytes_equal(a, b, 0));
}

static void wiping(void **state)
{
	uint8_t bytes[4] = {1, 2, 3, 4};

	bytes_wipe(bytes, 3);
	assert_memory_equal(bytes, "\0\0\0\4", 4);
}

static void hex(void **state)
{
	uint8_t bytes[3] = {0x00, 0xaf, 0x10};
	char text[7];

	hex_encode(bytes, 3, text);
	assert_string_equal(text, "00af10");
	assert_int_equal(hex_decode("00AF10", 6, bytes, 3), 0);
	assert_memory_equal(bytes, "\x00\xaf\x10", 3);
	assert_int_equal(hex_decode("00af1", 5, bytes, 3), -EINVAL);
	assert_int_equal(hex_decode("00af1g", 6, bytes, 3), -EINVAL);
	assert_true(bytes_are_zero(bytes, 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(byte_order),
		cmocka_unit_test(comparison),
		cmocka_unit_test(wiping),
		cmocka_unit_test(hex),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
