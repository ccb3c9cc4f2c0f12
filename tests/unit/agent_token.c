/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent takes of an answer to its report: token and share, both signed, or nothing. Links
 * agent_token.c; the rest of the agent is stubs. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "agent.h"
#include "base/bytes.h"
#include "base/log.h"

static struct agent a;
static bool bound, takes, connected; /* this boot has bound volumes; the lease machine accepts */
static unsigned events, asked;
static uint8_t
	share_then[BIND_SHARE_RECORD_SIZE]; /* on the page when the machine was given a token */
static struct signing_key *root, *old, *new;
static uint8_t answer[BOUND_ANSWER_SIZE];

/* --- the rest of the agent */

void lease_event(struct agent *agent, enum lease_event_type type, const struct token *token,
		 const uint8_t *token_bytes)
{
	events++;
	memcpy(share_then, agent->state.share, sizeof(share_then));
	if (takes)
		agent->state.lease.state =
			token->verdict == VERDICT_SHRED ? LEASE_SHREDDING : LEASE_ADMITTED;
}

bool bind_asked(const struct agent *agent)
{
	return bound;
}

int requests_ask_keys(struct agent *agent)
{
	asked++;
	return connected ? 0 : -ENOTCONN;
}

void requests_retry(struct agent *agent, uint32_t min_ms)
{
}

int keeper_save(struct agent *agent)
{
	return 0;
}

void pause_look(struct agent *agent)
{
}

void console_write(const struct agent *agent, const char *format, ...)
{
}

bool rate_allow(struct rate *rate, unsigned burst, uint64_t now_ns)
{
	return false;
}

/* --- answers */

static struct signing_key *key_of(uint8_t byte)
{
	uint8_t seed[IDENTITY_SEED_SIZE];
	struct signing_key *key;

	memset(seed, byte, sizeof(seed));
	assert_int_equal(signing_key_new_from_seed(seed, &key), 0);
	return key;
}

static void set_of(const struct signing_key *key, uint64_t epoch, uint8_t *bytes)
{
	struct signing_keys set = {.epoch = epoch, .n_keys = 1};

	signing_key_public(key, set.keys[0]);
	assert_int_equal(signing_keys_sign(root, &set, bytes), 0);
}

static void token_by(const struct signing_key *key, enum verdict verdict)
{
	struct token token = {
		.admission = {7},
		.sequence = {1, 1},
		.ttl_ms = 300000,
		.margin_ms = 1000,
		.poll_ms = 1000,
		.verdict = verdict,
		.expiry = EXPIRY_SHRED,
		.reason = verdict == VERDICT_SHRED ? REASON_REVOKED : REASON_NONE,
	};

	assert_int_equal(token_sign(key, &token, answer), 0);
}

static void share_by(const struct signing_key *key, uint8_t admission)
{
	struct bind_share share = {.admission = {admission}, .encapsulated = {1}, .sealed = {2}};

	assert_int_equal(bind_share_sign(key, &share, answer + TOKEN_SIZE), 0);
}

static int begin(void **state)
{
	uint8_t bytes[SIGNING_KEYS_SIZE];

	a = (struct agent){.has_root_key = true};
	a.state.lease.admission[0] = 7;
	signing_key_public(root, a.root_key);
	set_of(old, 1, bytes);
	assert_int_equal(token_keys_install(&a, bytes, sizeof(bytes)), 0);
	events = asked = 0;
	bound = takes = connected = true;
	token_by(old, VERDICT_ADMIT);
	share_by(old, 7);
	return 0;
}

static void is_taken(size_t n)
{
	token_received(&a, answer, n);
	assert_int_equal(events, 1);
	assert_int_equal(a.state.rejected_tokens, 0);
}

static void is_rejected(size_t n)
{
	uint32_t before = a.state.rejected_tokens;

	token_received(&a, answer, n);
	assert_int_equal(events, 0);
	assert_int_equal(a.state.rejected_tokens, before + 1);
	assert_true(bytes_are_zero(a.state.share, sizeof(a.state.share)));
}

static void token_and_share_reach_one_page(void **state)
{
	is_taken(BOUND_ANSWER_SIZE);
	assert_memory_equal(share_then, answer + TOKEN_SIZE, sizeof(share_then));
	assert_memory_equal(a.state.share, share_then, sizeof(share_then));
}

static void a_boot_that_is_not_bound(void **state)
{
	bound = false;
	is_taken(TOKEN_SIZE);
	assert_true(bytes_are_zero(a.state.share, sizeof(a.state.share)));
}

static void no_admission_without_a_share(void **state)
{
	is_rejected(TOKEN_SIZE);
	share_by(old, 8); /* another boot's */
	is_rejected(BOUND_ANSWER_SIZE);
	share_by(old, 7);
	events = 0;
	a.state.rejected_tokens = 0;
	is_taken(BOUND_ANSWER_SIZE);
}

static void a_verdict_needs_none(void **state)
{
	token_by(old, VERDICT_SHRED);
	is_taken(TOKEN_SIZE);
	assert_int_equal(a.state.lease.state, LEASE_SHREDDING);
}

static void no_bit_may_change(void **state)
{
	/* An id of a key that is in no set: nobody can be asked for a newer one. */
	connected = false;
	for (size_t bit = 0; bit < 8 * sizeof(answer); bit++) {
		answer[bit / 8] ^= (uint8_t)(1 << bit % 8);
		is_rejected(sizeof(answer));
		answer[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	a.state.rejected_tokens = 0;
	is_taken(sizeof(answer));
}

/* The manager's key was replaced between: either part may be by one that we do not know yet. */
static void a_key_that_is_not_known_yet(void **state)
{
	uint8_t bytes[SIGNING_KEYS_SIZE];

	for (unsigned share_only = 0; share_only < 2; share_only++) {
		begin(NULL);
		share_by(new, 7);
		if (!share_only)
			token_by(new, VERDICT_ADMIT);
		token_received(&a, answer, sizeof(answer));
		assert_int_equal(events, 0);
		assert_int_equal(asked, 1);
		assert_true(bytes_are_zero(a.state.share, sizeof(a.state.share)));
		set_of(new, 2, bytes);
		token_keys_received(&a, bytes, sizeof(bytes));
		/* What the old key signed counts no more. */
		assert_int_equal(events, !share_only);
		assert_int_equal(bytes_are_zero(a.state.share, sizeof(a.state.share)), share_only);
	}
}

static void a_token_that_the_machine_rejects(void **state)
{
	takes = false;
	token_received(&a, answer, sizeof(answer));
	assert_int_equal(events, 1);
	assert_true(bytes_are_zero(a.state.share, sizeof(a.state.share)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(token_and_share_reach_one_page, begin),
		cmocka_unit_test_setup(a_boot_that_is_not_bound, begin),
		cmocka_unit_test_setup(no_admission_without_a_share, begin),
		cmocka_unit_test_setup(a_verdict_needs_none, begin),
		cmocka_unit_test_setup(no_bit_may_change, begin),
		cmocka_unit_test_setup(a_key_that_is_not_known_yet, begin),
		cmocka_unit_test_setup(a_token_that_the_machine_rejects, begin),
	};
	int failed;

	log_set_level(LOG_LEVEL_ERROR);
	root = key_of(1);
	old = key_of(2);
	new = key_of(3);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	signing_key_free(root);
	signing_key_free(old);
	signing_key_free(new);
	return failed;
}
