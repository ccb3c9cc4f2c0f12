/* SPDX-License-Identifier: Apache-2.0 */
/* Pauses of the hypervisor: told once, after a second look, and never for what is none. */
#include "core/drift.h"
#include "unit.h"

#define S 1000000000ull

/* With a CLOCK_REALTIME that nobody has set since it was read from the RTC at boot. */
static enum drift_result look(struct drift *drift, int64_t rtc_s, uint64_t boottime_ns)
{
	return drift_look(drift, rtc_s, 1000 + (int64_t)(boottime_ns / S), boottime_ns);
}

static void the_rounding_of_the_rtc_is_no_pause(void **state)
{
	struct drift drift = {0};

	/* The RTC cuts off up to a second, and one look may meet it just before it turns. */
	for (uint64_t t = 0; t < 3600; t += 10)
		for (uint64_t ms = 0; ms < 1000; ms += 333)
			assert_int_equal(look(&drift, (int64_t)(1000 + t + (ms > 500)),
					      t * S + ms * 1000000),
					 DRIFT_NONE);
}

static void a_pause_is_confirmed_and_told_once(void **state)
{
	struct drift drift = {0};

	assert_int_equal(look(&drift, 1000, 0), DRIFT_NONE);
	assert_int_equal(look(&drift, 1010, 10 * S), DRIFT_NONE);
	assert_int_equal(look(&drift, 1050, 20 * S), DRIFT_SUSPECTED);
	assert_int_equal(look(&drift, 1051, 21 * S), DRIFT_PAUSE);
	assert_int_equal(look(&drift, 1061, 31 * S), DRIFT_NONE);
	assert_int_equal(look(&drift, 1091, 41 * S), DRIFT_SUSPECTED);
	assert_int_equal(look(&drift, 1092, 42 * S), DRIFT_PAUSE);
}

static void one_look_alone_is_no_pause(void **state)
{
	struct drift drift = {0};

	assert_int_equal(look(&drift, 1000, 0), DRIFT_NONE);
	assert_int_equal(look(&drift, 1070, 10 * S), DRIFT_SUSPECTED);
	assert_int_equal(look(&drift, 1011, 11 * S), DRIFT_NONE);
	assert_int_equal(look(&drift, 1021, 21 * S), DRIFT_NONE);
}

static void growth_of_more_than_two_seconds_counts(void **state)
{
	struct drift drift = {0};

	assert_int_equal(look(&drift, 1000, 0), DRIFT_NONE);
	assert_int_equal(look(&drift, 1012, 10 * S), DRIFT_NONE);
	assert_int_equal(look(&drift, 1025, 20 * S), DRIFT_SUSPECTED);
}

static void a_clock_set_back_is_no_pause(void **state)
{
	struct drift drift = {0};

	assert_int_equal(drift_look(&drift, 100000, 100000, 0), DRIFT_NONE);
	assert_int_equal(drift_look(&drift, 1000, 1000, 10 * S), DRIFT_NONE);
	assert_int_equal(drift_look(&drift, 1010, 1010, 20 * S), DRIFT_NONE);
	assert_int_equal(drift_look(&drift, 1030, 1020, 30 * S), DRIFT_SUSPECTED);
}

static void a_write_to_the_rtc_is_no_pause(void **state)
{
	struct drift drift = {0};

	/* The RTC is 30 s behind; the clock is set first, the RTC later. */
	assert_int_equal(drift_look(&drift, 1000, 1000, 0), DRIFT_NONE);
	assert_int_equal(drift_look(&drift, 1010, 1040, 10 * S), DRIFT_NONE);
	assert_int_equal(drift_look(&drift, 1050, 1050, 20 * S), DRIFT_NONE);
	/* Again, cut off to either side. */
	assert_int_equal(drift_look(&drift, 1060, 1090, 30 * S), DRIFT_NONE);
	assert_int_equal(drift_look(&drift, 1101, 1100, 40 * S), DRIFT_NONE);
	assert_int_equal(drift_look(&drift, 1110, 1140, 50 * S), DRIFT_NONE);
	assert_int_equal(drift_look(&drift, 1149, 1150, 60 * S), DRIFT_NONE);
	/* And what the writes left is no debt of the next pause. */
	assert_int_equal(drift_look(&drift, 1190, 1160, 70 * S), DRIFT_SUSPECTED);
	assert_int_equal(drift_look(&drift, 1191, 1161, 71 * S), DRIFT_PAUSE);
}

static void a_clock_set_after_a_pause_hides_nothing(void **state)
{
	struct drift drift = {0};

	/* Before the look that suspects: by a guest agent, when the VM goes on. */
	assert_int_equal(drift_look(&drift, 1000, 1000, 0), DRIFT_NONE);
	assert_int_equal(drift_look(&drift, 1310, 1310, 10 * S), DRIFT_SUSPECTED);
	assert_int_equal(drift_look(&drift, 1311, 1311, 11 * S), DRIFT_PAUSE);
	assert_int_equal(drift_look(&drift, 1321, 1321, 21 * S), DRIFT_NONE);
	/* Before the one that confirms. */
	assert_int_equal(drift_look(&drift, 1631, 1331, 31 * S), DRIFT_SUSPECTED);
	assert_int_equal(drift_look(&drift, 1632, 1632, 32 * S), DRIFT_PAUSE);
	assert_int_equal(drift_look(&drift, 1642, 1642, 42 * S), DRIFT_NONE);
	/* Set alone, it is none. */
	assert_int_equal(drift_look(&drift, 1652, 1752, 52 * S), DRIFT_NONE);
}

static void a_pause_beside_a_wrong_rtc_counts(void **state)
{
	struct drift drift = {0};

	/* Behind by 30 s and never written: the pause brings it nearer. */
	assert_int_equal(drift_look(&drift, 1000, 1030, 0), DRIFT_NONE);
	assert_int_equal(drift_look(&drift, 1050, 1040, 10 * S), DRIFT_SUSPECTED);
	assert_int_equal(drift_look(&drift, 1051, 1041, 11 * S), DRIFT_PAUSE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_rounding_of_the_rtc_is_no_pause),
		cmocka_unit_test(a_pause_is_confirmed_and_told_once),
		cmocka_unit_test(one_look_alone_is_no_pause),
		cmocka_unit_test(growth_of_more_than_two_seconds_counts),
		cmocka_unit_test(a_clock_set_back_is_no_pause),
		cmocka_unit_test(a_write_to_the_rtc_is_no_pause),
		cmocka_unit_test(a_pause_beside_a_wrong_rtc_counts),
		cmocka_unit_test(a_clock_set_after_a_pause_hides_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
