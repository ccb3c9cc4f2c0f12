/* SPDX-License-Identifier: Apache-2.0 */
/* Counters, without names of tenants. */
#pragma once

#include <stdint.h>

#include "manager/kms/kms.h"

struct manager;

enum metric {
	METRIC_CONNECTIONS_REFUSED,
	METRIC_REQUESTS_BAD,	 /* malformed, or wrongly signed */
	METRIC_REQUESTS_LIMITED, /* 429 */
	METRIC_ADMISSIONS,
	METRIC_LEASES,		/* admissions too */
	METRIC_LEASES_WITHHELD, /* evidence too old */
	METRIC_VERDICTS_SHRED,
	METRIC_CLONES,
	METRIC_SUPERSEDED,
	METRIC_ENDINGS,
	METRIC_ROLLBACKS,
	METRIC_RECEIPTS,
	METRIC_PROBES,
	METRIC_PROBES_FAILED,
	METRIC_REVOCATIONS,
	METRIC_EVENTS,	       /* that a probe follows */
	METRIC_EVENTS_IGNORED, /* sent again, or old */
	METRIC_EVENTS_REFUSED,
	METRIC_KMS_CALLS, /* the first of KMS_PURPOSE__MAX, in that order */
	METRIC_KMS_CALLS_LAST = METRIC_KMS_CALLS + KMS_PURPOSE__MAX - 1,
	METRIC_VM_SECONDS,
	METRIC_KEKS_ASKED, /* of a KMS: unwrapped or made, or not */
	METRIC_KEKS_REWRAPPED,
	METRIC_DEKS_GENERATED,
	METRIC_DEKS_UNWRAPPED,
	METRIC_DEKS_REWRAPPED,
	METRIC_DEKS_REFUSED,  /* a blob that does not open */
	METRIC_DEKS_WITHHELD, /* a request: revoked, or no evidence */
	METRIC_COMMITS,
	METRIC_COMMITS_FAILED,
	METRIC__MAX
};

struct metrics {
	uint64_t counts[METRIC__MAX];
};

void metrics_count(struct manager *manager, enum metric metric);
void metrics_add(struct manager *manager, enum metric metric, uint64_t n);
