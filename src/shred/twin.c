/* SPDX-License-Identifier: Apache-2.0 */
/* The second process: watches the primary, and carries out a shred in its place. */
#include "shred/twin.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "core/lease.h"
#include "shred/keeper.h"

int twin_send(int channel, enum twin_message_type type, uint32_t slot, int32_t status, int fd)
{
	struct twin_message message = {.type = type, .slot = slot, .status = status};

	return datagram_send(channel, &message, sizeof(message), fd);
}

static void set_agent(struct keeper *keeper, int fd)
{
	if (keeper->steps.agent_fd >= 0)
		close(keeper->steps.agent_fd);
	keeper->steps.agent_fd = fd;
}

static void obey(struct keeper *keeper, const struct twin_message *message, int fd)
{
	_cleanup_close_ int agent_fd = fd;

	switch (message->type) {
	case TWIN_MAP:
		(void)twin_send(keeper->peer.channel, TWIN_MAP_DONE, message->slot,
				steps_prepare(&keeper->steps, message->slot), -1);
		break;
	case TWIN_AGENT:
		set_agent(keeper, TAKE_FD(agent_fd));
		freezer_open(&keeper->freezer, keeper->proc_fd, keeper->sys_fd);
		break;
	case TWIN_AGENT_GONE:
		set_agent(keeper, -1);
		break;
	}
}

/* All of it: what the primary said before it died counts. */
static void hear_primary(struct keeper *keeper)
{
	struct twin_message message;
	int fd;

	while (datagram_receive(keeper->peer.channel, &message, sizeof(message), &fd) ==
	       sizeof(message))
		obey(keeper, &message, fd);
}

/* While this process carries out the shred, the agent talks to it. */
static void hear_agent(struct keeper *keeper)
{
	ssize_t n = datagram_receive(keeper->steps.agent_fd, keeper->frame.bytes,
				     sizeof(keeper->frame.bytes), NULL);
	struct connection agent = {.fd = keeper->steps.agent_fd, .role = ROLE_AGENT};

	if (n == -EAGAIN)
		return;
	if (n <= 0 || keeper_request(keeper, &agent, (size_t)n) < 0)
		set_agent(keeper, -1);
}

static void beat(struct keeper *keeper, uint64_t now_ns)
{
	struct shared *shared = keeper->shared;

	keeper->beat_ns = now_ns + BEAT_NS;
	atomic_fetch_add(&shared->beats[PROCESS_TWIN], 1);
	if (keeper->peer.pidfd >= 0 && atomic_load(&shared->started) &&
	    peer_is_stuck(&keeper->peer.watch, atomic_load(&shared->beats[PROCESS_PRIMARY])))
		keeper_fault(keeper, true, "the keeper is stuck", now_ns);
}

/* When the primary should have ended its shred; LEASE_NEVER where it carries out none. */
static uint64_t primary_shred_end(struct shared *shared)
{
	uint64_t start_ns = atomic_load(&shared->start_ns);

	if (atomic_load(&shared->owner) != PROCESS_PRIMARY || atomic_load(&shared->wiped) ||
	    start_ns == 0)
		return LEASE_NEVER;
	return start_ns + SHRED_TWIN_NS;
}

/* When the primary should have begun one. */
static uint64_t primary_deadline(struct shared *shared)
{
	uint64_t due_ns = shared_due(shared);

	if (atomic_load(&shared->owner) != PROCESS_NONE || due_ns == LEASE_NEVER)
		return LEASE_NEVER;
	return due_ns + TWIN_GRACE_NS;
}

static void watch_primary(struct keeper *keeper, uint64_t now_ns)
{
	if (now_ns >= keeper->beat_ns)
		beat(keeper, now_ns);
	if (now_ns >= primary_deadline(keeper->shared))
		keeper_due(keeper, true, now_ns);
	if (now_ns >= primary_shred_end(keeper->shared))
		steps_cut_short(&keeper->steps, now_ns);
	if (atomic_load(&keeper->shared->owner) == PROCESS_TWIN)
		keeper_map_refuse(keeper);
	steps_run(&keeper->steps, now_ns);
}

static uint64_t twin_next(struct keeper *keeper)
{
	uint64_t next = keeper->beat_ns;
	uint64_t others[] = {
		steps_next(&keeper->steps),
		primary_deadline(keeper->shared),
		primary_shred_end(keeper->shared),
	};

	for (unsigned i = 0; i < ELEMENTSOF(others); i++)
		if (others[i] < next)
			next = others[i];
	return next;
}

static void primary_died(struct keeper *keeper, uint64_t now_ns)
{
	/* A start that failed has said so, and holds nothing. */
	if (!atomic_load(&keeper->shared->started))
		_exit(1);
	keeper->peer.pidfd = -1;
	keeper_fault(keeper, true, "the keeper died", now_ns);
}

enum { POLL_PRIMARY, POLL_PRIMARY_DEATH, POLL_DONE, POLL_AGENT, POLL__MAX };

void twin_turn(struct keeper *keeper)
{
	bool own = atomic_load(&keeper->shared->owner) == PROCESS_TWIN;
	bool alive = keeper->peer.pidfd >= 0;
	struct pollfd fds[POLL__MAX] = {
		[POLL_PRIMARY] = {alive ? keeper->peer.channel : -1, POLLIN, 0},
		[POLL_PRIMARY_DEATH] = {keeper->peer.pidfd, POLLIN, 0},
		[POLL_DONE] = {keeper->steps.done_fd, POLLIN, 0},
		[POLL_AGENT] = {own ? keeper->steps.agent_fd : -1, POLLIN, 0},
	};

	poll_until(fds, POLL__MAX, clock_boottime_ns(), twin_next(keeper));
	if (fds[POLL_PRIMARY].revents)
		hear_primary(keeper);
	if (fds[POLL_PRIMARY_DEATH].revents)
		primary_died(keeper, clock_boottime_ns());
	watch_primary(keeper, clock_boottime_ns());
	if (fds[POLL_AGENT].revents)
		hear_agent(keeper);
	watch_primary(keeper, clock_boottime_ns());
}
