/* SPDX-License-Identifier: Apache-2.0 */
/* emberlock-admin drill: boots of a workspace are chosen and told to shred; the manager's audit log says what
 * became of each; their receipts are verified; a report.
 *
 *	fleet ─▶ choose ─▶ ask ─▶ tell ─▶ follow the log ─▶ verify ─▶ print
 *
 * Times are the manager's, CLOCK_REALTIME ms; 0: it has not happened. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/limits.h"
#include "manager/admin_cli.h"

enum drill_receipt {
	DRILL_RECEIPT_NONE,	/* there is none */
	DRILL_RECEIPT_VERIFIED, /* of this drill, from the root key; every key is gone */
	DRILL_RECEIPT_NOT_GONE, /* the same, but it does not say that */
	DRILL_RECEIPT_OTHER,	/* it verifies, but follows another verdict, or none */
	DRILL_RECEIPT_BROKEN,	/* it does not verify */
	DRILL_RECEIPT__MAX
};

struct drill_boot {
	char vm[ID_TEXT_MAX + 1];
	char admission[2 * HASH_SIZE + 1];
	bool refused; /* it was not told: the manager would not */

	/* What the log says. */
	uint64_t told_ms;    /* T1: the manager took the order */
	uint64_t verdict_ms; /* the signed verdict was given out */
	uint64_t receipt_ms; /* the first receipt came */
	uint64_t gone_ms;    /* one came that says that every key is gone: so T3 was before */
	uint64_t closing_ms; /* the closing one came: the last that is heard of it */
	uint64_t again_ms;   /* its VM was admitted again: so T4 was before */
	char ended[32];	     /* the class it was in when its lease ended without a receipt; "" */
	uint64_t waited_ms;  /* since when its closing receipt is due; CLOCK_BOOTTIME */

	/* What the receipt says. */
	enum drill_receipt receipt;
	char broken[256]; /* why it does not verify */
	bool measured;
	uint64_t wipe_us; /* where .measured: from T2 to T3, by the VM's own clock */
};

struct drill {
	const struct admin_call *call;
	const char *workspace;
	uint8_t root_public[PUBLIC_KEY_SIZE];
	size_t n_live; /* boots that could be chosen */
	struct drill_boot *boots;
	size_t n;
	uint64_t next; /* record of the log to go on with */
};

/* All below: 0, or a negative errno after it has been said why on standard error. */

/* Until nothing more can be heard of any boot that was told: its closing receipt came, or the time for that
 * is over, or its lease. Says how far they are on standard error. */
int drill_follow(struct drill *drill);

/* Each receipt, from the root key. */
int drill_verify(struct drill *drill);

/* The report. 0 only where each boot left a receipt of this drill that verifies, with every key gone. */
int drill_report(const struct drill *drill);
