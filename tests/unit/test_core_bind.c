/* SPDX-License-Identifier: Apache-2.0 */
/* The bind offer and the bind share: layout, round trip, form. */
#include "base/bytes.h"
#include "core/message.h"
#include "record.h"

static int decode_offer(const uint8_t *bytes, size_t size, void *ret)
{
	return bind_offer_decode(bytes, size, ret);
}
static const struct record_kind offer_kind = {BIND_OFFER_SIZE, sizeof(struct bind_offer),
					      decode_offer};

static int decode_share(const uint8_t *bytes, size_t size, void *ret)
{
	return bind_share_decode(bytes, size, ret);
}
static const struct record_kind share_kind = {BIND_SHARE_RECORD_SIZE, sizeof(struct bind_share),
					      decode_share};

static void offer(void **state)
{
	uint8_t bytes[BIND_OFFER_SIZE], again[BIND_OFFER_SIZE];
	struct bind_offer made = {}, back;

	memset(made.admission, 0xa1, HASH_SIZE);
	memset(made.key, 0xa2, BIND_KEY_SIZE);
	memset(made.signature, 0x53, SIGNATURE_SIZE);
	bind_offer_encode(&made, bytes);
	assert_memory_equal(bytes, "EMBOFR01", 8);
	assert_memory_equal(bytes + 8, made.admission, HASH_SIZE);
	assert_memory_equal(bytes + 40, made.key, BIND_KEY_SIZE);
	assert_true(bytes_are_zero(bytes + 72, 8));
	assert_memory_equal(bytes + 80, made.signature, SIGNATURE_SIZE);
	assert_int_equal(bind_offer_decode(bytes, sizeof(bytes), &back), 0);
	assert_memory_equal(&back, &made, sizeof(back));
	bind_offer_encode(&back, again);
	assert_memory_equal(bytes, again, sizeof(bytes));
	record_has_one_size(&offer_kind, bytes);
	record_is_fixed_at(&offer_kind, bytes, 0, 8);
	record_is_fixed_at(&offer_kind, bytes, 72, 8);
}

static void share(void **state)
{
	uint8_t bytes[BIND_SHARE_RECORD_SIZE], again[BIND_SHARE_RECORD_SIZE];
	struct bind_share made = {.key_id = 0x0102030405060708}, back;

	memset(made.admission, 0xa1, HASH_SIZE);
	memset(made.encapsulated, 0xa2, BIND_KEY_SIZE);
	memset(made.sealed, 0xa3, BIND_SEALED_SIZE);
	memset(made.signature, 0x53, SIGNATURE_SIZE);
	bind_share_encode(&made, bytes);
	assert_memory_equal(bytes, "EMBSHR01", 8);
	assert_memory_equal(bytes + 8, made.admission, HASH_SIZE);
	assert_memory_equal(bytes + 40, made.encapsulated, BIND_KEY_SIZE);
	assert_memory_equal(bytes + 72, made.sealed, BIND_SEALED_SIZE);
	assert_memory_equal(bytes + 120, "\1\2\3\4\5\6\7\10", 8);
	assert_memory_equal(bytes + 128, made.signature, SIGNATURE_SIZE);
	assert_int_equal(bind_share_decode(bytes, sizeof(bytes), &back), 0);
	assert_memory_equal(&back, &made, sizeof(back));
	bind_share_encode(&back, again);
	assert_memory_equal(bytes, again, sizeof(bytes));
	record_has_one_size(&share_kind, bytes);
	record_is_fixed_at(&share_kind, bytes, 0, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(offer),
		cmocka_unit_test(share),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
