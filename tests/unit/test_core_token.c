/* SPDX-License-Identifier: Apache-2.0 */
/* The token: layout, round trip, form. */
#include "core/message.h"
#include "record.h"

static int decode(const uint8_t *bytes, size_t size, void *ret)
{
	return token_decode(bytes, size, ret);
}
static const struct record_kind kind = {TOKEN_SIZE, sizeof(struct token), decode};

static struct token example(void)
{
	struct token token = {
		.sequence = {0x0102030405060708, 0x1112131415161718},
		.ttl_ms = 300000,
		.margin_ms = 60000,
		.poll_ms = 10000,
		.verdict = VERDICT_CONTINUE,
		.expiry = EXPIRY_WARN,
		.cmk_state = CMK_HEALTHY,
		.issued_at = 1700000000,
		.key_id = 0xfedcba9876543210,
	};

	memset(token.admission, 0xa1, HASH_SIZE);
	memset(token.challenge, 0xc2, CHALLENGE_SIZE);
	memset(token.signature, 0x53, SIGNATURE_SIZE);
	return token;
}

/* By the offsets of the header's comment, not by the decoder's. */
static void lies_as_documented(void **state)
{
	static const uint8_t middle[] = {1,
					 2,
					 3,
					 4,
					 5,
					 6,
					 7,
					 8,
					 0x11,
					 0x12,
					 0x13,
					 0x14,
					 0x15,
					 0x16,
					 0x17,
					 0x18,
					 0,
					 0x04,
					 0x93,
					 0xe0,
					 0,
					 0,
					 0xea,
					 0x60,
					 0,
					 0,
					 0x27,
					 0x10,
					 VERDICT_CONTINUE,
					 EXPIRY_WARN,
					 CMK_HEALTHY,
					 REASON_NONE,
					 0,
					 0,
					 0,
					 0,
					 0x65,
					 0x53,
					 0xf1,
					 0x00,
					 0xfe,
					 0xdc,
					 0xba,
					 0x98,
					 0x76,
					 0x54,
					 0x32,
					 0x10,
					 0,
					 0,
					 0,
					 0,
					 0,
					 0,
					 0,
					 0};
	struct token token = example();
	uint8_t bytes[TOKEN_SIZE];

	token_encode(&token, bytes);
	assert_memory_equal(bytes, "EMBTOK01", 8);
	assert_memory_equal(bytes + 8, token.admission, HASH_SIZE);
	assert_memory_equal(bytes + 40, token.challenge, CHALLENGE_SIZE);
	assert_int_equal(sizeof(middle), 128 - 72);
	assert_memory_equal(bytes + 72, middle, sizeof(middle));
	assert_memory_equal(bytes + 128, token.signature, SIGNATURE_SIZE);
}

static void round_trip(void **state)
{
	struct token token = example(), back;
	uint8_t bytes[TOKEN_SIZE], again[TOKEN_SIZE];

	token_encode(&token, bytes);
	assert_int_equal(token_decode(bytes, sizeof(bytes), &back), 0);
	assert_int_equal(back.sequence.epoch, token.sequence.epoch);
	assert_int_equal(back.sequence.counter, token.sequence.counter);
	assert_int_equal(back.ttl_ms, 300000);
	assert_int_equal(back.margin_ms, 60000);
	assert_int_equal(back.poll_ms, 10000);
	assert_int_equal(back.verdict, VERDICT_CONTINUE);
	assert_int_equal(back.expiry, EXPIRY_WARN);
	assert_int_equal(back.cmk_state, CMK_HEALTHY);
	assert_int_equal(back.issued_at, 1700000000);
	assert_int_equal(back.key_id, token.key_id);
	token_encode(&back, again);
	assert_memory_equal(bytes, again, sizeof(bytes));
}

static void form(void **state)
{
	struct token token = example();
	uint8_t bytes[TOKEN_SIZE];

	token_encode(&token, bytes);
	record_has_one_size(&kind, bytes);
	record_is_fixed_at(&kind, bytes, 0, 8);
	record_is_fixed_at(&kind, bytes, 120, 8);
	record_takes_at(&kind, bytes, 100, VERDICT_ADMIT, VERDICT_CONTINUE);
	record_takes_at(&kind, bytes, 101, EXPIRY_SHRED, EXPIRY_WARN);
	record_takes_at(&kind, bytes, 102, CMK_UNKNOWN, CMK_MISCONFIGURED);
	record_takes_at(&kind, bytes, 103, REASON_NONE, REASON_NONE);
}

static void a_shred_has_a_reason(void **state)
{
	struct token token = example();
	uint8_t bytes[TOKEN_SIZE];

	token.verdict = VERDICT_SHRED;
	token.reason = REASON_REVOKED;
	token_encode(&token, bytes);
	record_takes_at(&kind, bytes, 100, VERDICT_SHRED, VERDICT_SHRED);
	record_takes_at(&kind, bytes, 103, REASON_REVOKED, REASON_DRILL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lies_as_documented),
		cmocka_unit_test(round_trip),
		cmocka_unit_test(form),
		cmocka_unit_test(a_shred_has_a_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
