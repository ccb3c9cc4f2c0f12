/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the keeper's start, in the order in which keeper.c calls them. */
#pragma once

#include "shred/keeper.h"

/* Each: 0, or negative errno; what failed has then been logged. */

/* Signals, limits, OOM score, scheduling, memory lock: inherited by the twin, but for the lock. */
int start_harden(void);
/* All that is ever opened, and the secrets: shared with the twin. */
int start_open(struct keeper *keeper);
/* Threads of one process. */
int start_threads(struct keeper *keeper, enum process self);
/* Forks the twin, waits until it is ready, and makes all pages this process's own again. */
int start_twin(struct keeper *keeper);

/* sd_notify(3)'s protocol: sends TEXT to $NOTIFY_SOCKET, if there is one. */
int notify(const char *text);
