/* SPDX-License-Identifier: Apache-2.0 */
/* The manager's half of the lease: who is admitted, renewed, or told to shred. */
#include "manager/lease_engine.h"

#include <string.h>

#include "base/bytes.h"

static struct engine_decision decide(enum engine_action action)
{
	return (struct engine_decision){.action = action};
}

static struct engine_decision shred(const struct engine_facts *facts, enum reason reason)
{
	return (struct engine_decision){
		.action = ENGINE_SHRED,
		.verdict = VERDICT_SHRED,
		.reason = reason,
		.expiry = EXPIRY_SHRED,
		.cmk_state = reason == REASON_REVOKED ? CMK_REVOKED : facts->cmk_state,
	};
}

/* Whether the request shows a token that this store does not know to have issued: to anybody, or to
 * this boot. What was lost before an adoption is forgiven. */
static bool shows_rollback(const struct engine_facts *facts)
{
	struct sequence highest = facts->request->highest;

	if (sequence_compare(highest, facts->last) > 0)
		return true;
	return highest.epoch >= facts->adopted_epoch &&
	       sequence_compare(highest, facts->boot->issued) > 0;
}

static bool same_challenge(const uint8_t *a, const uint8_t *b)
{
	return bytes_equal(a, b, CHALLENGE_SIZE);
}

/* Two signed requests with one number and different challenges have two makers. */
static bool is_clone(const struct engine_facts *facts)
{
	const struct lease_request *request = facts->request;

	if (facts->boot->number > 0 && request->number == facts->boot->number)
		return !same_challenge(request->challenge, facts->boot->challenge);
	if (facts->pending_number > 0 && request->number == facts->pending_number)
		return !same_challenge(request->challenge, facts->pending_challenge);
	return false;
}

static bool is_older(const struct engine_facts *facts)
{
	uint64_t number = facts->request->number;

	return number < facts->boot->number || number < facts->pending_number;
}

/* Once its last lease must have run out, wherever the guest was, a boot stays out. Where it shows a
 * lease that was lost with an older store, since adopted, the fence is not known. */
static bool past_fence(const struct engine_facts *facts, struct engine_time now)
{
	const struct store_boot *boot = facts->boot;

	if (boot->state != BOOT_LIVE || boot->unbounded ||
	    sequence_compare(facts->request->highest, boot->issued) > 0)
		return false;
	if (boot->fence_boot_ms > 0)
		return now.boot_ms > boot->fence_boot_ms;
	return boot->fence_ms > 0 && now.real_ms > boot->fence_ms;
}

/* A renewal is held for the poll interval, but not beyond a quarter of the lease: after a third the
 * VM asks anew, and an answer to the challenge before is worth nothing. A boot that noticed a pause
 * is answered at once. */
static uint64_t due_ms(const struct engine_facts *facts, struct engine_time now)
{
	const struct store_boot *boot = facts->boot;
	uint64_t due = facts->arrived_ms + facts->key->poll_ms, since, quarter;

	if (facts->admitting || facts->request->pauses > boot->pauses)
		return now.boot_ms;
	since = now.real_ms > boot->granted_ms ? now.real_ms - boot->granted_ms : 0;
	quarter = boot->lease_ms / 4;
	if (since >= quarter)
		return now.boot_ms;
	return now.boot_ms + quarter - since < due ? now.boot_ms + quarter - since : due;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Until when the evidence carries a lease, from now. */
static uint64_t evidence_left(const struct engine_facts *facts, struct engine_time now)
{
	uint64_t end = facts->evidence_ms + facts->key->max_staleness_ms;

	return facts->evidence_ms == 0 || end <= now.boot_ms ? 0 : end - now.boot_ms;
}

static struct engine_decision grant(const struct engine_facts *facts, struct engine_time now)
{
	const struct store_key *key = facts->key;
	uint64_t ttl = least(key->lease_ms, evidence_left(facts, now));

	if (ttl < ENGINE_TTL_MIN_MS)
		return decide(ENGINE_STALE);
	return (struct engine_decision){
		.action = ENGINE_GRANT,
		.verdict = facts->admitting ? VERDICT_ADMIT : VERDICT_CONTINUE,
		.ttl_ms = (uint32_t)ttl,
		/* A lease shortened by its evidence keeps a time before its warning. */
		.margin_ms = (uint32_t)least(key->margin_ms, ttl / 2 - 1),
		.poll_ms = key->poll_ms,
		.expiry = key->expiry,
		.cmk_state = facts->cmk_state,
	};
}

/* A boot that may get a lease as far as its own record says. */
static struct engine_decision renew(const struct engine_facts *facts, struct engine_time now)
{
	const struct store_boot *boot = facts->boot;
	uint64_t due;

	if (!facts->key)
		return decide(ENGINE_STALE);
	if (boot->state == BOOT_HELD ||
	    (boot->state == BOOT_WAITING && facts->key->confirm_boot && !boot->confirmed))
		return decide(ENGINE_HOLD);
	if (boot->state == BOOT_WAITING && !facts->admitting)
		return decide(ENGINE_UNKNOWN);
	if (!boot->paired)
		return decide(ENGINE_PAIR);
	if (past_fence(facts, now))
		return shred(facts, REASON_LEASE);
	due = due_ms(facts, now);
	if (due > now.boot_ms)
		return (struct engine_decision){.action = ENGINE_WAIT, .due_ms = due};
	return grant(facts, now);
}

struct engine_decision engine_decide(const struct engine_facts *facts, struct engine_time now)
{
	const struct store_boot *boot = facts->boot;

	if (facts->request->highest.epoch > facts->last.epoch + ENGINE_EPOCHS_AHEAD_MAX)
		return decide(ENGINE_ABSURD);
	if (facts->frozen || shows_rollback(facts))
		return decide(ENGINE_FROZEN);
	if (boot->state == BOOT_ENDING || boot->state == BOOT_OFF)
		return shred(facts, boot->reason);
	if (boot->state == BOOT_REFUSED)
		return decide(ENGINE_REFUSE);
	if (is_clone(facts))
		return shred(facts, REASON_CLONE);
	if (facts->key && facts->key->revoked_ms > 0)
		return shred(facts, REASON_REVOKED);
	if (is_older(facts))
		return decide(ENGINE_OLDER);
	if (boot->number > 0 && facts->request->number == boot->number)
		return decide(ENGINE_REPEAT);
	return renew(facts, now);
}

/* A boot whose lease said warn stays unbounded until it shows a later token that did not. */
static bool stays_unbounded(const struct engine_facts *facts)
{
	const struct store_boot *boot = facts->boot;
	struct token last;

	if (!boot->unbounded)
		return false;
	if (sequence_compare(facts->request->highest, boot->issued) < 0 ||
	    token_decode(boot->token, sizeof(boot->token), &last) < 0)
		return true;
	return last.expiry != EXPIRY_SHRED;
}

void engine_granted(struct store_boot *boot, const struct engine_facts *facts,
		    const struct engine_decision *decision, struct sequence sequence,
		    const uint8_t token[static TOKEN_SIZE], struct engine_time now)
{
	const struct lease_request *request = facts->request;
	uint64_t lasts = decision->ttl_ms + decision->ttl_ms / 100 + ENGINE_SHRED_BUDGET_MS;

	boot->unbounded = decision->expiry == EXPIRY_WARN || stays_unbounded(facts);
	boot->state = BOOT_LIVE;
	boot->granted_ms = now.real_ms;
	boot->lease_ms = decision->ttl_ms;
	if (now.real_ms + lasts > boot->fence_ms)
		boot->fence_ms = now.real_ms + lasts;
	if (now.boot_ms + lasts > boot->fence_boot_ms)
		boot->fence_boot_ms = now.boot_ms + lasts;
	boot->number = request->number;
	memcpy(boot->challenge, request->challenge, CHALLENGE_SIZE);
	boot->issued = sequence;
	boot->self_test_passed = request->self_test_passed;
	boot->self_test_failed = request->self_test_failed;
	boot->pauses = request->pauses;
	memcpy(boot->token, token, TOKEN_SIZE);
	if (!boot->was_admitted)
		memcpy(boot->admit_token, token, TOKEN_SIZE);
	boot->was_admitted = true;
}

enum engine_report engine_report_decide(const struct engine_report_facts *facts)
{
	if (facts->known)
		return ENGINE_REPORT_KNOWN;
	if (facts->boot_id_taken)
		return ENGINE_REPORT_TAKEN;
	if (facts->limited)
		return ENGINE_REPORT_LIMITED;
	return ENGINE_REPORT_NEW;
}

enum boot_state engine_first_state(const struct boot_report *report, bool confirm_boot)
{
	if (report->failure[0])
		return BOOT_REFUSED;
	return confirm_boot ? BOOT_HELD : BOOT_WAITING;
}

bool engine_bucket_take(struct engine_bucket *bucket, uint32_t burst, uint32_t interval_ms,
			uint64_t now_ms, uint64_t *ret_wait_ms)
{
	uint64_t full = bucket->full_ms > now_ms ? bucket->full_ms : now_ms;
	uint64_t limit = now_ms + (uint64_t)burst * interval_ms;

	if (full + interval_ms > limit) {
		if (ret_wait_ms)
			*ret_wait_ms = full + interval_ms - limit;
		return false;
	}
	bucket->full_ms = full + interval_ms;
	return true;
}

void engine_bucket_put_back(struct engine_bucket *bucket, uint32_t interval_ms)
{
	bucket->full_ms -= interval_ms;
}

/* When a boot that said that it ends must have done so, wherever the guest was: by its note, or by its
 * lease where that comes first. 0: it did not say so. */
static uint64_t ended_by_ms(const struct store_boot *boot)
{
	struct ending ending;
	uint64_t by;

	/* Of a clone's two holders a note speaks for one. */
	if (boot->ending_ms == 0 || boot->reason == REASON_CLONE ||
	    ending_decode(boot->ending, sizeof(boot->ending), &ending) < 0)
		return 0;
	by = boot->ending_ms + ending.bound_ms + ending.bound_ms / 100 + ENGINE_SHRED_BUDGET_MS;
	return boot->unbounded || by < boot->fence_ms ? by : boot->fence_ms;
}

enum engine_class engine_class(const struct store_boot *boot, uint64_t now_real_ms)
{
	uint64_t by = ended_by_ms(boot);

	/* Of a clone's two holders a receipt speaks for one. */
	if (boot->state == BOOT_OFF && boot->keys_gone && boot->reason != REASON_CLONE)
		return CLASS_RECEIPT;
	if (!boot->was_admitted)
		return CLASS_NONE;
	if (by > 0)
		return now_real_ms <= by ? CLASS_ENDING : CLASS_ENDED;
	if (boot->unbounded)
		return boot->state == BOOT_LIVE && now_real_ms <= boot->fence_ms ? CLASS_LIVE
										 : CLASS_UNBOUNDED;
	return now_real_ms <= boot->fence_ms ? CLASS_LIVE : CLASS_LEASE_ENDED;
}

uint64_t engine_gone_by(const struct store_boot *boot, uint64_t receipt_ms, uint64_t now_real_ms)
{
	switch (engine_class(boot, now_real_ms)) {
	case CLASS_RECEIPT:
		return receipt_ms;
	case CLASS_ENDING:
	case CLASS_ENDED:
		return ended_by_ms(boot);
	case CLASS_LEASE_ENDED:
		return boot->fence_ms;
	case CLASS_LIVE:
		return boot->state == BOOT_LIVE ? 0 : boot->fence_ms;
	default:
		return 0;
	}
}

bool engine_may_drill(const struct store_boot *boot, uint64_t now_real_ms)
{
	return boot->state == BOOT_LIVE && engine_class(boot, now_real_ms) == CLASS_LIVE;
}

const char *engine_class_name(enum engine_class class)
{
	static const char *const names[CLASS__MAX] = {
		[CLASS_LIVE] = "live",
		[CLASS_RECEIPT] = "receipt",
		[CLASS_LEASE_ENDED] = "lease ended",
		[CLASS_ENDING] = "ending",
		[CLASS_ENDED] = "ended",
		[CLASS_UNBOUNDED] = "not bounded",
		[CLASS_NONE] = "not admitted",
	};

	return names[class];
}

const char *engine_state_name(const struct store_boot *boot, uint64_t now_real_ms)
{
	bool fenced = boot->fence_ms > 0 && now_real_ms > boot->fence_ms;
	uint64_t by = ended_by_ms(boot);

	switch (boot->state) {
	case BOOT_WAITING:
		return "waiting";
	case BOOT_HELD:
		return "held";
	case BOOT_REFUSED:
		return "failed";
	case BOOT_LIVE:
		if (by > 0)
			return now_real_ms <= by ? "ending" : "ended";
		if (!fenced)
			return "admitted";
		return boot->unbounded ? "unbounded" : "expired";
	case BOOT_ENDING:
		if (boot->reason == REASON_SUPERSEDED)
			return "superseded";
		if (boot->reason == REASON_END)
			return now_real_ms <= by ? "ending" : "ended";
		return fenced && !boot->unbounded ? "expired" : "shredding";
	case BOOT_OFF:
		return "off";
	default:
		return "unknown";
	}
}
