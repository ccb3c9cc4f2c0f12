/* SPDX-License-Identifier: Apache-2.0 */
/* In what order an agent acts on a shred: the keeper first, and nothing else until it has reported or
 * had its time. Links agent_lease.c; what it calls is written down, a letter each. */
#include "unit.h"

#include <string.h>

#include "agent.h"
#include "base/clock.h"

static struct agent a;
static char calls[64];
static uint64_t timer_ns;
static sd_event_time_handler_t timer;
static bool keeper_is_gone;

static void called(const char *letter)
{
	assert_true(strlen(calls) + 1 < sizeof(calls));
	strcat(calls, letter);
}

bool keeper_shred(struct agent *agent, enum reason reason)
{
	if (agent->shred.begun)
		return false;
	called("K");
	agent->shred.begun = true;
	return !keeper_is_gone;
}

int keeper_save(struct agent *agent)
{
	called("s");
	return 0;
}

int keeper_deadline(struct agent *agent, uint64_t deadline_ns, enum expiry expiry)
{
	called("d");
	return 0;
}

void receipt_prepare(struct agent *agent)
{
	called("p");
}

void bind_begin(struct agent *agent)
{
}

void control_notify(struct agent *agent)
{
	called("n");
}

void requests_send(struct agent *agent)
{
	called("q");
}

void token_rejected(struct agent *agent, const char *why)
{
	called("r");
}

void console_write(const struct agent *agent, const char *format, ...)
{
}

void agent_exit(struct agent *agent, int r)
{
	called("x");
}

void agent_random(struct agent *agent, void *bytes, size_t n)
{
	memset(bytes, 7, n);
}

void agent_timer(struct agent *agent, sd_event_source **source, uint64_t at_ns,
		 sd_event_time_handler_t handler)
{
	assert_ptr_equal(source, &agent->tick);
	timer_ns = at_ns;
	timer = handler;
}

static int admitted(void **state)
{
	memset(&a, 0, sizeof(a));
	calls[0] = '\0';
	keeper_is_gone = false;
	a.state.lease.state = LEASE_ADMITTED;
	a.state.lease.deadline_ns = a.state.lease.warning_ns =
		clock_boottime_ns() + 3600 * NSEC_PER_SEC;
	return 0;
}

static void the_rest_waits_for_the_report(void **state)
{
	uint64_t now_ns = clock_boottime_ns();

	lease_event(&a, LEASE_EVENT_OPERATOR, NULL, NULL);
	assert_string_equal(calls, "K");
	assert_in_range(timer_ns, now_ns + 1, now_ns + NSEC_PER_SEC);
	lease_shred_rest(&a);
	assert_string_equal(calls, "Kspn");
	lease_shred_rest(&a);
	assert_int_equal(timer(NULL, 0, &a), 0);
	assert_string_equal(calls, "Kspn");
}

static void the_rest_does_not_wait_for_ever(void **state)
{
	struct token token = {.verdict = VERDICT_SHRED};
	uint8_t bytes[TOKEN_SIZE] = {};
	uint64_t end_ns;

	lease_event(&a, LEASE_EVENT_OPERATOR, NULL, NULL);
	end_ns = timer_ns;
	/* What comes meanwhile puts it off no further. */
	lease_event(&a, LEASE_EVENT_TOKEN, &token, bytes);
	assert_string_equal(calls, "Kr");
	assert_int_equal(timer_ns, end_ns);
	assert_int_equal(timer(NULL, 0, &a), 0);
	assert_string_equal(calls, "Krspn");
	assert_int_equal(timer_ns, LEASE_NEVER);
}

static void a_keeper_that_began_is_not_waited_for(void **state)
{
	a.shred.begun = true;
	lease_event(&a, LEASE_EVENT_FAULT, NULL, NULL);
	assert_string_equal(calls, "spn");
}

static void a_keeper_that_is_gone_is_not_waited_for(void **state)
{
	keeper_is_gone = true;
	lease_event(&a, LEASE_EVENT_OPERATOR, NULL, NULL);
	assert_string_equal(calls, "Kspn");
}

static void the_next_agent_tells_the_keeper_too(void **state)
{
	a.state.lease.state = LEASE_SHREDDING;
	lease_resume(&a);
	assert_string_equal(calls, "K");
	lease_shred_rest(&a);
	assert_string_equal(calls, "Kpn");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_rest_waits_for_the_report, admitted),
		cmocka_unit_test_setup(the_rest_does_not_wait_for_ever, admitted),
		cmocka_unit_test_setup(a_keeper_that_began_is_not_waited_for, admitted),
		cmocka_unit_test_setup(a_keeper_that_is_gone_is_not_waited_for, admitted),
		cmocka_unit_test_setup(the_next_agent_tells_the_keeper_too, admitted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
