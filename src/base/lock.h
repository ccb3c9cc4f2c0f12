/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps a process out of swap, of core dumps and of other processes' eyes. */
#pragma once

/* Locks all pages, present and future (mlockall(2)), forbids core dumps and ptrace by the same uid
 * (PR_SET_DUMPABLE 0, RLIMIT_CORE 0). A failed lock is an error, never a warning: 0, or negative
 * errno (-ENOMEM, -EPERM: LimitMEMLOCK= of the unit). */
int process_lock(void);
