/* SPDX-License-Identifier: Apache-2.0 */
/* Runs mkfs and its like. */
#pragma once

#include "disks/reason.h"

/* Runs ARGV (argv[0] is an absolute path) without a shell, with an empty environment, no input, no
 * descriptor but standard error, and killed when this process dies: a half-made volume must not
 * stay busy. Waits. 0; -EPROTO where it exits with other than 0; or negative errno (-ENOENT: not
 * installed). TEXT is why, from its standard error. */
int program_run(const char *const argv[], char text[static REASON_SIZE]);
