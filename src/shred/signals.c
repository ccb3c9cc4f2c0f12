/* SPDX-License-Identifier: Apache-2.0 */
/* The signal mask of the calling thread, without the exceptions that libc makes. */
#include "shred/signals.h"

#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Cannot fail: operation, size and addresses are valid; rt_sigprocmask(2). */
static void set_mask(uint64_t mask, uint64_t *ret_before)
{
	(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, ret_before, sizeof(mask));
}

void signals_block(uint64_t *ret_before)
{
	set_mask(UINT64_MAX, ret_before);
}

void signals_restore(uint64_t before)
{
	set_mask(before, NULL);
}
