/* SPDX-License-Identifier: Apache-2.0 */
/* The self-test's questions about disks and kernel: looks, and trusts no return code. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/config.h"
#include "core/message.h"

/* Looks at SELF_TEST_KEYS_REFERENCED and SELF_TEST_QUEUES_BOUNDED (each left in neither where no
 * segment exists), SELF_TEST_INIT_ON_FREE, SELF_TEST_PANIC, SELF_TEST_KEYRING and
 * SELF_TEST_CRASH_KERNEL. CONFIGS (N of them) and AGENT say
 * the bounds. What cannot be looked at counts as failed. Uses libdevmapper: not beside another
 * thread that does. */
void disks_self_test(const struct agent_config *agent, const struct volume_config *configs,
		     size_t n, uint32_t *ret_passed, uint32_t *ret_failed);
