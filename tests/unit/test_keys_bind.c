/* SPDX-License-Identifier: Apache-2.0 */
/* The share of a boot: one boot opens it, and every part of what it is sealed for counts. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "keys/bind.h"

struct sealed {
	uint8_t boot_key[BOOT_KEY_SIZE], boot_id[BOOT_ID_SIZE], key[BIND_KEY_SIZE];
	uint8_t share[BIND_SHARE_SIZE];
	struct bind_share record;
};

static void seal(struct sealed *s)
{
	uint8_t admission[HASH_SIZE];

	memset(s, 0, sizeof(*s));
	for (uint8_t i = 0; i < BOOT_KEY_SIZE; i++)
		s->boot_key[i] = i;
	memset(s->boot_id, 0xb1, sizeof(s->boot_id));
	memset(s->share, 0xc3, sizeof(s->share));
	memset(admission, 0xa1, sizeof(admission));
	assert_int_equal(bind_public(s->boot_key, s->boot_id, s->key), 0);
	assert_int_equal(bind_seal(s->key, admission, s->share, &s->record), 0);
}

static void opens(const struct sealed *s)
{
	uint8_t share[BIND_SHARE_SIZE];

	assert_int_equal(bind_open(s->boot_key, s->boot_id, &s->record, share), 0);
	assert_memory_equal(share, s->share, sizeof(share));
}

static void is_refused(const struct sealed *s, int r)
{
	uint8_t share[BIND_SHARE_SIZE];

	memset(share, 0xff, sizeof(share));
	assert_int_equal(bind_open(s->boot_key, s->boot_id, &s->record, share), r);
	assert_true(bytes_are_zero(share, sizeof(share)));
}

static void one_boot_opens_it(void **state)
{
	struct sealed s;

	seal(&s);
	opens(&s);
	assert_true(bytes_are_zero(&s.record.key_id, sizeof(s.record.key_id)));
}

static void every_bit_counts(void **state)
{
	struct sealed s;
	struct {
		uint8_t *bytes;
		size_t n;
	} parts[] = {
		{s.boot_key, sizeof(s.boot_key)},
		{s.boot_id, sizeof(s.boot_id)},
		{s.record.admission, sizeof(s.record.admission)},
		{s.record.encapsulated, sizeof(s.record.encapsulated)},
		{s.record.sealed, sizeof(s.record.sealed)},
	};

	seal(&s);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		for (size_t bit = 0; bit < 8 * parts[i].n; bit++) {
			parts[i].bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
			is_refused(&s, -EBADMSG);
			parts[i].bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	opens(&s);
}

/* Sealed twice, nothing is the same: a retry must be answered from the store. */
static void no_two_are_alike(void **state)
{
	struct bind_share again;
	struct sealed s;

	seal(&s);
	assert_int_equal(bind_seal(s.key, s.record.admission, s.share, &again), 0);
	assert_memory_not_equal(s.record.encapsulated, again.encapsulated, BIND_KEY_SIZE);
	assert_memory_not_equal(s.record.sealed, again.sealed, BIND_SEALED_SIZE);
	s.record = again;
	opens(&s);
}

static void keys_that_are_none(void **state)
{
	static const uint8_t small_order[BIND_KEY_SIZE] = {1};
	struct bind_share untouched, record;
	struct sealed s;

	seal(&s);
	memset(&untouched, 0xee, sizeof(untouched));
	record = untouched;
	assert_int_equal(bind_seal(small_order, s.record.admission, s.share, &record), -EBADMSG);
	assert_memory_equal(&record, &untouched, sizeof(record));
	/* The keeper has wiped it: what follows from zeroes is anybody's. */
	memset(s.boot_key, 0, sizeof(s.boot_key));
	assert_int_equal(bind_public(s.boot_key, s.boot_id, s.key), -ENOKEY);
	is_refused(&s, -ENOKEY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_boot_opens_it),
		cmocka_unit_test(every_bit_counts),
		cmocka_unit_test(no_two_are_alike),
		cmocka_unit_test(keys_that_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
