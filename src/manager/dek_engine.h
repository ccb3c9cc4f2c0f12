/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a storage node may have DEKs, and for how long. Pure, as lease_engine.h. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "manager/store.h"

enum dek_action {
	DEK_GRANT = 1, /* for .ttl_ms */
	DEK_UNBOUND,   /* the workspace has no key configuration */
	DEK_REVOKED,   /* its CMK is revoked, until that is cleared */
	DEK_FROZEN,    /* the store is rolled back: it may have forgotten a revocation */
	DEK_STALE,     /* no evidence that is fresh enough */
	DEK_ACTION__MAX
};

struct dek_facts {
	const struct store_key *key; /* NULL: unbound */
	bool frozen;
	uint64_t
		evidence_ms; /* CLOCK_BOOTTIME of the start of the last successful unwrap; 0 none */
};

struct dek_decision {
	enum dek_action action;
	uint32_t ttl_ms; /* from now; never beyond evidence + max_staleness, nor a lease's length */
};

struct dek_decision dek_decide(const struct dek_facts *facts, uint64_t now_ms);
