/* SPDX-License-Identifier: Apache-2.0 */
/* Events of clouds: from the request to the probe. */
#include "manager/events/events.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "manager/events/verify.h"
#include "manager/http.h"
#include "manager/kms/http.h"
#include "manager/lease_engine.h"
#include "manager/metrics.h"
#include "manager/prober.h"
#include "manager/tally.h"

#define EVENT_BODY_MAX (64 * 1024)
#define SEEN_MAX       256   /* messages whose ids are kept */
#define WAITING_MAX    64    /* requests that wait for a key */
#define FETCH_BURST    4     /* fetches of a source at once, */
#define FETCH_MS       10000 /* and one more every so often */
#define RETRY_S	       10

/* What is known of the source of one key configuration. */
struct known {
	struct known *next;
	int64_t key;
	uint8_t digest[HASH_SIZE]; /* of its file: another file, other keys */
	struct event_keys keys;
	struct engine_bucket fetches;
	uint8_t seen[SEEN_MAX][HASH_SIZE];
	size_t n_seen; /* ever; the newest are kept */
	bool fetching;
	struct http_request *waiting[WAITING_MAX];
	size_t n_waiting;
};

struct events {
	struct manager *manager;
	struct known *known;
};

struct fetch {
	struct kms_job job;
	struct events *events;
	int64_t key;
	struct event_source source;
	bool confirm; /* nothing is taken from the answer */
	struct kms_http http;
};

static struct known *find(const struct events *events, int64_t key)
{
	for (struct known *k = events->known; k; k = k->next) {
		if (k->key == key)
			return k;
	}
	return NULL;
}

static struct known *find_or_make(struct events *events, int64_t key,
				  const uint8_t digest[static HASH_SIZE])
{
	struct known *known = find(events, key);

	if (!known) {
		known = calloc(1, sizeof(*known));
		if (!known)
			return NULL;
		known->key = key;
		known->next = events->known;
		events->known = known;
	}
	if (memcmp(known->digest, digest, HASH_SIZE) != 0) {
		event_keys_done(&known->keys);
		memcpy(known->digest, digest, HASH_SIZE);
	}
	return known;
}

/* True where the message came before; it is noted. */
static bool seen(struct known *known, const uint8_t id[static HASH_SIZE])
{
	size_t n = known->n_seen < SEEN_MAX ? known->n_seen : SEEN_MAX;

	for (size_t i = 0; i < n; i++) {
		if (memcmp(known->seen[i], id, HASH_SIZE) == 0)
			return true;
	}
	memcpy(known->seen[known->n_seen++ % SEEN_MAX], id, HASH_SIZE);
	return false;
}

/* --- fetching --- */

static void handle(struct http_request *request, bool fetched);

static void run_fetch(struct kms_job *base)
{
	struct fetch *fetch = (struct fetch *)base;

	kms_http_perform(&fetch->http);
}

static void take_keys(struct fetch *fetch, struct known *known)
{
	const struct kms_http *http = &fetch->http;
	int64_t now_s = (int64_t)clock_realtime_s();
	int r = -EBADMSG;

	if (http->error < 0)
		r = http->error;
	else if (http->status == 200 && strcmp(fetch->source.provider, "aws") == 0)
		r = event_keys_add_sns(&known->keys, http->url, http->reply, http->reply_size,
				       now_s);
	else if (http->status == 200)
		r = event_keys_set_google(&known->keys, http->reply, http->reply_size, now_s);
	if (r < 0)
		log_warning("events: %s: no key there that is good: %s, status %ld", http->url,
			    strerror(-r), http->status);
}

static void fetch_done(struct kms_job *base)
{
	struct fetch *fetch = (struct fetch *)base;
	struct known *known = find(fetch->events, fetch->key);

	if (fetch->confirm) {
		if (fetch->http.error < 0 || fetch->http.status != 200)
			log_warning("events: %s: the subscription is not confirmed: %s, status %ld",
				    fetch->source.topic_arn, strerror(-fetch->http.error),
				    fetch->http.status);
		else
			log_notice("events: %s: subscribed", fetch->source.topic_arn);
		return;
	}
	if (!known)
		return;
	known->fetching = false;
	if (memcmp(known->digest, fetch->source.digest, HASH_SIZE) == 0)
		take_keys(fetch, known);
	while (known->n_waiting > 0) {
		struct http_request *request = known->waiting[--known->n_waiting];

		handle(request, true);
		http_request_unref(request);
	}
}

static void fetch_free(struct kms_job *base)
{
	struct fetch *fetch = (struct fetch *)base;

	bytes_wipe(&fetch->source, sizeof(fetch->source));
	free(fetch);
}

/* A GET of URL, which event_verify() has found to be on the source's host. -EAGAIN: too many. */
static int fetch(struct events *events, struct known *known, const struct event_source *source,
		 const char *url, bool confirm)
{
	struct fetch *fetch;
	int r;

	if (!engine_bucket_take(&known->fetches, FETCH_BURST, FETCH_MS,
				clock_boottime_ns() / NSEC_PER_MSEC, NULL))
		return -EAGAIN;
	fetch = calloc(1, sizeof(*fetch));
	if (!fetch)
		return -ENOMEM;
	fetch->job = (struct kms_job){.run = run_fetch, .done = fetch_done, .free = fetch_free};
	fetch->events = events;
	fetch->key = known->key;
	fetch->source = *source;
	fetch->confirm = confirm;
	fetch->http.method = "GET";
	snprintf(fetch->http.url, sizeof(fetch->http.url), "%s", url);
	if (fetch->source.ca_path[0])
		fetch->http.ca_file = fetch->source.ca_path;
	r = kms_pool_submit(events->manager->kms, &fetch->job);
	if (r < 0)
		fetch_free(&fetch->job);
	return r;
}

/* --- requests --- */

static void refuse(struct http_request *request, unsigned status, const char *code,
		   const char *reason)
{
	metrics_count(request->manager, METRIC_EVENTS_REFUSED);
	log_debug("events/%s: %s", request->parameters[0], reason);
	http_reply_error(request, status, code, "events/%s: %s", request->parameters[0], reason);
}

static void busy(struct http_request *request)
{
	metrics_count(request->manager, METRIC_EVENTS_REFUSED);
	http_reply_retry(request, 503, RETRY_S, "unavailable",
			 "events/%s: the sender's key cannot be had now", request->parameters[0]);
}

/* FETCHED: that is what was just tried. */
static void want_key(struct http_request *request, struct known *known,
		     const struct event_source *source, const char *url, bool fetched)
{
	if (fetched || known->n_waiting == WAITING_MAX) {
		busy(request);
		return;
	}
	if (!known->fetching) {
		if (fetch(request->manager->events, known, source, url, false) < 0) {
			busy(request);
			return;
		}
		known->fetching = true;
	}
	known->waiting[known->n_waiting++] = http_request_ref(request);
}

/* It is of the source. */
static void take(struct http_request *request, struct known *known,
		 const struct event_source *source, const struct event_result *result)
{
	struct manager *manager = request->manager;

	http_request_known(request);
	if (result->verdict == EVENT_TO_ANSWER) {
		log_notice("events/%s: subscribed", request->parameters[0]);
		http_reply_bytes(request, 200, "application/json", result->reply,
				 strlen(result->reply));
		return;
	}
	if (result->verdict == EVENT_OLD || seen(known, result->id)) {
		metrics_count(manager, METRIC_EVENTS_IGNORED);
	} else if (result->verdict == EVENT_TO_CONFIRM) {
		if (fetch(manager->events, known, source, result->url, true) < 0) {
			busy(request);
			return;
		}
	} else if (result->verdict == EVENT_GOOD) {
		tally_event(manager->tally, known->key, clock_realtime_s());
		prober_event(manager->prober, known->key);
	} else {
		log_warning("events/%s: the sender ended the subscription", request->parameters[0]);
	}
	http_reply_empty(request, 204);
}

static void verify(struct http_request *request, struct known *known,
		   const struct event_source *source, bool fetched)
{
	char key[sizeof(source->key)] = "";
	struct event_message message = {
		.authorization = request->authorization ? request->authorization : "",
		.key = request->event_key ? request->event_key : key,
		.body = (const char *)request->body,
		.n = request->body_size,
	};
	struct event_result result;

	if (!request->event_key)
		http_request_query(request, "key", key, sizeof(key));
	event_verify(source, &known->keys, &message, (int64_t)clock_realtime_s(), &result);
	bytes_wipe(key, sizeof(key));
	if (result.verdict == EVENT_REFUSED)
		refuse(request, 403, "forbidden", result.reason);
	else if (result.verdict == EVENT_MALFORMED)
		refuse(request, 400, "malformed", result.reason);
	else if (result.verdict == EVENT_KEY_WANTED)
		want_key(request, known, source, result.url, fetched);
	else
		take(request, known, source, &result);
}

static void handle(struct http_request *request, bool fetched)
{
	const char *name = request->parameters[0];
	char directory[sizeof(request->manager->state) + 8], error[256];
	struct event_source source;
	struct store_key key;
	struct known *known;
	int r;

	snprintf(directory, sizeof(directory), "%s/events", request->manager->state);
	r = store_key_get(request->manager->store, name, &key);
	if (r == 0)
		r = event_source_read(directory, name, &source, error);
	if (r == -ENOENT) {
		refuse(request, 404, "not-found", "there is no such source");
		return;
	}
	if (r < 0) {
		log_error("%s", error);
		http_reply_error(request, 500, "internal", "events/%s: cannot be read", name);
		return;
	}
	known = find_or_make(request->manager->events, key.id, source.digest);
	if (known)
		verify(request, known, &source, fetched);
	else
		http_reply_error(request, 500, "internal", "out of memory");
	bytes_wipe(&source, sizeof(source));
}

static void handle_event(struct http_request *request)
{
	handle(request, false);
}

static void handle_health(struct http_request *request)
{
	http_reply_bytes(request, 200, "text/plain", "ok\n", 3);
}

/* clang-format off */
const struct http_route event_routes[] = {
	{HTTP_POST, "/v1/events/{}", ROLE_EVENT_SENDER, EVENT_BODY_MAX, handle_event},
	{HTTP_GET, "/healthz", ROLE_EVENT_SENDER, 0, handle_health},
};
/* clang-format on */
const size_t event_routes_n = ELEMENTSOF(event_routes);

int events_new(struct manager *manager, struct events **ret_events)
{
	struct events *events = calloc(1, sizeof(*events));

	if (!events)
		return -ENOMEM;
	events->manager = manager;
	*ret_events = events;
	return 0;
}

struct events *events_free(struct events *events)
{
	if (!events)
		return NULL;
	while (events->known) {
		struct known *known = events->known;

		events->known = known->next;
		while (known->n_waiting > 0)
			http_request_unref(known->waiting[--known->n_waiting]);
		event_keys_done(&known->keys);
		free(known);
	}
	free(events);
	return NULL;
}
