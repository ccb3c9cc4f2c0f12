/* SPDX-License-Identifier: Apache-2.0 */
/* DEKs for storage nodes: from the manager into the cache, and out of it to the caller's function.
 *
 * Beside it watch.h drops all when the manager says so.
 *
 *	use, fetch ─▶ cache ─ has it ─▶ function
 *	                └─ has not ─▶ ask the manager ─▶ cache, until asked + ttl */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "storage/ask.h"
#include "storage/cache.h"
#include "storage/emberlock-storage.h"
#include "storage/watch.h"

#define ANSWER_MAX (512u * 1024) /* 64 blobs and DEKs in hex, and more */

struct emberlock_storage {
	struct cache *cache;
	struct watch *watch;
	pthread_mutex_t asking; /* one request at a time */
	struct ask *ask;
};

int emberlock_storage_open(const char *directory, unsigned max_deks,
			   struct emberlock_storage **ret_storage, char *error)
{
	struct emberlock_storage *storage = calloc(1, sizeof(*storage));
	int r;

	if (!storage)
		return ask_refuse(error, -ENOMEM, "out of memory");
	ask_wipe_freed();
	pthread_mutex_init(&storage->asking, NULL);
	r = cache_new(max_deks, &storage->cache);
	if (r < 0)
		(void)ask_refuse(error, r, "cannot lock memory for %u DEKs: %s", max_deks,
				 strerror(-r));
	if (r == 0)
		r = ask_new(directory, ANSWER_MAX, &storage->ask, error);
	if (r == 0)
		r = watch_new(directory, storage->cache, &storage->watch, error);
	if (r < 0) {
		emberlock_storage_close(storage);
		return r;
	}
	*ret_storage = storage;
	return 0;
}

void emberlock_storage_close(struct emberlock_storage *storage)
{
	if (!storage)
		return;
	watch_free(storage->watch);
	ask_free(storage->ask);
	cache_free(storage->cache);
	pthread_mutex_destroy(&storage->asking);
	free(storage);
}

unsigned emberlock_dek_count(struct emberlock_storage *storage)
{
	return cache_count(storage->cache);
}

void emberlock_dek_drop(struct emberlock_storage *storage)
{
	cache_drop(storage->cache);
}

/* --- a request --- */

static const char *context_of(const struct emberlock_dek *dek)
{
	return dek->context ? dek->context : "";
}

static int check(const struct emberlock_dek *deks, size_t n, bool blobs, char *error)
{
	if (n == 0 || n > EMBERLOCK_DEK_BATCH_MAX)
		return ask_refuse(error, -EINVAL, "%zu DEKs: must be 1 to %d at once", n,
				  EMBERLOCK_DEK_BATCH_MAX);
	for (size_t i = 0; i < n; i++) {
		if (strlen(context_of(&deks[i])) > EMBERLOCK_CONTEXT_MAX)
			return ask_refuse(error, -EINVAL, "DEK %zu: its context is too long", i);
		if (blobs && (deks[i].blob.size == 0 || deks[i].blob.size > EMBERLOCK_DEK_BLOB_MAX))
			return ask_refuse(error, -EINVAL, "DEK %zu: no blob has %zu bytes", i,
					  deks[i].blob.size);
	}
	return 0;
}

static json_t *item_of(const struct emberlock_dek *dek, bool blob)
{
	char hex[2 * EMBERLOCK_DEK_BLOB_MAX + 1];
	json_t *item = json_object();

	if (blob) {
		hex_encode(dek->blob.bytes, dek->blob.size, hex);
		json_object_set_new(item, "blob", json_string(hex));
	}
	if (*context_of(dek))
		json_object_set_new(item, "context", json_string(dek->context));
	return item;
}

/* Asks PATH; *ret_items has as many as BODY asked for. Whatever says that DEKs are not ours any
 * more drops them all. */
static int ask_items(struct emberlock_storage *storage, const char *path, json_t *body, size_t n,
		     json_t **ret_answer, uint64_t *ret_until_ns, char *error)
{
	json_t *answer = NULL;
	uint64_t asked_ns;
	json_int_t ttl_ms;
	int r;

	pthread_mutex_lock(&storage->asking);
	r = ask_manager(storage->ask, path, body, &answer, &asked_ns, error);
	pthread_mutex_unlock(&storage->asking);
	if (r == -EKEYREVOKED || r == -EACCES)
		cache_drop(storage->cache);
	if (r < 0)
		return r;
	ttl_ms = json_integer_value(json_object_get(answer, "ttl_ms"));
	if (json_array_size(json_object_get(answer, "items")) != n || ttl_ms < 0 ||
	    ttl_ms > UINT32_MAX) {
		json_decref(answer);
		return ask_refuse(error, -EPROTO, "the manager's answer is not of the form");
	}
	*ret_answer = answer;
	*ret_until_ns = asked_ns + (uint64_t)ttl_ms * NSEC_PER_MSEC;
	return 0;
}

static int item_result(const json_t *item, size_t i, char *error)
{
	const char *message = json_string_value(json_object_get(item, "message"));

	if (!json_object_get(item, "error"))
		return 0;
	return ask_refuse(error, -EBADMSG, "DEK %zu: the blob: %.160s", i, message ? message : "?");
}

static int read_blob(const json_t *item, struct emberlock_dek_blob *blob)
{
	const char *hex = json_string_value(json_object_get(item, "blob"));
	size_t len = hex ? strlen(hex) : 0;

	if (len == 0 || len / 2 > EMBERLOCK_DEK_BLOB_MAX ||
	    hex_decode(hex, len, blob->bytes, len / 2) < 0)
		return -EPROTO;
	blob->size = len / 2;
	return 0;
}

static int keep(struct emberlock_storage *storage, const json_t *item,
		const struct emberlock_dek *dek, uint64_t until_ns)
{
	const char *hex = json_string_value(json_object_get(item, "dek"));
	int r = -EPROTO;

	if (hex)
		r = cache_put(storage->cache, &dek->blob, context_of(dek), hex, until_ns);
	if (r == 0)
		watch_kick(storage->watch);
	return r;
}

int emberlock_dek_generate(struct emberlock_storage *storage, const char *use,
			   struct emberlock_dek *deks, size_t n, char *error)
{
	json_t *items = json_array(), *answer;
	uint64_t until_ns;
	int r;

	r = check(deks, n, false, error);
	for (size_t i = 0; r == 0 && i < n; i++)
		json_array_append_new(items, item_of(&deks[i], false));
	if (r < 0) {
		json_decref(items);
		return r;
	}
	r = ask_items(storage, "/v1/deks/generate",
		      json_pack("{s:s, s:o}", "use", use, "items", items), n, &answer, &until_ns,
		      error);
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < n; i++) {
		const json_t *item = json_array_get(json_object_get(answer, "items"), i);

		r = read_blob(item, &deks[i].blob);
		if (r == 0)
			r = keep(storage, item, &deks[i], until_ns);
		deks[i].result = r;
		deks[i].rewrap = 0;
	}
	json_decref(answer);
	return r < 0 ? ask_refuse(error, r, "a DEK that was made is not to be had: %s",
				  strerror(-r))
		     : 0;
}

/* Those of DEKS that are asked for, by index. */
struct wanted {
	size_t at[EMBERLOCK_DEK_BATCH_MAX], n;
};

static json_t *body_of(const struct emberlock_dek *deks, const struct wanted *wanted)
{
	json_t *items = json_array();

	for (size_t i = 0; i < wanted->n; i++)
		json_array_append_new(items, item_of(&deks[wanted->at[i]], true));
	return json_pack("{s:o}", "items", items);
}

int emberlock_dek_fetch(struct emberlock_storage *storage, struct emberlock_dek *deks, size_t n,
			char *error)
{
	struct wanted wanted = {.n = 0};
	uint64_t until_ns;
	json_t *answer;
	int r;

	r = check(deks, n, true, error);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		deks[i].result = deks[i].rewrap = 0;
		if (!cache_has(storage->cache, &deks[i].blob, context_of(&deks[i])))
			wanted.at[wanted.n++] = i;
	}
	if (wanted.n == 0)
		return 0;
	r = ask_items(storage, "/v1/deks/unwrap", body_of(deks, &wanted), wanted.n, &answer,
		      &until_ns, error);
	if (r < 0)
		return r;
	for (size_t i = 0; i < wanted.n; i++) {
		const json_t *item = json_array_get(json_object_get(answer, "items"), i);
		struct emberlock_dek *dek = &deks[wanted.at[i]];

		dek->result = item_result(item, wanted.at[i], error);
		if (dek->result == 0)
			dek->result = keep(storage, item, dek, until_ns);
		dek->rewrap = json_is_true(json_object_get(item, "rewrap"));
	}
	json_decref(answer);
	return 0;
}

int emberlock_dek_rewrap(struct emberlock_storage *storage, struct emberlock_dek *deks, size_t n,
			 char *error)
{
	struct wanted wanted = {.n = n};
	uint64_t until_ns;
	json_t *answer;
	int r;

	r = check(deks, n, true, error);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		wanted.at[i] = i;
	r = ask_items(storage, "/v1/deks/rewrap", body_of(deks, &wanted), n, &answer, &until_ns,
		      error);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		const json_t *item = json_array_get(json_object_get(answer, "items"), i);

		deks[i].result = item_result(item, i, error);
		if (deks[i].result == 0)
			deks[i].result = read_blob(item, &deks[i].blob);
		deks[i].rewrap = 0;
	}
	json_decref(answer);
	return 0;
}

int emberlock_dek_use(struct emberlock_storage *storage, const struct emberlock_dek_blob *blob,
		      const char *context, emberlock_dek_function function, void *userdata,
		      char *error)
{
	struct emberlock_dek dek = {.blob = *blob, .context = context};
	int r;

	if (cache_use(storage->cache, blob, context_of(&dek), function, userdata, &r))
		return r;
	r = emberlock_dek_fetch(storage, &dek, 1, error);
	if (r == 0)
		r = dek.result;
	if (r < 0)
		return r;
	if (cache_use(storage->cache, blob, context_of(&dek), function, userdata, &r))
		return r;
	return ask_refuse(error, -EAGAIN, "the DEK was dropped at once");
}
