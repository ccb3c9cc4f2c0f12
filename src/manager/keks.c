/* SPDX-License-Identifier: Apache-2.0 */
/* The KEKs that are unwrapped now, in locked memory. */
#include "manager/keks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "manager/audit.h"
#include "manager/envelope.h"
#include "manager/leases.h"
#include "manager/metrics.h"
#include "manager/prober.h"

struct waiter {
	struct waiter *next;
	kek_done done;
	void (*cancelled)(void *userdata);
	void *userdata;
};

struct fetch {
	struct kms_job job;
	struct keks *keks;
	struct fetch *next;
	struct store_key key;
	struct store_workspace workspace;
	struct kek_wrapped wrapped;
	bool make, stored;
	uint8_t *bytes; /* locked */
	struct prober_answer answer;
	struct waiter *waiters;
};

struct keks {
	struct manager *manager;
	struct kek *held;
	unsigned n_held;
	struct fetch *fetches; /* under way */
	sd_event_source *timer;
};

static uint64_t now_ms(void)
{
	return clock_boottime_ns() / NSEC_PER_MSEC;
}

/* --- those that are held --- */

/* Takes *AT out of the list. */
static void drop(struct keks *keks, struct kek **at)
{
	struct kek *kek = *at;

	*at = kek->next;
	keks->n_held--;
	locked_free(kek->bytes, KEK_SIZE);
	free(kek);
}

static unsigned drop_where(struct keks *keks, bool (*which)(const struct kek *kek, int64_t id),
			   int64_t id)
{
	unsigned n = 0;

	for (struct kek **at = &keks->held; *at;) {
		if (which(*at, id)) {
			drop(keks, at);
			n++;
		} else {
			at = &(*at)->next;
		}
	}
	return n;
}

static bool is_of_key(const struct kek *kek, int64_t id)
{
	return kek->key == id;
}

static bool is_over(const struct kek *kek, int64_t now)
{
	return kek->until_ms <= (uint64_t)now;
}

void keks_drop_key(struct keks *keks, int64_t key)
{
	unsigned n = drop_where(keks, is_of_key, key);

	if (n > 0)
		log_notice("%u KEKs dropped: their CMK is revoked", n);
}

/* Wakes up for the first that ends. */
static void arm(struct keks *keks)
{
	uint64_t next = UINT64_MAX;

	for (const struct kek *k = keks->held; k; k = k->next)
		if (k->until_ms < next)
			next = k->until_ms;
	if (next == UINT64_MAX) {
		sd_event_source_set_enabled(keks->timer, SD_EVENT_OFF);
		return;
	}
	sd_event_source_set_time(keks->timer, next * 1000);
	sd_event_source_set_enabled(keks->timer, SD_EVENT_ONESHOT);
}

static int on_due(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct keks *keks = userdata;

	drop_where(keks, is_over, (int64_t)now_ms());
	arm(keks);
	return 0;
}

static bool is_kek(const struct kek *kek, int64_t workspace, const uint8_t *id)
{
	return kek->workspace == workspace && memcmp(kek->id, id, KEK_ID_SIZE) == 0;
}

const struct kek *kek_find(const struct keks *keks, int64_t workspace, int64_t key,
			   const uint8_t id[static KEK_ID_SIZE], uint64_t now)
{
	for (const struct kek *k = keks->held; k; k = k->next)
		if (is_kek(k, workspace, id))
			return k->key == key && k->until_ms > now + ENGINE_TTL_MIN_MS ? k : NULL;
	return NULL;
}

void keks_drop(struct keks *keks, int64_t workspace, const uint8_t id[static KEK_ID_SIZE])
{
	for (struct kek **at = &keks->held; *at; at = &(*at)->next) {
		if (is_kek(*at, workspace, id)) {
			drop(keks, at);
			return;
		}
	}
}

void keks_rewrapped(struct keks *keks, int64_t workspace, const uint8_t id[static KEK_ID_SIZE],
		    int64_t key, uint64_t start_ms, uint64_t until_ms)
{
	for (struct kek *k = keks->held; k; k = k->next) {
		if (!is_kek(k, workspace, id))
			continue;
		k->key = key;
		k->start_ms = start_ms;
		k->until_ms = until_ms;
		arm(keks);
		return;
	}
}

/* The oldest gives way. */
static void make_room(struct keks *keks)
{
	struct kek **oldest = &keks->held;

	if (keks->n_held < KEKS_MAX)
		return;
	for (struct kek **at = &keks->held; *at; at = &(*at)->next)
		if ((*at)->until_ms < (*oldest)->until_ms)
			oldest = at;
	drop(keks, oldest);
}

/* Takes over the fetch's memory; in place of an older unwrap of the same KEK. */
static int hold(struct keks *keks, struct fetch *fetch)
{
	struct kek *kek = calloc(1, sizeof(*kek));

	if (!kek)
		return -ENOMEM;
	for (struct kek **at = &keks->held; *at; at = &(*at)->next) {
		if (is_kek(*at, fetch->workspace.id, fetch->wrapped.id)) {
			drop(keks, at);
			break;
		}
	}
	make_room(keks);
	*kek = (struct kek){
		.next = keks->held,
		.workspace = fetch->workspace.id,
		.key = fetch->key.id,
		.start_ms = fetch->answer.start_ms,
		.until_ms = fetch->answer.start_ms + fetch->key.max_staleness_ms,
	};
	kek->bytes = TAKE_PTR(fetch->bytes);
	memcpy(kek->id, fetch->wrapped.id, KEK_ID_SIZE);
	keks->held = kek;
	keks->n_held++;
	arm(keks);
	return 0;
}

/* --- the job --- */

static void run_fetch(struct kms_job *base)
{
	struct fetch *fetch = (struct fetch *)base;
	struct engine_time now = leases_time();

	fetch->answer.start_ms = now.boot_ms;
	fetch->answer.start_real_ms = now.real_ms;
	if (fetch->make)
		envelope_kek_make(&fetch->key.kms, fetch->workspace.name, &fetch->wrapped,
				  fetch->bytes, &fetch->answer.outcome);
	else
		envelope_kek_unwrap(&fetch->key.kms, fetch->workspace.name, &fetch->wrapped,
				    fetch->bytes, &fetch->answer.outcome);
}

static int remember(struct fetch *fetch)
{
	struct store_kek row = {.workspace = fetch->workspace.id,
				.wrapped = fetch->wrapped,
				.created_ms = fetch->answer.start_real_ms,
				.generation = fetch->key.generation};
	struct store *store = fetch->keks->manager->store;
	int r;

	if (!fetch->make)
		return 0;
	r = store_kek_insert(store, &row);
	if (r < 0)
		return r;
	log_notice("workspace %s: KEK of use %s, version %u: made", fetch->workspace.name,
		   fetch->wrapped.use, fetch->wrapped.version);
	audit_add_kek(store, &fetch->workspace, &fetch->key, &row, "kek-made");
	return 0;
}

/* The store has another wrapping of it by now, so what the KMS said of the old one counts for nothing. */
static bool was_rewrapped(const struct fetch *fetch)
{
	struct store_kek row;

	return fetch->stored &&
	       store_kek_get(fetch->keks->manager->store, fetch->wrapped.id, &row) == 0 &&
	       (row.wrapped.size != fetch->wrapped.size ||
		memcmp(row.wrapped.blob, fetch->wrapped.blob, row.wrapped.size) != 0);
}

/* What was true when it was asked for may not be any more. */
static int settle(struct fetch *fetch)
{
	struct store *store = fetch->keks->manager->store;
	struct store_workspace workspace;
	struct store_key key;
	int r;

	r = store_workspace_get_by_id(store, fetch->workspace.id, &workspace);
	if (r == 0)
		r = store_key_get_by_id(store, fetch->key.id, &key);
	if (r < 0)
		return r;
	/* What an earlier generation has wrapped must not come once a rotation has begun. */
	if (workspace.key != key.id || key.revoked_ms > 0 ||
	    (fetch->make && key.generation != fetch->key.generation))
		return -ESTALE;
	r = remember(fetch);
	return r < 0 ? r : hold(fetch->keks, fetch);
}

static void forget(struct fetch *fetch)
{
	for (struct fetch **at = &fetch->keks->fetches; *at; at = &(*at)->next) {
		if (*at == fetch) {
			*at = fetch->next;
			return;
		}
	}
}

/* A node chooses what is unwrapped: that a blob is not of the key says nothing of the key. */
static bool says_of_key(enum kms_class class)
{
	return class == KMS_OK || class == KMS_REVOKED_STATE || class == KMS_REVOKED_ACCESS;
}

static void fetch_done(struct kms_job *base)
{
	struct fetch *fetch = (struct fetch *)base;
	struct manager *manager = fetch->keks->manager;
	enum kms_class class = fetch->answer.outcome.class;
	struct waiter *waiters = TAKE_PTR(fetch->waiters);
	int r = class == KMS_OK ? settle(fetch) : was_rewrapped(fetch) ? -ESTALE : 0;

	metrics_count(manager, METRIC_KEKS_ASKED);
	if (class != KMS_OK)
		log_warning("workspace %s: KEK of use %s, version %u: %s (%s)",
			    fetch->workspace.name, fetch->wrapped.use, fetch->wrapped.version,
			    kms_class_name(class), fetch->answer.outcome.code);
	forget(fetch);
	if (says_of_key(class) && r != -ESTALE)
		prober_observe(manager->prober, &fetch->answer);
	while (waiters) {
		struct waiter *waiter = waiters;

		waiters = waiter->next;
		waiter->done(r, class, waiter->userdata);
		free(waiter);
	}
}

static void fetch_free(struct kms_job *base)
{
	struct fetch *fetch = (struct fetch *)base;

	forget(fetch);
	while (fetch->waiters) {
		struct waiter *waiter = fetch->waiters;

		fetch->waiters = waiter->next;
		if (waiter->cancelled)
			waiter->cancelled(waiter->userdata);
		free(waiter);
	}
	locked_free(fetch->bytes, KEK_SIZE);
	free(fetch);
}

/* --- asking --- */

static struct fetch *find_fetch(struct keks *keks, const struct kek_ask *ask)
{
	bool make = bytes_are_zero(ask->wrapped->id, KEK_ID_SIZE);

	for (struct fetch *f = keks->fetches; f; f = f->next) {
		if (f->workspace.id != ask->workspace->id || f->key.id != ask->key->id ||
		    f->make != make || strcmp(f->wrapped.use, ask->wrapped->use) != 0)
			continue;
		/* From a blob and from the store are two: a blob's may be an invention. */
		if (make || (f->stored == ask->stored &&
			     memcmp(f->wrapped.id, ask->wrapped->id, KEK_ID_SIZE) == 0 &&
			     f->wrapped.size == ask->wrapped->size &&
			     memcmp(f->wrapped.blob, ask->wrapped->blob, f->wrapped.size) == 0))
			return f;
	}
	return NULL;
}

static int fetch_start(struct keks *keks, const struct kek_ask *ask, struct fetch **ret_fetch)
{
	struct fetch *fetch = calloc(1, sizeof(*fetch));
	void *bytes;
	int r;

	if (!fetch)
		return -ENOMEM;
	fetch->job = (struct kms_job){.run = run_fetch,
				      .done = fetch_done,
				      .free = fetch_free,
				      .purpose = KMS_FOR_KEK,
				      .key = ask->key->id};
	fetch->keks = keks;
	fetch->key = *ask->key;
	fetch->key.kms.calls = &fetch->job.calls;
	fetch->workspace = *ask->workspace;
	fetch->wrapped = *ask->wrapped;
	fetch->make = bytes_are_zero(ask->wrapped->id, KEK_ID_SIZE);
	fetch->stored = ask->stored;
	fetch->answer.workspace = ask->workspace->id;
	fetch->answer.key = ask->key->id;
	r = locked_new(KEK_SIZE, &bytes);
	if (r < 0) {
		free(fetch);
		return log_errno(-ENOMEM, "cannot lock memory for a KEK (LimitMEMLOCK=)");
	}
	fetch->bytes = bytes;
	r = kms_pool_submit(keks->manager->kms, &fetch->job);
	if (r < 0) {
		fetch_free(&fetch->job);
		return r;
	}
	fetch->next = keks->fetches;
	keks->fetches = fetch;
	*ret_fetch = fetch;
	return 0;
}

int kek_fetch(struct keks *keks, const struct kek_ask *ask)
{
	struct fetch *fetch = find_fetch(keks, ask);
	struct waiter *waiter = NULL;
	int r = 0;

	if (ask->done) {
		waiter = calloc(1, sizeof(*waiter));
		if (!waiter)
			return -ENOMEM;
		*waiter = (struct waiter){
			.done = ask->done, .cancelled = ask->cancelled, .userdata = ask->userdata};
	}
	if (!fetch)
		r = ask->may(ask->userdata) ? fetch_start(keks, ask, &fetch) : -EDQUOT;
	if (r < 0) {
		free(waiter);
		return r;
	}
	if (waiter) {
		waiter->next = fetch->waiters;
		fetch->waiters = waiter;
	}
	return 0;
}

/* --- the whole --- */

int keks_new(struct manager *manager, struct keks **ret_keks)
{
	struct keks *keks = calloc(1, sizeof(*keks));
	int r;

	if (!keks)
		return -ENOMEM;
	keks->manager = manager;
	r = sd_event_add_time(manager->event, &keks->timer, CLOCK_BOOTTIME, 0, 1000, on_due, keks);
	if (r < 0) {
		free(keks);
		return r;
	}
	sd_event_source_set_enabled(keks->timer, SD_EVENT_OFF);
	*ret_keks = keks;
	return 0;
}

struct keks *keks_free(struct keks *keks)
{
	if (!keks)
		return NULL;
	while (keks->held)
		drop(keks, &keks->held);
	sd_event_source_disable_unref(keks->timer);
	free(keks);
	return NULL;
}
