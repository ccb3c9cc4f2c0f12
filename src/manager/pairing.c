/* SPDX-License-Identifier: Apache-2.0 */
/* The KMS pair of an admission. */
#include "manager/pairing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "manager/envelope.h"
#include "manager/leases.h"
#include "manager/prober.h"

struct pair_job {
	struct kms_job job;
	struct manager *manager;
	struct kms_key kms;
	uint8_t admission[HASH_SIZE];
	char workspace_name[ID_TEXT_MAX + 1], vm_name[ID_TEXT_MAX + 1];
	char boot[2 * BOOT_ID_SIZE + 1];
	struct envelope_kek kek;
	struct prober_answer answer; /* of the unwrap, or of the pair where only that failed */
	uint8_t blob[KMS_BLOB_MAX];
	size_t blob_size;
	struct envelope_requests requests;
	bool bound; /* the boot asks for a share */
	uint8_t bind_key[BIND_KEY_SIZE];
	struct bind_share share;
};

static void run_pair(struct kms_job *base)
{
	struct pair_job *job = (struct pair_job *)base;
	struct prober_answer *answer = &job->answer;
	struct engine_time now = leases_time();
	const struct envelope_boot boot = {
		.workspace = job->workspace_name,
		.vm = job->vm_name,
		.boot = job->boot,
		.admission = job->admission,
		.bind_key = job->bound ? job->bind_key : NULL,
	};
	struct kms_outcome outcome;

	answer->start_ms = now.boot_ms;
	answer->start_real_ms = now.real_ms;
	envelope_unwrap(&job->kms, job->workspace_name, &job->kek, &answer->outcome);
	if (answer->outcome.class != KMS_OK)
		return;
	envelope_pair(&job->kms, &boot, job->blob, &job->blob_size, &job->requests, &job->share,
		      &outcome);
	if (outcome.class != KMS_OK)
		answer->outcome = outcome;
}

static int record(const struct pair_job *job)
{
	struct store *store = job->manager->store;
	uint8_t share[BIND_SHARE_RECORD_SIZE];
	struct store_workspace workspace;
	struct store_boot boot;
	int r;

	r = store_boot_get(store, job->admission, &boot);
	if (r == 0)
		r = store_workspace_get_by_id(store, boot.workspace, &workspace);
	if (r < 0)
		return r;
	/* Bound to another key meanwhile: the pair is made again, under that one. And a share that may
	 * have been given stays. */
	if (workspace.key != job->answer.key || boot.paired)
		return 0;
	boot.paired = true;
	bind_share_encode(&job->share, share);
	r = store_boot_update(store, &boot);
	return r < 0 ? r
		     : store_boot_set_pair(store, job->admission, job->blob, job->blob_size,
					   job->requests.encrypt, job->requests.decrypt,
					   job->bound ? share : NULL);
}

static void pair_done(struct kms_job *base)
{
	struct pair_job *job = (struct pair_job *)base;
	enum kms_class class = job->answer.outcome.class;
	int r = class == KMS_OK ? record(job) : 0;

	prober_observe(job->manager->prober, &job->answer);
	leases_paired(job->manager->leases, job->admission, r, class);
}

static void pair_free(struct kms_job *base)
{
	free(base);
}

int pairing_start(struct manager *manager, const struct store_boot *boot,
		  const struct store_workspace *workspace, const struct store_key *key)
{
	struct pair_job *job;
	struct boot_report report;
	int r;

	r = boot_report_decode(boot->report, sizeof(boot->report), &report);
	if (r < 0)
		return r;
	job = calloc(1, sizeof(*job));
	if (!job)
		return -ENOMEM;
	job->job = (struct kms_job){.run = run_pair,
				    .done = pair_done,
				    .free = pair_free,
				    .purpose = KMS_FOR_ADMISSION,
				    .key = key->id};
	job->manager = manager;
	job->kms = key->kms;
	job->kms.calls = &job->job.calls;
	memcpy(job->admission, boot->admission, HASH_SIZE);
	memcpy(job->workspace_name, workspace->name, sizeof(job->workspace_name));
	memcpy(job->vm_name, boot->vm_name, sizeof(job->vm_name));
	hex_encode(report.boot_id, BOOT_ID_SIZE, job->boot);
	job->bound = report.bound != 0;
	memcpy(job->bind_key, boot->bind_key, BIND_KEY_SIZE);
	memcpy(job->kek.blob, workspace->kek, workspace->kek_size);
	job->kek.size = workspace->kek_size;
	memcpy(job->kek.check, workspace->kek_check, HASH_SIZE);
	job->answer.workspace = workspace->id;
	job->answer.key = key->id;
	r = kms_pool_submit(manager->kms, &job->job);
	if (r < 0)
		free(job);
	return r;
}
