/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel holds back of pages that are to be freed. */
#pragma once

#include <stdbool.h>

/* Each processor keeps a few pages on a list of its own before it files them (mm/swap.c,
 * lru_add_drain()), and one on such a list is not freed with its file. An unmapping empties the list
 * of the processor that it runs on: here one on each that this thread may use. False where one could
 * not be reached. Sleeps for no more than the moves take. */
bool drain_processors(void);
