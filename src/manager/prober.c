/* SPDX-License-Identifier: Apache-2.0 */
/* Watches the CMKs: evidence, confirmation of a refusal, revocation.
 *
 *	unwrap refused by state ──▶ describe, in the same job, agrees ──▶ revoked
 *	unwrap refused by access ─▶ again after 2 s, refused again ─────▶ revoked
 *	all else: evidence ages */
#include "manager/prober.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "manager/audit.h"
#include "manager/deks.h"
#include "manager/envelope.h"
#include "manager/lease_engine.h"
#include "manager/leases.h"
#include "manager/metrics.h"
#include "manager/tally.h"

#define CONFIRM_MS   2000 /* between two refusals of access */
#define EVENT_BURST  4	  /* probes of a workspace that events may start at once, */
#define EVENT_MS     5000 /* and one more every so often */
#define UNHEALTHY_MS 1000 /* the least interval while the last answer was no success */

struct probe {
	struct probe *next;
	struct prober *prober;
	int64_t workspace, key;
	sd_event_source *timer;
	bool running; /* a job is under way */
	bool wanted;  /* somebody saw a refusal, or waits for a lease: probe, whoever has a boot */
	uint64_t evidence_ms; /* CLOCK_BOOTTIME; 0 none */
	uint64_t evidence_real_ms;
	uint64_t refused_ms; /* CLOCK_BOOTTIME of the first refusal by access in a row; 0 none */
	struct kms_outcome last; /* the last answer's */
	bool answered;		 /* there was one */
	bool hurried; /* an event wants a probe: the timer is set for it, or one is under way */
	struct engine_bucket events;
	unsigned n_vms;	   /* current boots when that was last looked at: */
	uint64_t n_vms_ms; /* CLOCK_BOOTTIME */
};

struct prober {
	struct manager *manager;
	struct probe *probes;
};

struct probe_job {
	struct kms_job job;
	struct prober *prober;
	struct kms_key kms;
	char workspace_name[ID_TEXT_MAX + 1];
	struct envelope_kek kek;
	struct prober_answer answer;
};

static uint64_t now_ms(void)
{
	return clock_boottime_ns() / NSEC_PER_MSEC;
}

static struct probe *find(const struct prober *prober, int64_t workspace)
{
	for (struct probe *p = prober->probes; p; p = p->next) {
		if (p->workspace == workspace)
			return p;
	}
	return NULL;
}

static void arm(struct probe *probe, uint64_t delay_ms)
{
	sd_event_source_set_time(probe->timer, (now_ms() + delay_ms) * 1000);
	sd_event_source_set_enabled(probe->timer, SD_EVENT_ONESHOT);
}

/* A tenth either way, so that a thousand workspaces do not ask at once. */
static uint64_t jittered(uint64_t interval_ms)
{
	uint32_t random = 0;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		random = UINT32_MAX / 2;
	return interval_ms - interval_ms / 10 + interval_ms / 5 * random / UINT32_MAX;
}

/* How long until an event may start a probe. */
static uint64_t event_wait(const struct probe *probe)
{
	struct engine_bucket bucket = probe->events;
	uint64_t wait_ms = 0;

	return engine_bucket_take(&bucket, EVENT_BURST, EVENT_MS, now_ms(), &wait_ms) ? 0 : wait_ms;
}

/* A probe is due sooner. A confirmation is due soon anyway, and counts only in its time; who sleeps has
 * nobody to ask for. */
static void hurry(struct probe *probe)
{
	uint64_t at_us = (now_ms() + event_wait(probe)) * 1000, due_us = 0;
	int enabled = SD_EVENT_OFF;

	sd_event_source_get_enabled(probe->timer, &enabled);
	sd_event_source_get_time(probe->timer, &due_us);
	if (enabled == SD_EVENT_OFF || probe->refused_ms > 0)
		return;
	probe->hurried = true;
	if (at_us < due_us)
		sd_event_source_set_time(probe->timer, at_us);
}

/* --- the job --- */

static void run_probe(struct kms_job *base)
{
	struct probe_job *job = (struct probe_job *)base;
	struct prober_answer *answer = &job->answer;
	struct engine_time now = leases_time();

	answer->start_ms = now.boot_ms;
	answer->start_real_ms = now.real_ms;
	envelope_unwrap(&job->kms, job->workspace_name, &job->kek, &answer->outcome);
	if (answer->outcome.class != KMS_REVOKED_STATE)
		return;
	kms_provider_find(job->kms.provider)
		->describe(&job->kms, job->kek.blob, job->kek.size, &answer->description);
	answer->described = true;
}

static void probe_done(struct kms_job *base);

static void free_job(struct kms_job *base)
{
	free(base);
}

/* --- what an answer means --- */

/* The evidence: what the KMS said, when it was asked, and when it last said otherwise. */
static json_t *evidence_json(const struct probe *probe, const struct store_key *key,
			     const struct prober_answer *answer, int n_boots)
{
	const struct kms_outcome *description = &answer->description;

	return json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:I, s:I, s:i}", "key", key->name,
		"provider", key->kms.provider, "key_id", key->kms.key_id, "class",
		kms_class_name(answer->outcome.class), "code", answer->outcome.code, "asked_ms",
		(json_int_t)answer->start_real_ms, "described",
		answer->described ? kms_class_name(description->class) : "not asked",
		"described_code", answer->described ? description->code : "", "refused_for_ms",
		(json_int_t)(probe->refused_ms > 0 ? answer->start_ms - probe->refused_ms : 0),
		"last_evidence_ms", (json_int_t)probe->evidence_real_ms, "boots", n_boots);
}

static void record_revocation(const struct probe *probe, const struct store_key *key,
			      const struct prober_answer *answer)
{
	struct manager *manager = probe->prober->manager;
	const char *code = answer->outcome.code;
	int n;

	n = store_savepoint(manager->store);
	if (n < 0)
		return;
	n = store_key_set_revoked(manager->store, key->id, clock_realtime_s() * 1000, code);
	if (n == 0)
		n = store_boots_end_of_key(manager->store, key->id, REASON_REVOKED);
	if (n >= 0)
		audit_add(manager->store, (struct audit_about){.key = key->id}, "revoked",
			  evidence_json(probe, key, answer, n));
	n = store_settle(manager->store, n);
	if (n < 0) {
		log_errno(n, "key %s: cannot record the revocation", key->name);
		return;
	}
	keks_drop_key(manager->keks, key->id);
	metrics_count(manager, METRIC_REVOCATIONS);
	log_warning("key %s: revoked (%s); %d boots are told to shred", key->name, code, n);
	leases_review(manager->leases, LEASES_OF_KEY, key->id);
	deks_review(manager->deks);
}

static void judge_refusal(struct probe *probe, const struct store_key *key,
			  const struct prober_answer *answer)
{
	/* Where describe is refused as well, a second probe confirms. */
	if (answer->outcome.class == KMS_REVOKED_STATE &&
	    !(answer->described && answer->description.class == KMS_REVOKED_ACCESS)) {
		if (answer->described && answer->description.class == KMS_REVOKED_STATE)
			record_revocation(probe, key, answer);
		return;
	}
	if (probe->refused_ms == 0)
		probe->refused_ms = answer->start_ms;
	else if (answer->start_ms - probe->refused_ms >= CONFIRM_MS && key->kms.proven)
		record_revocation(probe, key, answer);
}

static bool is_refusal(enum kms_class class)
{
	return class == KMS_REVOKED_STATE || class == KMS_REVOKED_ACCESS;
}

static void judge(struct probe *probe, const struct store_key *key,
		  const struct prober_answer *answer)
{
	struct manager *manager = probe->prober->manager;
	enum kms_class class = answer->outcome.class;
	bool was_healthy = probe->answered && probe->last.class == KMS_OK;
	bool was_stale = probe->evidence_ms + key->max_staleness_ms < now_ms() + ENGINE_TTL_MIN_MS;

	if (class != KMS_OK && (!probe->answered || probe->last.class != class))
		log_warning("key %s: %s (%s): %s", key->name, kms_class_name(class),
			    answer->outcome.code, kms_follow_name(kms_follow_of(&answer->outcome)));
	else if (class == KMS_OK && probe->answered && probe->last.class != KMS_OK)
		log_notice("key %s: healthy again", key->name);
	probe->answered = true;
	probe->last = answer->outcome;
	if (is_refusal(class)) {
		judge_refusal(probe, key, answer);
		return;
	}
	probe->refused_ms = 0;
	if (class != KMS_OK)
		return;
	if (answer->start_ms > probe->evidence_ms) {
		probe->evidence_ms = answer->start_ms;
		probe->evidence_real_ms = answer->start_real_ms;
	}
	if (!key->kms.proven ||
	    memcmp(key->kms.proven_by, answer->outcome.by, sizeof(key->kms.proven_by)) != 0)
		store_key_set_proven(manager->store, key->id, answer->outcome.by);
	/* Requests may be waiting for just this. */
	if (!was_healthy || was_stale)
		leases_review(manager->leases, LEASES_OF_KEY, key->id);
}

/* When to ask next. */
static uint64_t next_delay(const struct probe *probe, const struct store_key *key)
{
	uint64_t quick = key->probe_ms / 10 > UNHEALTHY_MS ? key->probe_ms / 10 : UNHEALTHY_MS;

	if (probe->refused_ms > 0)
		return CONFIRM_MS;
	return jittered(probe->last.class == KMS_OK || quick > key->probe_ms ? key->probe_ms
									     : quick);
}

/* What the KMS says of a wrapping that a rotation has replaced is no verdict on the key. */
static bool is_replaced(const struct probe_job *job)
{
	struct store_workspace workspace;

	return store_workspace_get_by_id(job->prober->manager->store, job->answer.workspace,
					 &workspace) == 0 &&
	       (workspace.kek_size != job->kek.size ||
		memcmp(workspace.kek, job->kek.blob, job->kek.size) != 0);
}

static void probe_done(struct kms_job *base)
{
	struct probe_job *job = (struct probe_job *)base;
	struct manager *manager = job->prober->manager;
	struct probe *probe = find(job->prober, job->answer.workspace);
	struct store_key key;

	metrics_count(manager, METRIC_PROBES);
	if (job->answer.outcome.class != KMS_OK)
		metrics_count(manager, METRIC_PROBES_FAILED);
	if (!probe)
		return;
	probe->running = false;
	if (probe->key != job->answer.key ||
	    store_key_get_by_id(manager->store, probe->key, &key) < 0) {
		arm(probe, UNHEALTHY_MS);
		return;
	}
	if (job->answer.outcome.class != KMS_OK && is_replaced(job)) {
		arm(probe, 0);
		return;
	}
	judge(probe, &key, &job->answer);
	arm(probe, next_delay(probe, &key));
	/* It may have been asked before what the event is about. */
	if (probe->hurried)
		hurry(probe);
}

/* --- asking --- */

static int submit(struct probe *probe, const struct store_workspace *workspace,
		  const struct store_key *key)
{
	struct probe_job *job = calloc(1, sizeof(*job));
	int r;

	if (!job)
		return -ENOMEM;
	job->job = (struct kms_job){.run = run_probe,
				    .done = probe_done,
				    .free = free_job,
				    .reserved = true,
				    .purpose = KMS_FOR_PROBE,
				    .key = key->id};
	job->prober = probe->prober;
	job->kms = key->kms;
	job->kms.calls = &job->job.calls;
	memcpy(job->workspace_name, workspace->name, sizeof(job->workspace_name));
	memcpy(job->kek.blob, workspace->kek, workspace->kek_size);
	job->kek.size = workspace->kek_size;
	memcpy(job->kek.check, workspace->kek_check, HASH_SIZE);
	job->answer.workspace = workspace->id;
	job->answer.key = key->id;
	r = kms_pool_submit(probe->prober->manager->kms, &job->job);
	if (r < 0) {
		free(job);
		return r;
	}
	probe->running = true;
	return 0;
}

/* N_VMS are current now; what ran since that was last said is the old key's. */
static void count_vms(struct probe *probe, unsigned n_vms)
{
	uint64_t now = now_ms();

	if (probe->n_vms > 0)
		tally_vm_time(probe->prober->manager->tally, probe->key,
			      probe->n_vms * (now - probe->n_vms_ms));
	probe->n_vms = n_vms;
	probe->n_vms_ms = now;
}

/* Evidence under one key says nothing about another. */
static void set_key(struct probe *probe, int64_t key)
{
	if (probe->key == key)
		return;
	count_vms(probe, probe->n_vms);
	probe->key = key;
	probe->evidence_ms = probe->evidence_real_ms = probe->refused_ms = 0;
	probe->answered = false;
	probe->last = (struct kms_outcome){0};
}

/* Whether somebody may hold keys that depend on the workspace's CMK, or waits for them. */
static bool is_current(struct probe *probe)
{
	const struct manager *manager = probe->prober->manager;
	int n = store_boots_current(manager->store, probe->workspace, clock_realtime_s() * 1000);

	count_vms(probe, n > 0 ? (unsigned)n : 0);
	return n != 0 || deks_current(manager->deks, probe->workspace);
}

static int on_due(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct probe *probe = userdata;
	struct store *store = probe->prober->manager->store;
	struct store_workspace workspace;
	struct store_key key;

	if (probe->running)
		return 0;
	if (probe->hurried)
		engine_bucket_take(&probe->events, EVENT_BURST, EVENT_MS, now_ms(), NULL);
	probe->hurried = false;
	if (store_workspace_get_by_id(store, probe->workspace, &workspace) < 0 ||
	    workspace.key == 0 || store_key_get_by_id(store, workspace.key, &key) < 0)
		return 0;
	set_key(probe, key.id);
	/* Asleep until prober_watch(): a revocation is sticky, and who has no boot or DEK needs no
	 * probe. */
	if (key.revoked_ms > 0)
		count_vms(probe, 0);
	if (key.revoked_ms > 0 || (!is_current(probe) && !probe->wanted))
		return 0;
	probe->wanted = false;
	if (submit(probe, &workspace, &key) < 0)
		arm(probe, UNHEALTHY_MS);
	return 0;
}

static struct probe *probe_new(struct prober *prober, int64_t workspace)
{
	struct probe *probe = calloc(1, sizeof(*probe));

	if (!probe)
		return NULL;
	probe->prober = prober;
	probe->workspace = workspace;
	if (sd_event_add_time(prober->manager->event, &probe->timer, CLOCK_BOOTTIME, 0, 10000,
			      on_due, probe) < 0) {
		free(probe);
		return NULL;
	}
	sd_event_source_set_enabled(probe->timer, SD_EVENT_OFF);
	probe->next = prober->probes;
	prober->probes = probe;
	return probe;
}

void prober_watch(struct prober *prober, int64_t workspace)
{
	struct probe *probe = find(prober, workspace);
	int enabled = SD_EVENT_OFF;

	if (!probe)
		probe = probe_new(prober, workspace);
	if (!probe) {
		log_errno(-ENOMEM, "cannot watch a workspace's key");
		return;
	}
	sd_event_source_get_enabled(probe->timer, &enabled);
	if (!probe->running && enabled == SD_EVENT_OFF)
		arm(probe, 0);
}

void prober_want(struct prober *prober, int64_t workspace)
{
	struct probe *probe;

	prober_watch(prober, workspace);
	probe = find(prober, workspace);
	if (probe)
		probe->wanted = true;
}

void prober_rebound(struct prober *prober, int64_t workspace)
{
	struct probe *probe;

	prober_watch(prober, workspace);
	probe = find(prober, workspace);
	if (probe && !probe->running)
		arm(probe, 0);
}

void prober_event(struct prober *prober, int64_t key)
{
	for (struct probe *p = prober->probes; p; p = p->next) {
		if (p->key != key || p->hurried)
			continue;
		if (p->running)
			p->hurried = true;
		else
			hurry(p);
	}
}

void prober_observe(struct prober *prober, const struct prober_answer *answer)
{
	struct store_workspace workspace;
	struct probe *probe;
	struct store_key key;

	/* Late: what one key says is no evidence of another, nor an end of that one's. */
	if (store_workspace_get_by_id(prober->manager->store, answer->workspace, &workspace) < 0 ||
	    workspace.key != answer->key)
		return;
	prober_watch(prober, answer->workspace);
	probe = find(prober, answer->workspace);
	if (!probe || store_key_get_by_id(prober->manager->store, answer->key, &key) < 0)
		return;
	set_key(probe, answer->key);
	if (is_refusal(answer->outcome.class)) {
		probe->wanted = true;
		if (!probe->running)
			arm(probe, 0);
		return;
	}
	judge(probe, &key, answer);
}

static enum cmk_state state_of(const struct probe *probe)
{
	static const enum cmk_state states[KMS_CLASS__MAX] = {
		[KMS_OK] = CMK_HEALTHY,
		[KMS_REVOKED_STATE] = CMK_UNAVAILABLE, /* not confirmed, or it would be REVOKED */
		[KMS_REVOKED_ACCESS] = CMK_UNAVAILABLE,
		[KMS_IDENTITY] = CMK_IDENTITY,
		[KMS_UNAVAILABLE] = CMK_UNAVAILABLE,
		[KMS_MISCONFIGURED] = CMK_MISCONFIGURED,
		[KMS_CORRUPT] = CMK_MISCONFIGURED,
	};

	return probe->answered ? states[probe->last.class] : CMK_UNKNOWN;
}

uint64_t prober_evidence(const struct prober *prober, int64_t workspace, int64_t key,
			 enum cmk_state *ret_state)
{
	const struct probe *probe = find(prober, workspace);

	if (!probe || probe->key != key) {
		*ret_state = CMK_UNKNOWN;
		return 0;
	}
	*ret_state = state_of(probe);
	return probe->evidence_ms;
}

void operation_key_health(const struct manager *manager, const struct store_key *key,
			  struct key_health *ret_health)
{
	const struct probe *worst = NULL;

	*ret_health = (struct key_health){.state = "unknown", .class = "", .follow = ""};
	for (const struct probe *p = manager->prober->probes; p; p = p->next) {
		if (p->key != key->id || !p->answered)
			continue;
		if (p->evidence_real_ms / 1000 > ret_health->last_evidence_s)
			ret_health->last_evidence_s = p->evidence_real_ms / 1000;
		if (!worst || worst->last.class == KMS_OK)
			worst = p;
	}
	if (worst) {
		ret_health->class = kms_class_name(worst->last.class);
		ret_health->follow = kms_follow_name(kms_follow_of(&worst->last));
		ret_health->state = worst->last.class == KMS_CORRUPT
					    ? "corrupt"
					    : cmk_state_name(state_of(worst));
		if (worst->last.class != KMS_OK)
			memcpy(ret_health->code, worst->last.code, sizeof(ret_health->code));
	}
	if (key->revoked_ms > 0) {
		ret_health->state = "revoked";
		memcpy(ret_health->code, key->revoked_code, sizeof(ret_health->code));
	}
}

static int watch_if_current(const struct store_workspace *workspace, void *userdata)
{
	struct prober *prober = userdata;

	if (workspace->key > 0)
		prober_watch(prober, workspace->id);
	return 0;
}

int prober_new(struct manager *manager, struct prober **ret_prober)
{
	struct prober *prober = calloc(1, sizeof(*prober));
	int r;

	if (!prober)
		return -ENOMEM;
	prober->manager = manager;
	r = store_workspaces(manager->store, watch_if_current, prober);
	if (r < 0) {
		prober_free(prober);
		return r;
	}
	*ret_prober = prober;
	return 0;
}

struct prober *prober_free(struct prober *prober)
{
	if (!prober)
		return NULL;
	while (prober->probes) {
		struct probe *probe = prober->probes;

		prober->probes = probe->next;
		sd_event_source_disable_unref(probe->timer);
		free(probe);
	}
	free(prober);
	return NULL;
}
