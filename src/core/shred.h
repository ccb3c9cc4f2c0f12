/* SPDX-License-Identifier: Apache-2.0 */
/* The order and the budgets of a shred, as a machine that the keeper drives: which step may run
 * now, which is given up. Pure.
 *
 *   1 keys 1 s · 2 blocked I/O 200 ms · 3 self-test 500 ms
 *   4 plaintext until 2 s after the start
 *   5 receipt: the first beside 2 to 4, the closing one 1 s after them
 *   all 3 s, then 6 power · the twin at 5 s
 *
 * What is proven comes before what keeps processors busy: on an emulated machine, whose host lets a
 * busy processor stand still for some tenths of a second, that made all the rest late. For the same
 * reason the self-test has many times what it takes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/limits.h"
#include "core/message.h"

#define SHRED_KEYS_BUDGET_NS	  1000000000ull
#define SHRED_IO_BUDGET_NS	  200000000ull
#define SHRED_SELF_TEST_BUDGET_NS 500000000ull
#define SHRED_PLAINTEXT_END_NS	  2000000000ull /* from the start: the rest is the receipt's */
#define SHRED_RECEIPT_BUDGET_NS	  1000000000ull
#define SHRED_TOTAL_NS		  3000000000ull
#define SHRED_TWIN_NS		  5000000000ull

enum shred_step {
	SHRED_IDLE,
	SHRED_KEYS,
	SHRED_BLOCKED_IO,
	SHRED_SELF_TEST,
	SHRED_PLAINTEXT,
	SHRED_RECEIPT,
	SHRED_POWER,
	SHRED_STEP__MAX
};

struct shred {
	enum shred_step step;
	enum reason reason;
	uint64_t start_ns, step_ns; /* when the shred and the step began */
	uint64_t blocked_io_ns;
	uint64_t plaintext_ns; /* 0: not all of it is gone */
	bool receipt_wanted;   /* an agent is connected: wait for it within its budget */
};

enum shred_event_type {
	SHRED_EVENT_START,   /* .reason, .receipt_wanted */
	SHRED_EVENT_DONE,    /* every thread of the current step has reported; .complete */
	SHRED_EVENT_RECEIPT, /* the agent says the closing receipt is out, or the agent is gone */
	SHRED_EVENT_TIME,    /* shred_next() has come */
	SHRED_EVENT__MAX
};
struct shred_event {
	enum shred_event_type type;
	enum reason reason;
	bool receipt_wanted;
	bool complete; /* nothing is left of what the step was to do; of step 4 alone */
};

/* What to start; at most one at a time. Steps never go back; a second START is ignored, and so is
 * whatever comes too late for its step. A step that ends when SHRED_TOTAL_NS is over is followed by
 * SHRED_DO_POWER, whatever is left to do; step 4 is left out once its time is over.
 * SHRED_DO_BLOCKED_IO also means that step 1 is over: the report of the keys (RECEIPT_KEYS) goes out
 * then. SHRED_DO_REPORT: the closing one. */
enum shred_action {
	SHRED_DO_NOTHING,
	SHRED_DO_KEYS,
	SHRED_DO_BLOCKED_IO,
	SHRED_DO_SELF_TEST,
	SHRED_DO_PLAINTEXT,
	SHRED_DO_REPORT,
	SHRED_DO_POWER
};
enum shred_action shred_machine_step(struct shred *shred, const struct shred_event *event,
				     uint64_t now_ns);
uint64_t shred_next(const struct shred *shred); /* LEASE_NEVER where nothing is due */
