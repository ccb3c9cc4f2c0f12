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
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "manager/audit.h"
#include "manager/issue.h"
#include "manager/metrics.h"
#include "manager/pairing.h"
#include "manager/prober.h"
#include "manager/rate.h"
#include "manager/seats.h"

#define RETRY_S 5 /* after which a VM may ask again where nothing better is known */

struct leases {
	struct manager *manager;
	struct rates *rates;
	struct seats *seats;
};

static void reply_store_error(struct http_request *http)
{
	http_reply_retry(http, 503, RETRY_S, "store", "the store does not answer");
}

/* --- the KMS pair of an admission --- */

static void pair(struct leases *leases, const struct ask *ask, struct seat *seat)
{
	unsigned wait_s;

	if (seat->pairing)
		return;
	if (!rate_take_both(leases->rates, RATE_VM_PAIR, ask->boot->vm, RATE_WORKSPACE,
			    ask->workspace.id, ask->now.boot_ms, &wait_s)) {
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
		/* With a body, for the reason that receipts.c gives. */
		http_reply_bytes(ask->http, 202, "text/plain", "wait\n", 5);
	}
}

/* Parks; a boot that needs the KMS gets its pair. */
static void park(struct leases *leases, const struct ask *ask,
		 const struct engine_decision *decision)
{
	uint64_t poll_ms = ask->facts.key ? ask->key.poll_ms : 1000;
	uint64_t due = ask->facts.arrived_ms + poll_ms;
	struct seat *seat;

	prober_want(leases->manager->prober, ask->workspace.id);
	if (decision->action == ENGINE_WAIT)
		due = decision->due_ms;
	else if (due <= ask->now.boot_ms) {
		seat = seat_find(leases->seats, ask->boot->admission);
		give_up(leases, ask, decision->action);
		if (seat && seat->http == ask->http)
			seat_leave(seat);
		return;
	}
	seat = seat_take(leases->seats, ask);
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
		issue_nothing(leases->manager, ask);
		break;
	default:
		metrics_count(leases->manager, METRIC_REQUESTS_BAD);
		http_reply_error(ask->http, 400, "sequence", "nobody issued such a sequence");
	}
}

/* Who sits in the boot's seat while another request of that boot is answered finally. */
static void empty_seat(struct leases *leases, const struct ask *ask, bool shred)
{
	struct seat *seat = seat_find(leases->seats, ask->boot->admission);

	if (!seat || !seat->http)
		return;
	if (seat->http != ask->http && shred)
		issue_again(seat->http, ask->boot->shred_token);
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
		r = issue_lease(leases->manager, ask, decision);
		break;
	case ENGINE_REPEAT:
		r = issue_repeat(leases->manager, ask);
		break;
	case ENGINE_SHRED:
		if (decision->reason == REASON_CLONE && ask->boot->state != BOOT_ENDING) {
			metrics_count(leases->manager, METRIC_CLONES);
			audit_add_boot(leases->manager->store, ask->boot, "clone", json_object());
			log_warning("%s/%s: two holders of one boot", ask->boot->workspace_name,
				    ask->boot->vm_name);
		}
		r = issue_shred(leases->manager, ask, decision);
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
	struct seat *seat = seat_find(leases->seats, boot->admission);
	struct engine_decision decision;
	struct ask ask;

	if (ask_init(leases->manager, &ask, http, boot, request, admitting, 0) < 0) {
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
static void review(struct leases *leases, struct seat *seat)
{
	struct http_request *http = http_request_ref(seat->http);
	struct lease_request request = seat->request;
	struct engine_decision decision;
	struct store_boot boot;
	struct ask ask;

	if (store_boot_get(leases->manager->store, seat->admission, &boot) < 0 ||
	    ask_init(leases->manager, &ask, http, &boot, &request, seat->admitting,
		     seat->arrived_ms) < 0) {
		reply_store_error(http);
		seat_leave(seat);
	} else {
		decision = engine_decide(&ask.facts, ask.now);
		carry_out(leases, &ask, &decision);
		seat = seat_find(leases->seats, boot.admission);
		/* Refusals do not empty the seat by themselves. */
		if (seat && seat->http == http && !parks(decision.action))
			seat_leave(seat);
	}
	http_request_unref(http);
}

static void on_due(struct seat *seat, void *userdata)
{
	struct leases *leases = userdata;

	review(leases, seat);
	manager_turn_bound(leases->manager);
}

void leases_paired(struct leases *leases, const uint8_t admission[static HASH_SIZE], int r,
		   enum kms_class class)
{
	struct seat *seat = seat_find(leases->seats, admission);

	if (!seat)
		return;
	seat->pairing = false;
	if (!seat->http) {
		seat_leave(seat);
	} else if (r < 0) {
		reply_store_error(seat->http);
		seat_leave(seat);
	} else if (class == KMS_OK) {
		review(leases, seat);
	} else if (class != KMS_REVOKED_STATE && class != KMS_REVOKED_ACCESS) {
		http_reply_retry(seat->http, 503, RETRY_S, "kms", "the KMS: %s",
				 kms_class_name(class));
		seat_leave(seat);
	}
	/* A refusal waits in its seat: the prober is confirming it. */
}

void leases_review(struct leases *leases, enum leases_scope scope, int64_t id)
{
	/* By name: reviewing one seat may empty others. */
	uint8_t(*admissions)[HASH_SIZE];
	size_t n;

	if (seats_parked(leases->seats) == 0)
		return;
	admissions = calloc(seats_parked(leases->seats), HASH_SIZE);
	if (!admissions) {
		log_errno(-ENOMEM, "parked requests are answered when their time comes");
		return;
	}
	n = seats_collect(leases->seats, scope == LEASES_OF_KEY, id, admissions);
	for (size_t i = 0; i < n; i++) {
		struct seat *seat = seat_find(leases->seats, admissions[i]);

		if (seat && seat->http)
			review(leases, seat);
		/* A key's are many, and their turn comes from the KMS, not out of a request. */
		if (scope == LEASES_OF_KEY)
			manager_turn_bound(leases->manager);
	}
	free(admissions);
}

static void refuse_many(struct leases *leases, struct http_request *http, unsigned wait_s)
{
	metrics_count(leases->manager, METRIC_REQUESTS_LIMITED);
	http_reply_retry(http, 429, wait_s, "limited", "too many requests");
}

bool leases_may_report(struct leases *leases, struct http_request *http, int64_t vm,
		       int64_t workspace)
{
	unsigned wait_s;

	if (rate_take_both(leases->rates, RATE_VM_REPORT, vm, RATE_WORKSPACE, workspace,
			   leases_time().boot_ms, &wait_s))
		return true;
	refuse_many(leases, http, wait_s);
	return false;
}

bool leases_may_request(struct leases *leases, struct http_request *http, int64_t vm)
{
	unsigned wait_s;

	if (!rate_take(leases->rates, RATE_VM_REQUEST, vm, leases_time().boot_ms, &wait_s)) {
		refuse_many(leases, http, wait_s);
		return false;
	}
	http_request_known(http);
	return true;
}

unsigned leases_parked(const struct leases *leases)
{
	return seats_parked(leases->seats);
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
	leases->seats = seats_new(manager->event, on_due, leases);
	if (!leases->rates || !leases->seats) {
		leases_free(leases);
		return -ENOMEM;
	}
	*ret_leases = leases;
	return 0;
}

struct leases *leases_free(struct leases *leases)
{
	if (!leases)
		return NULL;
	seats_free(leases->seats);
	rates_free(leases->rates);
	free(leases);
	return NULL;
}
