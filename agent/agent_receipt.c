/* SPDX-License-Identifier: Apache-2.0 */
/* Receipts of a shred: one when the keys are gone, a closing one; signed, chained, sent in this
 * order over the connection that is open anyway.
 *
 * All buffers are there since the agent started, the identity's descriptor too; nothing is opened
 * here. The keeper waits for the closing receipt within its budget and not for us. It takes no new
 * agent while it shreds: what an agent killed then had not sent is never sent. */
#include <errno.h>
#include <string.h>

#include "agent.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "keys/hygiene.h"

#define RESEND_MS 100

static void receipts_push(struct agent *a);

static const char *kind_name(enum receipt_kind kind)
{
	return kind == RECEIPT_KEYS ? "keys" : "closing";
}

void receipt_prepare(struct agent *a)
{
	int r;

	a->shred.begun = true;
	volumes_abort(a);
	if (a->shred.key || a->shred.receipts[RECEIPT_CLOSING].made)
		return;
	r = identity_key(a, &a->shred.key);
	if (r < 0)
		log_errno(r, "receipts cannot be signed");
}

/* The hash that chains a receipt of KIND to what was before it. */
static int previous_hash(struct agent *a, enum receipt_kind kind, uint8_t hash[static HASH_SIZE])
{
	if (kind == RECEIPT_CLOSING && !bytes_are_zero(a->state.last_receipt, HASH_SIZE)) {
		memcpy(hash, a->state.last_receipt, HASH_SIZE);
		return 0;
	}
	memset(hash, 0, HASH_SIZE);
	if (bytes_are_zero(a->state.last_token, TOKEN_SIZE))
		return 0;
	return sha256(a->state.last_token, TOKEN_SIZE, hash);
}

static int receipt_fill(struct agent *a, const struct keeper_report *report)
{
	/* What the keeper has seen in the shred counts more than what was seen before. */
	uint32_t looked_at = report->self_test_passed | report->self_test_failed;
	struct receipt *receipt = &a->shred.receipt;

	if (report->n_segments > SEGMENTS_MAX || report->reason >= REASON__MAX)
		return -EPROTO;
	*receipt = (struct receipt){
		.kind = report->kind,
		.reason = report->reason,
		.verdict_ns = a->shred.verdict_ns,
		.start_ns = report->start_ns,
		.keys_gone_ns = report->keys_gone_ns,
		.blocked_io_ns = report->kind == RECEIPT_CLOSING ? report->blocked_io_ns : 0,
		.plaintext_ns = report->kind == RECEIPT_CLOSING ? report->plaintext_ns : 0,
		.self_test_passed =
			(a->state.self_test_passed & ~looked_at) | report->self_test_passed,
		.self_test_failed =
			(a->state.self_test_failed & ~looked_at) | report->self_test_failed,
		.n_segments = report->n_segments,
	};
	memcpy(receipt->admission, a->state.lease.admission, sizeof(receipt->admission));
	memcpy(receipt->segments, report->segments, sizeof(receipt->segments));
	return previous_hash(a, receipt->kind, receipt->previous);
}

static int receipt_make(struct agent *a, const struct keeper_report *report)
{
	struct agent_receipt *made = &a->shred.receipts[report->kind];
	char hex[2 * HASH_SIZE + 1];
	uint8_t hash[HASH_SIZE];
	int r;

	if (!a->shred.key)
		return -ENOKEY;
	r = receipt_fill(a, report);
	r = r < 0 ? r : receipt_sign(a->shred.key, &a->shred.receipt, made->bytes);
	r = r < 0 ? r : sha256(made->bytes, sizeof(made->bytes), hash);
	registers_scrub();
	if (r < 0)
		return r;
	made->made = true;
	hex_encode(hash, sizeof(hash), hex);
	console_write(a, "receipt %s %s", kind_name(report->kind), hex);
	log_notice("receipt %s %s", kind_name(report->kind), hex);
	if (report->kind == RECEIPT_KEYS) {
		memcpy(a->state.last_receipt, hash, sizeof(hash));
		keeper_save(a);
	}
	return 0;
}

/* Nothing more will be sent: the keeper need not wait. */
static void receipts_over(struct agent *a)
{
	if (a->shred.over)
		return;
	a->shred.over = true;
	a->shred.exchange.number = 0;
	agent_timer(a, &a->shred.timer, LEASE_NEVER, NULL);
	/* First the page: once it is told, the keeper takes nothing more. */
	lease_event(a, LEASE_EVENT_OFF, NULL, NULL);
	keeper_receipt_sent(a);
}

static int on_resend(sd_event_source *s, uint64_t usec, void *userdata)
{
	receipts_push(userdata);
	return 0;
}

/* Sends the first receipt that is made and not sent; one is under way at a time, because a later
 * one would take its place. */
static void receipts_push(struct agent *a)
{
	struct agent_shred *shred = &a->shred;

	if (shred->over || shred->exchange.number)
		return;
	if (!a->state.reported || !watchdog_connected(a)) {
		if (shred->receipts[RECEIPT_CLOSING].made)
			receipts_over(a);
		return;
	}
	for (enum receipt_kind kind = RECEIPT_KEYS; kind < RECEIPT_KIND__MAX; kind++) {
		if (!shred->receipts[kind].made || shred->receipts[kind].sent)
			continue;
		shred->sending = kind;
		shred->exchange =
			(struct exchange){.number = requests_number(a), .route = ROUTE_RECEIPT};
		watchdog_send(a, ROUTE_RECEIPT, shred->exchange.number, shred->receipts[kind].bytes,
			      RECEIPT_SIZE);
		return;
	}
	if (shred->receipts[RECEIPT_CLOSING].sent)
		receipts_over(a);
}

void receipt_report(struct agent *a, const struct keeper_report *report)
{
	struct agent_shred *shred = &a->shred;
	int r;

	/* The keeper's own doing: its deadline, its twin, an orderly end. */
	shred->begun = true;
	shred->reason = report->reason;
	lease_shred_rest(a);
	if (a->state.lease.state < LEASE_SHREDDING)
		lease_event(a, LEASE_EVENT_FAULT, NULL, NULL);
	receipt_prepare(a);
	control_notify(a);
	if (shred->receipts[report->kind].made)
		return;
	r = receipt_make(a, report);
	if (report->kind == RECEIPT_CLOSING)
		shred->key = signing_key_free(shred->key);
	if (r < 0)
		log_errno(r, "receipt %s", kind_name(report->kind));
	if (r < 0 && report->kind == RECEIPT_CLOSING)
		receipts_over(a);
	else
		receipts_push(a);
}

void receipt_response(struct agent *a, const struct watchdog_message *message)
{
	struct agent_shred *shred = &a->shred;
	uint16_t status = message->http_status;

	if (message->number == 0 || message->number != shred->exchange.number)
		return;
	shred->exchange.number = 0;
	if (status / 100 != 2)
		log_warning("receipt %s: manager answered %u", kind_name(shred->sending), status);
	/* What the manager refuses once, it refuses again; what did not reach it may yet. */
	if (status / 100 == 2 || (status / 100 == 4 && status != 429)) {
		shred->receipts[shred->sending].sent = true;
		receipts_push(a);
		return;
	}
	agent_timer(a, &shred->timer, clock_boottime_ns() + RESEND_MS * NSEC_PER_MSEC, on_resend);
}

void receipt_watchdog_changed(struct agent *a)
{
	a->shred.exchange.number = 0;
	if (a->shred.begun)
		receipts_push(a);
}
