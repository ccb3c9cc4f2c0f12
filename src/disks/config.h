/* SPDX-License-Identifier: Apache-2.0 */
/* agent.conf and volumes.d, from the directories of vendor, run time and administrator. */
#pragma once

#include <stddef.h>

#include "core/config.h"

/* Loads below ROOT ("" is /): DIR/agent.conf, the first that exists, or the defaults; and
 * DIR/volumes.d/NAME.conf, where for one NAME the first counts, and an empty file or a link to
 * /dev/null there masks it; DIR is in turn /etc/emberlock, /run/emberlock/conf, /usr/lib/emberlock.
 * The volumes are sorted by name. 0; or negative errno (-EBADMSG bad text, -E2BIG more than MAX
 * volumes or a file over 64 KiB, …) with ERROR = "PATH:LINE: text" of the first error; what VOLUMES
 * holds is then of no use.
 */
int configs_load(const char *root, struct agent_config *ret_agent, struct volume_config *volumes,
		 size_t max, size_t *ret_n, char error[static 256]);
