/* SPDX-License-Identifier: Apache-2.0 */
/* The order and the budgets of a shred: by example, and walked over all orders of events. */
#include "core/lease.h"
#include "core/shred.h"
#include "unit.h"

#define MS 1000000ull
#define T0 5000000000ull

static enum shred_action start(struct shred *shred, bool receipt_wanted)
{
	const struct shred_event event = {.type = SHRED_EVENT_START,
					  .reason = REASON_REVOKED,
					  .receipt_wanted = receipt_wanted};

	*shred = (struct shred){};
	return shred_machine_step(shred, &event, T0);
}

static enum shred_action feed(struct shred *shred, enum shred_event_type type, bool complete,
			      uint64_t after_ns)
{
	const struct shred_event event = {
		.type = type, .reason = REASON_FAULT, .complete = complete};

	return shred_machine_step(shred, &event, T0 + after_ns);
}

static void all_goes_well(void **state)
{
	struct shred shred;

	assert_int_equal(start(&shred, true), SHRED_DO_KEYS);
	assert_int_equal(shred_next(&shred), T0 + SHRED_KEYS_BUDGET_NS);
	assert_int_equal(feed(&shred, SHRED_EVENT_DONE, true, 5 * MS), SHRED_DO_BLOCKED_IO);
	assert_int_equal(shred_next(&shred), T0 + 5 * MS + SHRED_IO_BUDGET_NS);
	assert_int_equal(feed(&shred, SHRED_EVENT_DONE, false, 6 * MS), SHRED_DO_SELF_TEST);
	assert_int_equal(shred_next(&shred), T0 + 6 * MS + SHRED_SELF_TEST_BUDGET_NS);
	assert_int_equal(feed(&shred, SHRED_EVENT_DONE, false, 7 * MS), SHRED_DO_PLAINTEXT);
	assert_int_equal(shred_next(&shred), T0 + SHRED_PLAINTEXT_END_NS);
	assert_int_equal(feed(&shred, SHRED_EVENT_DONE, true, 207 * MS), SHRED_DO_REPORT);
	assert_int_equal(shred_next(&shred), T0 + 207 * MS + SHRED_RECEIPT_BUDGET_NS);
	/* A thread that was given up and reports at last. */
	assert_int_equal(feed(&shred, SHRED_EVENT_DONE, true, 208 * MS), SHRED_DO_NOTHING);
	assert_int_equal(feed(&shred, SHRED_EVENT_RECEIPT, false, 209 * MS), SHRED_DO_POWER);
	assert_int_equal(shred_next(&shred), LEASE_NEVER);
	assert_int_equal(shred.reason, REASON_REVOKED);
	assert_int_equal(shred.start_ns, T0);
	assert_int_equal(shred.blocked_io_ns, T0 + 6 * MS);
	assert_int_equal(shred.plaintext_ns, T0 + 207 * MS);
}

static void nothing_is_done_in_its_time(void **state)
{
	struct shred shred;

	start(&shred, true);
	assert_int_equal(feed(&shred, SHRED_EVENT_TIME, false, 999 * MS), SHRED_DO_NOTHING);
	assert_int_equal(feed(&shred, SHRED_EVENT_TIME, false, 1000 * MS), SHRED_DO_BLOCKED_IO);
	assert_int_equal(feed(&shred, SHRED_EVENT_TIME, false, 1199 * MS), SHRED_DO_NOTHING);
	assert_int_equal(feed(&shred, SHRED_EVENT_TIME, false, 1200 * MS), SHRED_DO_SELF_TEST);
	assert_int_equal(feed(&shred, SHRED_EVENT_TIME, false, 1699 * MS), SHRED_DO_NOTHING);
	assert_int_equal(feed(&shred, SHRED_EVENT_TIME, false, 1700 * MS), SHRED_DO_PLAINTEXT);
	assert_int_equal(feed(&shred, SHRED_EVENT_TIME, false, 1999 * MS), SHRED_DO_NOTHING);
	assert_int_equal(feed(&shred, SHRED_EVENT_TIME, false, 2000 * MS), SHRED_DO_REPORT);
	assert_int_equal(feed(&shred, SHRED_EVENT_TIME, false, 2999 * MS), SHRED_DO_NOTHING);
	assert_int_equal(feed(&shred, SHRED_EVENT_TIME, false, 3000 * MS), SHRED_DO_POWER);
	assert_int_equal(shred.blocked_io_ns, 0);
	assert_int_equal(shred.plaintext_ns, 0);
}

static void without_an_agent_no_receipt_is_wanted(void **state)
{
	struct shred shred;

	start(&shred, false);
	assert_int_equal(feed(&shred, SHRED_EVENT_DONE, false, 5 * MS), SHRED_DO_BLOCKED_IO);
	assert_int_equal(feed(&shred, SHRED_EVENT_DONE, true, 6 * MS), SHRED_DO_SELF_TEST);
	assert_int_equal(feed(&shred, SHRED_EVENT_DONE, true, 7 * MS), SHRED_DO_PLAINTEXT);
	assert_int_equal(feed(&shred, SHRED_EVENT_DONE, true, 8 * MS), SHRED_DO_POWER);
}

static void what_is_left_is_no_plaintext_gone(void **state)
{
	struct shred shred;

	start(&shred, false);
	feed(&shred, SHRED_EVENT_DONE, true, 5 * MS);
	feed(&shred, SHRED_EVENT_DONE, true, 6 * MS);
	/* What the self-test was to look at is not what is meant. */
	assert_int_equal(feed(&shred, SHRED_EVENT_DONE, true, 7 * MS), SHRED_DO_PLAINTEXT);
	assert_int_equal(shred.plaintext_ns, 0);
	assert_int_equal(feed(&shred, SHRED_EVENT_DONE, false, 8 * MS), SHRED_DO_POWER);
	assert_int_equal(shred.blocked_io_ns, T0 + 6 * MS);
	assert_int_equal(shred.plaintext_ns, 0);
}

static void an_agent_that_goes_is_not_waited_for(void **state)
{
	struct shred shred;

	start(&shred, true);
	assert_int_equal(feed(&shred, SHRED_EVENT_RECEIPT, false, MS), SHRED_DO_NOTHING);
	assert_int_equal(feed(&shred, SHRED_EVENT_DONE, true, 2 * MS), SHRED_DO_BLOCKED_IO);
	assert_int_equal(feed(&shred, SHRED_EVENT_DONE, true, 3 * MS), SHRED_DO_SELF_TEST);
	assert_int_equal(feed(&shred, SHRED_EVENT_DONE, true, 4 * MS), SHRED_DO_PLAINTEXT);
	assert_int_equal(feed(&shred, SHRED_EVENT_DONE, true, 5 * MS), SHRED_DO_POWER);
}

/* Nothing is begun that would have to be given up at once: the receipt's time is the receipt's. */
static void plaintext_without_time_is_left_out(void **state)
{
	struct shred shred;

	start(&shred, true);
	feed(&shred, SHRED_EVENT_TIME, false, 1900 * MS);
	feed(&shred, SHRED_EVENT_DONE, true, 1999 * MS);
	assert_int_equal(feed(&shred, SHRED_EVENT_DONE, true, 1999 * MS), SHRED_DO_PLAINTEXT);
	start(&shred, true);
	feed(&shred, SHRED_EVENT_TIME, false, 1900 * MS);
	feed(&shred, SHRED_EVENT_DONE, true, 1999 * MS);
	assert_int_equal(feed(&shred, SHRED_EVENT_DONE, true, 2000 * MS), SHRED_DO_REPORT);
	assert_int_equal(shred.plaintext_ns, 0);
}

static void three_seconds_end_it_all(void **state)
{
	struct shred shred;

	start(&shred, true);
	assert_int_equal(feed(&shred, SHRED_EVENT_DONE, true, 3000 * MS), SHRED_DO_POWER);
	start(&shred, true);
	feed(&shred, SHRED_EVENT_TIME, false, 2900 * MS);
	assert_int_equal(shred.step, SHRED_BLOCKED_IO);
	assert_int_equal(shred_next(&shred), T0 + SHRED_TOTAL_NS);
}

static void idle_waits_for_its_start(void **state)
{
	struct shred shred = {};

	assert_int_equal(shred_next(&shred), LEASE_NEVER);
	assert_int_equal(feed(&shred, SHRED_EVENT_DONE, true, 0), SHRED_DO_NOTHING);
	assert_int_equal(feed(&shred, SHRED_EVENT_RECEIPT, true, 0), SHRED_DO_NOTHING);
	assert_int_equal(feed(&shred, SHRED_EVENT_TIME, true, 0), SHRED_DO_NOTHING);
	assert_int_equal(shred.step, SHRED_IDLE);
}

/* Whatever comes in whatever order: steps only rise, each is started once, power is reached by
 * TIME alone within the total, and a second start changes nothing. */
static void walk(const struct shred *from, uint64_t after_ns, unsigned depth)
{
	static const uint64_t delays[] = {0, 100 * MS, 1000 * MS};

	for (unsigned i = 0; depth > 0 && i < 3 * 2 * SHRED_EVENT__MAX; i++) {
		struct shred shred = *from;
		uint64_t now = after_ns + delays[i % 3];
		enum shred_event_type type = i / 6;
		enum shred_action action = feed(&shred, type, i / 3 % 2, now);

		assert_true(shred.step >= from->step);
		assert_int_equal(action != SHRED_DO_NOTHING, shred.step != from->step);
		assert_int_equal(shred.start_ns, T0);
		assert_int_equal(shred.reason, REASON_REVOKED);
		if (type == SHRED_EVENT_START)
			assert_int_equal(action, SHRED_DO_NOTHING);
		assert_true(
			shred.plaintext_ns == from->plaintext_ns ||
			(type == SHRED_EVENT_DONE && i / 3 % 2 && from->step == SHRED_PLAINTEXT));
		if (shred.step != SHRED_POWER) {
			assert_true(shred_next(&shred) <= T0 + SHRED_TOTAL_NS);
			assert_true(type != SHRED_EVENT_TIME || shred_next(&shred) > T0 + now);
		}
		walk(&shred, now, depth - 1);
	}
}

static void every_order_of_events(void **state)
{
	struct shred shred;

	start(&shred, true);
	walk(&shred, 0, 5);
	start(&shred, false);
	walk(&shred, 0, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_goes_well),
		cmocka_unit_test(nothing_is_done_in_its_time),
		cmocka_unit_test(without_an_agent_no_receipt_is_wanted),
		cmocka_unit_test(what_is_left_is_no_plaintext_gone),
		cmocka_unit_test(an_agent_that_goes_is_not_waited_for),
		cmocka_unit_test(plaintext_without_time_is_left_out),
		cmocka_unit_test(three_seconds_end_it_all),
		cmocka_unit_test(idle_waits_for_its_start),
		cmocka_unit_test(every_order_of_events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
