/* SPDX-License-Identifier: Apache-2.0 */
/* The order and the budgets of a shred. */
#include "core/shred.h"

#include "core/lease.h"

static const uint64_t budgets[SHRED_STEP__MAX] = {
	[SHRED_KEYS] = SHRED_KEYS_BUDGET_NS,
	[SHRED_BLOCKED_IO] = SHRED_IO_BUDGET_NS,
	[SHRED_SELF_TEST] = SHRED_SELF_TEST_BUDGET_NS,
	[SHRED_RECEIPT] = SHRED_RECEIPT_BUDGET_NS,
};

static bool is_running(const struct shred *shred)
{
	return shred->step != SHRED_IDLE && shred->step != SHRED_POWER;
}

uint64_t shred_next(const struct shred *shred)
{
	uint64_t step_end = shred->step == SHRED_PLAINTEXT
				    ? shred->start_ns + SHRED_PLAINTEXT_END_NS
				    : shred->step_ns + budgets[shred->step];
	uint64_t end = shred->start_ns + SHRED_TOTAL_NS;

	if (!is_running(shred))
		return LEASE_NEVER;
	return step_end < end ? step_end : end;
}

static enum shred_action enter(struct shred *shred, enum shred_step step, uint64_t now_ns)
{
	static const enum shred_action actions[SHRED_STEP__MAX] = {
		[SHRED_KEYS] = SHRED_DO_KEYS,		[SHRED_BLOCKED_IO] = SHRED_DO_BLOCKED_IO,
		[SHRED_SELF_TEST] = SHRED_DO_SELF_TEST, [SHRED_PLAINTEXT] = SHRED_DO_PLAINTEXT,
		[SHRED_RECEIPT] = SHRED_DO_REPORT,	[SHRED_POWER] = SHRED_DO_POWER,
	};

	shred->step = step;
	shred->step_ns = now_ns;
	return actions[step];
}

/* What follows the current step, which is done or given up. */
static enum shred_action advance(struct shred *shred, uint64_t now_ns)
{
	enum shred_step next = shred->step + 1;

	if (next == SHRED_PLAINTEXT && now_ns >= shred->start_ns + SHRED_PLAINTEXT_END_NS)
		next = SHRED_RECEIPT;
	if (next == SHRED_RECEIPT && !shred->receipt_wanted)
		next = SHRED_POWER;
	if (now_ns >= shred->start_ns + SHRED_TOTAL_NS)
		next = SHRED_POWER;
	return enter(shred, next, now_ns);
}

static enum shred_action on_start(struct shred *shred, const struct shred_event *event,
				  uint64_t now_ns)
{
	*shred = (struct shred){
		.reason = event->reason,
		.start_ns = now_ns,
		.receipt_wanted = event->receipt_wanted,
	};
	return enter(shred, SHRED_KEYS, now_ns);
}

static enum shred_action on_done(struct shred *shred, const struct shred_event *event,
				 uint64_t now_ns)
{
	if (shred->step == SHRED_RECEIPT)
		return SHRED_DO_NOTHING;
	if (shred->step == SHRED_BLOCKED_IO)
		shred->blocked_io_ns = now_ns;
	else if (shred->step == SHRED_PLAINTEXT)
		shred->plaintext_ns = event->complete ? now_ns : 0;
	return advance(shred, now_ns);
}

static enum shred_action on_receipt(struct shred *shred, uint64_t now_ns)
{
	shred->receipt_wanted = false;
	return shred->step == SHRED_RECEIPT ? advance(shred, now_ns) : SHRED_DO_NOTHING;
}

enum shred_action shred_machine_step(struct shred *shred, const struct shred_event *event,
				     uint64_t now_ns)
{
	if (event->type == SHRED_EVENT_START)
		return shred->step == SHRED_IDLE ? on_start(shred, event, now_ns)
						 : SHRED_DO_NOTHING;
	if (!is_running(shred))
		return SHRED_DO_NOTHING;
	if (event->type == SHRED_EVENT_DONE)
		return on_done(shred, event, now_ns);
	if (event->type == SHRED_EVENT_RECEIPT)
		return on_receipt(shred, now_ns);
	return now_ns >= shred_next(shred) ? advance(shred, now_ns) : SHRED_DO_NOTHING;
}
