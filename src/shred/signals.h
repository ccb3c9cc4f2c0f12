/* SPDX-License-Identifier: Apache-2.0 */
/* The signal mask of the calling thread, without the exceptions that libc makes. */
#pragma once

#include <stdint.h>

/* Blocks every signal that can be blocked, 32 and 33 too: libc keeps these two for itself, takes
 * them out of each mask it is given (signal(7), nptl(7)), and 32 ends a process by default.
 * *RET_BEFORE (or NULL): for signals_restore(). */
void signals_block(uint64_t *ret_before);
void signals_restore(uint64_t before);
