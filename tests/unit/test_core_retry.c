/* SPDX-License-Identifier: Apache-2.0 */
/* The retry schedule: bounds, cap, spread, reset. */
#include "core/retry.h"
#include "unit.h"

static void doubles_up_to_the_cap(void **state)
{
	static const uint32_t expected[] = {100, 200, 400, 800, 1000, 1000, 1000};
	struct retry lowest = {100, 1000, 0}, highest = {100, 1000, 0};

	for (unsigned i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		assert_int_equal(retry_failed(&lowest, 0), expected[i] / 2);
		assert_int_equal(retry_failed(&highest, UINT32_MAX), expected[i]);
	}
	retry_succeeded(&lowest);
	assert_int_equal(retry_failed(&lowest, 0), 50);
}

static void stays_within_half_and_whole(void **state)
{
	for (uint32_t first = 1; first < 40; first++)
		for (uint32_t i = 0; i < 64; i++) {
			struct retry retry = {first, 1000, 0};
			uint32_t delay = retry_failed(&retry, i << 26);

			assert_in_range(delay, first / 2, first);
		}
}

static void never_wraps(void **state)
{
	struct retry retry = {UINT32_MAX, UINT32_MAX, 0};

	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(retry_failed(&retry, UINT32_MAX), UINT32_MAX);
	retry = (struct retry){1, 1000, UINT32_MAX};
	assert_int_equal(retry_failed(&retry, UINT32_MAX), 1000);
	assert_int_equal(retry.attempts, UINT32_MAX);
}

static void spreads_evenly(void **state)
{
	unsigned seen[6] = {};

	for (uint32_t i = 0; i < 6000; i++) {
		struct retry retry = {10, 10, 0};

		seen[retry_failed(&retry, i * 715827) - 5]++;
	}
	for (unsigned i = 0; i < 6; i++)
		assert_in_range(seen[i], 950, 1050);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(doubles_up_to_the_cap),
		cmocka_unit_test(stays_within_half_and_whole),
		cmocka_unit_test(never_wraps),
		cmocka_unit_test(spreads_evenly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
