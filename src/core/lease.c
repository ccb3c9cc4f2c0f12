/* SPDX-License-Identifier: Apache-2.0 */
/* The lease machine of the VM: when a boot's keys must end. */
#include "core/lease.h"

#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"

#define NS_PER_MS	   1000000ull
#define PAUSE_GRACE_NS	   30000000000ull /* what a lease is worth after a hypervisor pause */
#define FIRST_CHALLENGE_NS 60000000000ull /* how long one challenge stays before admission */

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* A + B, where a sum past the end of time is the last instant before LEASE_NEVER. */
static uint64_t add_ns(uint64_t a, uint64_t b)
{
	return b < LEASE_NEVER - 1 - a ? a + b : LEASE_NEVER - 1;
}

static bool is_final(const struct lease *lease)
{
	return lease->state == LEASE_SHREDDING || lease->state == LEASE_OFF;
}

static bool is_bounded(const struct lease *lease)
{
	return lease->state == LEASE_ADMITTED || lease->state == LEASE_WARNING;
}

void lease_init(struct lease *lease, const struct lease_limits *limits,
		const uint8_t admission[static HASH_SIZE])
{
	memset(lease, 0, sizeof(*lease));
	lease->limits = *limits;
	lease->state = LEASE_STARTING;
	memcpy(lease->admission, admission, HASH_SIZE);
	lease->deadline_ns = LEASE_NEVER;
	lease->warning_ns = LEASE_NEVER;
	lease->expiry = EXPIRY_SHRED;
}

static unsigned shred(struct lease *lease, enum reason reason)
{
	lease->state = LEASE_SHREDDING;
	lease->reason = reason;
	return LEASE_ACTION_SAVE | LEASE_ACTION_SHRED;
}

static unsigned reject(struct lease *lease, enum lease_rejection why)
{
	lease->rejected = why;
	return LEASE_ACTION_REJECT;
}

static unsigned new_challenge(struct lease *lease, const uint8_t *random, uint64_t now_ns)
{
	lease->number++;
	memcpy(lease->challenge, random, CHALLENGE_SIZE);
	lease->challenge_ns = now_ns;
	return LEASE_ACTION_SAVE | LEASE_ACTION_REQUEST;
}

/* When the outstanding challenge has grown too old to be worth an answer. */
static uint64_t challenge_end(const struct lease *lease)
{
	uint64_t life = FIRST_CHALLENGE_NS;

	if (lease->state != LEASE_STARTING)
		life = lease->ttl_ms * NS_PER_MS / 3;
	return add_ns(lease->challenge_ns, life);
}

static uint64_t admission_end(const struct lease *lease)
{
	if (!lease->limits.poweroff_on_admission_timeout)
		return LEASE_NEVER;
	return add_ns(lease->started_ns, lease->limits.admission_timeout_ns);
}

/* Ends what the time has ended: before an event is looked at, so that a late one revives nothing.
 */
static unsigned expire(struct lease *lease, uint64_t now_ns)
{
	if (lease->state == LEASE_STARTING && lease->number > 0 && now_ns >= admission_end(lease))
		return shred(lease, REASON_ADMISSION);
	if (!is_bounded(lease) || now_ns < lease->deadline_ns)
		return 0;
	if (lease->expiry == EXPIRY_SHRED)
		return shred(lease, REASON_LEASE);
	lease->state = LEASE_UNBOUNDED;
	return LEASE_ACTION_SAVE | LEASE_ACTION_WARN;
}

static unsigned warn_if_due(struct lease *lease, uint64_t now_ns)
{
	if (lease->state != LEASE_ADMITTED || now_ns < lease->warning_ns)
		return 0;
	lease->state = LEASE_WARNING;
	return LEASE_ACTION_SAVE | LEASE_ACTION_WARN;
}

static unsigned on_start(struct lease *lease, const struct lease_event *event, uint64_t now_ns)
{
	if (lease->number > 0)
		return 0;
	lease->started_ns = now_ns;
	return new_challenge(lease, event->challenge, now_ns);
}

static unsigned on_tick(struct lease *lease, const struct lease_event *event, uint64_t now_ns)
{
	unsigned actions = warn_if_due(lease, now_ns);

	if (lease->number > 0 && now_ns >= challenge_end(lease))
		actions |= new_challenge(lease, event->challenge, now_ns);
	return actions;
}

static unsigned on_pause(struct lease *lease, const struct lease_event *event, uint64_t now_ns)
{
	unsigned actions = LEASE_ACTION_SAVE;
	uint64_t grace = add_ns(now_ns, PAUSE_GRACE_NS);

	if (lease->pauses < UINT32_MAX)
		lease->pauses++;
	if (is_bounded(lease) && grace < lease->deadline_ns) {
		uint64_t margin = lease->deadline_ns - lease->warning_ns;

		lease->deadline_ns = grace;
		lease->warning_ns = grace > margin ? grace - margin : 0;
		actions |= LEASE_ACTION_DEADLINE | warn_if_due(lease, now_ns);
	}
	/* The answer to a challenge from before the pause counts no more. */
	if (lease->number > 0)
		actions |= new_challenge(lease, event->challenge, now_ns);
	return actions;
}

static enum lease_rejection judge(const struct lease *lease, const struct token *token)
{
	if (is_final(lease))
		return LEASE_REJECT_STATE;
	if (!bytes_equal(token->admission, lease->admission, HASH_SIZE))
		return LEASE_REJECT_ADMISSION;
	if (token->verdict == VERDICT_SHRED)
		return LEASE_REJECT_NONE;
	if (token->verdict == VERDICT_CONTINUE && lease->state == LEASE_STARTING)
		return LEASE_REJECT_STATE;
	if (lease->number == 0 || !bytes_equal(token->challenge, lease->challenge, CHALLENGE_SIZE))
		return LEASE_REJECT_CHALLENGE;
	if (sequence_compare(token->sequence, lease->highest) <= 0)
		return LEASE_REJECT_SEQUENCE;
	if (token->ttl_ms == 0 || token->margin_ms >= token->ttl_ms)
		return LEASE_REJECT_VALUE;
	return LEASE_REJECT_NONE;
}

/* The lease of TOKEN within our limits. A shorter lease has a shorter margin, in proportion. */
static void take_terms(struct lease *lease, const struct token *token)
{
	uint64_t ttl_ms = min_u64(token->ttl_ms, lease->limits.max_ttl_ms);
	uint64_t margin_ms = token->margin_ms * ttl_ms / token->ttl_ms;

	lease->ttl_ms = ttl_ms;
	lease->deadline_ns = add_ns(lease->challenge_ns, ttl_ms * NS_PER_MS);
	lease->warning_ns = add_ns(lease->challenge_ns, (ttl_ms - margin_ms) * NS_PER_MS);
	lease->expiry = lease->limits.forbid_warn ? EXPIRY_SHRED : token->expiry;
	lease->cmk_state = token->cmk_state;
	lease->highest = token->sequence;
	lease->answered = lease->number;
	lease->rejected = LEASE_REJECT_NONE;
}

/* What is to be said of the way from BEFORE to the state after an accepted token. */
static unsigned announce(enum lease_state before, enum lease_state after)
{
	unsigned actions = before == LEASE_STARTING ? LEASE_ACTION_ADMIT : 0;

	if (after == before)
		return actions;
	if (after == LEASE_WARNING || after == LEASE_UNBOUNDED)
		return actions | LEASE_ACTION_WARN;
	if (before == LEASE_WARNING || before == LEASE_UNBOUNDED)
		return actions | LEASE_ACTION_RESUME;
	return actions;
}

static unsigned accept(struct lease *lease, const struct lease_event *event, uint64_t now_ns)
{
	enum lease_state before = lease->state;
	unsigned actions;

	take_terms(lease, event->token);
	lease->state = now_ns < lease->warning_ns ? LEASE_ADMITTED : LEASE_WARNING;
	actions = expire(lease, now_ns);
	if (lease->state == LEASE_SHREDDING)
		return actions;
	return LEASE_ACTION_DEADLINE | announce(before, lease->state) |
	       new_challenge(lease, event->challenge, now_ns);
}

/* Whether half of the lease of TOKEN is over before it begins. Nothing is lost by another challenge
 * before admission; what is left of this lease may end before the next answer comes. */
static bool is_late(const struct lease *lease, const struct token *token, uint64_t now_ns)
{
	uint64_t ttl_ms = min_u64(token->ttl_ms, lease->limits.max_ttl_ms);

	return lease->state == LEASE_STARTING &&
	       now_ns > add_ns(lease->challenge_ns, ttl_ms * NS_PER_MS / 2);
}

static unsigned on_token(struct lease *lease, const struct lease_event *event, uint64_t now_ns)
{
	const struct token *token = event->token;
	enum lease_rejection why = judge(lease, token);
	unsigned actions;

	if (why == LEASE_REJECT_NONE && token->verdict == VERDICT_SHRED) {
		lease->cmk_state = token->cmk_state;
		lease->rejected = LEASE_REJECT_NONE;
		return shred(lease, token->reason);
	}
	actions = expire(lease, now_ns);
	if (why != LEASE_REJECT_NONE)
		return actions | reject(lease, why);
	if (lease->state == LEASE_SHREDDING)
		return actions | reject(lease, LEASE_REJECT_STATE);
	if (is_late(lease, token, now_ns))
		return actions | reject(lease, LEASE_REJECT_LATE) |
		       new_challenge(lease, event->challenge, now_ns);
	return actions | accept(lease, event, now_ns);
}

static unsigned step_final(struct lease *lease, const struct lease_event *event)
{
	if (event->type == LEASE_EVENT_TOKEN)
		return reject(lease, LEASE_REJECT_STATE);
	if (event->type != LEASE_EVENT_OFF || lease->state == LEASE_OFF)
		return 0;
	lease->state = LEASE_OFF;
	return LEASE_ACTION_SAVE;
}

unsigned lease_step(struct lease *lease, const struct lease_event *event, uint64_t now_ns)
{
	unsigned actions;

	if (is_final(lease))
		return step_final(lease, event);
	if (event->type == LEASE_EVENT_TOKEN)
		return on_token(lease, event, now_ns);
	if (event->type == LEASE_EVENT_OPERATOR)
		return shred(lease, REASON_OPERATOR);
	if (event->type == LEASE_EVENT_FAULT)
		return shred(lease, REASON_FAULT);
	actions = expire(lease, now_ns);
	if (lease->state == LEASE_SHREDDING)
		return actions;
	if (event->type == LEASE_EVENT_START)
		actions |= on_start(lease, event, now_ns);
	else if (event->type == LEASE_EVENT_TICK)
		actions |= on_tick(lease, event, now_ns);
	else if (event->type == LEASE_EVENT_PAUSE)
		actions |= on_pause(lease, event, now_ns);
	return actions;
}

uint64_t lease_next(const struct lease *lease)
{
	uint64_t next;

	if (lease->number == 0 || is_final(lease))
		return LEASE_NEVER;
	next = challenge_end(lease);
	if (lease->state == LEASE_STARTING)
		next = min_u64(next, admission_end(lease));
	if (lease->state == LEASE_ADMITTED)
		next = min_u64(next, lease->warning_ns);
	if (is_bounded(lease))
		next = min_u64(next, lease->deadline_ns);
	return next;
}

const char *lease_state_name(enum lease_state state)
{
	static const char *const names[LEASE_STATE__MAX] = {
		[LEASE_STARTING] = "starting",	 [LEASE_ADMITTED] = "admitted",
		[LEASE_WARNING] = "warning",	 [LEASE_UNBOUNDED] = "unbounded",
		[LEASE_SHREDDING] = "shredding", [LEASE_OFF] = "off",
	};

	return state < ELEMENTSOF(names) ? names[state] : "unknown";
}

const char *lease_rejection_name(enum lease_rejection rejection)
{
	static const char *const names[LEASE_REJECT__MAX] = {
		[LEASE_REJECT_NONE] = "none",
		[LEASE_REJECT_ADMISSION] = "of another admission",
		[LEASE_REJECT_CHALLENGE] = "not the answer to the current challenge",
		[LEASE_REJECT_SEQUENCE] = "sequence not above the highest seen",
		[LEASE_REJECT_STATE] = "not for this state",
		[LEASE_REJECT_VALUE] = "time to live or margin without sense",
		[LEASE_REJECT_LATE] = "too late to admit: asked again",
	};

	return rejection < ELEMENTSOF(names) ? names[rejection] : "unknown";
}
