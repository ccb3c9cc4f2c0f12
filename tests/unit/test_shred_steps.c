/* SPDX-License-Identifier: Apache-2.0 */
/* A shred from its first ioctl to the switch, over a faked device mapper. */
#include "unit.h"

#include "shred_keeper.h"

static void begin(enum reason reason)
{
	assert_true(steps_begin(&keeper->steps, reason, POWER_OFF, false, clock_boottime_ns()));
}

/* The calls on NAME, a letter each: s suspend, w wipe, l load, r resume. */
static void assert_calls(const char *name, const char *expected)
{
	char calls[64] = "";

	for (unsigned i = 0; i < dm_n_calls; i++) {
		if (strcmp(dm_head(i)->name, name) != 0 || dm_calls[i].number == DM_TABLE_STATUS)
			continue;
		if (dm_is_suspend(dm_calls[i].number, dm_head(i)))
			strcat(calls, "s");
		else
			strcat(calls, dm_calls[i].number == DM_TARGET_MSG   ? "w"
				      : dm_calls[i].number == DM_TABLE_LOAD ? "l"
									    : "r");
	}
	assert_string_equal(calls, expected);
}

static void whole_with_receipt(void **state)
{
	struct keeper_report keys, closing;
	uint64_t now_ns, gone_ns, reset_ns;
	char frozen;

	add_map("absent", 7);
	add_map("one", 0);
	add_map("two", 1);
	say_hello();
	assert_true(both_secrets_are(true, true));
	begin(REASON_REVOKED);
	assert_true(both_secrets_are(false, true));
	assert_int_equal(keeper->shared->boot_key_held, 0);
	/* Not before the keys: nothing shares the processors with their threads. */
	assert_int_equal(read(freezer_fd, &frozen, 1), -1);
	run_until(SHRED_RECEIPT);
	assert_int_equal(read(freezer_fd, &frozen, 1), 1);
	assert_int_equal(frozen, '1');

	keys = receive_report(RECEIPT_KEYS);
	assert_int_equal(keys.reason, REASON_REVOKED);
	assert_int_equal(keys.n_segments, 3);
	gone_ns = keys.start_ns + keys.segments[1].wiped_us * 1000ull;
	assert_int_equal(keys.keys_gone_ns, gone_ns > keeper->steps.boot_key_gone_ns
						    ? gone_ns
						    : keeper->steps.boot_key_gone_ns);
	assert_int_equal(keys.blocked_io_ns, 0);
	closing = receive_report(RECEIPT_CLOSING);
	assert_int_equal(closing.start_ns, keys.start_ns);
	assert_int_equal(closing.keys_gone_ns, keys.keys_gone_ns);
	assert_in_range(closing.blocked_io_ns, closing.keys_gone_ns, clock_boottime_ns());
	/* There are no processes and mounts here that could be cleared. */
	assert_int_equal(closing.plaintext_ns, 0);
	assert_int_equal(keys.self_test_passed | keys.self_test_failed, 0);
	assert_int_equal(closing.self_test_passed, SELF_TEST_KEYS_GONE);
	assert_int_equal(closing.self_test_failed,
			 SELF_TEST_PLAINTEXT | SELF_TEST_KEYRING | SELF_TEST_CRASH_KERNEL);
	assert_int_equal(closing.segments[0].fate, SEGMENT_WIPED);
	assert_int_equal(closing.segments[1].fate, SEGMENT_WIPED);
	assert_true(closing.segments[0].wiped_us <= closing.segments[1].wiped_us);
	assert_int_equal(closing.segments[0].segment + closing.segments[1].segment, 1);
	assert_string_equal(closing.segments[0].volume, "data");
	assert_int_equal(closing.segments[2].fate, SEGMENT_ABSENT);
	assert_int_equal(closing.segments[2].segment, 7);
	assert_calls("one", "swlr");
	assert_calls("two", "swlr");
	assert_calls("absent", "ss");

	assert_int_equal(power_asked.offs, 0);
	assert_true(both_secrets_are(false, true));
	keeper->steps.receipt_sent = true;
	now_ns = clock_boottime_ns();
	steps_run(&keeper->steps, now_ns);
	assert_true(both_secrets_are(false, false));
	assert_true(keeper->plaintext.begin_ns > 0);
	/* Why comes first. */
	assert_console("emberlock: off: revoked (code 11)\nemberlock: plaintext: processes left ");
	assert_int_equal(power_asked.offs, 1);

	/* The time of reboot(2) begins when it is called. */
	reset_ns = steps_next(&keeper->steps);
	assert_in_range(reset_ns, now_ns + POWER_BUDGET_NS,
			now_ns + (clock_boottime_ns() - now_ns) + POWER_BUDGET_NS);
	steps_run(&keeper->steps, reset_ns - 1);
	assert_int_equal(power_asked.resets, 0);
	steps_run(&keeper->steps, reset_ns);
	steps_run(&keeper->steps, reset_ns + POWER_BUDGET_NS);
	assert_int_equal(power_asked.resets, 1);
	assert_int_equal(power_asked.offs, 1);
}

static sem_t freezer_release;

static void freezer_stalls(void *argument)
{
	while (sem_wait(&freezer_release) < 0)
		;
}

/* A shred that has destroyed its keys, while freezing PID 1 takes its time. */
static uint64_t begin_with_stalled_freezer(void)
{
	uint64_t start_ns;

	sem_init(&freezer_release, 0, 0);
	assert_true(worker_give(&keeper->freezer.worker, freezer_stalls, NULL));
	add_map("swap", 0);
	begin(REASON_REVOKED);
	start_ns = keeper->steps.machine.start_ns;
	while (worker_is_busy(&keeper->steps.segments[0].worker))
		(void)poll(NULL, 0, 1);
	steps_run(&keeper->steps, start_ns + 1);
	assert_int_equal(keeper->steps.machine.step, SHRED_BLOCKED_IO);
	assert_int_equal(steps_next(&keeper->steps), start_ns + 1 + FREEZE_BUDGET_NS);
	return start_ns;
}

/* An I/O error from swap before that would be the end of PID 1. */
static void io_fails_once_pid1_is_frozen(void **state)
{
	uint64_t start_ns = begin_with_stalled_freezer();

	steps_run(&keeper->steps, start_ns + FREEZE_BUDGET_NS);
	assert_int_equal(keeper->steps.machine.step, SHRED_BLOCKED_IO);
	assert_calls("swap", "sw");
	sem_post(&freezer_release);
	while (worker_is_busy(&keeper->freezer.worker))
		(void)poll(NULL, 0, 1);
	steps_run(&keeper->steps, start_ns + FREEZE_BUDGET_NS);
	while (worker_is_busy(&keeper->steps.segments[0].worker))
		(void)poll(NULL, 0, 1);
	assert_calls("swap", "swlr");
}

static void freezing_that_stalls_stops_nothing(void **state)
{
	uint64_t start_ns = begin_with_stalled_freezer();

	steps_run(&keeper->steps, start_ns + 1 + FREEZE_BUDGET_NS);
	while (worker_is_busy(&keeper->steps.segments[0].worker))
		(void)poll(NULL, 0, 1);
	assert_calls("swap", "swlr");
	run_until_at(SHRED_POWER, start_ns + 1 + FREEZE_BUDGET_NS);
	assert_int_equal(power_asked.offs, 1);
	sem_post(&freezer_release);
}

static void stalled_disk_stops_nothing(void **state)
{
	struct keeper_report report;
	uint64_t start_ns;

	add_map("stalled", 0);
	add_map("other", 1);
	say_hello();
	begin(REASON_LEASE);
	start_ns = keeper->steps.machine.start_ns;
	assert_int_equal(sem_wait(&dm_stalls), 0);
	while (worker_is_busy(&keeper->steps.segments[1].worker))
		steps_run(&keeper->steps, start_ns);
	assert_int_equal(keeper->shared->maps[1].fate, SEGMENT_WIPED);
	assert_int_equal(keeper->steps.machine.step, SHRED_KEYS);
	assert_int_equal(steps_next(&keeper->steps), start_ns + SHRED_KEYS_BUDGET_NS);

	steps_run(&keeper->steps, start_ns + SHRED_KEYS_BUDGET_NS);
	while (worker_is_busy(&keeper->freezer.worker))
		(void)poll(NULL, 0, 1);
	steps_run(&keeper->steps, start_ns + SHRED_KEYS_BUDGET_NS);
	report = receive_report(RECEIPT_KEYS);
	assert_int_equal(report.keys_gone_ns, 0);
	assert_int_equal(report.segments[0].fate, SEGMENT_WIPED);
	assert_int_equal(report.segments[1].fate, SEGMENT_UNWIPED);
	while (worker_is_busy(&keeper->steps.segments[1].worker))
		(void)poll(NULL, 0, 1);
	run_until_at(SHRED_RECEIPT, start_ns + SHRED_KEYS_BUDGET_NS + 1);
	assert_calls("stalled", "s");
	assert_calls("other", "swlr");
	report = receive_report(RECEIPT_CLOSING);
	assert_int_equal(report.keys_gone_ns, 0);

	/* The agent does not answer. */
	steps_run(&keeper->steps, start_ns + SHRED_TOTAL_NS);
	assert_int_equal(power_asked.offs, 1);
	assert_true(both_secrets_are(false, false));
	sem_post(&dm_release);
}

/* A map that the agent's worker was making when the shred began. */
static void late_map_dies_too(void **state)
{
	struct keeper_report report;
	uint64_t gone_ns;

	add_map("late", 0);
	say_hello();
	begin(REASON_REVOKED);
	run_until(SHRED_RECEIPT);
	assert_calls("late", "sswlr");
	report = receive_report(RECEIPT_KEYS);
	assert_int_equal(report.segments[0].fate, SEGMENT_ABSENT);
	assert_true(report.keys_gone_ns > 0);
	gone_ns = report.keys_gone_ns;
	report = receive_report(RECEIPT_CLOSING);
	assert_int_equal(report.segments[0].fate, SEGMENT_WIPED);
	assert_int_equal(report.keys_gone_ns,
			 report.start_ns + report.segments[0].wiped_us * 1000ull);
	assert_true(report.keys_gone_ns > gone_ns);
}

/* It was absent at step 1: that is no longer true, whatever becomes of it. */
static void late_map_that_is_not_wiped_is_unwiped(void **state)
{
	static const char *const names[] = {"late-hopeless", "late-stalled"};
	struct keeper_report report;

	for (size_t i = 0; i < ELEMENTSOF(names); i++) {
		new_keeper(state);
		add_map(names[i], 0);
		say_hello();
		begin(REASON_REVOKED);
		run_until(SHRED_RECEIPT);
		report = receive_report(RECEIPT_KEYS);
		assert_int_equal(report.segments[0].fate, SEGMENT_ABSENT);
		report = receive_report(RECEIPT_CLOSING);
		assert_int_equal(report.segments[0].fate, SEGMENT_UNWIPED);
		assert_int_equal(report.keys_gone_ns, 0);
	}
	sem_post(&dm_release);
}

static void hopeless_map_is_unwiped(void **state)
{
	struct keeper_report report;

	add_map("hopeless", 0);
	say_hello();
	begin(REASON_REVOKED);
	run_until(SHRED_RECEIPT);
	report = receive_report(RECEIPT_KEYS);
	assert_int_equal(report.segments[0].fate, SEGMENT_UNWIPED);
	assert_int_equal(report.keys_gone_ns, 0);
}

static void without_agent_no_receipt_is_waited_for(void **state)
{
	add_map("one", 0);
	begin(REASON_FAULT);
	run_until(SHRED_POWER);
	assert_console("emberlock: off: fault (code 17)\n");
	assert_int_equal(power_asked.offs, 1);
}

static void agent_that_is_gone_is_not_waited_for(void **state)
{
	say_hello();
	begin(REASON_FAULT);
	run_until(SHRED_RECEIPT);
	keeper->steps.agent_fd = -1;
	steps_run(&keeper->steps, clock_boottime_ns());
	assert_int_equal(power_asked.offs, 1);
}

static void agent_that_reads_nothing_is_not_waited_for(void **state)
{
	uint8_t junk[1024] = {};

	say_hello();
	while (datagram_send(keeper->connections[0].fd, junk, sizeof(junk), -1) == 0)
		;
	begin(REASON_FAULT);
	run_until(SHRED_POWER);
	assert_int_equal(power_asked.offs, 1);
	assert_in_range(keeper->steps.machine.step_ns - keeper->steps.machine.start_ns, 0,
			SHRED_RECEIPT_BUDGET_NS - 1);
}

static void unarmed_stays_wiped(void **state)
{
	keeper->power.armed = false;
	add_map("one", 0);
	begin(REASON_OPERATOR);
	run_until(SHRED_POWER);
	assert_console("power is not armed (no emberlock.power=armed on the kernel command line): "
		       "this machine would now power off; it stays on, with no keys\n");
	assert_true(both_secrets_are(false, false));
	/* Nor has any process been killed. */
	assert_int_equal(keeper->plaintext.begin_ns, 0);
	assert_int_equal(keeper_phase(keeper), PHASE_WIPED);
	assert_int_equal(steps_next(&keeper->steps), LEASE_NEVER);
	assert_int_equal(power_asked.resets, 0);
	assert_false(steps_begin(&keeper->steps, REASON_FAULT, POWER_OFF, true, 1));
}

static void unarmed_claims_no_more_than_it_did(void **state)
{
	keeper->power.armed = false;
	add_map("hopeless", 0);
	begin(REASON_OPERATOR);
	run_until(SHRED_POWER);
	assert_console("it stays on, with keys that could not be wiped\n");
}

static void one_process_shreds(void **state)
{
	begin(REASON_LEASE);
	assert_false(steps_begin(&keeper->steps, REASON_FAULT, POWER_OFF, false, 1));
	assert_int_equal(keeper->shared->reason, REASON_LEASE);
	keeper->steps.machine.step = SHRED_IDLE; /* as in the other process */
	keeper->steps.self = PROCESS_TWIN;
	assert_false(steps_begin(&keeper->steps, REASON_FAULT, POWER_OFF, false, 1));
	assert_int_equal(keeper->shared->owner, PROCESS_PRIMARY);
}

/* The primary has wiped "one" and died; its twin goes on with all it stood for. */
static void take_over_keeps_what_was_begun(void **state)
{
	struct keeper *primary = keeper;
	struct keeper_report report;
	uint64_t start_ns = clock_boottime_ns();

	add_map("one", 0);
	assert_true(steps_begin(&primary->steps, REASON_REVOKED, POWER_REBOOT, false, start_ns));
	while (primary->shared->maps[0].fate != SEGMENT_WIPED)
		(void)poll(NULL, 0, 1);

	make_keeper(PROCESS_TWIN);
	keeper->shared = keeper->steps.shared = primary->shared;
	keeper->connections[0].fd = primary->connections[0].fd;
	say_hello();
	assert_int_equal(steps_prepare(&keeper->steps, 0), 0);
	add_map("two", 1);
	assert_true(steps_begin(&keeper->steps, REASON_FAULT, POWER_OFF, true, start_ns + 5000));
	run_until(SHRED_RECEIPT);
	assert_int_equal(keeper->shared->owner, PROCESS_TWIN);
	assert_calls("one", "swlr");
	assert_calls("two", "swlr");
	report = receive_report(RECEIPT_KEYS);
	assert_int_equal(report.reason, REASON_REVOKED);
	assert_int_equal(report.start_ns, start_ns);
	keeper->steps.receipt_sent = true;
	steps_run(&keeper->steps, clock_boottime_ns());
	assert_int_equal(power_asked.reboots, 1);
	assert_int_equal(power_asked.offs, 0);
}

static void cut_short_goes_straight_off(void **state)
{
	add_map("stalled", 0);
	steps_cut_short(&keeper->steps, clock_boottime_ns());
	assert_true(both_secrets_are(false, false));
	assert_int_equal(power_asked.offs, 1);
	assert_int_equal(dm_n_calls, 0);
	assert_int_equal(keeper->shared->owner, PROCESS_PRIMARY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(whole_with_receipt, new_keeper),
		cmocka_unit_test_setup(io_fails_once_pid1_is_frozen, new_keeper),
		cmocka_unit_test_setup(freezing_that_stalls_stops_nothing, new_keeper),
		cmocka_unit_test_setup(stalled_disk_stops_nothing, new_keeper),
		cmocka_unit_test_setup(late_map_dies_too, new_keeper),
		cmocka_unit_test(late_map_that_is_not_wiped_is_unwiped),
		cmocka_unit_test_setup(hopeless_map_is_unwiped, new_keeper),
		cmocka_unit_test_setup(without_agent_no_receipt_is_waited_for, new_keeper),
		cmocka_unit_test_setup(agent_that_is_gone_is_not_waited_for, new_keeper),
		cmocka_unit_test_setup(agent_that_reads_nothing_is_not_waited_for, new_keeper),
		cmocka_unit_test_setup(unarmed_stays_wiped, new_keeper),
		cmocka_unit_test_setup(unarmed_claims_no_more_than_it_did, new_keeper),
		cmocka_unit_test_setup(one_process_shreds, new_keeper),
		cmocka_unit_test_setup(take_over_keeps_what_was_begun, new_keeper),
		cmocka_unit_test_setup(cut_short_goes_straight_off, new_keeper),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
