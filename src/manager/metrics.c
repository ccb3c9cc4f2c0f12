/* SPDX-License-Identifier: Apache-2.0 */
/* Counters as Prometheus text (exposition format 0.0.4), without names of tenants. */
#include "manager/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "manager/http_server.h"
#include "manager/leases.h"
#include "manager/manager.h"

static const struct {
	const char *name, *help;
} texts[METRIC__MAX] = {
	[METRIC_CONNECTIONS_REFUSED] = {"connections_refused", "Connections above the limit."},
	[METRIC_REQUESTS_BAD] = {"requests_bad", "Malformed or wrongly signed requests."},
	[METRIC_REQUESTS_LIMITED] = {"requests_limited", "Requests above a rate limit."},
	[METRIC_ADMISSIONS] = {"admissions", "Boots admitted."},
	[METRIC_LEASES] = {"leases", "Leases issued, admissions included."},
	[METRIC_LEASES_WITHHELD] = {"leases_withheld", "Leases withheld for want of evidence."},
	[METRIC_VERDICTS_SHRED] = {"verdicts_shred", "Verdicts to shred."},
	[METRIC_CLONES] = {"clones", "Boots with two holders."},
	[METRIC_SUPERSEDED] = {"superseded", "Admissions that ended an older boot."},
	[METRIC_ENDINGS] = {"endings", "Boots that said that they end in good order."},
	[METRIC_ROLLBACKS] = {"rollbacks", "Workspaces that showed the store to be rolled back."},
	[METRIC_RECEIPTS] = {"receipts", "Receipts verified and stored."},
	[METRIC_PROBES] = {"probes", "Health probes answered."},
	[METRIC_PROBES_FAILED] = {"probes_failed", "Health probes without success."},
	[METRIC_REVOCATIONS] = {"revocations", "Key configurations found revoked."},
	[METRIC_EVENTS] = {"events", "Events of clouds that a probe follows."},
	[METRIC_EVENTS_IGNORED] = {"events_ignored", "Events of clouds that came again, or late."},
	[METRIC_EVENTS_REFUSED] = {"events_refused",
				   "Messages that are no event of a source that is known."},
	[METRIC_KMS_CALLS + KMS_FOR_PROBE] = {"kms_calls_probe", "Requests to KMSes by probes."},
	[METRIC_KMS_CALLS +
		KMS_FOR_ADMISSION] = {"kms_calls_admission", "Requests to KMSes for admissions."},
	[METRIC_KMS_CALLS + KMS_FOR_KEK] = {"kms_calls_kek", "Requests to KMSes for KEKs of DEKs."},
	[METRIC_KMS_CALLS + KMS_FOR_ADMINISTRATION] = {"kms_calls_administration",
						       "Requests to KMSes by administrators."},
	[METRIC_VM_SECONDS] = {"vm_seconds", "Time of VMs under watched keys, in seconds."},
	[METRIC_KEKS_ASKED] = {"keks_asked", "KEKs that a KMS was asked to wrap or unwrap."},
	[METRIC_KEKS_REWRAPPED] = {"keks_rewrapped", "KEKs that a rotation wrapped anew."},
	[METRIC_DEKS_GENERATED] = {"deks_generated", "DEKs made for storage nodes."},
	[METRIC_DEKS_UNWRAPPED] = {"deks_unwrapped", "DEKs unwrapped for storage nodes."},
	[METRIC_DEKS_REWRAPPED] = {"deks_rewrapped", "DEKs put under another KEK."},
	[METRIC_DEKS_REFUSED] = {"deks_refused", "DEK blobs that do not open."},
	[METRIC_DEKS_WITHHELD] = {"deks_withheld", "Requests for DEKs that got none."},
	[METRIC_COMMITS] = {"commits", "Transactions of the store."},
	[METRIC_COMMITS_FAILED] = {"commits_failed", "Transactions that failed."},
};

void metrics_count(struct manager *manager, enum metric metric)
{
	manager->metrics->counts[metric]++;
}

void metrics_add(struct manager *manager, enum metric metric, uint64_t n)
{
	manager->metrics->counts[metric] += n;
}

static void gauge(FILE *out, const char *name, const char *help, uint64_t value)
{
	fprintf(out,
		"# HELP emberlock_%s %s\n# TYPE emberlock_%s gauge\nemberlock_%s %" PRIu64 "\n",
		name, help, name, name, value);
}

int metrics_text(struct manager *manager, char **ret_text)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return -ENOMEM;
	for (int i = 0; i < METRIC__MAX; i++)
		fprintf(out,
			"# HELP emberlock_%s_total %s\n# TYPE emberlock_%s_total counter\n"
			"emberlock_%s_total %" PRIu64 "\n",
			texts[i].name, texts[i].help, texts[i].name, texts[i].name,
			manager->metrics->counts[i]);
	gauge(out, "parked", "Requests that wait.", leases_parked(manager->leases));
	gauge(out, "connections", "Connections of VMs.",
	      http_server_connections(manager->servers[LISTENER_VM]));
	gauge(out, "epoch", "Epoch of the store.", store_epoch(manager->store));
	if (fclose(out) != 0) {
		free(text);
		return -ENOMEM;
	}
	*ret_text = text;
	return 0;
}
