/* SPDX-License-Identifier: Apache-2.0 */
/* The second process: when it leaves things to the primary, and when it does not. */
#include "unit.h"

#include "shred_keeper.h"

static void turn(void)
{
	keeper->beat_ns = 0; /* no turn waits */
	twin_turn(keeper);
}

static unsigned owner(void)
{
	return atomic_load(&keeper->shared->owner);
}

static void makes_threads_and_says_so(void **state)
{
	struct twin_message message;

	assert_int_equal(twin_send(twin_fd, TWIN_MAP, 5, 0, -1), 0);
	turn();
	assert_int_equal(datagram_receive(twin_fd, &message, sizeof(message), NULL),
			 sizeof(message));
	assert_int_equal(message.type, TWIN_MAP_DONE);
	assert_int_equal(message.slot, 5);
	assert_int_equal(message.status, 0);
	assert_true(keeper->steps.segments[5].worker.started);
	assert_true(keeper->steps.agent_fd >= 0);
	assert_int_equal(twin_send(twin_fd, TWIN_AGENT_GONE, 0, 0, -1), 0);
	turn();
	assert_int_equal(keeper->steps.agent_fd, -1);
}

static void death_of_the_primary_shreds_and_reports(void **state)
{
	struct keeper_report report;
	struct keeper_receipt_sent sent = {.kind = RECEIPT_CLOSING};

	add_map("one", 0);
	turn();
	assert_int_equal(owner(), PROCESS_NONE);
	close(alive_fd);
	turn();
	assert_int_equal(owner(), PROCESS_TWIN);
	assert_console("fault: the keeper died");
	run_until(SHRED_RECEIPT);
	report = receive_report(RECEIPT_KEYS);
	assert_int_equal(report.reason, REASON_FAULT);
	assert_true(report.keys_gone_ns > 0);
	receive_report(RECEIPT_CLOSING);

	frame_init(&sent.header, FRAME_MAGIC_KEEPER, KEEPER_RECEIPT_SENT, sizeof(sent));
	assert_int_equal(datagram_send(agent_fd, &sent, sizeof(sent), -1), 0);
	turn();
	assert_int_equal(power_asked.offs, 1);
}

/* The primary dies between the agent's request and its answer. */
static void death_of_the_primary_answers_the_agent(void **state)
{
	struct keeper_plain reply;

	atomic_store(&keeper->shared->pending_slot, 5);
	turn();
	assert_int_equal(datagram_receive(agent_fd, &reply, sizeof(reply), NULL), -EAGAIN);
	close(alive_fd);
	turn();
	assert_int_equal(datagram_receive(agent_fd, &reply, sizeof(reply), NULL), sizeof(reply));
	assert_int_equal(reply.header.type, KEEPER_MAP_ADD);
	assert_int_equal(reply.header.status, -EBUSY);
	receive_report(RECEIPT_KEYS);
}

static void deadline_is_the_primarys_for_a_grace(void **state)
{
	uint64_t now_ns = clock_boottime_ns();

	atomic_store(&keeper->shared->end_ns, now_ns - TWIN_GRACE_NS / 10);
	turn();
	assert_int_equal(owner(), PROCESS_NONE);
	atomic_store(&keeper->shared->end_ns, now_ns - TWIN_GRACE_NS);
	turn();
	assert_int_equal(owner(), PROCESS_TWIN);
	assert_int_equal(keeper->shared->reason, REASON_LEASE);
}

static void announced_end_is_the_primarys_for_a_grace(void **state)
{
	uint64_t now_ns = clock_boottime_ns();

	atomic_store(&keeper->shared->ending_verb, POWER_REBOOT);
	atomic_store(&keeper->shared->ending_ns, now_ns - TWIN_GRACE_NS / 10);
	turn();
	assert_int_equal(owner(), PROCESS_NONE);
	atomic_store(&keeper->shared->ending_ns, now_ns - TWIN_GRACE_NS);
	turn();
	assert_int_equal(owner(), PROCESS_TWIN);
	assert_int_equal(keeper->shared->reason, REASON_END);
	assert_int_equal(keeper->shared->verb, POWER_REBOOT);
}

static void warn_or_no_deadline_is_left_alone(void **state)
{
	atomic_store(&keeper->shared->end_ns, LEASE_NEVER);
	turn();
	assert_int_equal(owner(), PROCESS_NONE);
}

static void begin_as_primary(uint64_t start_ns)
{
	atomic_store(&keeper->shared->owner, PROCESS_PRIMARY);
	atomic_store(&keeper->shared->reason, REASON_REVOKED);
	atomic_store(&keeper->shared->start_ns, start_ns);
}

static void shred_in_time_is_the_primarys(void **state)
{
	begin_as_primary(clock_boottime_ns() - SHRED_TOTAL_NS);
	turn();
	assert_int_equal(owner(), PROCESS_PRIMARY);
	begin_as_primary(0); /* claimed this instant, not yet dated */
	turn();
	assert_int_equal(owner(), PROCESS_PRIMARY);
	assert_int_equal(power_asked.offs, 0);
}

static void shred_that_does_not_end_is_cut_short(void **state)
{
	begin_as_primary(clock_boottime_ns() - SHRED_TWIN_NS);
	turn();
	assert_int_equal(owner(), PROCESS_TWIN);
	assert_true(both_secrets_are(false, false));
	assert_console("emberlock: off: revoked (code 11)\n");
	assert_int_equal(power_asked.offs, 1);
	turn();
	assert_int_equal(power_asked.offs, 1);
}

static void unarmed_primary_that_ended_is_left_alone(void **state)
{
	begin_as_primary(clock_boottime_ns() - 2 * SHRED_TWIN_NS);
	atomic_store(&keeper->shared->wiped, 1);
	turn();
	assert_int_equal(power_asked.offs, 0);
	close(alive_fd);
	turn();
	assert_int_equal(owner(), PROCESS_PRIMARY);
	assert_int_equal(power_asked.offs, 0);
}

static void stuck_primary_is_taken_over(void **state)
{
	for (int i = 0; i < 3 * PEER_MISSED_MAX; i++) {
		atomic_fetch_add(&keeper->shared->beats[PROCESS_PRIMARY], i % 5 == 0);
		turn();
	}
	assert_int_equal(owner(), PROCESS_NONE);
	assert_int_equal(keeper->shared->beats[PROCESS_TWIN], 3 * PEER_MISSED_MAX);
	for (int i = 0; i < PEER_MISSED_MAX; i++)
		turn();
	assert_int_equal(owner(), PROCESS_TWIN);
	assert_console("fault: the keeper is stuck");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(makes_threads_and_says_so, new_twin),
		cmocka_unit_test_setup(death_of_the_primary_shreds_and_reports, new_twin),
		cmocka_unit_test_setup(death_of_the_primary_answers_the_agent, new_twin),
		cmocka_unit_test_setup(deadline_is_the_primarys_for_a_grace, new_twin),
		cmocka_unit_test_setup(announced_end_is_the_primarys_for_a_grace, new_twin),
		cmocka_unit_test_setup(warn_or_no_deadline_is_left_alone, new_twin),
		cmocka_unit_test_setup(shred_in_time_is_the_primarys, new_twin),
		cmocka_unit_test_setup(shred_that_does_not_end_is_cut_short, new_twin),
		cmocka_unit_test_setup(unarmed_primary_that_ended_is_left_alone, new_twin),
		cmocka_unit_test_setup(stuck_primary_is_taken_over, new_twin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
