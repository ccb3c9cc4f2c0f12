/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens and signing keys that came through the watchdog: nothing counts but their signatures. */
#include <errno.h>
#include <string.h>

#include "agent.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"

#define REJECTIONS_LOGGED 10 /* a minute */
#define KEYS_ASK_NS	  (10 * NSEC_PER_SEC)

void token_rejected(struct agent *a, const char *why)
{
	if (a->state.rejected_tokens < UINT32_MAX)
		a->state.rejected_tokens++;
	if (rate_allow(&a->requests.rejections, REJECTIONS_LOGGED, clock_boottime_ns()))
		log_notice("token rejected: %s (%u so far)", why, a->state.rejected_tokens);
}

static bool key_is_known(const struct agent *a, uint64_t key_id)
{
	for (uint32_t i = 0; i < a->signing_keys.n_keys; i++)
		if (signing_key_id(a->signing_keys.keys[i]) == key_id)
			return true;
	return false;
}

/* A token by a key that is not in our set: keeps it, and asks for a newer set. A forger can have it
 * ask, but no more often than now and then. */
static bool keys_asked(struct agent *a, const uint8_t *bytes, size_t n)
{
	uint64_t now = clock_boottime_ns();

	if (!a->has_root_key ||
	    (a->requests.keys_asked_ns && now - a->requests.keys_asked_ns < KEYS_ASK_NS))
		return false;
	a->requests.keys_asked_ns = now;
	memcpy(a->requests.waiting_token, bytes, n);
	a->requests.waiting_size = n;
	a->requests.token_waits = true;
	if (requests_ask_keys(a) == 0)
		return true;
	a->requests.token_waits = false;
	return false;
}

/* A challenge is replaced after a third of the lease; the manager answers after its poll interval. */
static void short_lease_warn(struct agent *a, const struct token *token)
{
	uint64_t ttl_ms = a->state.lease.ttl_ms;

	if (ttl_ms >= token->ttl_ms || ttl_ms / 3 > token->poll_ms)
		return;
	log_warning("agent.conf: MaxLeaseSec= makes leases of %ju ms, not above three poll "
		    "intervals of %u ms: they will run out unanswered",
		    (uintmax_t)ttl_ms, token->poll_ms);
	console_write(a, "MaxLeaseSec= is too short for the manager's poll interval");
}

/* Puts the share that came with a token on the page, so that one write brings both there. */
static bool share_take(struct agent *a, const uint8_t *bytes, size_t n)
{
	struct bind_share share;

	if (n != BOUND_ANSWER_SIZE ||
	    bind_share_decode(bytes + TOKEN_SIZE, BIND_SHARE_RECORD_SIZE, &share) < 0 ||
	    !bytes_equal(share.admission, a->state.lease.admission, HASH_SIZE))
		return false;
	memcpy(a->state.share, bytes + TOKEN_SIZE, sizeof(a->state.share));
	return true;
}

static void token_verified(struct agent *a, const struct token *token, const uint8_t *bytes,
			   size_t n)
{
	enum lease_state before = a->state.lease.state;
	uint64_t answered = a->state.lease.answered;
	bool bound = before == LEASE_STARTING && token->verdict == VERDICT_ADMIT && bind_asked(a);

	if (bound && !share_take(a, bytes, n)) {
		token_rejected(a, "no share of this boot with it");
		return;
	}
	if (token->verdict == VERDICT_SHRED && before < LEASE_SHREDDING)
		a->shred.verdict_ns = clock_boottime_ns();
	lease_event(a, LEASE_EVENT_TOKEN, token, bytes);
	if (bound && a->state.lease.state == LEASE_STARTING)
		memset(a->state.share, 0, sizeof(a->state.share));
	if (a->state.lease.answered != answered) {
		retry_succeeded(&a->requests.retry);
		if (before == LEASE_STARTING)
			short_lease_warn(a, token);
		pause_look(a);
	} else if (a->state.lease.state < LEASE_SHREDDING) {
		a->shred.verdict_ns = 0;
	}
}

/* A token and, behind it, where there is one, a share: 0 where both are signed. *RET_KEY_ID is then, and
 * with -EKEYREJECTED, who signed, or did not. */
static int answer_verify(const struct agent *a, const uint8_t *bytes, size_t n,
			 struct token *ret_token, uint64_t *ret_key_id)
{
	struct bind_share share;
	struct token token;
	int r;

	r = token_decode(bytes, TOKEN_SIZE, &token);
	if (r < 0)
		return r;
	*ret_key_id = token.key_id;
	r = token_verify(bytes, TOKEN_SIZE, &a->signing_keys, ret_token);
	if (r < 0 || n == TOKEN_SIZE)
		return r;
	bytes += TOKEN_SIZE;
	r = bind_share_decode(bytes, BIND_SHARE_RECORD_SIZE, &share);
	if (r < 0)
		return r;
	*ret_key_id = share.key_id;
	return bind_share_verify(bytes, BIND_SHARE_RECORD_SIZE, &a->signing_keys, &share);
}

void token_received(struct agent *a, const uint8_t *bytes, size_t n)
{
	uint64_t key_id = 0;
	struct token token;
	int r = answer_verify(a, bytes, n, &token, &key_id);

	if (r == 0)
		token_verified(a, &token, bytes, n);
	else if (r == -EBADMSG)
		token_rejected(a, "not of the form");
	else if (key_is_known(a, key_id))
		token_rejected(a, "signature");
	else if (!keys_asked(a, bytes, n))
		token_rejected(a, "unknown signing key");
}

int token_keys_install(struct agent *a, const uint8_t *bytes, size_t n)
{
	struct signing_keys set;
	int r = a->has_root_key ? signing_keys_verify(bytes, n, a->root_key, &set) : -ENOKEY;

	if (r < 0)
		return r;
	if (a->signing_keys.n_keys > 0 && set.epoch <= a->signing_keys.epoch)
		return -ESTALE;
	a->signing_keys = set;
	memcpy(a->state.signing_keys, bytes, sizeof(a->state.signing_keys));
	return 0;
}

void token_keys_missing(struct agent *a)
{
	if (!a->requests.token_waits)
		return;
	a->requests.token_waits = false;
	token_rejected(a, "unknown signing key");
}

void token_keys_received(struct agent *a, const uint8_t *bytes, size_t n)
{
	int r = token_keys_install(a, bytes, n);

	if (r < 0) {
		log_notice("signing keys rejected: %s",
			   r == -ESTALE ? "not newer than ours" : "not signed by the root key");
		token_keys_missing(a);
		requests_retry(a, 0);
		return;
	}
	/* On the page before a token counts by it: the epoch never goes back. */
	if (keeper_save(a) < 0)
		return;
	log_notice("signing keys: set of epoch %ju, %u keys", (uintmax_t)a->signing_keys.epoch,
		   a->signing_keys.n_keys);
	if (!a->requests.token_waits)
		return;
	a->requests.token_waits = false;
	requests_retry(a, 0);
	token_received(a, a->requests.waiting_token, a->requests.waiting_size);
}
