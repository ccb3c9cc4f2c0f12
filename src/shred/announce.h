/* SPDX-License-Identifier: Apache-2.0 */
/* How the beginning of an orderly end is heard without a program being run for it, which a stalled root
 * would hold up: systemd makes a directory in a directory of ours, in tmpfs. */
#pragma once

#include "core/message.h"

/* RuntimeDirectory=emberlock/ending/VERB of emberlock-ending@VERB.service. */
#define ENDING_DIRECTORY "/run/emberlock/ending"

/* Makes DIRECTORY, root's alone, and watches it. A descriptor to poll, or negative errno. */
int announce_open(const char *directory);

/* The verb that the newest entry is called by; 0 where there is none. Never blocks. */
enum end_verb announce_read(int fd);
