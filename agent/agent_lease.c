/* SPDX-License-Identifier: Apache-2.0 */
/* The lease machine's events and what it tells us to do: the one place that acts on it.
 *
 * DEADLINE goes first, then SAVE, and the keeper has answered both, before anything else that was
 * decided is done. So an agent may be killed between any two actions, and the next one repeats by the
 * page what may have been left out (lease_resume): each action is idempotent.
 *
 * - after DEADLINE, before SAVE: as if the token had not come, but that the keeper has the deadline
 *   that the manager granted. Its challenge is still the outstanding one, is asked again unchanged,
 *   and the manager answers a retry as it did. The other way round the page would speak of a lease
 *   while the keeper has no deadline (the first one), or a later one, or none any more (expiry warn
 *   before, shred now): for as long as no next agent comes. A pause that was noticed is noticed in
 *   vain: the deadline before it stands.
 * - before DEADLINE: as if the token had not come.
 * - after SAVE, before ADMIT or REQUEST: admission is read from the page; the challenge on the page
 *   is sent again.
 * - SHRED goes before all of them: keys wait for no page. An agent killed before it loses a verdict
 *   that the manager gives again, to any request; after it, none follows. What else there is to do
 *   of it waits for the keeper's report: the keeper waits for kernel threads, which had to share
 *   the processors with us and with the journal. */
#include <errno.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

/* How long the keeper has the machine to itself: keys of disks that work are gone long before. */
#define SHRED_QUIET_NS (20 * NSEC_PER_MSEC)

static int do_save(struct agent *a)
{
	return keeper_save(a);
}

static int do_deadline(struct agent *a)
{
	int r = keeper_deadline(a, a->state.lease.deadline_ns, a->state.lease.expiry);

	if (r < 0)
		log_errno(r, "keeper: deadline");
	/* -EBUSY: it shreds, and its report says so. */
	if (r == 0 || r == -EBUSY)
		return 0;
	/* The keeper goes on with the earlier one, which is the safe side: nobody may be told of
	 * the new one. The next agent repeats it from the page, until the keeper's passes. */
	agent_exit(a, r);
	return r;
}

static int do_admit(struct agent *a)
{
	log_notice("admitted; lease of %ju s, expiry %s", (uintmax_t)a->state.lease.ttl_ms / 1000,
		   a->state.lease.expiry == EXPIRY_WARN ? "warn" : "shred");
	sd_notify(0, "STATUS=Admitted.");
	bind_begin(a);
	control_notify(a);
	return 0;
}

static int do_request(struct agent *a)
{
	requests_send(a);
	return 0;
}

static int do_warn(struct agent *a)
{
	const struct lease *lease = &a->state.lease;

	if (lease->state == LEASE_UNBOUNDED) {
		log_warning("lease: passed unanswered; the keys stay (expiry warn), unbounded");
		console_write(a, "lease passed; keys are not bounded any more");
		sd_notify(0, "STATUS=Lease passed, unbounded.");
	} else {
		uint64_t now = clock_boottime_ns(), end = lease->deadline_ns;

		log_warning("lease: ends in %ju s unless the manager answers",
			    (uintmax_t)(end > now ? (end - now) / NSEC_PER_SEC : 0));
		console_write(a, "lease ends soon: no answer from the manager");
		sd_notify(0, "STATUS=Lease ends soon.");
	}
	return 0;
}

static int do_resume(struct agent *a)
{
	log_notice("lease: current again");
	sd_notify(0, "STATUS=Admitted.");
	return 0;
}

static int do_reject(struct agent *a)
{
	token_rejected(a, lease_rejection_name(a->state.lease.rejected));
	return 0;
}

static int do_shred(struct agent *a)
{
	log_notice("shred: %s", reason_name(a->state.lease.reason));
	receipt_prepare(a);
	control_notify(a);
	return 0;
}

/* In the order in which they are done. */
static const struct {
	enum lease_action action;
	int (*run)(struct agent *a);
} actions_table[] = {
	{LEASE_ACTION_DEADLINE, do_deadline}, {LEASE_ACTION_SAVE, do_save},
	{LEASE_ACTION_ADMIT, do_admit},	      {LEASE_ACTION_REQUEST, do_request},
	{LEASE_ACTION_WARN, do_warn},	      {LEASE_ACTION_RESUME, do_resume},
	{LEASE_ACTION_REJECT, do_reject},     {LEASE_ACTION_SHRED, do_shred},
};

/* Without the keeper's deadline, or a saved page, nothing else may follow; but what there is to do and
 * say of a shred is never held back. */
static void actions_run(struct agent *a, unsigned actions)
{
	for (size_t i = 0; i < ELEMENTSOF(actions_table); i++)
		if (actions & actions_table[i].action && actions_table[i].run(a) < 0)
			actions &= LEASE_ACTION_SHRED;
}

void lease_shred_rest(struct agent *a)
{
	unsigned actions = a->shred.rest;

	a->shred.rest = 0;
	actions_run(a, actions);
}

static int on_tick(sd_event_source *s, uint64_t usec, void *userdata)
{
	lease_shred_rest(userdata);
	lease_event(userdata, LEASE_EVENT_TICK, NULL, NULL);
	return 0;
}

/* Keys first. Where the keeper has begun by itself there is nothing to wait for. */
static void shred(struct agent *a, unsigned actions)
{
	bool asked = keeper_shred(a, a->state.lease.reason);

	a->shred.rest = actions;
	if (asked)
		agent_timer(a, &a->tick, clock_boottime_ns() + SHRED_QUIET_NS, on_tick);
	else
		lease_shred_rest(a);
}

void lease_event(struct agent *a, enum lease_event_type type, const struct token *token,
		 const uint8_t *token_bytes)
{
	uint8_t challenge[CHALLENGE_SIZE];
	struct lease_event event = {.type = type, .token = token, .challenge = challenge};
	unsigned actions;

	agent_random(a, challenge, sizeof(challenge));
	actions = lease_step(&a->state.lease, &event, clock_boottime_ns());
	/* The receipt's chain begins at the token that was last accepted: on the page with what it
	 * did. */
	if (token_bytes && !(actions & LEASE_ACTION_REJECT))
		memcpy(a->state.last_token, token_bytes, sizeof(a->state.last_token));
	if (actions & LEASE_ACTION_SHRED) {
		shred(a, actions);
		return;
	}
	actions_run(a, actions);
	if (a->shred.rest == 0)
		agent_timer(a, &a->tick, lease_next(&a->state.lease), on_tick);
}

void lease_resume(struct agent *a)
{
	const struct lease *lease = &a->state.lease;

	if (lease->state == LEASE_SHREDDING) {
		shred(a, LEASE_ACTION_SHRED);
		return;
	}
	if (lease->number == 0 || lease->state == LEASE_OFF)
		return;
	if (lease->deadline_ns != LEASE_NEVER && do_deadline(a) < 0)
		return;
	agent_timer(a, &a->tick, lease_next(lease), on_tick);
	requests_send(a);
	log_notice("lease: goes on in state %s, challenge %ju", lease_state_name(lease->state),
		   (uintmax_t)lease->number);
}

bool lease_is_admitted(const struct agent *a)
{
	switch (a->state.lease.state) {
	case LEASE_ADMITTED:
	case LEASE_WARNING:
	case LEASE_UNBOUNDED:
		return true;
	default:
		return false;
	}
}
