/* SPDX-License-Identifier: Apache-2.0 */
/* Parked requests, and carrying out what lease_engine.h decides about them. */
#pragma once

#include "manager/lease_engine.h"
#include "manager/manager.h"

struct leases;

int leases_new(struct manager *manager, struct leases **ret_leases);
/* After both listeners are gone. */
struct leases *leases_free(struct leases *leases);

/* A signed request of BOOT, with its report (ADMITTING) or without. Answers it now or later. */
void leases_request(struct leases *leases, struct http_request *http, struct store_boot *boot,
		    const struct lease_request *request, bool admitting);

enum leases_scope { LEASES_OF_KEY, LEASES_OF_VM };
/* Something in the store changed: decides anew about parked requests; ID is the key's or VM's row.
 */
void leases_review(struct leases *leases, enum leases_scope scope, int64_t id);

/* A VM, known by a signature, may make reports of new boots rarely, and requests a few a second;
 * false: 429 was answered. */
bool leases_may_report(struct leases *leases, struct http_request *http, int64_t vm,
		       int64_t workspace);
bool leases_may_request(struct leases *leases, struct http_request *http, int64_t vm);

/* From pairing.c: the pair of ADMISSION is over, with CLASS; R negative: the store failed. */
void leases_paired(struct leases *leases, const uint8_t admission[static HASH_SIZE], int r,
		   enum kms_class class);

/* The two clocks that the engine is given. */
struct engine_time leases_time(void);
unsigned leases_parked(const struct leases *leases);
