/* SPDX-License-Identifier: Apache-2.0 */
/* A process that touches keys leaves no copy of them. */
#pragma once

/* Locks all present and future pages (mlockall), makes the process undumpable, and forbids core
 * files. Every one must succeed: 0 or negative errno. Not inherited by fork() as to the lock: a
 * child that touches keys calls it again, before the first key byte. */
int process_lock(void);

/* Overwrites the vector registers with junk, and blocks once so that the kernel's saved copy is
 * overwritten too: zeroing does not do that, because the CPU skips saving registers in their
 * initial state (Intel SDM vol. 1, 13.6, "init optimization"). After the last use of a key. */
void registers_scrub(void);
