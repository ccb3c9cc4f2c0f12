/* SPDX-License-Identifier: Apache-2.0 */
/* What watching a key configuration costs: requests to its KMS, and the VM time they are for.
 *
 * Since the manager's start. VM time is counted from probe to probe, by the boots that are current. */
#pragma once

#include <stdint.h>

#include "manager/kms/kms.h"

struct manager;
struct tally;

struct tally_of_key {
	uint64_t calls[KMS_PURPOSE__MAX]; /* requests, retries too; not to identity providers */
	uint64_t vm_ms;
	uint64_t events;       /* that a probe followed */
	uint64_t last_event_s; /* seconds since 1970; 0 none */
};

/* From then on each job of MANAGER->kms is counted, for its key and in the metrics. */
int tally_new(struct manager *manager, struct tally **ret_tally);
struct tally *tally_free(struct tally *tally);
/* VMs under KEY (a row id) ran for VM_MS together. */
void tally_vm_time(struct tally *tally, int64_t key, uint64_t vm_ms);
/* An event about KEY was good. */
void tally_event(struct tally *tally, int64_t key, uint64_t now_s);
/* Zeroes where nothing was counted. */
struct tally_of_key tally_get(const struct tally *tally, int64_t key);
/* KEY is deleted: another may get its row id. */
void tally_forget(struct tally *tally, int64_t key);

/* The calls of all purposes for an hour of a VM; 0 where no VM ran. */
double tally_calls_per_vm_hour(const struct tally_of_key *counts);
