/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold for every step of the lease machine, stated apart from its code. */
#pragma once

#include "core/lease.h"

/* One lease_step(), seen from outside. */
struct lease_walk_step {
	const struct lease *before, *after;
	const struct lease_event *event;
	uint64_t now_ns;
	unsigned actions;
};

/* The name of the first invariant that STEP breaks, or NULL. */
const char *lease_violation(const struct lease_walk_step *step);
