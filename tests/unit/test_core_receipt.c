/* SPDX-License-Identifier: Apache-2.0 */
/* The receipt: layout, round trip, form. */
#include "base/bytes.h"
#include "core/message.h"
#include "record.h"

static int decode(const uint8_t *bytes, size_t size, void *ret)
{
	return receipt_decode(bytes, size, ret);
}
static const struct record_kind kind = {RECEIPT_SIZE, sizeof(struct receipt), decode};

static struct receipt example(void)
{
	struct receipt receipt = {
		.kind = RECEIPT_CLOSING,
		.reason = REASON_REVOKED,
		.verdict_ns = 0x0102030405060708,
		.start_ns = 0x1112131415161718,
		.keys_gone_ns = 0x2122232425262728,
		.blocked_io_ns = 0x3132333435363738,
		.self_test_passed = 0x41424344,
		.self_test_failed = 0x51525354,
		.plaintext_ns = 0x6162636465666768,
		.n_segments = 2,
		.segments = {{"data", 0x0102, SEGMENT_WIPED, 0x03040506},
			     {"swap", 0, SEGMENT_ABSENT, 0}},
	};

	memset(receipt.admission, 0xa1, HASH_SIZE);
	memset(receipt.previous, 0xc2, HASH_SIZE);
	memset(receipt.signature, 0x53, SIGNATURE_SIZE);
	return receipt;
}

static void lies_as_documented(void **state)
{
	static const char numbers[] =
		"\x01\x02\x03\x04\x05\x06\x07\x08\x11\x12\x13\x14\x15\x16\x17\x18"
		"\x21\x22\x23\x24\x25\x26\x27\x28\x31\x32\x33\x34\x35\x36\x37\x38"
		"\x41\x42\x43\x44\x51\x52\x53\x54\x61\x62\x63\x64\x65\x66\x67\x68";
	struct receipt receipt = example();
	uint8_t bytes[RECEIPT_SIZE];

	receipt_encode(&receipt, bytes);
	assert_memory_equal(bytes, "EMBRCT01", 8);
	assert_memory_equal(bytes + 8, receipt.admission, HASH_SIZE);
	assert_memory_equal(bytes + 40, "\2\1\0\0\0\0\0\2", 8);
	assert_memory_equal(bytes + 48, receipt.previous, HASH_SIZE);
	assert_memory_equal(bytes + 80, numbers, 48);
	assert_memory_equal(bytes + 128, "data\0", 5);
	assert_memory_equal(bytes + 160, "\1\2\1\0\3\4\5\6swap\0", 13);
	assert_true(bytes_are_zero(bytes + 200, 3008 - 200));
	assert_memory_equal(bytes + 3008, receipt.signature, SIGNATURE_SIZE);
}

static void round_trip(void **state)
{
	struct receipt receipt = example(), back;
	uint8_t bytes[RECEIPT_SIZE], again[RECEIPT_SIZE];

	receipt_encode(&receipt, bytes);
	assert_int_equal(receipt_decode(bytes, sizeof(bytes), &back), 0);
	assert_int_equal(back.kind, RECEIPT_CLOSING);
	assert_int_equal(back.reason, REASON_REVOKED);
	assert_int_equal(back.verdict_ns, receipt.verdict_ns);
	assert_int_equal(back.start_ns, receipt.start_ns);
	assert_int_equal(back.keys_gone_ns, receipt.keys_gone_ns);
	assert_int_equal(back.blocked_io_ns, receipt.blocked_io_ns);
	assert_int_equal(back.plaintext_ns, receipt.plaintext_ns);
	assert_int_equal(back.n_segments, 2);
	assert_string_equal(back.segments[0].volume, "data");
	assert_int_equal(back.segments[0].segment, 0x0102);
	assert_int_equal(back.segments[0].fate, SEGMENT_WIPED);
	assert_int_equal(back.segments[0].wiped_us, 0x03040506);
	assert_int_equal(back.segments[1].fate, SEGMENT_ABSENT);
	receipt_encode(&back, again);
	assert_memory_equal(bytes, again, sizeof(bytes));
}

static void form(void **state)
{
	struct receipt receipt = example();
	uint8_t bytes[RECEIPT_SIZE];

	receipt_encode(&receipt, bytes);
	record_has_one_size(&kind, bytes);
	record_is_fixed_at(&kind, bytes, 0, 8);
	record_is_fixed_at(&kind, bytes, 42, 2);
	record_is_fixed_at(&kind, bytes, 44, 3);
	record_is_fixed_at(&kind, bytes, 163, 1);
	record_is_fixed_at(&kind, bytes, 128 + 2 * 40, 3008 - 128 - 2 * 40);
	record_takes_at(&kind, bytes, 40, RECEIPT_KEYS, RECEIPT_CLOSING);
	record_takes_at(&kind, bytes, 41, REASON_REVOKED, REASON_DRILL);
	record_takes_at(&kind, bytes, 47, 2, 2);
	record_has_text_at(&kind, bytes, 128, 32, true);
}

static void keys_gone_with_an_unwiped_one_is_refused(void **state)
{
	struct receipt receipt = example();
	uint8_t bytes[RECEIPT_SIZE];

	receipt_encode(&receipt, bytes);
	record_takes_at(&kind, bytes, 162, SEGMENT_ABSENT, SEGMENT_WIPED);
	receipt.keys_gone_ns = 0;
	receipt_encode(&receipt, bytes);
	record_takes_at(&kind, bytes, 162, SEGMENT_ABSENT, SEGMENT_UNWIPED);
}

static void full(void **state)
{
	struct receipt receipt = example(), back;
	uint8_t bytes[RECEIPT_SIZE];

	receipt.n_segments = SEGMENTS_MAX;
	for (unsigned i = 0; i < SEGMENTS_MAX; i++)
		receipt.segments[i] = receipt.segments[0];
	receipt_encode(&receipt, bytes);
	assert_int_equal(receipt_decode(bytes, sizeof(bytes), &back), 0);
	assert_string_equal(back.segments[SEGMENTS_MAX - 1].volume, "data");
	receipt.n_segments = SEGMENTS_MAX + 1;
	receipt_encode(&receipt, bytes);
	record_is_refused(&kind, bytes, sizeof(bytes));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lies_as_documented),
		cmocka_unit_test(round_trip),
		cmocka_unit_test(form),
		cmocka_unit_test(keys_gone_with_an_unwiped_one_is_refused),
		cmocka_unit_test(full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
