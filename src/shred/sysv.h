/* SPDX-License-Identifier: Apache-2.0 */
/* System V shared memory and message queues: they outlive who made them. */
#pragma once

#include <stdbool.h>

/* Removes all of the namespace of this process. False where one is left. */
bool sysv_remove(void);
