/* SPDX-License-Identifier: Apache-2.0 */
/* The manager's half of the lease: who is admitted, renewed, or told to shred. Pure: facts and time
 * are arguments, the decision is returned; leases.c carries it out.
 *
 *	WAITING ──(confirmed, KMS pair, evidence)──▶ LIVE ──▶ ENDING ──▶ OFF
 *	HELD ────(operator)────▶ WAITING              │         ▲
 *	REFUSED (a required failure; final)           └─ revoked · superseded · operator · clone ·
 *	                                                 removed · not renewed by the fence
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "manager/store.h"

#define ENGINE_TTL_MIN_MS      5000 /* a shorter lease is not worth a token: 503 */
#define ENGINE_SHRED_BUDGET_MS 8000
/* Above this much more than our own epoch nothing can be a rollback of ours: it is an invention. */
#define ENGINE_EPOCHS_AHEAD_MAX 1000000

struct engine_time {
	uint64_t boot_ms; /* CLOCK_BOOTTIME: of policy */
	uint64_t real_ms; /* CLOCK_REALTIME: of what is stored */
};

enum engine_action {
	ENGINE_GRANT = 1, /* issue a lease: .verdict, .ttl_ms, … */
	ENGINE_REPEAT,	  /* the stored token again */
	ENGINE_SHRED,	  /* issue, or repeat, the verdict shred with .reason */
	ENGINE_WAIT,	  /* not before .due_ms */
	ENGINE_HOLD,	  /* an operator must confirm */
	ENGINE_PAIR,	  /* the KMS pair of this admission must succeed first */
	ENGINE_STALE,	  /* no evidence that is fresh enough */
	ENGINE_OLDER,	  /* an older number: ignored */
	ENGINE_UNKNOWN,	  /* a renewal of a boot that was never admitted */
	ENGINE_REFUSE,	  /* the report says that something required failed */
	ENGINE_FROZEN,	  /* the store is rolled back: nothing is issued */
	ENGINE_ABSURD,	  /* a sequence that nobody can have issued */
	ENGINE_ACTION__MAX
};

/* What is known when a signed request is looked at. */
struct engine_facts {
	const struct store_boot *boot;
	const struct lease_request *request; /* its signature is verified */
	bool admitting;			     /* it came with the report */
	uint64_t arrived_ms;		     /* CLOCK_BOOTTIME */
	/* The newest request of this boot that is not answered yet; number 0: none. */
	uint64_t pending_number;
	const uint8_t *pending_challenge;
	/* The workspace's key configuration, and what the prober knows. */
	const struct store_key *key; /* NULL: unbound */
	uint64_t
		evidence_ms; /* CLOCK_BOOTTIME of the start of the last successful unwrap; 0 none */
	enum cmk_state cmk_state;
	/* The store. */
	bool frozen;
	struct sequence last;	/* issued by this store to anybody */
	uint64_t adopted_epoch; /* what is older was lost, and that is known */
};

struct engine_decision {
	enum engine_action action;
	enum reason reason;   /* of SHRED */
	enum verdict verdict; /* of GRANT and SHRED */
	uint32_t ttl_ms;      /* of GRANT; and the rest */
	uint32_t margin_ms, poll_ms;
	enum expiry expiry;
	enum cmk_state cmk_state;
	uint64_t due_ms; /* of WAIT, CLOCK_BOOTTIME */
};

struct engine_decision engine_decide(const struct engine_facts *facts, struct engine_time now);

/* What granting DECISION, with SEQUENCE and TOKEN, makes of BOOT. */
void engine_granted(struct store_boot *boot, const struct engine_facts *facts,
		    const struct engine_decision *decision, struct sequence sequence,
		    const uint8_t token[static TOKEN_SIZE], struct engine_time now);

/* --- a boot report, before there is a boot --- */
enum engine_report {
	ENGINE_REPORT_NEW = 1, /* store it as .state says */
	ENGINE_REPORT_KNOWN,   /* the admission is stored already */
	ENGINE_REPORT_TAKEN,   /* the boot id was used for another report */
	ENGINE_REPORT_LIMITED, /* too many boots of this VM */
	ENGINE_REPORT__MAX
};
struct engine_report_facts {
	bool known, boot_id_taken;
	bool limited;
};
enum engine_report engine_report_decide(const struct engine_report_facts *facts);
/* BOOT_REFUSED where a required volume failed, else BOOT_HELD or BOOT_WAITING. */
enum boot_state engine_first_state(const struct boot_report *report, bool confirm_boot);

/* --- rate limits --- */
/* A bucket of BURST tokens, one more every INTERVAL_MS. */
struct engine_bucket {
	uint64_t full_ms; /* CLOCK_BOOTTIME when it is full again */
};
/* Takes one; false where there is none, *ret_wait_ms (may be NULL) until there is. */
bool engine_bucket_take(struct engine_bucket *bucket, uint32_t burst, uint32_t interval_ms,
			uint64_t now_ms, uint64_t *ret_wait_ms);
/* Puts back the one that was taken last. */
void engine_bucket_put_back(struct engine_bucket *bucket, uint32_t interval_ms);

/* --- classes of the fleet --- */
enum engine_class {
	CLASS_LIVE = 1,	   /* keys may exist */
	CLASS_RECEIPT,	   /* a receipt says that every key is gone */
	CLASS_LEASE_ENDED, /* gone if the guest ran */
	CLASS_ENDING,	   /* it said that it ends in good order, soon; keys may exist until then */
	CLASS_ENDED,	   /* and that time is over: gone if the guest ran */
	CLASS_UNBOUNDED,   /* its lease says expiry = warn */
	CLASS_NONE,	   /* never admitted */
	CLASS__MAX
};
enum engine_class engine_class(const struct store_boot *boot, uint64_t now_real_ms);
const char *engine_class_name(enum engine_class class);
/* When the keys of BOOT are gone at the latest, CLOCK_REALTIME ms: by its receipt, which came at
 * RECEIPT_MS, or, if the guest runs, by the end of a lease that nobody renews. 0: there is no such time,
 * as of a boot that may still be renewed. */
uint64_t engine_gone_by(const struct store_boot *boot, uint64_t receipt_ms, uint64_t now_real_ms);
/* Whether BOOT may be shredded to try it: it runs under a lease, and nothing else ends it. */
bool engine_may_drill(const struct store_boot *boot, uint64_t now_real_ms);
/* "waiting", "held", "failed", "admitted", "unbounded", "shredding", "superseded", "ending", "ended",
 * "expired", "off". */
const char *engine_state_name(const struct store_boot *boot, uint64_t now_real_ms);
