/* SPDX-License-Identifier: Apache-2.0 */
/* The ending note: layout, round trip, form. */
#include "base/bytes.h"
#include "core/message.h"
#include "record.h"

static int decode(const uint8_t *bytes, size_t size, void *ret)
{
	return ending_decode(bytes, size, ret);
}
static const struct record_kind kind = {ENDING_SIZE, sizeof(struct ending), decode};

static struct ending example(void)
{
	struct ending ending = {
		.verb = END_REBOOT,
		.bound_ms = 0x31323334,
		.began_ns = 0x0102030405060708,
	};

	memset(ending.admission, 0xa1, HASH_SIZE);
	memset(ending.signature, 0x53, SIGNATURE_SIZE);
	return ending;
}

static void lies_as_documented(void **state)
{
	struct ending ending = example();
	uint8_t bytes[ENDING_SIZE];

	ending_encode(&ending, bytes);
	assert_memory_equal(bytes, "EMBEND01", 8);
	assert_memory_equal(bytes + 8, ending.admission, HASH_SIZE);
	assert_memory_equal(bytes + 40, "\2\0\0\0\x31\x32\x33\x34\1\2\3\4\5\6\7\10", 16);
	assert_true(bytes_are_zero(bytes + 56, 8));
	assert_memory_equal(bytes + 64, ending.signature, SIGNATURE_SIZE);
}

static void round_trip(void **state)
{
	struct ending ending = example(), back;
	uint8_t bytes[ENDING_SIZE], again[ENDING_SIZE];

	ending_encode(&ending, bytes);
	assert_int_equal(ending_decode(bytes, sizeof(bytes), &back), 0);
	assert_int_equal(back.verb, ending.verb);
	assert_int_equal(back.bound_ms, ending.bound_ms);
	assert_int_equal(back.began_ns, ending.began_ns);
	ending_encode(&back, again);
	assert_memory_equal(bytes, again, sizeof(bytes));
}

static void form(void **state)
{
	struct ending ending = example();
	uint8_t bytes[ENDING_SIZE];

	ending_encode(&ending, bytes);
	record_has_one_size(&kind, bytes);
	record_is_fixed_at(&kind, bytes, 0, 8);
	record_takes_at(&kind, bytes, 40, END_POWEROFF, END_KEXEC);
	record_is_fixed_at(&kind, bytes, 41, 3);
	record_is_fixed_at(&kind, bytes, 56, 8);
	/* An end without a bound is no orderly one. */
	memset(bytes + 44, 0, 4);
	record_is_refused(&kind, bytes, sizeof(bytes));
	bytes[47] = 1;
	record_is_accepted(&kind, bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lies_as_documented),
		cmocka_unit_test(round_trip),
		cmocka_unit_test(form),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
