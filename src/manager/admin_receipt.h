/* SPDX-License-Identifier: Apache-2.0 */
/* A receipt bundle, verified offline from the root key alone:
 *
 *	root key ──▶ set of signing keys ──▶ admitting token ──▶ boot report (admission is its
 *	SHA-256; signed by the VM's key and the boot's) ──▶ receipts, by the boot key, chained
 *
 * A boot that was refused at once has no admitting token: then the verdict ties its report.
 *
 * What it proves is who said what. That the VM did what its agent says is not attested. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/message.h"

#define RECEIPT_BUNDLE_FORMAT "emberlock receipt 1"
#define RECEIPT_BUNDLE_MAX    65536 /* bytes of JSON */
#define RECEIPTS_MAX	      4

/* As the JSON carries it; a record that is absent is all zero. */
struct receipt_bundle {
	uint8_t report[BOOT_REPORT_SIZE];
	uint8_t vm_key[PUBLIC_KEY_SIZE];
	uint8_t token[TOKEN_SIZE];   /* the admitting one; optional */
	uint8_t lease[TOKEN_SIZE];   /* the last lease; optional */
	uint8_t verdict[TOKEN_SIZE]; /* the shred token; optional */
	uint8_t signing_keys[SIGNING_KEYS_SIZE];
	size_t n_receipts;
	uint8_t receipts[RECEIPTS_MAX][RECEIPT_SIZE];
};

/* What the first receipt's "previous" refers to. */
enum receipt_anchor {
	RECEIPT_ANCHOR_NONE,	/* zero: no token was accepted */
	RECEIPT_ANCHOR_VERDICT, /* the shred token */
	RECEIPT_ANCHOR_LEASE,	/* the last lease, or the admitting token */
	RECEIPT_ANCHOR_UNKNOWN, /* a token that the bundle does not hold */
};

struct receipt_proof {
	uint8_t vm_key[PUBLIC_KEY_SIZE];
	uint8_t admission[HASH_SIZE];
	struct signing_keys set;
	struct token token, verdict; /* .verdict 0: there is none */
	struct boot_report report;
	enum receipt_anchor anchor;
	size_t n_receipts;
	struct receipt receipts[RECEIPTS_MAX];
	bool keys_gone; /* every segment of every volume that was ready, and the boot key */
};

/* TEXT is LEN bytes and may hold anything. 0, or -EBADMSG with ERROR naming the member. */
int receipt_bundle_read(const char *text, size_t len, struct receipt_bundle *ret_bundle,
			char error[static 256]);

/* Whether RECEIPT names every segment of every volume that was ready in REPORT; where not, the first
 * that it leaves out. */
bool receipt_covers(const struct boot_report *report, const struct receipt *receipt,
		    const char **ret_volume, unsigned *ret_segment);

/* Whether it says of all of them, and of the boot key, that they are gone. */
bool receipt_says_gone(const struct boot_report *report, const struct receipt *receipt);

/* Every link. 0, or -EBADMSG with ERROR naming the first that does not hold. */
int receipt_bundle_verify(const struct receipt_bundle *bundle,
			  const uint8_t root_public[static PUBLIC_KEY_SIZE],
			  struct receipt_proof *ret_proof, char error[static 256]);

/* What is proven, what the VM says, and what neither shows. */
void receipt_proof_print(const struct receipt_proof *proof, FILE *to);
