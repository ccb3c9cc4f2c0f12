/* SPDX-License-Identifier: Apache-2.0 */
/* Buckets of rate limits by row id. */
#include "manager/rate.h"

#include <stdlib.h>

#include "manager/lease_engine.h"

#define CHAINS 4096

struct rate {
	struct rate *next;
	int64_t id;
	struct engine_bucket buckets[RATE_KIND__MAX];
};

struct rates {
	struct rate *vms[CHAINS], *nodes[CHAINS], *workspaces[CHAINS];
};

static const struct {
	uint32_t burst, interval_ms;
} limits[RATE_KIND__MAX] = {
	[RATE_VM_REPORT] = {6, 30000},	  [RATE_VM_REQUEST] = {20, 250},
	[RATE_VM_PAIR] = {6, 5000},	  [RATE_WORKSPACE] = {64, 100},
	[RATE_NODE_REQUEST] = {1000, 1},  [RATE_NODE_KEK] = {32, 1000},
	[RATE_WORKSPACE_KEK] = {64, 250},
};

struct rates *rates_new(void)
{
	return calloc(1, sizeof(struct rates));
}

static void chains_free(struct rate *chains[static CHAINS])
{
	for (size_t i = 0; i < CHAINS; i++) {
		while (chains[i]) {
			struct rate *rate = chains[i];

			chains[i] = rate->next;
			free(rate);
		}
	}
}

struct rates *rates_free(struct rates *rates)
{
	if (rates) {
		chains_free(rates->vms);
		chains_free(rates->nodes);
		chains_free(rates->workspaces);
		free(rates);
	}
	return NULL;
}

static struct rate *find_or_make(struct rate *chains[static CHAINS], int64_t id)
{
	struct rate **chain = &chains[(uint64_t)id % CHAINS], *rate;

	for (rate = *chain; rate; rate = rate->next) {
		if (rate->id == id)
			return rate;
	}
	rate = calloc(1, sizeof(*rate));
	if (!rate)
		return NULL;
	rate->id = id;
	rate->next = *chain;
	*chain = rate;
	return rate;
}

static struct rate **chains_of(struct rates *rates, enum rate_kind kind)
{
	switch (kind) {
	case RATE_WORKSPACE:
	case RATE_WORKSPACE_KEK:
		return rates->workspaces;
	case RATE_NODE_REQUEST:
	case RATE_NODE_KEK:
		return rates->nodes;
	default:
		return rates->vms;
	}
}

/* The bucket taken from; NULL: it has none, or there is no memory for it. */
static struct engine_bucket *take(struct rates *rates, enum rate_kind kind, int64_t id,
				  uint64_t now_ms, unsigned *ret_wait_s)
{
	struct rate *rate = find_or_make(chains_of(rates, kind), id);
	uint64_t wait_ms = 1000;

	if (rate && engine_bucket_take(&rate->buckets[kind], limits[kind].burst,
				       limits[kind].interval_ms, now_ms, &wait_ms))
		return &rate->buckets[kind];
	*ret_wait_s = (unsigned)((wait_ms + 999) / 1000);
	return NULL;
}

bool rate_take(struct rates *rates, enum rate_kind kind, int64_t id, uint64_t now_ms,
	       unsigned *ret_wait_s)
{
	return take(rates, kind, id, now_ms, ret_wait_s);
}

bool rate_take_both(struct rates *rates, enum rate_kind kind, int64_t id, enum rate_kind shared,
		    int64_t shared_id, uint64_t now_ms, unsigned *ret_wait_s)
{
	struct engine_bucket *own = take(rates, kind, id, now_ms, ret_wait_s);

	if (!own)
		return false;
	if (take(rates, shared, shared_id, now_ms, ret_wait_s))
		return true;
	engine_bucket_put_back(own, limits[kind].interval_ms);
	return false;
}
