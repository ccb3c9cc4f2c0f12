/* SPDX-License-Identifier: Apache-2.0 */
/* The lease request: layout, round trip, form. */
#include "base/bytes.h"
#include "core/message.h"
#include "record.h"

static int decode(const uint8_t *bytes, size_t size, void *ret)
{
	return lease_request_decode(bytes, size, ret);
}
static const struct record_kind kind = {LEASE_REQUEST_SIZE, sizeof(struct lease_request), decode};

static struct lease_request example(void)
{
	struct lease_request request = {
		.number = 0x0102030405060708,
		.highest = {0x1112131415161718, 0x2122232425262728},
		.self_test_passed = 0x31323334,
		.self_test_failed = 0x41424344,
		.pauses = 0x51525354,
	};

	memset(request.admission, 0xa1, HASH_SIZE);
	memset(request.challenge, 0xc2, CHALLENGE_SIZE);
	memset(request.signature, 0x53, SIGNATURE_SIZE);
	return request;
}

static void lies_as_documented(void **state)
{
	static const char numbers[] =
		"\x11\x12\x13\x14\x15\x16\x17\x18\x21\x22\x23\x24\x25\x26\x27\x28"
		"\x31\x32\x33\x34\x41\x42\x43\x44\x51\x52\x53\x54";
	struct lease_request request = example();
	uint8_t bytes[LEASE_REQUEST_SIZE];

	lease_request_encode(&request, bytes);
	assert_memory_equal(bytes, "EMBREQ01", 8);
	assert_memory_equal(bytes + 8, request.admission, HASH_SIZE);
	assert_memory_equal(bytes + 40, "\1\2\3\4\5\6\7\10", 8);
	assert_memory_equal(bytes + 48, request.challenge, CHALLENGE_SIZE);
	assert_memory_equal(bytes + 80, numbers, 28);
	assert_true(bytes_are_zero(bytes + 108, 20));
	assert_memory_equal(bytes + 128, request.signature, SIGNATURE_SIZE);
}

static void round_trip(void **state)
{
	struct lease_request request = example(), back;
	uint8_t bytes[LEASE_REQUEST_SIZE], again[LEASE_REQUEST_SIZE];

	lease_request_encode(&request, bytes);
	assert_int_equal(lease_request_decode(bytes, sizeof(bytes), &back), 0);
	assert_int_equal(back.number, request.number);
	assert_int_equal(sequence_compare(back.highest, request.highest), 0);
	assert_int_equal(back.self_test_passed, request.self_test_passed);
	assert_int_equal(back.self_test_failed, request.self_test_failed);
	assert_int_equal(back.pauses, request.pauses);
	lease_request_encode(&back, again);
	assert_memory_equal(bytes, again, sizeof(bytes));
}

static void form(void **state)
{
	struct lease_request request = example();
	uint8_t bytes[LEASE_REQUEST_SIZE];

	lease_request_encode(&request, bytes);
	record_has_one_size(&kind, bytes);
	record_is_fixed_at(&kind, bytes, 0, 8);
	record_is_fixed_at(&kind, bytes, 108, 20);
	memset(bytes + 40, 0, 8);
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
