/* SPDX-License-Identifier: Apache-2.0 */
/* emberlockctl check: findings about a kernel, an image, a running system. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/config.h"

enum finding_level {
	FINDING_MISSING,  /* without it Emberlock does not work, or not as configured */
	FINDING_CONFLICT, /* something else reaches for what is Emberlock's */
	FINDING_WARNING,  /* it works, and protects less */
	FINDING_LEVEL__MAX
};

struct finding;
struct findings {
	struct finding *list; /* in the order of their making */
	size_t n;
	bool no_memory; /* some are lost */
};

/* What the checks know of the volumes and settings below the root that is looked at. */
struct check {
	const char *root; /* "" is / */
	bool running;	  /* the root is this machine's own */
	struct findings findings;
	bool known; /* the configuration was read; the following are then valid */
	struct agent_config agent;
	struct keeper_config keeper;
	struct volume_config volumes[VOLUMES_MAX];
	size_t n_volumes;
};

/* Adds a finding: AREA is one word ("kernel"), the text names object and setting. */
void finding_add(struct check *check, enum finding_level level, const char *area,
		 const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Whether a volume of the configuration has this use; true where no configuration is known. */
bool check_uses(const struct check *check, enum volume_use use);

/* Reads ROOT/PATH as text of at most 1 MiB; NUL-terminated, the caller's to free. NULL where there
 * is none; what else goes wrong is a finding. */
char *check_read(struct check *check, const char *path);
/* Whether ROOT/PATH exists; the last link is not followed, as it may be absolute. */
bool check_exists(const struct check *check, const char *path);
/* Whether ROOT/PATH is a link to /dev/null. */
bool check_is_masked(const struct check *check, const char *path);

/* --- ctl_check_kernel.c: TEXT is a kernel configuration, NAME is what it is called */
void check_kernel_text(struct check *check, const char *name, const char *text);
/* Every kernel of the root; the running one alone on a running system. */
void check_kernels(struct check *check);
/* A kernel command line: TEXT may end in a newline. */
void check_command_line(struct check *check, const char *name, const char *text);

/* --- ctl_check_image.c: programs, units, rules, users, tools for the volume files */
void check_image(struct check *check);

/* --- ctl_check_config.c: volume files, and what else names their disks and mount points */
void check_config(struct check *check);

/* --- ctl_check_others.c: what else takes disks by itself */
void check_others(struct check *check);

/* --- ctl_check_system.c: what only a running system shows */
void check_system(struct check *check);
