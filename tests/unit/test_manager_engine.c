/* SPDX-License-Identifier: Apache-2.0 */
/* The manager's half of the lease: each rule by itself, then all orders of events with invariants.
 */
#include "unit.h"

#include <string.h>

#include "base/bytes.h"
#include "manager/lease_engine.h"

#define START_BOOT 1000000ull
#define START_REAL 5000000000ull

/* A world in which the boot would get a lease; tests change one thing. */
struct world {
	struct store_boot boot;
	struct store_key key;
	struct lease_request request;
	struct engine_facts facts;
	struct engine_time now;
};

static const struct sequence newest = {4, 100};

static void world_init(struct world *w)
{
	*w = (struct world){.now = {START_BOOT, START_REAL}};
	store_key_defaults(&w->key);
	w->boot.state = BOOT_LIVE;
	w->boot.paired = w->boot.was_admitted = true;
	w->boot.number = 7;
	memset(w->boot.challenge, 'a', CHALLENGE_SIZE);
	w->boot.issued = (struct sequence){4, 50};
	w->boot.granted_ms = START_REAL - 200000;
	w->boot.lease_ms = 300000;
	w->boot.fence_ms = START_REAL + 100000;
	w->request.number = 8;
	memset(w->request.challenge, 'b', CHALLENGE_SIZE);
	w->request.highest = w->boot.issued;
	w->facts = (struct engine_facts){
		.boot = &w->boot,
		.request = &w->request,
		.arrived_ms = START_BOOT,
		.key = &w->key,
		.evidence_ms = START_BOOT - 1000,
		.cmk_state = CMK_HEALTHY,
		.last = newest,
	};
}

static struct engine_decision decide(struct world *w)
{
	return engine_decide(&w->facts, w->now);
}

static void assert_shred(struct world *w, enum reason reason)
{
	struct engine_decision d = decide(w);

	assert_int_equal(d.action, ENGINE_SHRED);
	assert_int_equal(d.verdict, VERDICT_SHRED);
	assert_int_equal(d.reason, reason);
}

static void test_renewal(void **state)
{
	struct engine_decision d;
	struct world w;

	world_init(&w);
	d = decide(&w);
	assert_int_equal(d.action, ENGINE_GRANT);
	assert_int_equal(d.verdict, VERDICT_CONTINUE);
	assert_int_equal(d.ttl_ms, 119000);
	assert_int_equal(d.margin_ms, 59499);
	assert_int_equal(d.expiry, EXPIRY_SHRED);
	assert_int_equal(d.cmk_state, CMK_HEALTHY);
	assert_int_equal(d.poll_ms, 10000);
}

static void test_admission(void **state)
{
	struct world w;

	world_init(&w);
	w.boot.state = BOOT_WAITING;
	w.boot.number = 0;
	w.boot.was_admitted = w.boot.paired = false;
	w.boot.issued = w.request.highest = (struct sequence){0};
	w.boot.fence_ms = w.boot.granted_ms = 0;
	assert_int_equal(decide(&w).action, ENGINE_UNKNOWN);
	w.facts.admitting = true;
	assert_int_equal(decide(&w).action, ENGINE_PAIR);
	w.boot.paired = true;
	assert_int_equal(decide(&w).action, ENGINE_GRANT);
	assert_int_equal(decide(&w).verdict, VERDICT_ADMIT);
	w.key.confirm_boot = true;
	assert_int_equal(decide(&w).action, ENGINE_HOLD);
	w.boot.confirmed = true;
	assert_int_equal(decide(&w).action, ENGINE_GRANT);
	w.boot.state = BOOT_HELD;
	assert_int_equal(decide(&w).action, ENGINE_HOLD);
	w.boot.state = BOOT_REFUSED;
	assert_int_equal(decide(&w).action, ENGINE_REFUSE);
	w.boot.state = BOOT_WAITING;
	w.facts.key = NULL;
	assert_int_equal(decide(&w).action, ENGINE_STALE);
}

static void test_retry_clone_older(void **state)
{
	struct world w;

	world_init(&w);
	w.request.number = 7;
	assert_shred(&w, REASON_CLONE);
	memset(w.request.challenge, 'a', CHALLENGE_SIZE);
	assert_int_equal(decide(&w).action, ENGINE_REPEAT);
	w.request.number = 6;
	assert_int_equal(decide(&w).action, ENGINE_OLDER);
	/* Against a request that is parked. */
	w.request.number = 9;
	w.facts.pending_number = 9;
	w.facts.pending_challenge = w.boot.challenge;
	assert_int_equal(decide(&w).action, ENGINE_GRANT);
	memset(w.request.challenge, 'c', CHALLENGE_SIZE);
	assert_shred(&w, REASON_CLONE);
	w.request.number = 8;
	assert_int_equal(decide(&w).action, ENGINE_OLDER);
}

static void test_rollback(void **state)
{
	struct world w;

	world_init(&w);
	w.request.highest = (struct sequence){4, 51}; /* this boot never got that one */
	assert_int_equal(decide(&w).action, ENGINE_FROZEN);
	w.facts.adopted_epoch = 5; /* lost before the adoption, and known to be */
	assert_int_equal(decide(&w).action, ENGINE_GRANT);
	/* Its fence was lost too. */
	w.boot.fence_ms = START_REAL - 1;
	assert_int_equal(decide(&w).action, ENGINE_GRANT);
	w.request.highest = w.boot.issued;
	assert_shred(&w, REASON_LEASE);
	w.request.highest = (struct sequence){4, 51};
	w.request.highest = (struct sequence){4, 101}; /* nobody got that one */
	assert_int_equal(decide(&w).action, ENGINE_FROZEN);
	w.request.highest = (struct sequence){5, 1};
	assert_int_equal(decide(&w).action, ENGINE_FROZEN);
	w.request.highest = (struct sequence){4 + ENGINE_EPOCHS_AHEAD_MAX + 1, 0};
	assert_int_equal(decide(&w).action, ENGINE_ABSURD);
	world_init(&w);
	w.facts.frozen = true;
	assert_int_equal(decide(&w).action, ENGINE_FROZEN);
	/* Not even a verdict. */
	w.boot.state = BOOT_ENDING;
	w.boot.reason = REASON_REVOKED;
	assert_int_equal(decide(&w).action, ENGINE_FROZEN);
}

static void test_revocation(void **state)
{
	struct world w;

	world_init(&w);
	w.key.revoked_ms = 1;
	assert_shred(&w, REASON_REVOKED);
	assert_int_equal(decide(&w).cmk_state, CMK_REVOKED);
	w.boot.state = BOOT_WAITING;
	w.facts.admitting = true;
	assert_shred(&w, REASON_REVOKED);
	w.boot.state = BOOT_HELD;
	assert_shred(&w, REASON_REVOKED);
	/* A retry of what was granted before gets the verdict too. */
	w.boot.state = BOOT_LIVE;
	w.request.number = 7;
	memset(w.request.challenge, 'a', CHALLENGE_SIZE);
	assert_shred(&w, REASON_REVOKED);
	/* What ended for another reason stays so. */
	w.boot.state = BOOT_ENDING;
	w.boot.reason = REASON_SUPERSEDED;
	assert_shred(&w, REASON_SUPERSEDED);
}

static void test_evidence(void **state)
{
	struct world w;

	world_init(&w);
	w.facts.evidence_ms = START_BOOT - 120000 + ENGINE_TTL_MIN_MS;
	assert_int_equal(decide(&w).action, ENGINE_GRANT);
	assert_int_equal(decide(&w).ttl_ms, ENGINE_TTL_MIN_MS);
	assert_true(decide(&w).margin_ms < ENGINE_TTL_MIN_MS / 2);
	w.facts.evidence_ms--;
	assert_int_equal(decide(&w).action, ENGINE_STALE);
	w.facts.evidence_ms = 1;
	assert_int_equal(decide(&w).action, ENGINE_STALE);
	w.facts.evidence_ms = 0;
	assert_int_equal(decide(&w).action, ENGINE_STALE);
	/* The lease is the other bound. */
	w.facts.evidence_ms = START_BOOT;
	w.key.lease_ms = 30000;
	assert_int_equal(decide(&w).ttl_ms, 30000);
	assert_int_equal(decide(&w).margin_ms, 14999);
	w.key.margin_ms = 5000;
	assert_int_equal(decide(&w).margin_ms, 5000);
}

static void test_fence(void **state)
{
	struct world w;

	world_init(&w);
	w.now.real_ms = w.boot.fence_ms;
	assert_int_equal(decide(&w).action, ENGINE_GRANT);
	w.now.real_ms++;
	assert_shred(&w, REASON_LEASE);
	w.boot.unbounded = true;
	assert_int_equal(decide(&w).action, ENGINE_GRANT);
	/* Where this machine has not booted since, a clock that is set does not count. */
	w.boot.unbounded = false;
	w.boot.fence_boot_ms = w.now.boot_ms;
	assert_int_equal(decide(&w).action, ENGINE_GRANT);
	w.now.boot_ms++;
	w.boot.fence_ms = w.now.real_ms + 1000;
	assert_shred(&w, REASON_LEASE);
}

static void test_due(void **state)
{
	struct engine_decision d;
	struct world w;

	world_init(&w);
	w.boot.granted_ms = START_REAL;
	d = decide(&w);
	assert_int_equal(d.action, ENGINE_WAIT);
	assert_int_equal(d.due_ms, START_BOOT + 10000);
	w.now.boot_ms += 10000;
	w.now.real_ms += 10000;
	assert_int_equal(decide(&w).action, ENGINE_GRANT);
	/* Not beyond a quarter of the lease: at a third the VM has asked anew. */
	world_init(&w);
	w.boot.granted_ms = START_REAL - 70000;
	assert_int_equal(decide(&w).due_ms, START_BOOT + 5000);
	w.boot.granted_ms = START_REAL - 75000;
	assert_int_equal(decide(&w).action, ENGINE_GRANT);
	/* A pause was noticed: at once. */
	w.boot.granted_ms = START_REAL;
	w.request.pauses = 1;
	assert_int_equal(decide(&w).action, ENGINE_GRANT);
}

static void grant(struct world *w, struct sequence sequence)
{
	struct engine_decision d = decide(w);
	uint8_t bytes[TOKEN_SIZE];
	struct token token = {
		.sequence = sequence,
		.ttl_ms = d.ttl_ms,
		.margin_ms = d.margin_ms,
		.verdict = d.verdict,
		.expiry = d.expiry,
	};

	assert_int_equal(d.action, ENGINE_GRANT);
	token_encode(&token, bytes);
	engine_granted(&w->boot, &w->facts, &d, sequence, bytes, w->now);
}

static void test_granted(void **state)
{
	struct world w;

	world_init(&w);
	w.request.self_test_passed = 5;
	grant(&w, (struct sequence){4, 101});
	assert_int_equal(w.boot.number, 8);
	assert_int_equal(w.boot.issued.counter, 101);
	assert_int_equal(w.boot.granted_ms, START_REAL);
	assert_int_equal(w.boot.fence_ms, START_REAL + 119000 + 1190 + ENGINE_SHRED_BUDGET_MS);
	assert_int_equal(w.boot.fence_boot_ms, START_BOOT + 119000 + 1190 + ENGINE_SHRED_BUDGET_MS);
	assert_int_equal(w.boot.self_test_passed, 5);
	assert_memory_equal(w.boot.challenge, w.request.challenge, CHALLENGE_SIZE);
	assert_true(bytes_are_zero(w.boot.admit_token, TOKEN_SIZE));
	assert_false(w.boot.unbounded);
	/* A shorter lease does not take the fence back: the longer one may be what the VM holds. */
	w.request.number = 9;
	w.boot.granted_ms = 0;
	w.facts.evidence_ms = START_BOOT - 110000;
	w.request.highest = w.boot.issued;
	w.facts.last.counter = 101;
	grant(&w, (struct sequence){4, 102});
	assert_int_equal(w.boot.fence_ms, START_REAL + 119000 + 1190 + ENGINE_SHRED_BUDGET_MS);
}

static void test_unbounded_until_shown(void **state)
{
	struct world w;

	world_init(&w);
	w.facts.last.counter = 200;
	w.key.expiry = EXPIRY_WARN;
	grant(&w, (struct sequence){4, 101});
	assert_true(w.boot.unbounded);
	/* The policy changes; the VM may not have seen it yet. */
	w.key.expiry = EXPIRY_SHRED;
	w.boot.granted_ms = 0;
	w.request.number = 9;
	w.request.highest = (struct sequence){4, 50};
	grant(&w, (struct sequence){4, 102});
	assert_true(w.boot.unbounded);
	/* It shows the token that says shred. */
	w.boot.granted_ms = 0;
	w.request.number = 10;
	w.request.highest = (struct sequence){4, 102};
	grant(&w, (struct sequence){4, 103});
	assert_false(w.boot.unbounded);
}

static void test_reports(void **state)
{
	static const struct {
		struct engine_report_facts facts;
		enum engine_report expected;
	} cases[] = {
		{{false, false, false}, ENGINE_REPORT_NEW},
		{{true, true, false}, ENGINE_REPORT_KNOWN},
		{{true, true, true}, ENGINE_REPORT_KNOWN},
		{{false, true, false}, ENGINE_REPORT_TAKEN},
		{{false, true, true}, ENGINE_REPORT_TAKEN},
		{{false, false, true}, ENGINE_REPORT_LIMITED},
	};
	struct boot_report report = {0};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(engine_report_decide(&cases[i].facts), cases[i].expected);
	assert_int_equal(engine_first_state(&report, false), BOOT_WAITING);
	assert_int_equal(engine_first_state(&report, true), BOOT_HELD);
	strcpy(report.failure, "no disk");
	assert_int_equal(engine_first_state(&report, true), BOOT_REFUSED);
}

static void test_bucket(void **state)
{
	struct engine_bucket bucket = {0};
	uint64_t wait;

	for (int i = 0; i < 3; i++)
		assert_true(engine_bucket_take(&bucket, 3, 1000, 5000, NULL));
	assert_false(engine_bucket_take(&bucket, 3, 1000, 5000, &wait));
	assert_int_equal(wait, 1000);
	assert_false(engine_bucket_take(&bucket, 3, 1000, 5999, &wait));
	assert_int_equal(wait, 1);
	assert_true(engine_bucket_take(&bucket, 3, 1000, 6000, NULL));
	assert_false(engine_bucket_take(&bucket, 3, 1000, 6000, NULL));
	/* Full again, and no fuller; what is put back can be taken once. */
	for (int i = 0; i < 3; i++)
		assert_true(engine_bucket_take(&bucket, 3, 1000, 60000, NULL));
	engine_bucket_put_back(&bucket, 1000);
	assert_true(engine_bucket_take(&bucket, 3, 1000, 60000, NULL));
	assert_false(engine_bucket_take(&bucket, 3, 1000, 60000, NULL));
}

/* A boot that said that it ends: by its note, or by its lease where that comes first. */
static void test_classes_of_the_ending(void **state)
{
	static const struct {
		enum boot_state state;
		bool unbounded, keys_gone;
		enum reason reason;
		uint64_t fence_ms, now_ms;
		enum engine_class class;
		const char *name;
	} cases[] = {
		/* 100 + 1000 + 10 + 8000 */
		{BOOT_LIVE, false, false, REASON_NONE, 99999, 9110, CLASS_ENDING, "ending"},
		{BOOT_LIVE, false, false, REASON_NONE, 99999, 9111, CLASS_ENDED, "ended"},
		{BOOT_LIVE, false, false, REASON_NONE, 500, 500, CLASS_ENDING, "ending"},
		{BOOT_LIVE, false, false, REASON_NONE, 500, 501, CLASS_ENDED, "ended"},
		/* A lease that nothing ends does not hold up the note. */
		{BOOT_LIVE, true, false, REASON_NONE, 500, 9110, CLASS_ENDING, "ending"},
		{BOOT_LIVE, true, false, REASON_NONE, 500, 9111, CLASS_ENDED, "ended"},
		/* Followed by the next boot of its VM. */
		{BOOT_ENDING, false, false, REASON_END, 99999, 9110, CLASS_ENDING, "ending"},
		{BOOT_ENDING, false, false, REASON_END, 99999, 9111, CLASS_ENDED, "ended"},
		{BOOT_ENDING, false, false, REASON_REVOKED, 99999, 9110, CLASS_ENDING, "shredding"},
		{BOOT_OFF, false, true, REASON_END, 99999, 9110, CLASS_RECEIPT, "off"},
		{BOOT_OFF, false, false, REASON_END, 99999, 9111, CLASS_ENDED, "off"},
		/* A clone: the other holder has sent none. */
		{BOOT_ENDING, false, false, REASON_CLONE, 99999, 9111, CLASS_LIVE, "shredding"},
	};
	const struct ending ending = {.verb = END_POWEROFF, .bound_ms = 1000};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct store_boot boot = {
			.state = cases[i].state,
			.reason = cases[i].reason,
			.was_admitted = true,
			.unbounded = cases[i].unbounded,
			.keys_gone = cases[i].keys_gone,
			.fence_ms = cases[i].fence_ms,
			.ending_ms = 100,
		};

		ending_encode(&ending, boot.ending);
		assert_int_equal(engine_class(&boot, cases[i].now_ms), cases[i].class);
		assert_string_equal(engine_state_name(&boot, cases[i].now_ms), cases[i].name);
		if (cases[i].class == CLASS_ENDING || cases[i].class == CLASS_ENDED)
			assert_int_equal(engine_gone_by(&boot, 0, cases[i].now_ms),
					 boot.fence_ms > 500 || boot.unbounded ? 9110 : 500);
		assert_false(engine_may_drill(&boot, cases[i].now_ms));
	}
}

static void test_classes(void **state)
{
	static const struct {
		enum boot_state state;
		bool admitted, unbounded, keys_gone, fenced;
		enum reason reason;
		enum engine_class class;
		const char *name;
	} cases[] = {
		{BOOT_WAITING, false, false, false, false, REASON_NONE, CLASS_NONE, "waiting"},
		{BOOT_HELD, false, false, false, false, REASON_NONE, CLASS_NONE, "held"},
		{BOOT_REFUSED, false, false, false, false, REASON_NONE, CLASS_NONE, "failed"},
		{BOOT_LIVE, true, false, false, false, REASON_NONE, CLASS_LIVE, "admitted"},
		{BOOT_LIVE, true, false, false, true, REASON_NONE, CLASS_LEASE_ENDED, "expired"},
		{BOOT_LIVE, true, true, false, false, REASON_NONE, CLASS_LIVE, "admitted"},
		{BOOT_LIVE, true, true, false, true, REASON_NONE, CLASS_UNBOUNDED, "unbounded"},
		{BOOT_ENDING, true, false, false, false, REASON_REVOKED, CLASS_LIVE, "shredding"},
		{BOOT_ENDING, true, false, false, true, REASON_REVOKED, CLASS_LEASE_ENDED,
		 "expired"},
		{BOOT_ENDING, true, true, false, true, REASON_REVOKED, CLASS_UNBOUNDED,
		 "shredding"},
		{BOOT_ENDING, true, false, false, false, REASON_SUPERSEDED, CLASS_LIVE,
		 "superseded"},
		{BOOT_OFF, true, false, true, false, REASON_REVOKED, CLASS_RECEIPT, "off"},
		{BOOT_OFF, true, true, true, true, REASON_REVOKED, CLASS_RECEIPT, "off"},
		/* A clone: the other holder has sent none. */
		{BOOT_OFF, true, false, true, false, REASON_CLONE, CLASS_LIVE, "off"},
		{BOOT_OFF, true, false, true, true, REASON_CLONE, CLASS_LEASE_ENDED, "off"},
		/* A segment is unwiped: the receipt is none of "keys gone". */
		{BOOT_OFF, true, false, false, false, REASON_REVOKED, CLASS_LIVE, "off"},
		{BOOT_OFF, true, false, false, true, REASON_REVOKED, CLASS_LEASE_ENDED, "off"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct store_boot boot = {
			.state = cases[i].state,
			.reason = cases[i].reason,
			.was_admitted = cases[i].admitted,
			.unbounded = cases[i].unbounded,
			.keys_gone = cases[i].keys_gone,
			.fence_ms = 100,
		};
		uint64_t now = cases[i].fenced ? 101 : 100;

		assert_int_equal(engine_class(&boot, now), cases[i].class);
		assert_string_equal(engine_state_name(&boot, now), cases[i].name);
	}
}

/* --- all orders of events --- */

enum step {
	STEP_REQUESTS, /* number -1, 0, +1 against the answered one; two challenges; with the
			  report or not; showing the last token or a foreign one */
	STEP_TIME = STEP_REQUESTS + 24,
	STEP_LONG_TIME,
	STEP_PROBE,
	STEP_REVOKE,
	STEP_CLEAR,
	STEP_PAIRED,
	STEP_OPERATOR,
	STEP_WARN,
	STEP_RESTART,
	STEP_ADOPT,
	STEP__MAX
};

#define DEPTH 4

struct walk {
	struct world w;
	uint64_t counter;
	unsigned granted_ever; /* bits: the states from which a lease was granted */
};

static unsigned long walked, granted;
static unsigned seen_actions;

/* Boots whose last lease ends for good at 100, and whose receipt, if any, came at 70. */
static void test_gone_by(void **state)
{
	static const struct {
		enum boot_state state;
		bool admitted, unbounded, keys_gone;
		enum reason reason;
		uint64_t before, after; /* by when the keys are gone, as said at 100 and at 101 */
	} cases[] = {
		{BOOT_WAITING, false, false, false, REASON_NONE, 0, 0},
		/* It may be renewed until the fence, never after. */
		{BOOT_LIVE, true, false, false, REASON_NONE, 0, 100},
		{BOOT_ENDING, true, false, false, REASON_REVOKED, 100, 100},
		{BOOT_ENDING, true, false, false, REASON_DRILL, 100, 100},
		{BOOT_LIVE, true, true, false, REASON_NONE, 0, 0},
		{BOOT_ENDING, true, true, false, REASON_REVOKED, 0, 0},
		{BOOT_OFF, true, false, true, REASON_REVOKED, 70, 70},
		{BOOT_OFF, true, true, true, REASON_REVOKED, 70, 70},
		{BOOT_OFF, false, false, true, REASON_REVOKED, 70, 70},
		{BOOT_OFF, true, false, true, REASON_CLONE, 100, 100},
		{BOOT_OFF, true, true, true, REASON_CLONE, 0, 0},
		{BOOT_OFF, true, false, false, REASON_REVOKED, 100, 100},
		{BOOT_OFF, true, true, false, REASON_REVOKED, 0, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct store_boot boot = {
			.state = cases[i].state,
			.reason = cases[i].reason,
			.was_admitted = cases[i].admitted,
			.unbounded = cases[i].unbounded,
			.keys_gone = cases[i].keys_gone,
			.fence_ms = 100,
		};
		bool live = boot.state == BOOT_LIVE;

		assert_int_equal(engine_gone_by(&boot, 70, 100), cases[i].before);
		assert_int_equal(engine_gone_by(&boot, 70, 101), cases[i].after);
		/* A drill is for what runs under a lease. */
		assert_int_equal(engine_may_drill(&boot, 100), live);
		assert_false(engine_may_drill(&boot, 101));
	}
}

static void check_grant(const struct walk *walk, const struct store_boot *before,
			const struct engine_decision *d)
{
	const struct world *w = &walk->w;
	uint64_t end = w->now.boot_ms + d->ttl_ms;

	assert_true(before->state == BOOT_LIVE ||
		    (before->state == BOOT_WAITING && w->facts.admitting));
	assert_int_equal(w->key.revoked_ms, 0);
	assert_false(w->facts.frozen);
	assert_true(before->paired);
	assert_true(w->facts.evidence_ms > 0);
	assert_true(end <= w->facts.evidence_ms + w->key.max_staleness_ms);
	assert_true(d->ttl_ms >= ENGINE_TTL_MIN_MS && d->ttl_ms <= w->key.lease_ms);
	assert_true(d->margin_ms < d->ttl_ms / 2);
	assert_true(w->request.number > before->number);
	assert_true(before->unbounded || before->fence_ms == 0 ||
		    w->now.real_ms <= before->fence_ms ||
		    sequence_compare(w->request.highest, before->issued) > 0);
	assert_int_equal(d->verdict, w->facts.admitting ? VERDICT_ADMIT : VERDICT_CONTINUE);
	assert_true(sequence_compare(w->request.highest, w->facts.last) <= 0);
}

static void carry_out(struct walk *walk, const struct engine_decision *d)
{
	struct store_boot before = walk->w.boot;
	struct world *w = &walk->w;

	seen_actions |= 1u << d->action;
	switch (d->action) {
	case ENGINE_GRANT:
		check_grant(walk, &before, d);
		walk->counter++;
		w->facts.last.counter = walk->counter;
		grant(w, w->facts.last);
		assert_true(w->boot.fence_ms >= before.fence_ms);
		assert_true(w->boot.fence_ms >= w->now.real_ms + d->ttl_ms);
		granted++;
		break;
	case ENGINE_REPEAT:
		assert_int_equal(w->request.number, before.number);
		assert_memory_equal(w->request.challenge, before.challenge, CHALLENGE_SIZE);
		assert_int_equal(before.state, BOOT_LIVE);
		break;
	case ENGINE_SHRED:
		assert_int_not_equal(d->reason, REASON_NONE);
		assert_false(w->facts.frozen);
		if (before.state == BOOT_ENDING)
			assert_int_equal(d->reason, before.reason);
		w->boot.state = BOOT_ENDING;
		w->boot.reason = d->reason;
		break;
	case ENGINE_FROZEN:
		w->facts.frozen = true;
		break;
	default:
		break;
	}
	/* An end is final: whatever comes, there is no lease and no repeated one. */
	if (before.state == BOOT_ENDING)
		assert_true(d->action == ENGINE_SHRED || d->action == ENGINE_FROZEN ||
			    d->action == ENGINE_ABSURD);
}

static void step_request(struct walk *walk, unsigned which)
{
	struct world *w = &walk->w;
	struct engine_decision d;

	w->request.number = w->boot.number + which % 3;
	w->request.number = w->request.number > 1 ? w->request.number - 1 : 1;
	memset(w->request.challenge, which / 3 % 2 ? 'x' : 'y', CHALLENGE_SIZE);
	w->facts.admitting = which / 6 % 2;
	w->request.highest = w->boot.issued;
	if (which / 12 % 2)
		w->request.highest = (struct sequence){w->facts.last.epoch + 1, 1};
	w->facts.arrived_ms = w->now.boot_ms;
	d = decide(w);
	carry_out(walk, &d);
}

static void pass_time(struct world *w, uint64_t ms)
{
	w->now.boot_ms += ms;
	w->now.real_ms += ms;
}

static void step(struct walk *walk, unsigned which)
{
	struct world *w = &walk->w;

	w->facts.boot = &w->boot;
	w->facts.request = &w->request;
	w->facts.key = &w->key;
	switch (which) {
	case STEP_TIME:
		pass_time(w, 15000);
		break;
	case STEP_LONG_TIME:
		pass_time(w, 400000);
		break;
	case STEP_PROBE:
		w->facts.evidence_ms = w->now.boot_ms;
		break;
	case STEP_REVOKE:
		w->key.revoked_ms = w->now.real_ms;
		break;
	case STEP_CLEAR:
		w->key.revoked_ms = 0;
		break;
	case STEP_PAIRED:
		w->boot.paired = true;
		break;
	case STEP_OPERATOR:
		if (w->boot.state == BOOT_LIVE || w->boot.state == BOOT_WAITING) {
			w->boot.state = BOOT_ENDING;
			w->boot.reason = REASON_OPERATOR;
		}
		break;
	case STEP_WARN:
		w->key.expiry = EXPIRY_WARN;
		break;
	case STEP_RESTART:
		w->facts.last = (struct sequence){w->facts.last.epoch + 1, 0};
		w->facts.evidence_ms = 0;
		walk->counter = 0;
		break;
	case STEP_ADOPT:
		w->facts.last.epoch += 2;
		w->facts.adopted_epoch = w->facts.last.epoch;
		w->facts.frozen = false;
		break;
	default:
		step_request(walk, which);
	}
}

static void walk_from(const struct walk *from, unsigned depth)
{
	for (unsigned which = 0; which < STEP__MAX; which++) {
		struct walk walk = *from;

		step(&walk, which);
		walked++;
		if (depth > 1)
			walk_from(&walk, depth - 1);
	}
}

static void walk_init(struct walk *walk, bool live)
{
	*walk = (struct walk){.counter = 100};
	world_init(&walk->w);
	if (live)
		return;
	walk->w.boot = (struct store_boot){.state = BOOT_WAITING};
}

static void test_walk(void **state)
{
	const unsigned all = (1u << ENGINE_GRANT) | (1u << ENGINE_REPEAT) | (1u << ENGINE_SHRED) |
			     (1u << ENGINE_WAIT) | (1u << ENGINE_PAIR) | (1u << ENGINE_STALE) |
			     (1u << ENGINE_UNKNOWN) | (1u << ENGINE_FROZEN) | (1u << ENGINE_OLDER);
	struct walk walk;

	walk_init(&walk, false);
	walk_from(&walk, DEPTH);
	walk_init(&walk, true);
	walk_from(&walk, DEPTH);
	assert_int_equal(seen_actions & all, all);
	assert_true(granted > 1000);
	print_message("%lu steps, %lu leases\n", walked, granted);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_renewal),
		cmocka_unit_test(test_admission),
		cmocka_unit_test(test_retry_clone_older),
		cmocka_unit_test(test_rollback),
		cmocka_unit_test(test_revocation),
		cmocka_unit_test(test_evidence),
		cmocka_unit_test(test_fence),
		cmocka_unit_test(test_due),
		cmocka_unit_test(test_granted),
		cmocka_unit_test(test_unbounded_until_shown),
		cmocka_unit_test(test_reports),
		cmocka_unit_test(test_bucket),
		cmocka_unit_test(test_classes),
		cmocka_unit_test(test_gone_by),
		cmocka_unit_test(test_classes_of_the_ending),
		cmocka_unit_test(test_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
