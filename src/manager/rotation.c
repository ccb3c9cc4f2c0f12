/* SPDX-License-Identifier: Apache-2.0 */
/* Rotation of CMKs: KEKs wrapped anew in the background. */
#include "manager/rotation.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "manager/audit.h"
#include "manager/envelope.h"
#include "manager/leases.h"
#include "manager/metrics.h"
#include "manager/prober.h"

#define JOBS_AT_ONCE 3	/* of the pool's workers; the others are left to requests */
#define BATCH	     32 /* looked up at once */
#define DELAY_MIN_MS 1000
#define DELAY_MAX_MS 60000

/* A rotation that is under way: pass after pass over what is left, until nothing is. */
struct round {
	struct round *next;
	struct rotation *rotation;
	int64_t key;
	sd_event_source *timer; /* of the next pass, where this one missed something */
	int64_t workspace;	/* the last one that this pass has taken; INT64_MAX: all */
	uint8_t kek[KEK_ID_SIZE];
	struct rewrap *batch; /* taken, and not begun */
	unsigned running;
	bool held_up;  /* nothing more is begun in this pass */
	bool missed;   /* something of this pass was not wrapped anew */
	uint64_t wait; /* ms before the next pass */
	char trouble[160];
};

struct rotation {
	struct manager *manager;
	struct round *rounds;
};

/* One KEK: of a workspace's health, or of DEKs. */
struct rewrap {
	struct kms_job job;
	struct round *round;
	struct rewrap *next;
	struct store_key key;
	struct store_workspace workspace;
	struct store_kek kek;
	bool health;
	struct envelope_kek wrapped; /* of health */
	struct prober_answer answer;
};

static void step(struct round *round);

static struct round *find(const struct rotation *rotation, int64_t key)
{
	for (struct round *r = rotation->rounds; r; r = r->next)
		if (r->key == key)
			return r;
	return NULL;
}

/* --- a KEK is wrapped anew --- */

static void run_rewrap(struct kms_job *base)
{
	struct rewrap *rewrap = (struct rewrap *)base;
	const struct kms_key *kms = &rewrap->key.kms;
	const char *workspace = rewrap->workspace.name;
	struct engine_time now = leases_time();
	struct envelope_kek old;

	rewrap->answer.start_ms = now.boot_ms;
	rewrap->answer.start_real_ms = now.real_ms;
	if (!rewrap->health) {
		envelope_kek_move(kms, workspace, kms, &rewrap->kek.wrapped,
				  &rewrap->answer.outcome);
		return;
	}
	memcpy(old.blob, rewrap->workspace.kek, rewrap->workspace.kek_size);
	old.size = rewrap->workspace.kek_size;
	memcpy(old.check, rewrap->workspace.kek_check, HASH_SIZE);
	envelope_make(kms, workspace, kms, &old, &rewrap->wrapped, &rewrap->answer.outcome);
}

static int store_health(struct store *store, const struct rewrap *rewrap,
			struct store_workspace *workspace)
{
	memcpy(workspace->kek, rewrap->wrapped.blob, rewrap->wrapped.size);
	workspace->kek_size = rewrap->wrapped.size;
	memcpy(workspace->kek_check, rewrap->wrapped.check, HASH_SIZE);
	workspace->kek_generation = rewrap->key.generation;
	return store_workspace_bind(store, workspace);
}

/* -ESTALE: what was true when it was begun is not any more. */
static int settle(struct rewrap *rewrap)
{
	struct store *store = rewrap->round->rotation->manager->store;
	struct store_workspace workspace;
	struct store_key key;
	int r;

	r = store_workspace_get_by_id(store, rewrap->workspace.id, &workspace);
	if (r == 0)
		r = store_key_get_by_id(store, rewrap->key.id, &key);
	if (r < 0)
		return r;
	if (workspace.key != key.id || key.revoked_ms > 0 ||
	    key.generation != rewrap->key.generation)
		return -ESTALE;
	if (rewrap->health)
		return store_health(store, rewrap, &workspace);
	rewrap->kek.generation = key.generation;
	r = store_kek_set_wrapped(store, &rewrap->kek.wrapped, key.generation);
	if (r == 0)
		audit_add_kek(store, &workspace, &key, &rewrap->kek, "kek-rewrapped");
	return r;
}

static void hold_up(struct round *round, const char *trouble)
{
	round->held_up = round->missed = true;
	snprintf(round->trouble, sizeof(round->trouble), "%s", trouble);
}

/* A record that does not open must not keep the others back. */
static void note_refusal(struct rewrap *rewrap)
{
	const struct kms_outcome *outcome = &rewrap->answer.outcome;
	struct round *round = rewrap->round;
	char trouble[160];

	snprintf(trouble, sizeof(trouble), "workspace %.63s: %s (%.60s)", rewrap->workspace.name,
		 kms_class_name(outcome->class), outcome->code);
	log_warning("key %s: a KEK cannot be wrapped anew: %s", rewrap->key.name, trouble);
	hold_up(round, trouble);
	if (outcome->class == KMS_CORRUPT)
		round->held_up = false;
	if (outcome->class == KMS_REVOKED_STATE || outcome->class == KMS_REVOKED_ACCESS)
		prober_observe(round->rotation->manager->prober, &rewrap->answer);
}

static void rewrap_done(struct kms_job *base)
{
	struct rewrap *rewrap = (struct rewrap *)base;
	struct round *round = rewrap->round;
	int r;

	round->running--;
	if (rewrap->answer.outcome.class != KMS_OK) {
		note_refusal(rewrap);
		step(round);
		return;
	}
	r = settle(rewrap);
	if (r == 0) {
		metrics_count(round->rotation->manager, METRIC_KEKS_REWRAPPED);
		round->wait = DELAY_MIN_MS;
	} else if (r == -ESTALE || r == -ENOENT) {
		round->missed = true;
	} else {
		hold_up(round, "the store fails");
	}
	step(round);
}

static void rewrap_free(struct kms_job *base)
{
	free(base);
}

/* --- what is next --- */

struct batch {
	struct round *round;
	const struct store_key *key;
	struct rewrap **last;
};

static struct rewrap *batch_add(struct batch *batch)
{
	struct rewrap *rewrap = calloc(1, sizeof(*rewrap));

	if (!rewrap)
		return NULL;
	rewrap->job = (struct kms_job){.run = run_rewrap,
				       .done = rewrap_done,
				       .free = rewrap_free,
				       .purpose = KMS_FOR_ADMINISTRATION,
				       .key = batch->key->id};
	rewrap->round = batch->round;
	rewrap->key = *batch->key;
	rewrap->key.kms.calls = &rewrap->job.calls;
	rewrap->answer.key = batch->key->id;
	*batch->last = rewrap;
	batch->last = &rewrap->next;
	return rewrap;
}

static int take_workspace(const struct store_workspace *workspace, void *userdata)
{
	struct batch *batch = userdata;
	struct rewrap *rewrap = batch_add(batch);

	if (!rewrap)
		return -ENOMEM;
	rewrap->health = true;
	rewrap->workspace = *workspace;
	rewrap->answer.workspace = workspace->id;
	batch->round->workspace = workspace->id;
	return 0;
}

static int take_kek(const struct store_kek *kek, void *userdata)
{
	struct batch *batch = userdata;
	struct rewrap *rewrap = batch_add(batch);

	if (!rewrap)
		return -ENOMEM;
	rewrap->kek = *kek;
	rewrap->answer.workspace = kek->workspace;
	memcpy(batch->round->kek, kek->wrapped.id, KEK_ID_SIZE);
	return 0;
}

/* Their names, once the walk is over: a statement is walked once at a time. */
static int name_workspaces(struct round *round)
{
	struct store *store = round->rotation->manager->store;
	int r = 0;

	for (struct rewrap *w = round->batch; r == 0 && w; w = w->next)
		if (!w->health)
			r = store_workspace_get_by_id(store, w->kek.workspace, &w->workspace);
	return r;
}

static int fill(struct round *round, const struct store_key *key)
{
	struct store *store = round->rotation->manager->store;
	struct batch batch = {round, key, &round->batch};
	int r = 0;

	if (round->workspace < INT64_MAX)
		r = store_workspaces_to_wrap(store, key->id, key->generation, round->workspace,
					     BATCH, take_workspace, &batch);
	if (r < 0 || round->batch)
		return r;
	round->workspace = INT64_MAX;
	r = store_keks_to_wrap(store, key->id, key->generation, round->kek, BATCH, take_kek,
			       &batch);
	return r < 0 ? r : name_workspaces(round);
}

static void batch_free(struct round *round)
{
	while (round->batch) {
		struct rewrap *rewrap = round->batch;

		round->batch = rewrap->next;
		free(rewrap);
	}
}

/* False where nothing was begun. */
static bool begin_rewrap(struct round *round, const struct store_key *key)
{
	struct rewrap *rewrap;

	if (!round->batch && fill(round, key) < 0) {
		batch_free(round);
		hold_up(round, "the store fails");
	}
	rewrap = round->batch;
	if (!rewrap || round->held_up)
		return false;
	if (kms_pool_submit(round->rotation->manager->kms, &rewrap->job) < 0) {
		hold_up(round, "too much waits for the KMS");
		return false;
	}
	round->batch = rewrap->next;
	round->running++;
	return true;
}

/* --- workspaces that go to another key configuration --- */

static void moved(int r, const char *message, void *userdata)
{
	struct round *round = userdata;

	round->running--;
	if (r == -ECANCELED)
		return;
	if (r < 0) {
		log_warning("a workspace cannot go to another key: %s", message);
		hold_up(round, message);
	} else {
		round->wait = DELAY_MIN_MS;
	}
	step(round);
}

static int take_name(const struct store_workspace *workspace, void *userdata)
{
	*(struct store_workspace *)userdata = *workspace;
	return 0;
}

static bool begin_move(struct round *round, const struct store_key *key)
{
	struct manager *manager = round->rotation->manager;
	struct store_workspace workspace = {0};
	struct store_key successor;
	int r;

	if (round->running > 0)
		return false;
	r = store_key_get_by_id(manager->store, key->successor, &successor);
	if (r == 0)
		r = store_workspaces_to_wrap(manager->store, key->id, UINT32_MAX, round->workspace,
					     1, take_name, &workspace);
	if (r == 0 && workspace.id == 0)
		return false;
	if (r == 0) {
		round->workspace = workspace.id;
		r = operation_workspace_bind(manager, workspace.name, successor.name, moved, round);
	}
	if (r < 0) {
		hold_up(round, r == -EKEYREJECTED ? "one of the two keys is revoked"
			       : r == -EAGAIN	  ? "too much waits for the KMS"
						  : "the store fails");
		return false;
	}
	round->running++;
	return true;
}

/* --- passes --- */

static void round_free(struct round *round)
{
	for (struct round **at = &round->rotation->rounds; *at; at = &(*at)->next) {
		if (*at == round) {
			*at = round->next;
			break;
		}
	}
	batch_free(round);
	sd_event_source_disable_unref(round->timer);
	free(round);
}

static void begin_pass(struct round *round)
{
	batch_free(round);
	round->workspace = 0;
	memset(round->kek, 0, sizeof(round->kek));
	round->held_up = round->missed = false;
}

static void arm(struct round *round, uint64_t delay_ms)
{
	uint64_t now_ms = clock_boottime_ns() / NSEC_PER_MSEC;

	sd_event_source_set_time(round->timer, (now_ms + delay_ms) * 1000);
	sd_event_source_set_enabled(round->timer, SD_EVENT_ONESHOT);
}

static void wait_for_pass(struct round *round)
{
	arm(round, round->wait);
	round->wait = round->wait * 2 < DELAY_MAX_MS ? round->wait * 2 : DELAY_MAX_MS;
}

static void finish(struct round *round, const struct store_key *key)
{
	struct store *store = round->rotation->manager->store;
	struct store_key successor = {0};
	struct store_key_keks keks;
	uint64_t now_ms = leases_time().real_ms;
	int r;

	r = store_key_count_keks(store, key, &keks);
	/* Some came, or were bound, behind this pass. */
	if (r == 0 && (key->successor ? keks.n : keks.left) > 0) {
		begin_pass(round);
		arm(round, 0);
		return;
	}
	if (r == 0 && key->successor)
		r = store_key_get_by_id(store, key->successor, &successor);
	if (r == 0)
		r = store_key_rotated(store, key->id, now_ms);
	if (r < 0) {
		hold_up(round, "the store fails");
		wait_for_pass(round);
		return;
	}
	audit_add(store, (struct audit_about){.key = key->id}, "key-rotated",
		  json_pack("{s:s, s:I, s:s, s:I, s:i}", "key", key->name, "generation",
			    (json_int_t)key->generation, "to", successor.name, "began_ms",
			    (json_int_t)key->rotation_ms, "keks", (int)keks.n));
	log_notice("key %s: the rotation is complete", key->name);
	round_free(round);
}

/* Whether a rotation is under way at all, and may go on. ROUND is gone where it is not. */
static bool may_go_on(struct round *round, struct store_key *ret_key)
{
	int r = store_key_get_by_id(round->rotation->manager->store, round->key, ret_key);

	if ((r == 0 && ret_key->rotation_ms == 0) || r == -ENOENT) {
		if (round->running == 0)
			round_free(round);
		return false;
	}
	if (r < 0)
		hold_up(round, "the store fails");
	else if (ret_key->revoked_ms > 0)
		hold_up(round, "the key is revoked");
	return true;
}

static void step(struct round *round)
{
	struct store_key key;

	if (!may_go_on(round, &key))
		return;
	while (!round->held_up && round->running < JOBS_AT_ONCE)
		if (!(key.successor ? begin_move(round, &key) : begin_rewrap(round, &key)))
			break;
	if (round->running > 0)
		return;
	if (round->missed)
		wait_for_pass(round);
	else
		finish(round, &key);
}

static int on_due(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct round *round = userdata;

	if (round->running > 0)
		return 0;
	begin_pass(round);
	step(round);
	return 0;
}

static struct round *round_new(struct rotation *rotation, int64_t key)
{
	struct round *round = calloc(1, sizeof(*round));

	if (!round)
		return NULL;
	round->rotation = rotation;
	round->key = key;
	round->wait = DELAY_MIN_MS;
	if (sd_event_add_time(rotation->manager->event, &round->timer, CLOCK_BOOTTIME, 0, 1000,
			      on_due, round) < 0) {
		free(round);
		return NULL;
	}
	sd_event_source_set_enabled(round->timer, SD_EVENT_OFF);
	round->next = rotation->rounds;
	rotation->rounds = round;
	return round;
}

void rotation_wake(struct rotation *rotation, int64_t key)
{
	struct round *round = find(rotation, key);

	if (!round)
		round = round_new(rotation, key);
	if (!round) {
		log_errno(-ENOMEM, "a rotation waits for the next start of the manager");
		return;
	}
	round->wait = DELAY_MIN_MS;
	/* The jobs that are under way belong to what was before. */
	if (round->running > 0)
		round->held_up = round->missed = true;
	else
		arm(round, 0);
}

const char *rotation_trouble(const struct rotation *rotation, int64_t key)
{
	const struct round *round = find(rotation, key);

	return round && round->missed ? round->trouble : "";
}

static int go_on(const struct store_key *key, void *userdata)
{
	if (key->rotation_ms > 0)
		rotation_wake(userdata, key->id);
	return 0;
}

int rotation_new(struct manager *manager, struct rotation **ret_rotation)
{
	struct rotation *rotation = calloc(1, sizeof(*rotation));
	int r;

	if (!rotation)
		return -ENOMEM;
	rotation->manager = manager;
	r = store_keys(manager->store, go_on, rotation);
	if (r < 0) {
		rotation_free(rotation);
		return r;
	}
	*ret_rotation = rotation;
	return 0;
}

struct rotation *rotation_free(struct rotation *rotation)
{
	if (!rotation)
		return NULL;
	while (rotation->rounds)
		round_free(rotation->rounds);
	free(rotation);
	return NULL;
}
