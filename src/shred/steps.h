/* SPDX-License-Identifier: Apache-2.0 */
/* Carries out a shred: drives core/shred.h's machine with the threads of one process. From
 * steps_begin() on nothing is allocated, nothing on a disk opened, and nothing waited for that can
 * block.
 *
 *	1 keys         every segment in its own thread, meanwhile the boot key, and nothing besides:
 *		       a suspend waits for kernel threads, which need a processor
 *	2 blocked I/O  PID 1 is frozen, then the maps to the error target
 *	3 self-test    looks at what is left (look.h); then the console says why all this happens
 *	4 plaintext    processes, file systems, caches (plaintext.h); only where power is armed
 *	5 receipt      the agent signs and sends; then the identity seed
 *	6 power        reboot(2), sysrq
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/frames.h"
#include "core/shred.h"
#include "shred/console.h"
#include "shred/dm.h"
#include "shred/freezer.h"
#include "shred/look.h"
#include "shred/plaintext.h"
#include "shred/power.h"
#include "shred/secret.h"
#include "shred/shared.h"
#include "shred/workers.h"

/* How long reboot(2) may take before sysrq: it waits for what disks have under way. */
#define POWER_BUDGET_NS 1500000000ull
/* How long step 2 waits for PID 1 to be frozen: the kernel's lock on groups may be held. */
#define FREEZE_BUDGET_NS 50000000ull

struct steps_segment {
	struct worker worker;
	struct dm_buffer buffer;
	struct shared *shared;
	struct shared_map *map;
	int dm_fd;
	bool asked; /* has work of the current step */
};

struct steps {
	enum process self;
	struct shared *shared;
	struct shred machine;
	int dm_fd;    /* /dev/mapper/control */
	int done_fd;  /* eventfd: a thread has finished something */
	int agent_fd; /* connection that gets the reports; -1: there is none */
	bool receipt_sent;
	bool said_reason, said_plaintext;
	uint64_t boot_key_gone_ns;
	uint64_t unblock_ns; /* when step 2 no longer waits for PID 1; 0: it does not wait */
	uint64_t reset_ns;   /* when sysrq is due; 0: it is not */
	struct secret *boot_key, *identity;
	struct console *console;
	struct freezer *freezer;
	struct plaintext *plaintext;
	struct look *look;
	struct power *power;
	struct steps_segment segments[SEGMENTS_MAX];
	struct keeper_report report;
};

/* The thread of map SLOT: when it is registered, never at a shred. 0 or negative errno. */
int steps_prepare(struct steps *steps, unsigned slot);

/* Makes this process the owner of the shred and begins: false where there is an owner (itself
 * included) who is alive, or the shred is over. TAKE_OVER: the other one is dead or stuck. */
bool steps_begin(struct steps *steps, enum reason reason, enum power_verb verb, bool take_over,
		 uint64_t now_ns);

/* Goes on as far as it can at NOW. Call when steps_next() has come, done_fd is readable, the
 * receipt has been sent or the agent has gone. */
void steps_run(struct steps *steps, uint64_t now_ns);

/* When steps_run() is due; LEASE_NEVER where nothing is. */
uint64_t steps_next(const struct steps *steps);

/* Secrets and power at once, for a shred of the other process that has not ended in its time. */
void steps_cut_short(struct steps *steps, uint64_t now_ns);
