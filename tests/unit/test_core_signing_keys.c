/* SPDX-License-Identifier: Apache-2.0 */
/* The set of signing keys: layout, round trip, form. */
#include "base/bytes.h"
#include "core/message.h"
#include "record.h"

static int decode(const uint8_t *bytes, size_t size, void *ret)
{
	return signing_keys_decode(bytes, size, ret);
}
static const struct record_kind kind = {SIGNING_KEYS_SIZE, sizeof(struct signing_keys), decode};

static struct signing_keys example(uint32_t n_keys)
{
	struct signing_keys set = {.epoch = 0x0102030405060708, .n_keys = n_keys};

	for (uint32_t i = 0; i < n_keys && i < SIGNING_KEYS_MAX; i++)
		memset(set.keys[i], (int)(0x10 + i), PUBLIC_KEY_SIZE);
	memset(set.signature, 0x53, SIGNATURE_SIZE);
	return set;
}

static void lies_as_documented(void **state)
{
	struct signing_keys set = example(2);
	uint8_t bytes[SIGNING_KEYS_SIZE];

	signing_keys_encode(&set, bytes);
	assert_memory_equal(bytes, "EMBKEY01\1\2\3\4\5\6\7\10\0\0\0\2", 20);
	assert_true(bytes_are_zero(bytes + 20, 12));
	assert_int_equal(bytes[32], 0x10);
	assert_int_equal(bytes[63], 0x10);
	assert_int_equal(bytes[64], 0x11);
	assert_int_equal(bytes[95], 0x11);
	assert_true(bytes_are_zero(bytes + 96, 192));
	assert_memory_equal(bytes + 288, set.signature, SIGNATURE_SIZE);
}

static void round_trip(void **state)
{
	for (uint32_t n = 1; n <= SIGNING_KEYS_MAX; n++) {
		struct signing_keys set = example(n), back;
		uint8_t bytes[SIGNING_KEYS_SIZE];

		signing_keys_encode(&set, bytes);
		assert_int_equal(signing_keys_decode(bytes, sizeof(bytes), &back), 0);
		assert_int_equal(back.epoch, set.epoch);
		assert_int_equal(back.n_keys, n);
		assert_memory_equal(back.keys, set.keys, sizeof(set.keys));
		assert_memory_equal(back.signature, set.signature, SIGNATURE_SIZE);
	}
}

static void form(void **state)
{
	struct signing_keys set = example(2);
	uint8_t bytes[SIGNING_KEYS_SIZE];

	signing_keys_encode(&set, bytes);
	record_has_one_size(&kind, bytes);
	record_is_fixed_at(&kind, bytes, 0, 8);
	record_is_fixed_at(&kind, bytes, 20, 12);
	record_is_fixed_at(&kind, bytes, 96, 192);
	record_is_fixed_at(&kind, bytes, 16, 3);
	/* One fewer leaves a key where none may be. */
	record_takes_at(&kind, bytes, 19, 2, SIGNING_KEYS_MAX);
}

static void none_is_refused(void **state)
{
	struct signing_keys set = example(0);
	uint8_t bytes[SIGNING_KEYS_SIZE];

	signing_keys_encode(&set, bytes);
	record_is_refused(&kind, bytes, sizeof(bytes));
}

static void encoding_too_many_stays_inside(void **state)
{
	struct signing_keys set = example(SIGNING_KEYS_MAX);
	uint8_t bytes[SIGNING_KEYS_SIZE];

	set.n_keys = 1000;
	signing_keys_encode(&set, bytes);
	record_is_refused(&kind, bytes, sizeof(bytes));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lies_as_documented),
		cmocka_unit_test(round_trip),
		cmocka_unit_test(form),
		cmocka_unit_test(none_is_refused),
		cmocka_unit_test(encoding_too_many_stays_inside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
