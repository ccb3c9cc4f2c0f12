/* SPDX-License-Identifier: Apache-2.0 */
/* A process that touches keys leaves no copy of them. */
#pragma once

#include "base/lock.h" /* process_lock() */

/* Overwrites the vector registers with junk, and blocks once so that the kernel's saved copy is
 * overwritten too: zeroing does not do that, because the CPU skips saving registers in their
 * initial state (Intel SDM vol. 1, 13.6, "init optimization"). After the last use of a key. */
void registers_scrub(void);
