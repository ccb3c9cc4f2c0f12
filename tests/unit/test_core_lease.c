/* SPDX-License-Identifier: Apache-2.0 */
/* The lease machine by example: the default policy to the nanosecond, and arithmetic at its ends.
 * All sequences of events are tests/model/lease_walk.c's. */
#include <string.h>

#include "core/lease.h"
#include "unit.h"

#define S  1000000000ull
#define T0 (1000 * S)

static const uint8_t admission[HASH_SIZE] = "admission", challenge[CHALLENGE_SIZE] = "next";
static const struct lease_limits no_limits = {.max_ttl_ms = UINT64_MAX};

static unsigned feed(struct lease *lease, enum lease_event_type type, uint64_t now_ns)
{
	const struct lease_event event = {.type = type, .challenge = challenge};

	return lease_step(lease, &event, now_ns);
}

/* The answer to what is outstanding, by the default policy. */
static struct token answer(const struct lease *lease, enum verdict verdict)
{
	struct token token = {.sequence = {lease->highest.epoch, lease->highest.counter + 1},
			      .ttl_ms = 300000,
			      .margin_ms = 60000,
			      .verdict = verdict,
			      .expiry = EXPIRY_SHRED,
			      .cmk_state = CMK_HEALTHY};

	memcpy(token.admission, admission, HASH_SIZE);
	memcpy(token.challenge, lease->challenge, CHALLENGE_SIZE);
	return token;
}

static unsigned feed_token(struct lease *lease, const struct token *token, uint64_t now_ns)
{
	const struct lease_event event = {
		.type = LEASE_EVENT_TOKEN, .token = token, .challenge = challenge};

	return lease_step(lease, &event, now_ns);
}

static void start(struct lease *lease, const struct lease_limits *limits)
{
	lease_init(lease, limits, admission);
	assert_int_equal(feed(lease, LEASE_EVENT_START, T0),
			 LEASE_ACTION_SAVE | LEASE_ACTION_REQUEST);
}

static void life(void **state)
{
	struct lease lease;
	struct token token;

	start(&lease, &no_limits);
	assert_int_equal(lease_next(&lease), T0 + 60 * S);
	token = answer(&lease, VERDICT_ADMIT);
	assert_int_equal(feed_token(&lease, &token, T0 + S),
			 LEASE_ACTION_SAVE | LEASE_ACTION_DEADLINE | LEASE_ACTION_ADMIT |
				 LEASE_ACTION_REQUEST);
	assert_int_equal(lease.deadline_ns, T0 + 300 * S);
	assert_int_equal(lease.warning_ns, T0 + 240 * S);
	assert_int_equal(lease.challenge_ns, T0 + S);
	assert_int_equal(lease_next(&lease), T0 + 101 * S);
	assert_int_equal(feed(&lease, LEASE_EVENT_TICK, T0 + 101 * S),
			 LEASE_ACTION_SAVE | LEASE_ACTION_REQUEST);
	assert_int_equal(feed(&lease, LEASE_EVENT_TICK, T0 + 201 * S),
			 LEASE_ACTION_SAVE | LEASE_ACTION_REQUEST);
	assert_int_equal(feed(&lease, LEASE_EVENT_TICK, T0 + 240 * S - 1), 0);
	assert_int_equal(feed(&lease, LEASE_EVENT_TICK, T0 + 240 * S),
			 LEASE_ACTION_SAVE | LEASE_ACTION_WARN);
	assert_int_equal(lease.state, LEASE_WARNING);
	assert_int_equal(feed(&lease, LEASE_EVENT_TICK, T0 + 300 * S - 1), 0);
	assert_int_equal(feed(&lease, LEASE_EVENT_TICK, T0 + 300 * S),
			 LEASE_ACTION_SAVE | LEASE_ACTION_SHRED);
	assert_int_equal(lease.reason, REASON_LEASE);
	assert_int_equal(lease_next(&lease), LEASE_NEVER);
	assert_int_equal(feed(&lease, LEASE_EVENT_OFF, T0 + 301 * S), LEASE_ACTION_SAVE);
	assert_int_equal(lease.state, LEASE_OFF);
}

/* Delay shortens a lease: it counts from the making of the challenge. */
static void a_late_answer_is_a_short_lease(void **state)
{
	struct lease lease;
	struct token token;

	start(&lease, &no_limits);
	token = answer(&lease, VERDICT_ADMIT);
	feed_token(&lease, &token, T0);
	token = answer(&lease, VERDICT_CONTINUE);
	token.ttl_ms = 100000;
	assert_int_equal(feed_token(&lease, &token, T0 + 80 * S),
			 LEASE_ACTION_SAVE | LEASE_ACTION_DEADLINE | LEASE_ACTION_REQUEST |
				 LEASE_ACTION_WARN);
	assert_int_equal(lease.state, LEASE_WARNING);
	assert_int_equal(lease.deadline_ns, T0 + 100 * S);
	token = answer(&lease, VERDICT_CONTINUE);
	token.ttl_ms = 10000;
	token.margin_ms = 0;
	assert_int_equal(feed_token(&lease, &token, T0 + 90 * S),
			 LEASE_ACTION_SAVE | LEASE_ACTION_SHRED);
}

/* A boot that waited before it was admitted is not admitted with what is left of a lease. */
static void too_late_to_admit(void **state)
{
	struct lease lease;
	struct token token;

	start(&lease, &no_limits);
	token = answer(&lease, VERDICT_ADMIT);
	token.ttl_ms = 20000;
	token.margin_ms = 0;
	assert_int_equal(feed_token(&lease, &token, T0 + 10 * S + 1),
			 LEASE_ACTION_SAVE | LEASE_ACTION_REQUEST | LEASE_ACTION_REJECT);
	assert_int_equal(lease.rejected, LEASE_REJECT_LATE);
	assert_int_equal(lease.state, LEASE_STARTING);
	assert_int_equal(lease.deadline_ns, LEASE_NEVER);
	assert_int_equal(lease.number, 2);
	assert_int_equal(lease.challenge_ns, T0 + 10 * S + 1);
	assert_int_equal(lease.answered, 0);
	/* The challenge that is asked then is answered at once. */
	token = answer(&lease, VERDICT_ADMIT);
	token.ttl_ms = 20000;
	token.margin_ms = 0;
	assert_int_equal(feed_token(&lease, &token, T0 + 20 * S + 1),
			 LEASE_ACTION_SAVE | LEASE_ACTION_DEADLINE | LEASE_ACTION_ADMIT |
				 LEASE_ACTION_REQUEST);
	assert_int_equal(lease.deadline_ns, T0 + 30 * S + 1);
}

static void a_replay_is_worth_nothing(void **state)
{
	struct lease lease, before;
	struct token token;

	start(&lease, &no_limits);
	token = answer(&lease, VERDICT_ADMIT);
	/* As if the random challenge were new, which it is in life. */
	token.challenge[31] = lease.challenge[31] = 1;
	feed_token(&lease, &token, T0 + S);
	memcpy(&before, &lease, sizeof(before));
	assert_int_equal(feed_token(&lease, &token, T0 + 2 * S), LEASE_ACTION_REJECT);
	assert_int_equal(lease.rejected, LEASE_REJECT_CHALLENGE);
	before.rejected = lease.rejected;
	assert_memory_equal(&before, &lease, sizeof(lease));
}

static void limits(void **state)
{
	const struct lease_limits strict = {.max_ttl_ms = 100000, .forbid_warn = true};
	struct lease lease;
	struct token token;

	start(&lease, &strict);
	token = answer(&lease, VERDICT_ADMIT);
	token.expiry = EXPIRY_WARN;
	feed_token(&lease, &token, T0 + S);
	assert_int_equal(lease.ttl_ms, 100000);
	assert_int_equal(lease.deadline_ns, T0 + 100 * S);
	assert_int_equal(lease.warning_ns, T0 + 80 * S);
	assert_int_equal(lease.expiry, EXPIRY_SHRED);
}

static void a_pause_shortens(void **state)
{
	struct lease lease;
	struct token token;

	start(&lease, &no_limits);
	token = answer(&lease, VERDICT_ADMIT);
	feed_token(&lease, &token, T0 + S);
	assert_int_equal(feed(&lease, LEASE_EVENT_PAUSE, T0 + 100 * S),
			 LEASE_ACTION_SAVE | LEASE_ACTION_DEADLINE | LEASE_ACTION_REQUEST |
				 LEASE_ACTION_WARN);
	assert_int_equal(lease.deadline_ns, T0 + 130 * S);
	assert_int_equal(lease.warning_ns, T0 + 70 * S);
	assert_int_equal(lease.pauses, 1);
	token = answer(&lease, VERDICT_CONTINUE);
	assert_int_equal(feed_token(&lease, &token, T0 + 101 * S),
			 LEASE_ACTION_SAVE | LEASE_ACTION_DEADLINE | LEASE_ACTION_REQUEST |
				 LEASE_ACTION_RESUME);
	assert_int_equal(lease.deadline_ns, T0 + 400 * S);
}

static void the_end_of_time(void **state)
{
	const uint64_t late = UINT64_MAX - 10 * S;
	struct lease lease;
	struct token token;

	lease_init(&lease, &no_limits, admission);
	feed(&lease, LEASE_EVENT_START, late);
	assert_true(lease_next(&lease) >= late);
	token = answer(&lease, VERDICT_ADMIT);
	token.ttl_ms = UINT32_MAX;
	token.margin_ms = UINT32_MAX - 1;
	feed_token(&lease, &token, late + S);
	assert_int_equal(lease.deadline_ns, LEASE_NEVER - 1);
	assert_true(lease.warning_ns <= lease.deadline_ns);
	assert_int_equal(feed(&lease, LEASE_EVENT_PAUSE, late + 2 * S) & LEASE_ACTION_SHRED, 0);
	assert_true(lease.deadline_ns < LEASE_NEVER);
}

static void the_reason_of_a_verdict_is_kept(void **state)
{
	for (int reason = REASON_REVOKED; reason < REASON__MAX; reason++) {
		struct lease lease;
		struct token token;

		start(&lease, &no_limits);
		token = answer(&lease, VERDICT_SHRED);
		token.reason = reason;
		token.cmk_state = CMK_REVOKED;
		assert_int_equal(feed_token(&lease, &token, T0 + S),
				 LEASE_ACTION_SAVE | LEASE_ACTION_SHRED);
		assert_int_equal(lease.reason, reason);
		assert_int_equal(lease.cmk_state, CMK_REVOKED);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(life),
		cmocka_unit_test(a_late_answer_is_a_short_lease),
		cmocka_unit_test(too_late_to_admit),
		cmocka_unit_test(a_replay_is_worth_nothing),
		cmocka_unit_test(limits),
		cmocka_unit_test(a_pause_shortens),
		cmocka_unit_test(the_end_of_time),
		cmocka_unit_test(the_reason_of_a_verdict_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
