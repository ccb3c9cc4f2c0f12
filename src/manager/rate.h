/* SPDX-License-Identifier: Apache-2.0 */
/* Buckets of rate limits by row id: made only for rows that exist, so their number is bounded. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum rate_kind {
	RATE_VM_REPORT,	    /* new boots of a VM: a supersede each */
	RATE_VM_REQUEST,    /* signed requests of a VM */
	RATE_VM_PAIR,	    /* KMS pairs for a VM */
	RATE_WORKSPACE,	    /* new boots and KMS pairs of a workspace */
	RATE_NODE_REQUEST,  /* requests of a storage node */
	RATE_NODE_KEK,	    /* KEKs unwrapped or made for a storage node */
	RATE_WORKSPACE_KEK, /* the same for a workspace */
	RATE_KIND__MAX
};

struct rates;
struct rates *rates_new(void); /* NULL: out of memory */
struct rates *rates_free(struct rates *rates);

/* Takes one from the bucket of (KIND, ID); false where there is none, or no memory, with the
 * seconds until there is (at least 1). */
bool rate_take(struct rates *rates, enum rate_kind kind, int64_t id, uint64_t now_ms,
	       unsigned *ret_wait_s);
/* The same from two buckets, or from neither: who waits for a herd's turn has used up nothing of its
 * own. */
bool rate_take_both(struct rates *rates, enum rate_kind kind, int64_t id, enum rate_kind shared,
		    int64_t shared_id, uint64_t now_ms, unsigned *ret_wait_s);
