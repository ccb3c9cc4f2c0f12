/* SPDX-License-Identifier: Apache-2.0 */
/* What watching a key configuration costs: requests to its KMS, and the VM time they are for. */
#include "manager/tally.h"

#include <errno.h>
#include <stdlib.h>

#include "manager/manager.h"
#include "manager/metrics.h"

#define HOUR_MS 3600000.0

struct row {
	struct row *next;
	int64_t key;
	struct tally_of_key counts;
};

struct tally {
	struct manager *manager;
	struct row *rows;
	uint64_t vm_ms; /* of all, to whole seconds in the metrics */
};

static struct row *find(const struct tally *tally, int64_t key)
{
	for (struct row *row = tally->rows; row; row = row->next) {
		if (row->key == key)
			return row;
	}
	return NULL;
}

/* NULL: out of memory, and the counts are short by that. */
static struct row *find_or_make(struct tally *tally, int64_t key)
{
	struct row *row = find(tally, key);

	if (row)
		return row;
	row = calloc(1, sizeof(*row));
	if (!row)
		return NULL;
	row->key = key;
	row->next = tally->rows;
	tally->rows = row;
	return row;
}

static void count_job(const struct kms_job *job, void *userdata)
{
	struct tally *tally = userdata;
	struct row *row;

	if (job->calls == 0)
		return;
	metrics_add(tally->manager, METRIC_KMS_CALLS + (enum metric)job->purpose, job->calls);
	/* A key configuration that could not be created has no row. */
	row = job->key > 0 ? find_or_make(tally, job->key) : NULL;
	if (row)
		row->counts.calls[job->purpose] += job->calls;
}

int tally_new(struct manager *manager, struct tally **ret_tally)
{
	struct tally *tally = calloc(1, sizeof(*tally));

	if (!tally)
		return -ENOMEM;
	tally->manager = manager;
	kms_pool_set_count(manager->kms, count_job, tally);
	*ret_tally = tally;
	return 0;
}

struct tally *tally_free(struct tally *tally)
{
	if (!tally)
		return NULL;
	while (tally->rows)
		tally_forget(tally, tally->rows->key);
	free(tally);
	return NULL;
}

void tally_vm_time(struct tally *tally, int64_t key, uint64_t vm_ms)
{
	struct row *row = find_or_make(tally, key);
	uint64_t before_s = tally->vm_ms / 1000;

	if (row)
		row->counts.vm_ms += vm_ms;
	tally->vm_ms += vm_ms;
	metrics_add(tally->manager, METRIC_VM_SECONDS, tally->vm_ms / 1000 - before_s);
}

void tally_event(struct tally *tally, int64_t key, uint64_t now_s)
{
	struct row *row = find_or_make(tally, key);

	metrics_count(tally->manager, METRIC_EVENTS);
	if (!row)
		return;
	row->counts.events++;
	row->counts.last_event_s = now_s;
}

struct tally_of_key tally_get(const struct tally *tally, int64_t key)
{
	const struct row *row = find(tally, key);

	return row ? row->counts : (struct tally_of_key){0};
}

void tally_forget(struct tally *tally, int64_t key)
{
	for (struct row **at = &tally->rows; *at; at = &(*at)->next) {
		struct row *row = *at;

		if (row->key != key)
			continue;
		*at = row->next;
		free(row);
		return;
	}
}

double tally_calls_per_vm_hour(const struct tally_of_key *counts)
{
	uint64_t calls = 0;

	for (int i = 0; i < KMS_PURPOSE__MAX; i++)
		calls += counts->calls[i];
	return counts->vm_ms > 0 ? (double)calls * HOUR_MS / (double)counts->vm_ms : 0;
}
