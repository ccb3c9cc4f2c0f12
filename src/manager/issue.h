/* SPDX-License-Identifier: Apache-2.0 */
/* A signed request with all that bears on it, and the tokens that may follow. */
#pragma once

#include "manager/lease_engine.h"
#include "manager/manager.h"

/* A request and all that the engine wants to know about it. */
struct ask {
	struct http_request *http;
	struct store_boot *boot;
	const struct lease_request *request;
	struct store_workspace workspace;
	struct store_key key;
	struct engine_facts facts; /* points into the rest */
	struct engine_time now;
};

/* ARRIVED_MS 0: now. 0 or the store's error. */
int ask_init(struct manager *manager, struct ask *ask, struct http_request *http,
	     struct store_boot *boot, const struct lease_request *request, bool admitting,
	     uint64_t arrived_ms);

/* Sign, store, reply; 0, or negative errno where nothing was replied. The first lease of a boot ends
 * the VM's others. A verdict is made once: every later question gets the same bytes. So does the
 * retry of a request. Only where their signing key was revoked since are they signed anew. */
int issue_lease(struct manager *manager, struct ask *ask, const struct engine_decision *decision);
int issue_shred(struct manager *manager, struct ask *ask, const struct engine_decision *decision);
int issue_repeat(struct manager *manager, struct ask *ask);
/* A token that is stored. */
void issue_again(struct http_request *http, const uint8_t token[static TOKEN_SIZE]);
/* The store is rolled back: noted, 503. */
void issue_nothing(struct manager *manager, const struct ask *ask);
