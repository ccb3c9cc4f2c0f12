/* SPDX-License-Identifier: Apache-2.0 */
/* Head and tail of a fresh map. */
#pragma once

#include <stdint.h>

/* Zeroes the first and last 1 MiB of the device NODE, which is LENGTH_SECTORS long: what a fresh
 * key makes of old blocks is random and can look like a file system. Direct, so that no page of
 * the device is cached. 0 or negative errno. */
int ends_zero(const char *node, uint64_t length_sectors);
