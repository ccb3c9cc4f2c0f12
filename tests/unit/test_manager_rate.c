/* SPDX-License-Identifier: Apache-2.0 */
/* Rate limits: each of its own bucket, two at once or neither. */
#include "manager/rate.h"

#include "unit.h"

#define NOW_MS 1000000u

static void cleanup_rates(struct rates **rates)
{
	rates_free(*rates);
}

static unsigned taken(struct rates *rates, enum rate_kind kind, int64_t id)
{
	unsigned n = 0, wait_s;

	while (rate_take(rates, kind, id, NOW_MS, &wait_s))
		n++;
	return n;
}

static void test_each_has_its_own(void **state)
{
	__attribute__((cleanup(cleanup_rates))) struct rates *rates = rates_new();
	unsigned full = taken(rates, RATE_VM_PAIR, 1);

	assert_true(full > 0);
	assert_int_equal(taken(rates, RATE_VM_PAIR, 1), 0);
	assert_int_equal(taken(rates, RATE_VM_PAIR, 2), full);
	assert_true(taken(rates, RATE_VM_REPORT, 1) > 0);
	/* A workspace of the same id is another. */
	assert_true(taken(rates, RATE_WORKSPACE, 1) > 0);
}

/* Refused for the workspace's sake, a VM has as many of its own as before; and the other way about. */
static void test_both_or_neither(void **state)
{
	__attribute__((cleanup(cleanup_rates))) struct rates *rates = rates_new();
	unsigned own = taken(rates, RATE_VM_PAIR, 1), shared = taken(rates, RATE_WORKSPACE, 1);
	unsigned wait_s = 0;

	for (unsigned i = 0; i <= own; i++)
		assert_false(
			rate_take_both(rates, RATE_VM_PAIR, 2, RATE_WORKSPACE, 1, NOW_MS, &wait_s));
	assert_true(wait_s >= 1);
	assert_int_equal(taken(rates, RATE_VM_PAIR, 2), own);
	assert_false(rate_take_both(rates, RATE_VM_PAIR, 1, RATE_WORKSPACE, 2, NOW_MS, &wait_s));
	assert_int_equal(taken(rates, RATE_WORKSPACE, 2), shared);
	/* Both are taken from. */
	assert_true(rate_take_both(rates, RATE_VM_PAIR, 3, RATE_WORKSPACE, 3, NOW_MS, &wait_s));
	assert_int_equal(taken(rates, RATE_VM_PAIR, 3), own - 1);
	assert_int_equal(taken(rates, RATE_WORKSPACE, 3), shared - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_has_its_own),
		cmocka_unit_test(test_both_or_neither),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
