/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a storage node may have DEKs, and for how long. */
#include "manager/dek_engine.h"

#include "manager/lease_engine.h"

static struct dek_decision refuse(enum dek_action action)
{
	return (struct dek_decision){.action = action};
}

struct dek_decision dek_decide(const struct dek_facts *facts, uint64_t now_ms)
{
	const struct store_key *key = facts->key;
	uint64_t end, ttl;

	if (!key)
		return refuse(DEK_UNBOUND);
	if (key->revoked_ms > 0)
		return refuse(DEK_REVOKED);
	if (facts->frozen)
		return refuse(DEK_FROZEN);
	end = facts->evidence_ms + key->max_staleness_ms;
	if (facts->evidence_ms == 0 || facts->evidence_ms > now_ms ||
	    end < now_ms + ENGINE_TTL_MIN_MS)
		return refuse(DEK_STALE);
	ttl = end - now_ms;
	return (struct dek_decision){
		.action = DEK_GRANT,
		.ttl_ms = (uint32_t)(ttl < key->lease_ms ? ttl : key->lease_ms),
	};
}
