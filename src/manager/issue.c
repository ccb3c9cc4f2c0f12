/* SPDX-License-Identifier: Apache-2.0 */
/* A signed request with all that bears on it, and the tokens that may follow. */
#include "manager/issue.h"

#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "manager/audit.h"
#include "manager/leases.h"
#include "manager/metrics.h"
#include "manager/prober.h"
#include "manager/signing.h"

#define FROZEN_S 30 /* while an operator is needed */

int ask_init(struct manager *manager, struct ask *ask, struct http_request *http,
	     struct store_boot *boot, const struct lease_request *request, bool admitting,
	     uint64_t arrived_ms)
{
	int r;

	ask->http = http;
	ask->boot = boot;
	ask->request = request;
	ask->now = leases_time();
	r = store_workspace_get_by_id(manager->store, boot->workspace, &ask->workspace);
	if (r == 0 && ask->workspace.key > 0)
		r = store_key_get_by_id(manager->store, ask->workspace.key, &ask->key);
	if (r < 0)
		return r;
	ask->facts = (struct engine_facts){
		.boot = boot,
		.request = request,
		.admitting = admitting,
		.arrived_ms = arrived_ms > 0 ? arrived_ms : ask->now.boot_ms,
		.key = ask->workspace.key > 0 ? &ask->key : NULL,
		.frozen = ask->workspace.rolled_back.epoch > 0,
		.last = signing_last(manager->signing),
		.adopted_epoch = store_adopted_epoch(manager->store),
	};
	ask->facts.evidence_ms = prober_evidence(manager->prober, ask->workspace.id,
						 ask->workspace.key, &ask->facts.cmk_state);
	return 0;
}

void issue_again(struct http_request *http, const uint8_t token[static TOKEN_SIZE])
{
	http_reply_bytes(http, 200, "application/octet-stream", token, TOKEN_SIZE);
}

/* A lease, and with the one that admits a bound boot its share: the answer to a report, however often
 * it is asked for. The share is signed here, so that no key counts for it which was revoked since. */
static int reply_lease(struct manager *manager, const struct ask *ask,
		       const uint8_t token[static TOKEN_SIZE])
{
	uint8_t bytes[BOUND_ANSWER_SIZE];
	struct bind_share share;
	int r;

	if (!ask->facts.admitting || bytes_are_zero(ask->boot->bind_key, BIND_KEY_SIZE)) {
		issue_again(ask->http, token);
		return 0;
	}
	r = bind_share_decode(ask->boot->share, sizeof(ask->boot->share), &share);
	r = r < 0 ? r : signing_share(manager->signing, &share, bytes + TOKEN_SIZE);
	if (r < 0)
		return r;
	memcpy(bytes, token, TOKEN_SIZE);
	http_reply_bytes(ask->http, 200, "application/octet-stream", bytes, sizeof(bytes));
	return 0;
}

/* The VM's other boots end with the admission of this one. */
static int supersede(struct manager *manager, const struct store_boot *boot)
{
	/* Who said that it ends is followed, not superseded. */
	int n = store_boots_ended_of_vm(manager->store, boot->vm, boot->admission);

	if (n < 0)
		return n;
	n = store_boots_end_of_vm(manager->store, boot->vm, boot->admission, REASON_SUPERSEDED);
	if (n <= 0)
		return n;
	audit_add_boot(manager->store, boot, "superseded", json_pack("{s:i}", "boots", n));
	log_notice("%s/%s: a new boot superseded %d", boot->workspace_name, boot->vm_name, n);
	metrics_count(manager, METRIC_SUPERSEDED);
	return 0;
}

/* The request ids are where the customer's own log has the two lines of this admission. */
static void record_admission(struct store *store, const struct store_boot *boot,
			     const struct token *token)
{
	audit_add_boot(store, boot, "admitted",
		       json_pack("{s:I, s:I, s:I, s:s, s:b, s:{s:s, s:s}}", "epoch",
				 (json_int_t)token->sequence.epoch, "counter",
				 (json_int_t)token->sequence.counter, "ttl_ms",
				 (json_int_t)token->ttl_ms, "expiry",
				 token->expiry == EXPIRY_WARN ? "warn" : "shred", "bound",
				 !bytes_are_zero(boot->bind_key, BIND_KEY_SIZE), "kms_requests",
				 "encrypt", boot->encrypt_id, "decrypt", boot->decrypt_id));
}

int issue_lease(struct manager *manager, struct ask *ask, const struct engine_decision *decision)
{
	struct store_boot *boot = ask->boot;
	bool first = !boot->was_admitted;
	struct token token = {
		.sequence = signing_next(manager->signing),
		.ttl_ms = decision->ttl_ms,
		.margin_ms = decision->margin_ms,
		.poll_ms = decision->poll_ms,
		.verdict = decision->verdict,
		.expiry = decision->expiry,
		.cmk_state = decision->cmk_state,
	};
	uint8_t bytes[TOKEN_SIZE];
	int r;

	memcpy(token.admission, boot->admission, HASH_SIZE);
	memcpy(token.challenge, ask->request->challenge, CHALLENGE_SIZE);
	r = signing_token(manager->signing, &token, bytes);
	if (r < 0)
		return r;
	engine_granted(boot, &ask->facts, decision, token.sequence, bytes, ask->now);
	boot->last_ms = ask->now.real_ms;
	boot->ended = false;
	r = store_savepoint(manager->store);
	if (r < 0)
		return r;
	r = store_boot_update(manager->store, boot);
	if (r == 0 && first) {
		record_admission(manager->store, boot, &token);
		r = supersede(manager, boot);
	}
	r = store_settle(manager->store, r);
	if (r < 0)
		return r;
	metrics_count(manager, METRIC_LEASES);
	if (first) {
		metrics_count(manager, METRIC_ADMISSIONS);
		log_info("%s/%s: admitted", boot->workspace_name, boot->vm_name);
	}
	return reply_lease(manager, ask, bytes);
}

int issue_shred(struct manager *manager, struct ask *ask, const struct engine_decision *decision)
{
	struct store_boot *boot = ask->boot;
	bool first = bytes_are_zero(boot->shred_token, TOKEN_SIZE);
	struct token token = {
		.verdict = VERDICT_SHRED,
		.reason = decision->reason,
		.expiry = EXPIRY_SHRED,
		.cmk_state = decision->cmk_state,
	};
	int r;

	if (first ||
	    (boot->state != BOOT_OFF && !signing_counts(manager->signing, boot->shred_token))) {
		token.sequence = signing_next(manager->signing);
		memcpy(token.admission, boot->admission, HASH_SIZE);
		memcpy(token.challenge, ask->request->challenge, CHALLENGE_SIZE);
		r = signing_token(manager->signing, &token, boot->shred_token);
		if (r < 0)
			return r;
		boot->issued = token.sequence;
		boot->reason = decision->reason;
		if (boot->state != BOOT_OFF)
			boot->state = BOOT_ENDING;
		metrics_count(manager, METRIC_VERDICTS_SHRED);
		log_notice("%s/%s: verdict shred, %s", boot->workspace_name, boot->vm_name,
			   reason_name(decision->reason));
	}
	boot->last_ms = ask->now.real_ms;
	r = store_boot_update(manager->store, boot);
	if (r < 0)
		return r;
	if (first)
		audit_add_boot(manager->store, boot, "verdict-shred",
			       json_pack("{s:s}", "reason", reason_name(boot->reason)));
	issue_again(ask->http, boot->shred_token);
	return 0;
}

int issue_repeat(struct manager *manager, struct ask *ask)
{
	struct store_boot *boot = ask->boot;
	struct token token;
	int r;

	if (!signing_counts(manager->signing, boot->token)) {
		r = token_decode(boot->token, TOKEN_SIZE, &token);
		if (r == 0)
			r = signing_token(manager->signing, &token, boot->token);
		if (r == 0)
			r = store_boot_update(manager->store, boot);
		if (r < 0)
			return r;
	}
	return reply_lease(manager, ask, boot->token);
}

void issue_nothing(struct manager *manager, const struct ask *ask)
{
	struct sequence shown = ask->request->highest;

	if (sequence_compare(shown, ask->workspace.rolled_back) > 0 &&
	    store_workspace_set_rolled_back(manager->store, ask->workspace.id, shown) == 0 &&
	    !ask->facts.frozen) {
		audit_add_boot(manager->store, ask->boot, "rolled-back",
			       json_pack("{s:I, s:I}", "shown_epoch", (json_int_t)shown.epoch,
					 "shown_counter", (json_int_t)shown.counter));
		metrics_count(manager, METRIC_ROLLBACKS);
		log_error(
			"workspace %s: %s shows a token that this store never issued: it is older "
			"than it was; nothing is issued until `emberlock-admin store adopt`",
			ask->workspace.name, ask->boot->vm_name);
	}
	http_reply_retry(ask->http, 503, FROZEN_S, "rolled-back",
			 "the store is rolled back; an operator must adopt it");
}
