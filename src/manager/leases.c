/* SPDX-License-Identifier: Apache-2.0 */
/* Parked requests, and carrying out what the engine decides about them.
 *
 *	request ─▶ engine_decide() ─┬─ grant, repeat, shred ─▶ store, reply
 *	                            ├─ wait, hold, pair ─────▶ a seat, until review or its timer
 *	                            └─ the rest ─────────────▶ refused
 *
 * All that lasts is in the store. A seat is one parked request; a boot has at most one. */
#include "manager/leases.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "manager/lease_engine.h"
#include "manager/metrics.h"
#include "manager/pairing.h"
#include "manager/prober.h"
#include "manager/rate.h"
#include "manager/signing.h"

#define CHAINS	 4096
#define RETRY_S	 5  /* after which a VM may ask again where nothing better is known */
#define FROZEN_S 30 /* while an operator is needed */

struct seat {
	struct seat *next; /* of its chain */
	struct leases *leases;
	uint8_t admission[HASH_SIZE];
	int64_t vm, key;
	struct http_request *http; /* NULL: nobody waits, a pair is under way */
	struct lease_request request;
	bool admitting, pairing;
	uint64_t arrived_ms;
	sd_event_source *timer;
};

struct leases {
	struct manager *manager;
	struct rates *rates;
	struct seat *chains[CHAINS]; /* by the first bytes of the admission */
	unsigned n_parked;
};

/* A request and all that the engine wants to know about it. */
struct ask {
	struct http_request *http;
	struct store_boot *boot;
	const struct lease_request *request;
	struct store_workspace workspace;
	struct store_key key;
	struct engine_facts facts;
	struct engine_time now;
};

/* --- seats --- */

static struct seat **chain_of(struct leases *leases, const uint8_t *admission)
{
	return &leases->chains[get_be16(admission) % CHAINS];
}

static struct seat *seat_find(struct leases *leases, const uint8_t *admission)
{
	struct seat *seat = *chain_of(leases, admission);

	while (seat && !bytes_equal(seat->admission, admission, HASH_SIZE))
		seat = seat->next;
	return seat;
}

/* Nobody waits in it any more; it goes, unless a pair still is under way for it. */
static void seat_leave(struct seat *seat)
{
	struct seat **at = chain_of(seat->leases, seat->admission);

	if (seat->http) {
		seat->http->on_gone = NULL;
		seat->http = http_request_unref(seat->http);
		seat->leases->n_parked--;
	}
	if (seat->timer)
		sd_event_source_set_enabled(seat->timer, SD_EVENT_OFF);
	if (seat->pairing)
		return;
	while (*at != seat)
		at = &(*at)->next;
	*at = seat->next;
	sd_event_source_disable_unref(seat->timer);
	free(seat);
}

static void on_gone(struct http_request *http)
{
	seat_leave(http->userdata);
}

static struct seat *seat_new(struct leases *leases, const struct ask *ask)
{
	struct seat **chain = chain_of(leases, ask->boot->admission);
	struct seat *seat = calloc(1, sizeof(*seat));

	if (!seat)
		return NULL;
	seat->leases = leases;
	memcpy(seat->admission, ask->boot->admission, HASH_SIZE);
	seat->vm = ask->boot->vm;
	seat->next = *chain;
	*chain = seat;
	return seat;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata);

static int seat_wait(struct seat *seat, uint64_t due_ms)
{
	int r;

	if (!seat->timer)
		return sd_event_add_time(seat->leases->manager->event, &seat->timer, CLOCK_BOOTTIME,
					 due_ms * 1000, 10000, on_timer, seat);
	r = sd_event_source_set_time(seat->timer, due_ms * 1000);
	return r < 0 ? r : sd_event_source_set_enabled(seat->timer, SD_EVENT_ONESHOT);
}

/* Puts ASK into its boot's seat; who sits there is told that it was replaced. NULL: no memory. */
static struct seat *seat_take(struct leases *leases, const struct ask *ask)
{
	struct seat *seat = seat_find(leases, ask->boot->admission);

	if (!seat)
		seat = seat_new(leases, ask);
	if (!seat)
		return NULL;
	if (seat->http == ask->http)
		return seat;
	if (seat->http) {
		http_reply_error(seat->http, 409, "replaced", "a newer request of this boot came");
		seat->http->on_gone = NULL;
		http_request_unref(seat->http);
		leases->n_parked--;
	}
	seat->http = http_request_ref(ask->http);
	seat->http->userdata = seat;
	seat->http->on_gone = on_gone;
	seat->request = *ask->request;
	seat->admitting = ask->facts.admitting;
	seat->arrived_ms = ask->facts.arrived_ms;
	seat->key = ask->workspace.key;
	leases->n_parked++;
	return seat;
}

/* --- facts --- */

static int ask_init(struct leases *leases, struct ask *ask, struct http_request *http,
		    struct store_boot *boot, const struct lease_request *request, bool admitting,
		    uint64_t arrived_ms)
{
	struct manager *manager = leases->manager;
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

/* --- answers --- */

static void reply_token(struct http_request *http, const uint8_t token[static TOKEN_SIZE])
{
	http_reply_bytes(http, 200, "application/octet-stream", token, TOKEN_SIZE);
}

static void reply_store_error(struct http_request *http)
{
	http_reply_retry(http, 503, RETRY_S, "store", "the store does not answer");
}

/* The VM's other boots end with the admission of this one. */
static int supersede(struct leases *leases, const struct store_boot *boot)
{
	struct manager *manager = leases->manager;
	int n = store_boots_end_of_vm(manager->store, boot->vm, boot->admission, REASON_SUPERSEDED);

	if (n <= 0)
		return n;
	log_notice("%s/%s: a new boot superseded %d", boot->workspace_name, boot->vm_name, n);
	metrics_count(manager, METRIC_SUPERSEDED);
	return 0;
}

static int issue(struct leases *leases, struct ask *ask, const struct engine_decision *decision)
{
	struct manager *manager = leases->manager;
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
	r = store_boot_update(manager->store, boot);
	if (r == 0 && first)
		r = supersede(leases, boot);
	if (r < 0)
		return r;
	metrics_count(manager, METRIC_LEASES);
	if (first) {
		metrics_count(manager, METRIC_ADMISSIONS);
		log_info("%s/%s: admitted", boot->workspace_name, boot->vm_name);
	}
	reply_token(ask->http, bytes);
	return 0;
}

/* The verdict is made once; every later question gets the same bytes. */
static int issue_shred(struct leases *leases, struct ask *ask,
		       const struct engine_decision *decision)
{
	struct manager *manager = leases->manager;
	struct store_boot *boot = ask->boot;
	struct token token = {
		.verdict = VERDICT_SHRED,
		.reason = decision->reason,
		.expiry = EXPIRY_SHRED,
		.cmk_state = decision->cmk_state,
	};
	int r;

	if (bytes_are_zero(boot->shred_token, TOKEN_SIZE)) {
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
	reply_token(ask->http, boot->shred_token);
	return 0;
}

/* Nothing is issued to the workspace until an operator adopts the store. */
static void freeze(struct leases *leases, const struct ask *ask)
{
	struct sequence shown = ask->request->highest;

	if (sequence_compare(shown, ask->workspace.rolled_back) > 0 &&
	    store_workspace_set_rolled_back(leases->manager->store, ask->workspace.id, shown) ==
		    0 &&
	    !ask->facts.frozen) {
		metrics_count(leases->manager, METRIC_ROLLBACKS);
		log_error(
			"workspace %s: %s shows a token that this store never issued: it is older "
			"than it was; nothing is issued until `emberlock-admin store adopt`",
			ask->workspace.name, ask->boot->vm_name);
	}
	http_reply_retry(ask->http, 503, FROZEN_S, "rolled-back",
			 "the store is rolled back; an operator must adopt it");
}

/* --- the KMS pair of an admission --- */

static void pair(struct leases *leases, const struct ask *ask, struct seat *seat)
{
	unsigned wait_s;

	if (seat->pairing)
		return;
	if (!rate_take(leases->rates, RATE_VM_PAIR, ask->boot->vm, ask->now.boot_ms, &wait_s) ||
	    !rate_take(leases->rates, RATE_WORKSPACE, ask->workspace.id, ask->now.boot_ms,
		       &wait_s)) {
		metrics_count(leases->manager, METRIC_REQUESTS_LIMITED);
		http_reply_retry(ask->http, 429, wait_s, "limited", "too many attempts");
		seat_leave(seat);
		return;
	}
	if (pairing_start(leases->manager, ask->boot, &ask->workspace, &ask->key) < 0) {
		http_reply_retry(ask->http, 503, RETRY_S, "kms", "too much is waiting for the KMS");
		seat_leave(seat);
		return;
	}
	seat->pairing = true;
}

/* --- carrying out --- */

/* How a request that cannot be answered with a token leaves after the poll interval. */
static void give_up(struct leases *leases, const struct ask *ask, enum engine_action action)
{
	if (action == ENGINE_STALE) {
		metrics_count(leases->manager, METRIC_LEASES_WITHHELD);
		http_reply_retry(ask->http, 503, RETRY_S, "evidence",
				 "the key of workspace %s gave no proof of health for too long",
				 ask->workspace.name);
	} else {
		http_reply_empty(ask->http, 202);
	}
}

/* Parks; a boot that needs the KMS gets its pair. */
static void park(struct leases *leases, const struct ask *ask,
		 const struct engine_decision *decision)
{
	uint64_t poll_ms = ask->facts.key ? ask->key.poll_ms : 1000;
	uint64_t due = ask->facts.arrived_ms + poll_ms;
	struct seat *seat;

	if (decision->action == ENGINE_WAIT)
		due = decision->due_ms;
	else if (due <= ask->now.boot_ms) {
		seat = seat_find(leases, ask->boot->admission);
		give_up(leases, ask, decision->action);
		if (seat && seat->http == ask->http)
			seat_leave(seat);
		return;
	}
	seat = seat_take(leases, ask);
	if (!seat || seat_wait(seat, due) < 0) {
		http_reply_retry(ask->http, 503, RETRY_S, "internal", "out of memory");
		if (seat)
			seat_leave(seat);
		return;
	}
	if (decision->action == ENGINE_PAIR)
		pair(leases, ask, seat);
}

static void refuse(struct leases *leases, const struct ask *ask, enum engine_action action)
{
	switch (action) {
	case ENGINE_OLDER:
		http_reply_error(ask->http, 409, "older", "a later request of this boot was seen");
		break;
	case ENGINE_UNKNOWN:
		http_reply_error(ask->http, 409, "admission", "this boot is not admitted");
		break;
	case ENGINE_REFUSE:
		http_reply_error(ask->http, 403, "failed",
				 "the boot report says that something required failed");
		break;
	case ENGINE_FROZEN:
		freeze(leases, ask);
		break;
	default:
		metrics_count(leases->manager, METRIC_REQUESTS_BAD);
		http_reply_error(ask->http, 400, "sequence", "nobody issued such a sequence");
	}
}

/* Who sits in the boot's seat while another request of that boot is answered finally. */
static void empty_seat(struct leases *leases, const struct ask *ask, bool shred)
{
	struct seat *seat = seat_find(leases, ask->boot->admission);

	if (!seat || !seat->http)
		return;
	if (seat->http != ask->http && shred)
		reply_token(seat->http, ask->boot->shred_token);
	else if (seat->http != ask->http)
		http_reply_error(seat->http, 409, "replaced", "a newer request of this boot came");
	seat_leave(seat);
}

static void carry_out(struct leases *leases, struct ask *ask,
		      const struct engine_decision *decision)
{
	bool first = !ask->boot->was_admitted;
	int r = 0;

	switch (decision->action) {
	case ENGINE_GRANT:
		r = issue(leases, ask, decision);
		break;
	case ENGINE_REPEAT:
		reply_token(ask->http, ask->boot->token);
		break;
	case ENGINE_SHRED:
		if (decision->reason == REASON_CLONE && ask->boot->state != BOOT_ENDING) {
			metrics_count(leases->manager, METRIC_CLONES);
			log_warning("%s/%s: two holders of one boot", ask->boot->workspace_name,
				    ask->boot->vm_name);
		}
		r = issue_shred(leases, ask, decision);
		break;
	case ENGINE_WAIT:
	case ENGINE_HOLD:
	case ENGINE_PAIR:
	case ENGINE_STALE:
		park(leases, ask, decision);
		return;
	default:
		refuse(leases, ask, decision->action);
		return;
	}
	if (r < 0)
		reply_store_error(ask->http);
	empty_seat(leases, ask, r == 0 && decision->action == ENGINE_SHRED);
	/* Boots that were superseded hear of it at once. */
	if (r == 0 && first && decision->action == ENGINE_GRANT)
		leases_review(leases, LEASES_OF_VM, ask->boot->vm);
}

void leases_request(struct leases *leases, struct http_request *http, struct store_boot *boot,
		    const struct lease_request *request, bool admitting)
{
	struct seat *seat = seat_find(leases, boot->admission);
	struct engine_decision decision;
	struct ask ask;

	if (ask_init(leases, &ask, http, boot, request, admitting, 0) < 0) {
		reply_store_error(http);
		return;
	}
	if (seat && seat->http) {
		ask.facts.pending_number = seat->request.number;
		ask.facts.pending_challenge = seat->request.challenge;
	}
	decision = engine_decide(&ask.facts, ask.now);
	carry_out(leases, &ask, &decision);
}

static bool parks(enum engine_action action)
{
	return action == ENGINE_WAIT || action == ENGINE_HOLD || action == ENGINE_PAIR ||
	       action == ENGINE_STALE;
}

/* Decides anew about the request in SEAT; the seat may be gone afterwards. */
static void seat_review(struct seat *seat)
{
	struct leases *leases = seat->leases;
	struct http_request *http = http_request_ref(seat->http);
	struct lease_request request = seat->request;
	struct engine_decision decision;
	struct store_boot boot;
	struct ask ask;

	if (store_boot_get(leases->manager->store, seat->admission, &boot) < 0 ||
	    ask_init(leases, &ask, http, &boot, &request, seat->admitting, seat->arrived_ms) < 0) {
		reply_store_error(http);
		seat_leave(seat);
	} else {
		decision = engine_decide(&ask.facts, ask.now);
		carry_out(leases, &ask, &decision);
		seat = seat_find(leases, boot.admission);
		/* Refusals do not empty the seat by themselves. */
		if (seat && seat->http == http && !parks(decision.action))
			seat_leave(seat);
	}
	http_request_unref(http);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct seat *seat = userdata;
	struct manager *manager = seat->leases->manager;

	if (seat->http)
		seat_review(seat);
	manager_turn_bound(manager);
	return 0;
}

void leases_paired(struct leases *leases, const uint8_t admission[static HASH_SIZE], int r,
		   enum kms_class class)
{
	struct seat *seat = seat_find(leases, admission);

	if (!seat)
		return;
	seat->pairing = false;
	if (!seat->http) {
		seat_leave(seat);
	} else if (r < 0) {
		reply_store_error(seat->http);
		seat_leave(seat);
	} else if (class == KMS_OK) {
		seat_review(seat);
	} else if (class != KMS_REVOKED_STATE && class != KMS_REVOKED_ACCESS) {
		http_reply_retry(seat->http, 503, RETRY_S, "kms", "the KMS: %s",
				 kms_class_name(class));
		seat_leave(seat);
	}
	/* A refusal waits in its seat: the prober is confirming it. */
}

static size_t collect(const struct leases *leases, enum leases_scope scope, int64_t id,
		      uint8_t (*admissions)[HASH_SIZE])
{
	size_t n = 0;

	for (size_t i = 0; i < CHAINS; i++) {
		for (const struct seat *seat = leases->chains[i]; seat; seat = seat->next) {
			if (seat->http && (scope == LEASES_OF_KEY ? seat->key : seat->vm) == id)
				memcpy(admissions[n++], seat->admission, HASH_SIZE);
		}
	}
	return n;
}

void leases_review(struct leases *leases, enum leases_scope scope, int64_t id)
{
	/* By name: reviewing one seat may empty others. */
	uint8_t(*admissions)[HASH_SIZE];
	size_t n;

	if (leases->n_parked == 0)
		return;
	admissions = calloc(leases->n_parked, HASH_SIZE);
	if (!admissions) {
		log_errno(-ENOMEM, "parked requests are answered when their time comes");
		return;
	}
	n = collect(leases, scope, id, admissions);
	for (size_t i = 0; i < n; i++) {
		struct seat *seat = seat_find(leases, admissions[i]);

		if (seat && seat->http)
			seat_review(seat);
	}
	free(admissions);
}

static bool may(struct leases *leases, struct http_request *http, enum rate_kind kind, int64_t id)
{
	unsigned wait_s;

	if (rate_take(leases->rates, kind, id, leases_time().boot_ms, &wait_s))
		return true;
	metrics_count(leases->manager, METRIC_REQUESTS_LIMITED);
	http_reply_retry(http, 429, wait_s, "limited", "too many requests");
	return false;
}

bool leases_may_report(struct leases *leases, struct http_request *http, int64_t vm,
		       int64_t workspace)
{
	return may(leases, http, RATE_VM_REPORT, vm) &&
	       may(leases, http, RATE_WORKSPACE, workspace);
}

bool leases_may_request(struct leases *leases, struct http_request *http, int64_t vm)
{
	return may(leases, http, RATE_VM_REQUEST, vm);
}

unsigned leases_parked(const struct leases *leases)
{
	return leases->n_parked;
}

struct engine_time leases_time(void)
{
	struct timespec real;

	clock_gettime(CLOCK_REALTIME, &real);
	return (struct engine_time){
		.boot_ms = clock_boottime_ns() / NSEC_PER_MSEC,
		.real_ms = (uint64_t)real.tv_sec * 1000 + (uint64_t)real.tv_nsec / NSEC_PER_MSEC,
	};
}

int leases_new(struct manager *manager, struct leases **ret_leases)
{
	struct leases *leases = calloc(1, sizeof(*leases));

	if (!leases)
		return -ENOMEM;
	leases->manager = manager;
	leases->rates = rates_new();
	if (!leases->rates) {
		free(leases);
		return -ENOMEM;
	}
	*ret_leases = leases;
	return 0;
}

struct leases *leases_free(struct leases *leases)
{
	if (!leases)
		return NULL;
	for (size_t i = 0; i < CHAINS; i++) {
		while (leases->chains[i]) {
			leases->chains[i]->pairing = false;
			seat_leave(leases->chains[i]);
		}
	}
	rates_free(leases->rates);
	free(leases);
	return NULL;
}
