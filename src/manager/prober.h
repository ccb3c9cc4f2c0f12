/* SPDX-License-Identifier: Apache-2.0 */
/* Watches the CMKs: one probe for each workspace with current boots or DEKs, jittered. A success is
 * evidence; a refusal is confirmed, then stored, then told to every boot concerned. */
#pragma once

#include "manager/kms/kms.h"
#include "manager/manager.h"

struct prober;

/* What one answer of a KMS says about a workspace. */
struct prober_answer {
	int64_t workspace, key;
	uint64_t start_ms; /* CLOCK_BOOTTIME when it was asked */
	uint64_t start_real_ms;
	struct kms_outcome outcome;
	bool described; /* the key was described as well: */
	struct kms_outcome description;
};

/* Starts with all workspaces that have current boots. */
int prober_new(struct manager *manager, struct prober **ret_prober);
struct prober *prober_free(struct prober *prober);

/* The workspace has a current boot, or DEKs that are out: probe it now and then, from now on. */
void prober_watch(struct prober *prober, int64_t workspace);

/* A boot of the workspace waits for a lease: there is one more probe, even where no boot seems current
 * by the times in the store (the clock was set; an older store was adopted). */
void prober_want(struct prober *prober, int64_t workspace);

/* Its key changed: evidence is wanted at once. */
void prober_rebound(struct prober *prober, int64_t workspace);

/* Something happened to KEY, it is said: probes of its workspaces are due now, each within its budget. Many
 * events are one probe; where nothing is watched, none. */
void prober_event(struct prober *prober, int64_t key);

/* An answer that somebody else got; a refusal starts a probe at once. */
void prober_observe(struct prober *prober, const struct prober_answer *answer);

/* Evidence for leases: CLOCK_BOOTTIME ms of the start of the last successful unwrap of WORKSPACE's
 * KEK under KEY (0: none), and the state that tokens name. */
uint64_t prober_evidence(const struct prober *prober, int64_t workspace, int64_t key,
			 enum cmk_state *ret_state);
