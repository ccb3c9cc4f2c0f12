/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's state, and what each of its parts does to it. One thread of the primary process runs
 * all of this; the twin uses .shared, .steps and .peer of its own copy. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/config.h"
#include "core/frames.h"
#include "shred/announce.h"
#include "shred/console.h"
#include "shred/permission.h"
#include "shred/power.h"
#include "shred/secret.h"
#include "shred/shared.h"
#include "shred/steps.h"
#include "shred/twin.h"
#include "shred/watchdog.h"

#define CONNECTIONS_MAX	 5 /* the agent, and four that ask for the status or the end */
#define BEAT_NS		 1000000000ull
#define AGENT_STAYS_NS	 10000000000ull		     /* a crash at the start comes sooner */
#define DEADLINE_FAR_NS	 (25ull * 3600 * 1000000000) /* further ahead is a mistake */
#define KEEPER_FRAME_MAX sizeof(struct keeper_state)

struct connection {
	int fd; /* -1: free */
	pid_t pid;
	enum keeper_role role;
	uint64_t since_ns; /* when it was accepted */
	bool works;	   /* has done agent's work: KEEPER_STATE_PUT or KEEPER_DEADLINE */
};

struct keeper {
	struct keeper_config config;
	struct shared *shared;
	struct steps steps;
	struct peer peer;
	struct secret boot_key, identity;
	struct console console;
	struct freezer freezer;
	struct plaintext plaintext;
	struct look look;
	struct power power;
	struct watchdog watchdog;
	uint8_t boot_id[BOOT_ID_SIZE];
	uint64_t started_ns, beat_ns;
	int proc_fd, sys_fd; /* /proc and /sys, wherever they have been moved to */
	dev_t user_ns_dev;   /* our user namespace */
	ino_t user_ns_ino;

	int listen_fd;
	struct connection connections[CONNECTIONS_MAX];
	uint32_t agents;
	uint64_t agent_gone_ns; /* since when there is no agent, but such as never got to work */

	uint64_t deadline_ns;
	enum expiry expiry;
	bool deadline_set, warned;
	int announce_fd;	  /* announce.h */
	uint64_t ending_began_ns; /* when the orderly end was announced */
	enum end_verb ending_verb;

	bool state_put;
	struct keeper_state state;
	union {
		struct frame_header header;
		_Alignas(uint64_t) uint8_t bytes[KEEPER_FRAME_MAX]; /* every frame's struct */
	} frame;
	union {
		struct frame_header header;
		struct keeper_hello hello;
		struct keeper_ending ending;
		struct keeper_status status;
	} reply; /* of every type but KEEPER_STATE_GET, whose reply is .state */
};

/* Empty, no connection, no deadline. The caller fills in shared, secrets and descriptors. */
void keeper_init(struct keeper *keeper, uint64_t now_ns);

enum keeper_phase keeper_phase(struct keeper *keeper);
struct connection *keeper_agent(struct keeper *keeper); /* NULL: none is connected */

/* Begins a shred, or takes it over (see steps_begin()). */
void keeper_shred(struct keeper *keeper, enum reason reason, uint64_t now_ns);
/* shared_due() has come: begins the shred that it stands for, or takes over in place of the other
 * process. An orderly end that has been announced keeps its verb, whatever it is that has come. */
void keeper_due(struct keeper *keeper, bool take_over, uint64_t now_ns);
/* The same as keeper_shred() with REASON_FAULT, and says why on the console. */
void keeper_fault(struct keeper *keeper, bool take_over, const char *why, uint64_t now_ns);

/* The machine has begun to stop: from the first time on the end is due after EndSec=. Tells the
 * agent. */
void keeper_ending(struct keeper *keeper, enum end_verb verb, uint64_t now_ns);
enum power_verb keeper_power_verb(enum end_verb verb);
/* What to tell of it. */
void keeper_ending_frame(struct keeper *keeper, struct keeper_ending *ret_frame);

/* Does all that is due at NOW: heartbeat, deadline, agent gone, steps of a shred. */
void keeper_run(struct keeper *keeper, uint64_t now_ns);
uint64_t keeper_next(struct keeper *keeper);

/* --- requests.c: one frame of FROM, which lies in keeper->frame; SIZE is what was received. 0, or
 * negative errno where the connection must be closed: a malformed frame, or a reply not taken. */
int keeper_request(struct keeper *keeper, struct connection *from, size_t size);
/* The twin's answer to TWIN_MAP. */
void keeper_map_done(struct keeper *keeper, unsigned slot, int status);
/* In a shred, by the process that carries it out: answers the MAP_ADD that the agent waits for, if
 * there is one. The twin that was asked for it, or the primary that asked, may be dead or stuck, and
 * an agent that is not answered signs no receipt. */
void keeper_map_refuse(struct keeper *keeper);

/* --- connections.c */
/* The directory, its lock, the socket. -EBUSY where another keeper runs. */
int keeper_listen(struct keeper *keeper);
/* One turn of the primary's loop. */
void keeper_turn(struct keeper *keeper);

/* Waits for FDS until END_NS (LEASE_NEVER: for ever). */
struct pollfd;
void poll_until(struct pollfd *fds, unsigned n, uint64_t now_ns, uint64_t end_ns);
