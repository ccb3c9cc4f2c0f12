/* SPDX-License-Identifier: Apache-2.0 */
/* The second process: it holds all that a shred needs, and carries one out when the primary dies,
 * stops, or does not finish.
 *
 *	primary ── TWIN_MAP: make the thread of this slot ──▶ twin
 *	        ◀─ TWIN_READY, TWIN_MAP_DONE ───────────────
 *	        ── TWIN_AGENT (the agent's connection) ─────▶   so that it gets the reports either way
 */
#pragma once

#include <stdint.h>

#include "shred/shared.h"

struct keeper;

enum twin_message_type { TWIN_READY = 1, TWIN_MAP, TWIN_MAP_DONE, TWIN_AGENT, TWIN_AGENT_GONE };

struct twin_message {
	uint32_t type;
	uint32_t slot;	/* of TWIN_MAP, TWIN_MAP_DONE */
	int32_t status; /* of TWIN_READY, TWIN_MAP_DONE: 0 or negative errno */
};

/* One process's view of the other. */
struct peer {
	int pid;
	int pidfd;   /* -1 once it has died */
	int channel; /* SOCK_SEQPACKET, non-blocking */
	struct peer_watch watch;
};

int twin_send(int channel, enum twin_message_type type, uint32_t slot, int32_t status, int fd);

/* How long after the deadline the twin leaves the shred to the primary. */
#define TWIN_GRACE_NS 500000000ull

/* One turn of the twin's loop: waits for what comes next, and does it. */
void twin_turn(struct keeper *keeper);
