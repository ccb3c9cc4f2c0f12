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

/* --- keeper_initramfs.c */
/* Goes on in a child; the parent ends when that one has called start_detached_ready(), with exit
 * status 0, or has failed, with 1. */
int start_detached(int *ret_ready_fd);
void start_detached_ready(int ready_fd);
/* Drops what no unit takes away in an initramfs. After start_harden(), before the twin. */
int start_confine(void);
/* Takes a keeper that was born in the initramfs into this process's unit. 1: done, this process has
 * nothing to do; 0: there is none. */
int keeper_adopt(void);

/* sd_notify(3)'s protocol: sends TEXT to $NOTIFY_SOCKET, if there is one. */
int notify(const char *text);
