/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for unwrapped keys: locked, out of core dumps, wiped when it goes. */
#pragma once

#include <stddef.h>

/* SIZE bytes that are locked, left out of core dumps and of children, and zero; -errno where the lock
 * fails. */
int locked_new(size_t size, void **ret_memory);
/* Wipes, unlocks, unmaps; NULL is harmless. Returns NULL. */
void *locked_free(void *memory, size_t size);
