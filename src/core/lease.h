/* SPDX-License-Identifier: Apache-2.0 */
/* The lease machine of the VM: design of record for when a boot's keys must end. Pure; time and
 * randomness are arguments.
 *
 *            admit              deadline - margin         deadline, expiry = shred
 * STARTING ---------> ADMITTED -------------------> WARNING ----------------------> SHREDDING -> OFF
 *                        ^ ^------- continue ---------/ \                                 ^
 *                        |                               \- expiry = warn -> UNBOUNDED    |
 *                        \------------------------ continue --------------------/         |
 * STARTING with OnAdmissionTimeout=poweroff; any state: signed shred, operator, fault ----/
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/message.h"

#define LEASE_NEVER UINT64_MAX

enum lease_state {
	LEASE_STARTING,
	LEASE_ADMITTED,
	LEASE_WARNING,
	LEASE_UNBOUNDED,
	LEASE_SHREDDING,
	LEASE_OFF,
	LEASE_STATE__MAX
};
const char *lease_state_name(enum lease_state state);

enum lease_event_type {
	LEASE_EVENT_START, /* the signed report exists: first challenge (uses .challenge) */
	LEASE_EVENT_TICK,  /* time passed; due at lease_next() (uses .challenge) */
	LEASE_EVENT_TOKEN, /* a token whose signature a current signing key verified (uses .token;
			    * and .challenge for the next one) */
	LEASE_EVENT_PAUSE, /* a hypervisor pause, twice confirmed (uses .challenge) */
	LEASE_EVENT_OPERATOR, /* emberlockctl shred */
	LEASE_EVENT_FAULT,    /* shred for a reason of the VM's own */
	LEASE_EVENT_OFF,      /* the shred is over */
	LEASE_EVENT__MAX
};

struct lease_event {
	enum lease_event_type type;
	const struct token *token;
	const uint8_t *challenge; /* CHALLENGE_SIZE fresh random bytes, for a challenge that may now
				     be made */
};

/* What the caller must do, in this order of bits. */
enum lease_action {
	LEASE_ACTION_DEADLINE = 1 << 0, /* tell the keeper .deadline_ns and .expiry: first, so that
					 * no page ever says of a lease that nobody ends */
	LEASE_ACTION_SAVE = 1 << 1,	/* write the state page before anything below */
	LEASE_ACTION_ADMIT = 1 << 2,	/* reach emberlock-admitted.target */
	LEASE_ACTION_REQUEST = 1 << 3,	/* sign and send the current challenge */
	LEASE_ACTION_WARN =
		1 << 4, /* say that the deadline is near, or that the lease is unbounded */
	LEASE_ACTION_RESUME = 1 << 5, /* say that a lease is current again */
	LEASE_ACTION_REJECT =
		1 << 6, /* the token had no effect: an event in the journal, .rejected says why */
	LEASE_ACTION_SHRED = 1 << 7, /* tell the keeper to shred, .reason: before all else */
};

enum lease_rejection {
	LEASE_REJECT_NONE,
	LEASE_REJECT_ADMISSION,
	LEASE_REJECT_CHALLENGE,
	LEASE_REJECT_SEQUENCE,
	LEASE_REJECT_STATE,
	LEASE_REJECT_VALUE,
	LEASE_REJECT_LATE,
	LEASE_REJECT__MAX
};
const char *lease_rejection_name(enum lease_rejection rejection);

/* agent.conf's limits: may only be stricter than the manager's policy. A lease that max_ttl_ms
 * shortens has its margin shortened in proportion. */
struct lease_limits {
	uint64_t max_ttl_ms; /* at least 1; UINT32_MAX or more: none */
	bool forbid_warn;    /* expiry is always shred */
	bool poweroff_on_admission_timeout;
	uint64_t admission_timeout_ns; /* from the start event */
};

/* All of it lies in the state page, so that a new agent goes on where the old one stopped. */
struct lease {
	struct lease_limits limits;
	enum lease_state state;
	uint8_t admission[HASH_SIZE];
	uint64_t started_ns;
	/* The outstanding challenge; number 0: none. */
	uint64_t number;
	uint8_t challenge[CHALLENGE_SIZE];
	uint64_t challenge_ns; /* CLOCK_BOOTTIME when it was made */
	uint64_t answered;     /* the number of the last challenge that was answered */
	struct sequence highest;
	uint64_t deadline_ns; /* LEASE_NEVER before admission */
	uint64_t warning_ns;  /* deadline − margin */
	uint64_t ttl_ms;      /* of the current lease, after limits; 0 before admission */
	enum expiry expiry;
	enum cmk_state cmk_state;
	enum reason reason;	       /* once SHREDDING */
	enum lease_rejection rejected; /* of the last token */
	uint32_t pauses;
};

void lease_init(struct lease *lease, const struct lease_limits *limits,
		const uint8_t admission[static HASH_SIZE]);

/* One event. Returns the OR of lease_action bits. Events that use a challenge must bring one.
 *
 * Rules (design.md, section 5), each an invariant of the exhaustive walk (tests/model/lease_walk.c):
 * - admit (in STARTING only) and continue (in ADMITTED, WARNING, UNBOUNDED; the answer to a
 *   repeated report may also be admit) count only with this admission, the current challenge and a
 *   sequence above .highest.
 * - Deadline = challenge_ns + min(ttl, limit); after PAUSE it can only fall (min(deadline, now +
 *   30 s), the warning by as much) until answered.
 * - An accepted token makes the next challenge at once (REQUEST); while one is outstanding it is
 *   repeated unchanged by the caller's retry schedule, and replaced after a third of the lease
 *   (before admission the deadline counts from an answered challenge only: replaced every 60 s).
 * - An accepted token whose deadline is already past at NOW acts as expiry does: SHREDDING, or
 *   UNBOUNDED.
 * - In STARTING a token that comes when half of its lease is over is LEASE_REJECT_LATE, and the
 *   challenge is replaced: a boot that waited long (for an operator, for evidence) is not admitted
 *   with a lease that ends before it can be renewed.
 * - shred needs this admission only, and is final: SHREDDING and OFF accept nothing but
 *   LEASE_EVENT_OFF; a token then is LEASE_REJECT_STATE.
 * - A token of ttl 0 or with margin >= ttl is LEASE_REJECT_VALUE.
 * - Time comes first: whatever the event but shred, operator and fault (which have reasons of their
 *   own), a deadline that NOW has reached is enforced before the event is looked at, so no late
 *   token revives a lease that ends in a shred.
 * - START counts once; a new agent that finds a lease in the state page repeats its outstanding
 *   challenge and goes on with TICK. OFF counts in SHREDDING only.
 * - A PAUSE before admission only replaces the challenge: there is no deadline to shorten. */
unsigned lease_step(struct lease *lease, const struct lease_event *event, uint64_t now_ns);

/* When TICK is due next, CLOCK_BOOTTIME ns; LEASE_NEVER where nothing is. After a TICK at that time
 * it lies in the future. */
uint64_t lease_next(const struct lease *lease);
