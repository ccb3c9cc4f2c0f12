/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of core/lease.h and design.md, section 5, as predicates over single steps. They are
 * written from the text, not from lease.c, and recompute what a step should have done. */
#include "lease_invariants.h"

#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"

#define MS	 1000000ull
#define GRACE_NS (30000 * MS)
#define FIRST_NS (60000 * MS)

/* What the text says of a step before anybody looks at what it did. */
struct facts {
	bool final;	    /* SHREDDING or OFF before */
	bool verdict_shred; /* a signed shred for this admission */
	bool time_shreds;   /* the time is over, and that ends in a shred */
	bool time_unbounds; /* the deadline is over, expiry = warn */
	bool counts;	    /* a token that is worth a lease */
	bool late;	    /* that lease is over already */
	bool too_late;	    /* half of it is, and nobody is admitted yet */
	bool shreds;
	enum reason reason;	 /* of the shred */
	enum lease_state middle; /* after the time was looked at, before the event */
	uint64_t ttl_ms, deadline_ns, warning_ns; /* of a token that counts */
	enum expiry expiry;
};

static bool is_bounded(enum lease_state state)
{
	return state == LEASE_ADMITTED || state == LEASE_WARNING;
}

static bool is_higher(struct sequence a, struct sequence b)
{
	return a.epoch > b.epoch || (a.epoch == b.epoch && a.counter > b.counter);
}

static bool is_ours(const struct lease *lease, const struct token *token)
{
	return memcmp(lease->admission, token->admission, HASH_SIZE) == 0;
}

static bool answers(const struct lease *lease, const struct token *token)
{
	return lease->number > 0 && memcmp(lease->challenge, token->challenge, CHALLENGE_SIZE) == 0;
}

static bool is_worth_a_lease(const struct lease *lease, const struct token *token)
{
	bool verdict = token->verdict == VERDICT_ADMIT ||
		       (token->verdict == VERDICT_CONTINUE && lease->state != LEASE_STARTING);

	return verdict && is_ours(lease, token) && answers(lease, token) &&
	       is_higher(token->sequence, lease->highest) && token->ttl_ms > 0 &&
	       token->margin_ms < token->ttl_ms;
}

static void time_facts(const struct lease_walk_step *step, struct facts *facts)
{
	const struct lease *lease = step->before;
	bool over = is_bounded(lease->state) && step->now_ns >= lease->deadline_ns;
	bool unadmitted = lease->state == LEASE_STARTING && lease->number > 0 &&
			  lease->limits.poweroff_on_admission_timeout &&
			  step->now_ns >= lease->started_ns + lease->limits.admission_timeout_ns;

	facts->time_shreds = unadmitted || (over && lease->expiry == EXPIRY_SHRED);
	facts->time_unbounds = over && lease->expiry == EXPIRY_WARN;
	facts->reason = unadmitted ? REASON_ADMISSION : REASON_LEASE;
	if (facts->time_unbounds)
		facts->middle = LEASE_UNBOUNDED;
}

static void token_facts(const struct lease_walk_step *step, struct facts *facts)
{
	const struct lease *lease = step->before;
	const struct token *token = step->event->token;

	facts->counts = !facts->time_shreds && is_worth_a_lease(lease, token);
	if (!facts->counts)
		return;
	facts->ttl_ms = token->ttl_ms;
	if (facts->ttl_ms > lease->limits.max_ttl_ms)
		facts->ttl_ms = lease->limits.max_ttl_ms;
	facts->too_late = lease->state == LEASE_STARTING &&
			  2 * (step->now_ns - lease->challenge_ns) > facts->ttl_ms * MS;
	facts->counts = !facts->too_late;
	if (!facts->counts)
		return;
	facts->deadline_ns = lease->challenge_ns + facts->ttl_ms * MS;
	facts->warning_ns =
		facts->deadline_ns - token->margin_ms * facts->ttl_ms / token->ttl_ms * MS;
	facts->expiry = lease->limits.forbid_warn ? EXPIRY_SHRED : token->expiry;
	facts->late = step->now_ns >= facts->deadline_ns;
}

static struct facts facts_of(const struct lease_walk_step *step)
{
	const struct lease *lease = step->before;
	enum lease_event_type type = step->event->type;
	bool is_token = type == LEASE_EVENT_TOKEN;
	struct facts facts = {.middle = lease->state};

	facts.final = lease->state == LEASE_SHREDDING || lease->state == LEASE_OFF;
	if (facts.final)
		return facts;
	facts.verdict_shred = is_token && step->event->token->verdict == VERDICT_SHRED &&
			      is_ours(lease, step->event->token);
	facts.shreds = true;
	if (facts.verdict_shred)
		facts.reason = step->event->token->reason;
	else if (type == LEASE_EVENT_OPERATOR)
		facts.reason = REASON_OPERATOR;
	else if (type == LEASE_EVENT_FAULT)
		facts.reason = REASON_FAULT;
	else {
		time_facts(step, &facts);
		if (is_token)
			token_facts(step, &facts);
		facts.shreds = facts.time_shreds || (facts.late && facts.expiry == EXPIRY_SHRED);
	}
	return facts;
}

static bool has(const struct lease_walk_step *step, unsigned action)
{
	return (step->actions & action) != 0;
}

/* Whether nothing but .rejected differs. */
static bool is_same(const struct lease *a, const struct lease *b)
{
	struct lease copy;

	memcpy(&copy, b, sizeof(copy));
	copy.rejected = a->rejected;
	return memcmp(a, &copy, sizeof(copy)) == 0;
}

static bool is_live_pause(const struct lease_walk_step *step, const struct facts *facts)
{
	return step->event->type == LEASE_EVENT_PAUSE && !facts->final && !facts->shreds;
}

static bool pause_shortens(const struct lease_walk_step *step, const struct facts *facts)
{
	return is_live_pause(step, facts) && is_bounded(facts->middle) &&
	       step->now_ns + GRACE_NS < step->before->deadline_ns;
}

/* How long a challenge of LEASE stays. */
static uint64_t challenge_life(const struct lease *lease)
{
	return lease->state == LEASE_STARTING ? FIRST_NS : lease->ttl_ms * MS / 3;
}

static bool final_is_final(const struct lease_walk_step *step, const struct facts *facts)
{
	struct lease copy;

	if (!facts->final)
		return step->after->state != LEASE_OFF;
	memcpy(&copy, step->before, sizeof(copy));
	if (step->event->type == LEASE_EVENT_OFF)
		copy.state = LEASE_OFF;
	return is_same(&copy, step->after) &&
	       (step->actions & ~(unsigned)(LEASE_ACTION_SAVE | LEASE_ACTION_REJECT)) == 0;
}

static bool shred_has_cause(const struct lease_walk_step *step, const struct facts *facts)
{
	bool entered = !facts->final && step->after->state == LEASE_SHREDDING;

	return entered == facts->shreds && has(step, LEASE_ACTION_SHRED) == facts->shreds;
}

static bool reason_is_the_cause(const struct lease_walk_step *step, const struct facts *facts)
{
	return step->after->reason == (facts->shreds ? facts->reason : step->before->reason);
}

static bool worthless_token_changes_nothing(const struct lease_walk_step *step,
					    const struct facts *facts)
{
	const struct lease *a = step->before, *b = step->after;

	if (step->event->type != LEASE_EVENT_TOKEN || facts->counts || facts->verdict_shred)
		return true;
	return a->deadline_ns == b->deadline_ns && a->warning_ns == b->warning_ns &&
	       a->ttl_ms == b->ttl_ms && a->expiry == b->expiry && a->answered == b->answered &&
	       a->cmk_state == b->cmk_state &&
	       memcmp(&a->highest, &b->highest, sizeof(a->highest)) == 0;
}

static bool deadline_is_earned(const struct lease_walk_step *step, const struct facts *facts)
{
	uint64_t expected = step->before->deadline_ns;

	if (facts->counts)
		expected = facts->deadline_ns;
	else if (pause_shortens(step, facts))
		expected = step->now_ns + GRACE_NS;
	return step->after->deadline_ns == expected;
}

static bool warning_keeps_its_margin(const struct lease_walk_step *step, const struct facts *facts)
{
	uint64_t expected = step->before->warning_ns;

	if (facts->counts)
		expected = facts->warning_ns;
	else if (pause_shortens(step, facts))
		expected -= step->before->deadline_ns - step->after->deadline_ns;
	return step->after->warning_ns == expected;
}

static bool sequence_only_rises(const struct lease_walk_step *step, const struct facts *facts)
{
	struct sequence expected =
		facts->counts ? step->event->token->sequence : step->before->highest;

	return step->after->highest.epoch == expected.epoch &&
	       step->after->highest.counter == expected.counter &&
	       !is_higher(step->before->highest, step->after->highest);
}

static bool challenge_is_due(const struct lease_walk_step *step, const struct facts *facts)
{
	const struct lease *before = step->before;

	if (facts->final || facts->shreds)
		return false;
	if (step->event->type == LEASE_EVENT_START)
		return before->number == 0;
	if (step->event->type == LEASE_EVENT_PAUSE)
		return before->number > 0;
	if (step->event->type == LEASE_EVENT_TICK)
		return before->number > 0 &&
		       step->now_ns >= before->challenge_ns + challenge_life(before);
	return facts->counts || facts->too_late;
}

static bool challenge_is_fresh_when_due(const struct lease_walk_step *step,
					const struct facts *facts)
{
	const struct lease *a = step->before, *b = step->after;
	bool due = challenge_is_due(step, facts);

	if (has(step, LEASE_ACTION_REQUEST) != due)
		return false;
	if (due)
		return b->number == a->number + 1 && b->challenge_ns == step->now_ns &&
		       memcmp(b->challenge, step->event->challenge, CHALLENGE_SIZE) == 0;
	return b->number == a->number && b->challenge_ns == a->challenge_ns &&
	       memcmp(a->challenge, b->challenge, CHALLENGE_SIZE) == 0;
}

static bool state_follows_time(const struct lease_walk_step *step, const struct facts *facts)
{
	const struct lease *before = step->before;
	enum lease_state expected = facts->middle;
	bool looks = step->event->type == LEASE_EVENT_TICK || pause_shortens(step, facts);

	if (facts->final)
		return true;
	if (facts->shreds)
		expected = LEASE_SHREDDING;
	else if (facts->counts)
		expected = facts->late			       ? LEASE_UNBOUNDED
			   : step->now_ns >= facts->warning_ns ? LEASE_WARNING
							       : LEASE_ADMITTED;
	else if (looks && facts->middle == LEASE_ADMITTED &&
		 step->now_ns >= step->after->warning_ns)
		expected = LEASE_WARNING;
	return step->after->state == expected && before->started_ns <= step->now_ns;
}

static bool nothing_outlives_its_deadline(const struct lease_walk_step *step,
					  const struct facts *facts)
{
	const struct lease *after = step->after;

	if (is_bounded(after->state) && step->now_ns >= after->deadline_ns)
		return false;
	return after->state != LEASE_UNBOUNDED || after->expiry == EXPIRY_WARN;
}

static bool limits_hold(const struct lease_walk_step *step, const struct facts *facts)
{
	const struct lease *after = step->after;

	return after->ttl_ms <= after->limits.max_ttl_ms &&
	       !(after->limits.forbid_warn && after->expiry != EXPIRY_SHRED);
}

static bool is_alarming(enum lease_state state)
{
	return state == LEASE_WARNING || state == LEASE_UNBOUNDED;
}

static bool each_change_is_said_once(const struct lease_walk_step *step, const struct facts *facts)
{
	enum lease_state before = step->before->state, after = step->after->state;
	bool admits = before == LEASE_STARTING && (after == LEASE_ADMITTED || is_alarming(after));
	bool warns = (facts->time_unbounds && !facts->shreds) ||
		     (is_alarming(after) && after != facts->middle);
	bool resumes = is_alarming(facts->middle) && after == LEASE_ADMITTED;

	return has(step, LEASE_ACTION_ADMIT) == admits &&
	       has(step, LEASE_ACTION_RESUME) == resumes &&
	       (facts->shreds || has(step, LEASE_ACTION_WARN) == warns);
}

static bool saved_before_it_acts(const struct lease_walk_step *step, const struct facts *facts)
{
	const unsigned acts = LEASE_ACTION_DEADLINE | LEASE_ACTION_ADMIT | LEASE_ACTION_REQUEST |
			      LEASE_ACTION_SHRED;

	if (has(step, LEASE_ACTION_SAVE))
		return true;
	return is_same(step->before, step->after) && !has(step, acts);
}

static bool keeper_is_told(const struct lease_walk_step *step, const struct facts *facts)
{
	bool differs = step->before->deadline_ns != step->after->deadline_ns ||
		       step->before->expiry != step->after->expiry;

	return (!differs || has(step, LEASE_ACTION_DEADLINE | LEASE_ACTION_SHRED)) &&
	       (!has(step, LEASE_ACTION_DEADLINE) || facts->counts || differs);
}

static enum lease_rejection expected_rejection(const struct lease_walk_step *step,
					       const struct facts *facts)
{
	const struct token *token = step->event->token;

	if (facts->final)
		return LEASE_REJECT_STATE;
	if (!is_ours(step->before, token))
		return LEASE_REJECT_ADMISSION;
	if (token->verdict == VERDICT_CONTINUE && step->before->state == LEASE_STARTING)
		return LEASE_REJECT_STATE;
	if (!answers(step->before, token))
		return LEASE_REJECT_CHALLENGE;
	if (!is_higher(token->sequence, step->before->highest))
		return LEASE_REJECT_SEQUENCE;
	if (token->ttl_ms == 0 || token->margin_ms >= token->ttl_ms)
		return LEASE_REJECT_VALUE;
	return facts->too_late ? LEASE_REJECT_LATE : LEASE_REJECT_STATE;
}

static bool rejection_is_named(const struct lease_walk_step *step, const struct facts *facts)
{
	bool is_token = step->event->type == LEASE_EVENT_TOKEN;
	bool rejects = is_token && !facts->counts && !facts->verdict_shred;

	if (has(step, LEASE_ACTION_REJECT) != rejects)
		return false;
	if (!is_token)
		return step->after->rejected == step->before->rejected;
	return step->after->rejected ==
	       (rejects ? expected_rejection(step, facts) : LEASE_REJECT_NONE);
}

static bool next_tick_is_in_time(const struct lease_walk_step *step, const struct facts *facts)
{
	const struct lease *after = step->after;
	uint64_t next = lease_next(after);

	if (after->state == LEASE_SHREDDING || after->state == LEASE_OFF || after->number == 0)
		return next == LEASE_NEVER;
	if (step->event->type == LEASE_EVENT_TICK && next <= step->now_ns)
		return false;
	if (after->state == LEASE_STARTING && after->limits.poweroff_on_admission_timeout &&
	    next > after->started_ns + after->limits.admission_timeout_ns)
		return false;
	return next <= after->challenge_ns + challenge_life(after) &&
	       !(is_bounded(after->state) && next > after->deadline_ns) &&
	       !(after->state == LEASE_ADMITTED && next > after->warning_ns);
}

static bool pauses_are_counted(const struct lease_walk_step *step, const struct facts *facts)
{
	return step->after->pauses == step->before->pauses + is_live_pause(step, facts);
}

static bool answer_is_remembered(const struct lease_walk_step *step, const struct facts *facts)
{
	return step->after->answered ==
		       (facts->counts ? step->before->number : step->before->answered) &&
	       step->after->answered <= step->after->number;
}

const char *lease_violation(const struct lease_walk_step *step)
{
#define INVARIANT(function)                                                                        \
	{                                                                                          \
#function, function                                                                \
	}
	static const struct {
		const char *name;
		bool (*holds)(const struct lease_walk_step *step, const struct facts *facts);
	} invariants[] = {
		INVARIANT(nothing_outlives_its_deadline),
		INVARIANT(final_is_final),
		INVARIANT(shred_has_cause),
		INVARIANT(reason_is_the_cause),
		INVARIANT(worthless_token_changes_nothing),
		INVARIANT(deadline_is_earned),
		INVARIANT(warning_keeps_its_margin),
		INVARIANT(sequence_only_rises),
		INVARIANT(challenge_is_fresh_when_due),
		INVARIANT(state_follows_time),
		INVARIANT(limits_hold),
		INVARIANT(each_change_is_said_once),
		INVARIANT(saved_before_it_acts),
		INVARIANT(keeper_is_told),
		INVARIANT(rejection_is_named),
		INVARIANT(next_tick_is_in_time),
		INVARIANT(pauses_are_counted),
		INVARIANT(answer_is_remembered),
	};
	const struct facts facts = facts_of(step);

	for (size_t i = 0; i < ELEMENTSOF(invariants); i++)
		if (!invariants[i].holds(step, &facts))
			return invariants[i].name;
	return NULL;
}
