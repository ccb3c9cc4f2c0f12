/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of storage nodes for DEKs. */
#include "manager/deks.h"

#include <errno.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "manager/audit.h"
#include "manager/dek_engine.h"
#include "manager/lease_engine.h"
#include "manager/metrics.h"
#include "manager/prober.h"
#include "manager/rate.h"
#include "manager/routes_storage.h"

#define RETRY_S	  5
#define AGAIN_MAX 5 /* a workspace does not change more often while one request waits */

/* Until when DEKs of a workspace may be out. */
struct out {
	struct out *next;
	int64_t workspace;
	uint64_t until_ms; /* CLOCK_BOOTTIME */
};

/* A node that wants to hear at once that it may have no more. */
struct watch {
	struct watch *next;
	struct deks *deks;
	struct http_request *http; /* with a reference */
	int64_t node;
	uint64_t due_ms; /* CLOCK_BOOTTIME */
};

struct deks {
	struct watch *watches;
	sd_event_source *timer; /* of the watch that is due first */
	struct manager *manager;
	struct rates *rates;
	struct dek_scratch *scratch; /* locked */
	struct dek_request *parked;
	struct out *outs;
};

/* All that bears on a request, looked up each time it is looked at. */
struct view {
	struct dek_request *request; /* NULL of a watch */
	struct http_request *http;
	struct deks *deks;
	struct store_node node;
	struct store_workspace workspace;
	struct store_key key;
	uint64_t now_ms;
	uint64_t evidence_ms;
};

static uint64_t now_ms(void)
{
	return clock_boottime_ns() / NSEC_PER_MSEC;
}

/* --- which DEKs are out --- */

static struct out *find_out(const struct deks *deks, int64_t workspace)
{
	for (struct out *o = deks->outs; o; o = o->next)
		if (o->workspace == workspace)
			return o;
	return NULL;
}

bool deks_current(const struct deks *deks, int64_t workspace)
{
	const struct out *out = find_out(deks, workspace);

	return out && out->until_ms > now_ms();
}

static int note_out(struct deks *deks, int64_t workspace, uint64_t until_ms)
{
	struct out *out = find_out(deks, workspace);

	if (!out) {
		out = calloc(1, sizeof(*out));
		if (!out)
			return -ENOMEM;
		out->workspace = workspace;
		out->next = deks->outs;
		deks->outs = out;
	}
	if (out->until_ms < until_ms)
		out->until_ms = until_ms;
	prober_watch(deks->manager->prober, workspace);
	return 0;
}

/* --- refusals of a whole request --- */

static void withhold(const struct view *view, enum dek_action action)
{
	static const struct {
		unsigned status;
		const char *code, *words;
	} table[DEK_ACTION__MAX] = {
		[DEK_UNBOUND] = {409, "unbound", "is bound to no key"},
		[DEK_REVOKED] = {403, "revoked", "its key is revoked"},
		[DEK_FROZEN] = {503, "rolled-back", "the store is rolled back"},
		[DEK_STALE] = {503, "evidence", "its key gave no proof of health for too long"},
	};
	struct http_request *http = view->http;
	const char *name = view->workspace.name;

	metrics_count(view->deks->manager, METRIC_DEKS_WITHHELD);
	if (table[action].status == 503)
		http_reply_retry(http, 503, RETRY_S, table[action].code, "workspace %s: %s", name,
				 table[action].words);
	else
		http_reply_error(http, table[action].status, table[action].code, "workspace %s: %s",
				 name, table[action].words);
}

static void reply_store_error(const struct view *view)
{
	http_reply_retry(view->http, 503, RETRY_S, "store", "the store does not answer");
}

/* Fills VIEW; false where the request has been answered. */
static bool look(struct view *view)
{
	struct manager *manager = view->deks->manager;
	struct dek_facts facts = {0};
	enum cmk_state state;
	enum dek_action action;
	int r;

	if (storage_node_of(view->http, &view->node) < 0)
		return false;
	r = store_workspace_get_by_id(manager->store, view->node.workspace, &view->workspace);
	if (r == 0 && view->workspace.key > 0) {
		r = store_key_get_by_id(manager->store, view->workspace.key, &view->key);
		facts.key = &view->key;
	}
	if (r < 0) {
		reply_store_error(view);
		return false;
	}
	view->now_ms = now_ms();
	view->evidence_ms =
		prober_evidence(manager->prober, view->workspace.id, view->workspace.key, &state);
	facts.frozen = view->workspace.rolled_back.epoch != 0;
	facts.evidence_ms = view->evidence_ms;
	action = dek_decide(&facts, view->now_ms).action;
	/* Evidence may come with a KEK. */
	if (action == DEK_GRANT || action == DEK_STALE)
		return true;
	withhold(view, action);
	return false;
}

/* --- what a request needs --- */

static bool may_ask(void *userdata)
{
	const struct dek_need *need = userdata;
	const struct dek_request *request = need->request;
	struct rates *rates = request->deks->rates;
	unsigned wait_s;

	return rate_take_both(rates, RATE_NODE_KEK, request->node, RATE_WORKSPACE_KEK,
			      request->workspace, now_ms(), &wait_s);
}

static void proceed(struct dek_request *request);

static void unpark(struct dek_request *request)
{
	for (struct dek_request **at = &request->deks->parked; *at; at = &(*at)->next) {
		if (*at == request) {
			*at = request->next;
			return;
		}
	}
}

static void on_fetched(int r, enum kms_class class, void *userdata)
{
	struct dek_need *need = userdata;
	struct dek_request *request = need->request;

	need->r = r;
	need->class = class;
	request->stale = request->stale || r == -ESTALE;
	if (--request->pending > 0)
		return;
	unpark(request);
	proceed(request);
}

static void fetch(const struct view *view, struct dek_need *need)
{
	const struct kek_ask ask = {
		.workspace = &view->workspace,
		.key = &view->key,
		.wrapped = &need->wrapped,
		.stored = need->stored,
		.may = may_ask,
		.done = on_fetched,
		.userdata = need,
	};

	need->asked = true;
	need->r = kek_fetch(view->deks->manager->keks, &ask);
	if (need->r == 0)
		view->request->pending++;
}

/* Of a KEK that the store does not know, what one blob says is no word on another's. */
static bool is_need_of(const struct dek_need *need, const struct kek_wrapped *wrapped)
{
	const struct kek_wrapped *own = &need->wrapped;

	return memcmp(own->id, wrapped->id, KEK_ID_SIZE) == 0 &&
	       strcmp(own->use, wrapped->use) == 0 &&
	       (need->stored ||
		(own->size == wrapped->size && memcmp(own->blob, wrapped->blob, own->size) == 0));
}

/* A KEK is named by id and use; the id is zero where it is to be made. NULL: one too many. */
static struct dek_need *need_of(struct dek_request *request, const struct kek_wrapped *wrapped,
				bool *ret_new)
{
	struct dek_need *need;

	*ret_new = false;
	for (size_t i = 0; i < request->n_needs; i++) {
		need = &request->needs[i];
		if (is_need_of(need, wrapped))
			return need;
	}
	if (request->n_needs == DEK_KEKS_MAX)
		return NULL;
	need = &request->needs[request->n_needs++];
	*need = (struct dek_need){.request = request, .wrapped = *wrapped};
	*ret_new = true;
	return need;
}

static int count_kek(const struct store_kek *kek, void *userdata)
{
	(*(unsigned *)userdata)++;
	return 0;
}

/* Looks for it among those held, else fetches it, once. -ENOSPC: no more may be made. */
static int find_or_fetch(const struct view *view, struct dek_need *need)
{
	bool make = bytes_are_zero(need->wrapped.id, KEK_ID_SIZE);
	unsigned n = 0;
	int r;

	if (need->kek || need->foreign || need->retired)
		return 0;
	need->kek = make ? NULL
			 : kek_find(view->deks->manager->keks, view->workspace.id,
				    view->workspace.key, need->wrapped.id, view->now_ms);
	if (need->kek || need->asked)
		return 0;
	r = make ? store_keks(view->deks->manager->store, view->workspace.id, count_kek, &n) : 0;
	if (r < 0)
		return r;
	if (n >= KEKS_OF_WORKSPACE_MAX)
		return -ENOSPC;
	fetch(view, need);
	return 0;
}

/* The KEK that new DEKs of USE are sealed under. 0, or -E2BIG, -ENOSPC, -EIO. */
static int want_target(const struct view *view, const char *use, struct dek_item *item)
{
	struct store_kek row;
	bool is_new;
	int r;

	r = store_kek_current(view->deks->manager->store, view->workspace.id, use, &row);
	if (r == -ENOENT) {
		row.wrapped = (struct kek_wrapped){.version = 1};
		memcpy(row.wrapped.use, use, sizeof(row.wrapped.use));
	} else if (r < 0) {
		return r;
	}
	item->target = need_of(view->request, &row.wrapped, &is_new);
	if (!item->target)
		return -E2BIG;
	if (is_new)
		item->target->stored = r == 0;
	/* It may have been wrapped anew while the request waited. */
	item->target->wrapped = row.wrapped;
	return find_or_fetch(view, item->target);
}

/* What the store knows of a KEK that a blob names: the store's wrapping of it is the newer one. */
static int learn(const struct view *view, struct dek_need *need)
{
	struct store *store = view->deks->manager->store;
	struct store_kek row;
	int r;

	r = store_kek_get(store, need->wrapped.id, &row);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	need->foreign = row.workspace != view->workspace.id;
	if (need->foreign)
		return 0;
	need->retired = row.retired_ms > 0;
	need->stored = true;
	need->wrapped = row.wrapped;
	r = store_kek_current(store, view->workspace.id, row.wrapped.use, &row);
	if (r == 0)
		need->superseded = memcmp(row.wrapped.id, need->wrapped.id, KEK_ID_SIZE) != 0;
	return r;
}

static int want_source(const struct view *view, struct dek_item *item)
{
	struct dek_blob blob;
	bool is_new;
	int r;

	item->wrong = dek_blob_parse(item->blob, item->size, &blob);
	if (item->wrong)
		return 0;
	item->source = need_of(view->request, &blob.kek, &is_new);
	if (!item->source)
		return -E2BIG;
	r = is_new ? learn(view, item->source) : 0;
	return r < 0 ? r : find_or_fetch(view, item->source);
}

/* A KEK that the store does not know is stored as a blob says that opens under it: the tag covers
 * version and wrapping, and a node could invent both. */
static int store_again(const struct view *view, struct dek_item *item)
{
	struct dek_need *need = item->source;
	struct dek_scratch *scratch = view->deks->scratch;
	struct store_kek row = {.workspace = view->workspace.id};
	struct dek_blob blob;
	int r;

	if (!need || !need->kek || need->stored)
		return 0;
	(void)dek_blob_parse(item->blob, item->size, &blob);
	r = dek_open(scratch, need->kek->bytes, &blob, view->workspace.name, item->context);
	bytes_wipe(scratch, sizeof(*scratch));
	if (r < 0)
		return r == -EBADMSG ? 0 : r;
	row.wrapped = blob.kek;
	r = store_kek_insert(view->deks->manager->store, &row);
	if (r < 0 && r != -EEXIST)
		return r;
	if (r == 0)
		audit_add_kek(view->deks->manager->store, &view->workspace, &view->key, &row,
			      "kek-found");
	need->wrapped = blob.kek;
	need->stored = true;
	log_notice("workspace %s: KEK of use %s, version %u: stored again, from a blob",
		   view->workspace.name, blob.kek.use, blob.kek.version);
	return 0;
}

/* A blob's DEK goes under the newest KEK of the same use, once that use is known to be this
 * workspace's. */
static int want(const struct view *view, struct dek_item *item)
{
	int r;

	if (view->request->operation == DEK_GENERATE)
		return want_target(view, view->request->use, item);
	r = want_source(view, item);
	r = r < 0 ? r : store_again(view, item);
	if (r < 0 || view->request->operation != DEK_REWRAP || !item->source || !item->source->kek)
		return r;
	return want_target(view, item->source->wrapped.use, item);
}

/* The KEK is not to be had, and that is no fault of the blob. */
static bool is_lost(const struct dek_need *need)
{
	bool made = bytes_are_zero(need->wrapped.id, KEK_ID_SIZE) && need->r == 0 &&
		    need->class == KMS_OK;

	if (need->kek || need->foreign || need->retired || made)
		return false;
	return need->r < 0 || need->class != KMS_CORRUPT;
}

static void answer_lost(const struct view *view, const struct dek_need *need)
{
	struct http_request *http = view->request->http;

	metrics_count(view->deks->manager,
		      need->r == -EDQUOT ? METRIC_REQUESTS_LIMITED : METRIC_DEKS_WITHHELD);
	if (need->r == -EDQUOT)
		http_reply_retry(http, 429, 1, "limited", "too many KEKs asked for");
	else if (need->r < 0)
		http_reply_retry(http, 503, RETRY_S, "unavailable",
				 "workspace %s: its KEK cannot be had now", view->workspace.name);
	else
		http_reply_retry(http, 503, RETRY_S, "kms", "workspace %s: the KMS: %s",
				 view->workspace.name, kms_class_name(need->class));
}

/* False where the request has been answered. */
static bool plan(const struct view *view)
{
	struct dek_request *request = view->request;
	int r = 0;

	for (size_t i = 0; i < request->n_needs; i++)
		request->needs[i].kek = NULL;
	for (size_t i = 0; r == 0 && i < request->n; i++)
		r = want(view, &request->items[i]);
	if (r == -E2BIG || r == -ENOSPC) {
		http_reply_error(request->http, r == -E2BIG ? 400 : 409, "keks",
				 r == -E2BIG ? "the blobs need more than %d KEKs: fewer at once"
					     : "the workspace has %d KEKs already: no further use",
				 r == -E2BIG ? DEK_KEKS_MAX : KEKS_OF_WORKSPACE_MAX);
		return false;
	}
	if (r < 0) {
		reply_store_error(view);
		return false;
	}
	if (request->pending > 0)
		return true;
	for (size_t i = 0; i < request->n_needs; i++) {
		if (!is_lost(&request->needs[i]))
			continue;
		answer_lost(view, &request->needs[i]);
		return false;
	}
	return true;
}

/* --- carrying out --- */

static json_t *hex_string(const uint8_t *bytes, size_t n)
{
	char hex[2 * DEK_BLOB_MAX + 1];
	json_t *string;

	hex_encode(bytes, n, hex);
	string = json_stringn_nocheck(hex, 2 * n);
	bytes_wipe(hex, 2 * n);
	return string;
}

static json_t *item_refused(const struct view *view, const char *code, const char *words)
{
	metrics_count(view->deks->manager, METRIC_DEKS_REFUSED);
	return json_pack("{s:s, s:s}", "error", code, "message", words);
}

/* Whether the node should have the blob rewrapped. */
static bool is_old(const struct dek_need *need, const struct dek_blob *blob)
{
	return need->superseded || need->wrapped.size != blob->kek.size ||
	       memcmp(need->wrapped.blob, blob->kek.blob, blob->kek.size) != 0;
}

/* The DEK of SCRATCH under the item's target. NULL on error. */
static json_t *sealed(const struct view *view, const struct dek_item *item)
{
	uint8_t blob[DEK_BLOB_MAX];
	size_t n;

	if (dek_seal(view->deks->scratch, item->target->kek->bytes, &item->target->wrapped,
		     view->workspace.name, item->context, blob, &n) < 0)
		return NULL;
	return hex_string(blob, n);
}

static json_t *generate(const struct view *view, const struct dek_item *item)
{
	struct dek_scratch *scratch = view->deks->scratch;

	if (RAND_priv_bytes(scratch->dek, DEK_SIZE) != 1)
		return NULL;
	return json_pack("{s:o, s:o}", "dek", hex_string(scratch->dek, DEK_SIZE), "blob",
			 sealed(view, item));
}

static json_t *unwrap(const struct view *view, const struct dek_item *item)
{
	struct dek_scratch *scratch = view->deks->scratch;
	struct dek_blob blob;
	int r;

	if (item->wrong)
		return item_refused(view, "malformed", item->wrong);
	if (item->source->retired)
		return item_refused(view, "retired", "its key-encryption key is retired");
	(void)dek_blob_parse(item->blob, item->size, &blob);
	r = item->source->kek ? dek_open(scratch, item->source->kek->bytes, &blob,
					 view->workspace.name, item->context)
			      : -EBADMSG;
	if (r == -EBADMSG)
		return item_refused(view, "refused",
				    "it is of another workspace or context, or damaged");
	if (r < 0)
		return NULL;
	if (view->request->operation == DEK_REWRAP)
		return json_pack("{s:o}", "blob", sealed(view, item));
	return json_pack("{s:o, s:b}", "dek", hex_string(scratch->dek, DEK_SIZE), "rewrap",
			 is_old(item->source, &blob));
}

static json_t *carry_out_items(const struct view *view)
{
	const struct dek_request *request = view->request;
	json_t *items = json_array();

	for (size_t i = 0; i < request->n; i++) {
		const struct dek_item *item = &request->items[i];
		json_t *done = request->operation == DEK_GENERATE ? generate(view, item)
								  : unwrap(view, item);

		bytes_wipe(view->deks->scratch, sizeof(*view->deks->scratch));
		/* It fails on NULL, too. */
		if (json_array_append_new(items, done) < 0) {
			json_decref(items);
			return NULL;
		}
	}
	return items;
}

/* Those in use are fetched again at half their time, so that no request waits for that. */
static void refresh(const struct view *view)
{
	for (size_t i = 0; i < view->request->n_needs; i++) {
		struct dek_need *need = &view->request->needs[i];
		const struct kek_ask ask = {
			.workspace = &view->workspace,
			.key = &view->key,
			.wrapped = &need->wrapped,
			.stored = need->stored,
			.may = may_ask,
			.userdata = need,
		};

		if (need->kek && need->stored &&
		    view->now_ms - need->kek->start_ms > view->key.max_staleness_ms / 2)
			(void)kek_fetch(view->deks->manager->keks, &ask);
	}
}

static void count(const struct view *view)
{
	static const enum metric metrics[] = {
		[DEK_GENERATE] = METRIC_DEKS_GENERATED,
		[DEK_UNWRAP] = METRIC_DEKS_UNWRAPPED,
		[DEK_REWRAP] = METRIC_DEKS_REWRAPPED,
	};

	metrics_add(view->deks->manager, metrics[view->request->operation], view->request->n);
}

static void carry_out(struct view *view)
{
	struct dek_request *request = view->request;
	struct dek_facts facts = {.key = &view->key, .evidence_ms = view->evidence_ms};
	struct dek_decision decision;
	bool any = false;
	json_t *items;

	for (size_t i = 0; i < request->n_needs; i++) {
		const struct kek *kek = request->needs[i].kek;

		any = any || kek;
		if (kek && kek->start_ms > facts.evidence_ms)
			facts.evidence_ms = kek->start_ms;
	}
	decision = dek_decide(&facts, view->now_ms);
	if (decision.action == DEK_STALE && any) {
		withhold(view, decision.action);
		return;
	}
	if (note_out(view->deks, view->workspace.id, view->now_ms + decision.ttl_ms) < 0) {
		reply_store_error(view);
		return;
	}
	items = carry_out_items(view);
	if (!items) {
		http_reply_error(request->http, 500, "internal", "encryption failed");
		return;
	}
	count(view);
	log_debug("storage node %s/%s: %zu DEKs for %u ms", view->workspace.name, view->node.name,
		  request->n, decision.ttl_ms);
	http_reply_json(
		request->http, 200,
		json_pack("{s:I, s:o}", "ttl_ms", (json_int_t)decision.ttl_ms, "items", items));
	refresh(view);
}

/* --- a request's life --- */

static void request_free(struct dek_request *request)
{
	http_request_unref(request->http);
	free(request);
}

/* A rotation went on while the request waited: it is looked at as if it had come now. */
static void begin_again(struct dek_request *request)
{
	request->stale = false;
	request->again++;
	request->n_needs = 0;
	for (size_t i = 0; i < request->n; i++)
		request->items[i].source = request->items[i].target = NULL;
}

static void proceed(struct dek_request *request)
{
	struct view view = {.request = request, .http = request->http, .deks = request->deks};

	if (request->stale && request->pending == 0 && request->again < AGAIN_MAX)
		begin_again(request);
	if (!request->answered) {
		if (!look(&view) || !plan(&view))
			request->answered = true;
		else if (request->pending == 0)
			carry_out(&view);
	}
	if (request->pending == 0) {
		request_free(request);
		return;
	}
	request->next = request->deks->parked;
	request->deks->parked = request;
}

void deks_request(struct deks *deks, struct dek_request *request)
{
	struct store_node node;
	unsigned wait_s;

	request->deks = deks;
	if (storage_node_of(request->http, &node) < 0) {
		request_free(request);
		return;
	}
	request->node = node.id;
	request->workspace = node.workspace;
	if (!rate_take(deks->rates, RATE_NODE_REQUEST, node.id, now_ms(), &wait_s)) {
		metrics_count(deks->manager, METRIC_REQUESTS_LIMITED);
		http_reply_retry(request->http, 429, wait_s, "limited", "too many requests");
		request_free(request);
		return;
	}
	proceed(request);
}

/* --- who watches --- */

static void watch_end(struct watch *watch)
{
	for (struct watch **at = &watch->deks->watches; *at; at = &(*at)->next) {
		if (*at == watch) {
			*at = watch->next;
			break;
		}
	}
	watch->http->on_gone = NULL;
	http_request_unref(watch->http);
	free(watch);
}

static void on_watch_gone(struct http_request *http)
{
	watch_end(http->userdata);
}

static void arm(struct deks *deks)
{
	uint64_t next = UINT64_MAX;

	for (const struct watch *w = deks->watches; w; w = w->next)
		if (w->due_ms < next)
			next = w->due_ms;
	if (next == UINT64_MAX)
		return;
	sd_event_source_set_time(deks->timer, next * 1000);
	sd_event_source_set_enabled(deks->timer, SD_EVENT_ONESHOT);
}

static int on_due(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct deks *deks = userdata;
	uint64_t now = now_ms();

	for (struct watch *w = deks->watches, *next; w; w = next) {
		next = w->next;
		if (w->due_ms > now)
			continue;
		http_reply_json(w->http, 200, json_pack("{s:b}", "revoked", 0));
		watch_end(w);
	}
	arm(deks);
	return 0;
}

void deks_review(struct deks *deks)
{
	for (struct watch *w = deks->watches, *next; w; w = next) {
		struct view view = {.http = w->http, .deks = deks};

		next = w->next;
		if (!look(&view))
			watch_end(w);
	}
}

static unsigned watches_of(const struct deks *deks, int64_t node)
{
	unsigned n = 0;

	for (const struct watch *w = deks->watches; w; w = w->next)
		n += w->node == node;
	return n;
}

void deks_watch(struct deks *deks, struct http_request *http)
{
	struct view view = {.http = http, .deks = deks};
	struct watch *watch;
	unsigned wait_s;

	if (!look(&view))
		return;
	if (!rate_take(deks->rates, RATE_NODE_REQUEST, view.node.id, now_ms(), &wait_s) ||
	    watches_of(deks, view.node.id) >= DEK_WATCHES_MAX) {
		metrics_count(deks->manager, METRIC_REQUESTS_LIMITED);
		http_reply_retry(http, 429, RETRY_S, "limited", "too many requests");
		return;
	}
	watch = calloc(1, sizeof(*watch));
	/* Who watches has DEKs, of which a manager that was restarted does not know. */
	if (!watch || note_out(deks, view.workspace.id,
			       view.now_ms + view.key.poll_ms + view.key.lease_ms) < 0) {
		free(watch);
		http_reply_error(http, 500, "internal", "out of memory");
		return;
	}
	*watch = (struct watch){.next = deks->watches,
				.deks = deks,
				.http = http_request_ref(http),
				.node = view.node.id,
				.due_ms = view.now_ms + view.key.poll_ms};
	deks->watches = watch;
	http->userdata = watch;
	http->on_gone = on_watch_gone;
	arm(deks);
}

static int init(struct deks *deks)
{
	void *scratch;
	int r;

	deks->rates = rates_new();
	if (!deks->rates)
		return -ENOMEM;
	r = locked_new(sizeof(*deks->scratch), &scratch);
	if (r < 0)
		return log_errno(r, "cannot lock memory for DEKs (LimitMEMLOCK=)");
	deks->scratch = scratch;
	r = sd_event_add_time(deks->manager->event, &deks->timer, CLOCK_BOOTTIME, 0, 1000, on_due,
			      deks);
	return r < 0 ? r : sd_event_source_set_enabled(deks->timer, SD_EVENT_OFF);
}

int deks_new(struct manager *manager, struct deks **ret_deks)
{
	struct deks *deks = calloc(1, sizeof(*deks));
	int r;

	if (!deks)
		return -ENOMEM;
	deks->manager = manager;
	r = init(deks);
	if (r < 0) {
		deks_free(deks);
		return r;
	}
	*ret_deks = deks;
	return 0;
}

struct deks *deks_free(struct deks *deks)
{
	if (!deks)
		return NULL;
	while (deks->parked) {
		struct dek_request *request = deks->parked;

		deks->parked = request->next;
		request_free(request);
	}
	while (deks->watches)
		watch_end(deks->watches);
	sd_event_source_disable_unref(deks->timer);
	while (deks->outs) {
		struct out *out = deks->outs;

		deks->outs = out->next;
		free(out);
	}
	rates_free(deks->rates);
	locked_free(deks->scratch, sizeof(*deks->scratch));
	free(deks);
	return NULL;
}
