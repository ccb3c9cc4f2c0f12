/* SPDX-License-Identifier: Apache-2.0 */
/* agent.conf and volumes.d, from the directories of vendor, run time and administrator. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/config.h"

/* Of administrator, run time and vendor; the first that has a name counts. Ends with NULL. */
extern const char *const config_directories[];

/* What an initramfs carries of the configuration: nothing where no volume has Use=overlay; else that
 * volume's file, agent.conf and keeper.conf, as far as there are any. */
struct initramfs_config {
	uint8_t hash
		[HASH_SIZE]; /* of all of it and of our version; it is the same in the initramfs */
	size_t n;	     /* 0: nothing is carried */
	struct initramfs_file {
		char name[VOLUME_NAME_MAX + 20]; /* "volumes.d/root.conf" */
		char path[512]; /* where it is: "/etc/emberlock/volumes.d/root.conf" */
	} files[3];
};

/* Loads below ROOT ("" is /): DIR/agent.conf, the first that exists, or the defaults; and
 * DIR/volumes.d/NAME.conf, where for one NAME the first counts, and an empty file or a link to
 * /dev/null there masks it; DIR is in turn /etc/emberlock, /run/emberlock/conf, /usr/lib/emberlock.
 * The volumes are sorted by name. 0; or negative errno (-EBADMSG bad text, -E2BIG more than MAX
 * volumes or a file over 64 KiB, -EEXIST two volumes with Use=overlay, …) with ERROR = "PATH:LINE: text" of the first error; what VOLUMES
 * holds is then of no use.
 */
int configs_load(const char *root, struct agent_config *ret_agent, struct volume_config *volumes,
		 size_t max, size_t *ret_n, char error[static 256]);

/* As configs_load() below ROOT; PATHs begin with ROOT. 0 or negative errno with ERROR. */
int configs_initramfs(const char *root, struct initramfs_config *ret_config,
		      char error[static 256]);
