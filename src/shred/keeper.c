/* SPDX-License-Identifier: Apache-2.0 */
/* What time and the twin bring to the keeper: heartbeat, deadline, absence of the agent. */
#include "shred/keeper.h"

#include <string.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "core/lease.h"

void keeper_init(struct keeper *keeper, uint64_t now_ns)
{
	memset(keeper, 0, sizeof(*keeper));
	keeper->steps.agent_fd = -1;
	keeper->peer.pidfd = keeper->peer.channel = -1;
	keeper->watchdog.fd = -1;
	keeper->freezer.fd = -1;
	plaintext_init(&keeper->plaintext);
	keeper->proc_fd = keeper->sys_fd = -1;
	keeper->listen_fd = keeper->announce_fd = -1;
	for (unsigned i = 0; i < CONNECTIONS_MAX; i++)
		keeper->connections[i].fd = -1;
	keeper->deadline_ns = LEASE_NEVER;
	keeper->expiry = EXPIRY_SHRED;
	keeper->started_ns = keeper->beat_ns = keeper->agent_gone_ns = now_ns;
}

enum keeper_phase keeper_phase(struct keeper *keeper)
{
	if (atomic_load(&keeper->shared->wiped))
		return PHASE_WIPED;
	return atomic_load(&keeper->shared->owner) == PROCESS_NONE ? PHASE_HOLDING
								   : PHASE_SHREDDING;
}

struct connection *keeper_agent(struct keeper *keeper)
{
	for (unsigned i = 0; i < CONNECTIONS_MAX; i++)
		if (keeper->connections[i].fd >= 0 && keeper->connections[i].role == ROLE_AGENT)
			return &keeper->connections[i];
	return NULL;
}

void keeper_shred(struct keeper *keeper, enum reason reason, uint64_t now_ns)
{
	(void)steps_begin(&keeper->steps, reason, POWER_OFF, false, now_ns);
}

void keeper_due(struct keeper *keeper, bool take_over, uint64_t now_ns)
{
	struct shared *shared = keeper->shared;
	bool ending = atomic_load(&shared->ending_ns) != LEASE_NEVER;
	bool lease = now_ns >= atomic_load(&shared->end_ns);
	enum power_verb verb =
		ending ? (enum power_verb)atomic_load(&shared->ending_verb) : POWER_OFF;

	if (steps_begin(&keeper->steps, lease ? REASON_LEASE : REASON_END, verb, take_over,
			now_ns) &&
	    !lease)
		console_say(&keeper->console, "the orderly end takes too long (EndSec=)");
}

enum power_verb keeper_power_verb(enum end_verb verb)
{
	static const enum power_verb verbs[END_VERB__MAX] = {
		[END_POWEROFF] = POWER_OFF,
		[END_REBOOT] = POWER_REBOOT,
		[END_KEXEC] = POWER_KEXEC,
	};

	return verbs[verb];
}

void keeper_ending_frame(struct keeper *keeper, struct keeper_ending *ret_frame)
{
	ret_frame->verb = keeper->ending_verb;
	ret_frame->began_ns = keeper->ending_began_ns;
	ret_frame->end_ns = atomic_load(&keeper->shared->ending_ns);
}

static void tell_agent(struct keeper *keeper)
{
	struct keeper_ending frame = {0};

	if (keeper->steps.agent_fd < 0)
		return;
	frame_init(&frame.header, FRAME_MAGIC_KEEPER, KEEPER_ENDING, sizeof(frame));
	keeper_ending_frame(keeper, &frame);
	/* One that does not take it has no note to send. */
	(void)datagram_send(keeper->steps.agent_fd, &frame, sizeof(frame), -1);
}

void keeper_ending(struct keeper *keeper, enum end_verb verb, uint64_t now_ns)
{
	struct shared *shared = keeper->shared;
	bool first = atomic_load(&shared->ending_ns) == LEASE_NEVER;

	if (!first && keeper->ending_verb == verb)
		return;
	keeper->ending_verb = verb;
	atomic_store(&shared->ending_verb, keeper_power_verb(verb));
	if (first) {
		keeper->ending_began_ns = now_ns;
		atomic_store(&shared->ending_ns, now_ns + keeper->config.end_ms * NSEC_PER_MSEC);
	}
	log_notice("the machine stops (%s): its end comes within %ju s", end_verb_name(verb),
		   (uintmax_t)keeper->config.end_ms / 1000);
	tell_agent(keeper);
}

void keeper_fault(struct keeper *keeper, bool take_over, const char *why, uint64_t now_ns)
{
	if (steps_begin(&keeper->steps, REASON_FAULT, POWER_OFF, take_over, now_ns))
		console_say(&keeper->console, "fault: %s", why);
}

/* Once a second: whether the twin still beats, and the hardware watchdog, which is petted only as
 * long as nothing is wrong. */
static void beat(struct keeper *keeper, uint64_t now_ns)
{
	struct shared *shared = keeper->shared;

	keeper->beat_ns = now_ns + BEAT_NS;
	atomic_fetch_add(&shared->beats[PROCESS_PRIMARY], 1);
	if (keeper->peer.pidfd < 0)
		return;
	if (peer_is_stuck(&keeper->peer.watch, atomic_load(&shared->beats[PROCESS_TWIN]))) {
		keeper_fault(keeper, true, "the keeper's twin is stuck", now_ns);
		return;
	}
	if (keeper_phase(keeper) == PHASE_HOLDING && now_ns < atomic_load(&shared->end_ns))
		watchdog_pet(&keeper->watchdog, now_ns);
}

/* In an orderly end it is killed with all others, and the end comes by itself. */
static bool agent_is_missed(struct keeper *keeper)
{
	return shared_map_count(keeper->shared) > 0 && !keeper_agent(keeper) &&
	       atomic_load(&keeper->shared->ending_ns) == LEASE_NEVER;
}

static uint64_t agent_gone_end(const struct keeper *keeper)
{
	return keeper->agent_gone_ns + keeper->config.agent_gone_ms * NSEC_PER_MSEC;
}

static void hold(struct keeper *keeper, uint64_t now_ns)
{
	if (now_ns >= shared_due(keeper->shared)) {
		keeper_due(keeper, false, now_ns);
	} else if (agent_is_missed(keeper) && now_ns >= agent_gone_end(keeper)) {
		keeper_fault(keeper, false, "the agent has been gone too long (AgentGoneSec=)",
			     now_ns);
	} else if (now_ns >= keeper->deadline_ns && !keeper->warned) {
		keeper->warned = true;
		console_say(&keeper->console, "the lease has run out; its policy is to warn: keys "
					      "are kept");
	}
}

void keeper_run(struct keeper *keeper, uint64_t now_ns)
{
	if (now_ns >= keeper->beat_ns)
		beat(keeper, now_ns);
	if (keeper_phase(keeper) == PHASE_HOLDING)
		hold(keeper, now_ns);
	if (keeper_phase(keeper) != PHASE_HOLDING)
		keeper_map_refuse(keeper);
	steps_run(&keeper->steps, now_ns);
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t keeper_next(struct keeper *keeper)
{
	uint64_t next = sooner(keeper->beat_ns, steps_next(&keeper->steps));

	if (keeper_phase(keeper) != PHASE_HOLDING)
		return next;
	if (!keeper->warned)
		next = sooner(next, keeper->deadline_ns);
	next = sooner(next, shared_due(keeper->shared));
	if (agent_is_missed(keeper))
		next = sooner(next, agent_gone_end(keeper));
	return next;
}
