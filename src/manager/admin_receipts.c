/* SPDX-License-Identifier: Apache-2.0 */
/* Admin API: receipts, listed, and one as a bundle that can be verified without the manager. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "keys/sign.h"
#include "manager/admin_receipt.h"
#include "manager/admin_routes.h"
#include "manager/manager.h"
#include "manager/store.h"

#define LIST_MAX 1000

struct receipt_walk {
	struct store *store;
	json_t *rows;
};

/* What the list says of one boot's receipts. */
struct receipt_summary {
	json_int_t n, received_s;
	enum reason reason;
};

static int summarise(const struct store_receipt *stored, void *userdata)
{
	struct receipt_summary *summary = userdata;
	struct receipt receipt;

	if (receipt_decode(stored->bytes, sizeof(stored->bytes), &receipt) < 0)
		return -EIO;
	summary->n++;
	summary->received_s = (json_int_t)(stored->received_ms / 1000);
	summary->reason = receipt.reason;
	return 0;
}

static int add_boot(const struct store_boot *boot, void *userdata)
{
	struct receipt_walk *walk = userdata;
	struct receipt_summary summary = {0};
	char admission[2 * HASH_SIZE + 1];
	json_t *row;
	int r;

	r = store_receipts(walk->store, boot->admission, summarise, &summary);
	if (r < 0 || summary.n == 0)
		return r;
	hex_encode(boot->admission, HASH_SIZE, admission);
	row = json_pack("{s:s, s:s, s:s, s:s, s:b, s:I, s:I}", "admission", admission, "workspace",
			boot->workspace_name, "vm", boot->vm_name, "reason",
			reason_name(summary.reason), "keys_gone", boot->keys_gone, "receipts",
			summary.n, "received", summary.received_s);
	if (json_array_append_new(walk->rows, row) < 0)
		return -ENOMEM;
	return json_array_size(walk->rows) == LIST_MAX;
}

void admin_receipts_list(struct http_request *request)
{
	char workspace[ID_TEXT_MAX + 1], vm[ID_TEXT_MAX + 1];
	struct receipt_walk walk = {.store = request->manager->store};
	int r;

	r = admin_read_filter(request, workspace, vm);
	if (r < 0)
		return;
	walk.rows = json_array();
	r = store_boots_with_receipt(walk.store, *workspace ? workspace : NULL, *vm ? vm : NULL,
				     add_boot, &walk);
	if (r < 0) {
		json_decref(walk.rows);
		admin_reply_refused(request, r, "receipts", "list");
		return;
	}
	http_reply_json(request, 200, walk.rows);
}

static json_t *hex_json(const uint8_t *bytes, size_t n)
{
	_cleanup_free_ char *text = malloc(2 * n + 1);

	if (!text)
		return NULL;
	hex_encode(bytes, n, text);
	return json_string(text);
}

/* The receipts of one boot, in the order of arrival. */
struct received {
	struct store_receipt keys[RECEIPTS_PER_BOOT], closing;
	size_t n_keys;
	bool closed;
};

static int take_receipt(const struct store_receipt *receipt, void *userdata)
{
	struct received *received = userdata;

	if (receipt->kind == RECEIPT_CLOSING) {
		received->closing = *receipt;
		received->closed = true;
	} else if (received->n_keys < RECEIPTS_PER_BOOT) {
		received->keys[received->n_keys++] = *receipt;
	}
	return 0;
}

/* An agent that was restarted in a shred signs its first receipt anew: the one that counts is the
 * one that the closing receipt follows. */
static const struct store_receipt *first_of_chain(const struct received *received)
{
	uint8_t hash[HASH_SIZE];
	struct receipt closing;

	if (received->closed &&
	    receipt_decode(received->closing.bytes, RECEIPT_SIZE, &closing) == 0) {
		for (size_t i = 0; i < received->n_keys; i++) {
			if (sha256(received->keys[i].bytes, RECEIPT_SIZE, hash) == 0 &&
			    bytes_equal(hash, closing.previous, HASH_SIZE))
				return &received->keys[i];
		}
	}
	return received->n_keys > 0 ? &received->keys[received->n_keys - 1] : NULL;
}

static int add_receipts(struct store *store, const struct store_boot *boot, json_t *receipts)
{
	struct received received = {0};
	const struct store_receipt *first;
	int r;

	r = store_receipts(store, boot->admission, take_receipt, &received);
	if (r < 0)
		return r;
	first = first_of_chain(&received);
	if (first)
		r = json_array_append_new(receipts, hex_json(first->bytes, RECEIPT_SIZE));
	if (r == 0 && received.closed)
		r = json_array_append_new(receipts, hex_json(received.closing.bytes, RECEIPT_SIZE));
	return r < 0 ? -ENOMEM : 0;
}

static int add_token(json_t *bundle, const char *name, const uint8_t token[static TOKEN_SIZE])
{
	if (bytes_are_zero(token, TOKEN_SIZE))
		return 0;
	return json_object_set_new(bundle, name, hex_json(token, TOKEN_SIZE));
}

/* Looks for the newest set that holds the keys of all tokens of BOOT. */
struct set_search {
	const struct store_boot *boot;
	uint8_t set[SIGNING_KEYS_SIZE];
};

static bool set_signed(const struct signing_keys *set, const uint8_t bytes[static TOKEN_SIZE])
{
	struct token token;

	return bytes_are_zero(bytes, TOKEN_SIZE) ||
	       token_verify(bytes, TOKEN_SIZE, set, &token) == 0;
}

static int try_set(const uint8_t bytes[static SIGNING_KEYS_SIZE], void *userdata)
{
	struct set_search *search = userdata;
	struct signing_keys set;

	if (signing_keys_decode(bytes, SIGNING_KEYS_SIZE, &set) < 0)
		return -EIO;
	if (!set_signed(&set, search->boot->admit_token) ||
	    !set_signed(&set, search->boot->token) || !set_signed(&set, search->boot->shred_token))
		return 0;
	memcpy(search->set, bytes, SIGNING_KEYS_SIZE);
	return 1;
}

/* A set of the boot's time: its keys may have been rotated out since. The present one, where no
 * set holds all. */
static int find_set(struct store *store, const struct store_boot *boot,
		    uint8_t set[static SIGNING_KEYS_SIZE])
{
	struct set_search search = {.boot = boot};
	int r;

	r = store_signing_keys_all(store, try_set, &search);
	if (r == 0)
		return store_signing_keys_get(store, set);
	if (r > 0)
		memcpy(set, search.set, SIGNING_KEYS_SIZE);
	return r < 0 ? r : 0;
}

static int fill_bundle(struct store *store, const struct store_boot *boot, json_t *bundle)
{
	uint8_t set[SIGNING_KEYS_SIZE];
	json_t *receipts = json_array();
	int r;

	r = json_object_set_new(bundle, "receipts", receipts);
	if (r == 0)
		r = add_receipts(store, boot, receipts);
	if (r == 0)
		r = find_set(store, boot, set);
	if (r < 0)
		return r;
	if (json_object_set_new(bundle, "format", json_string(RECEIPT_BUNDLE_FORMAT)) < 0 ||
	    json_object_set_new(bundle, "report", hex_json(boot->report, BOOT_REPORT_SIZE)) < 0 ||
	    json_object_set_new(bundle, "vm_key", hex_json(boot->vm_key, PUBLIC_KEY_SIZE)) < 0 ||
	    add_token(bundle, "token", boot->admit_token) < 0 ||
	    add_token(bundle, "lease", boot->token) < 0 ||
	    add_token(bundle, "verdict", boot->shred_token) < 0 ||
	    json_object_set_new(bundle, "signing_keys", hex_json(set, sizeof(set))) < 0)
		return -ENOMEM;
	return json_array_size(receipts) > 0 ? 0 : -ENOENT;
}

void admin_receipts_get(struct http_request *request)
{
	const char *text = request->parameters[0];
	struct store *store = request->manager->store;
	uint8_t admission[HASH_SIZE];
	struct store_boot boot;
	json_t *bundle;
	int r;

	if (hex_decode(text, strlen(text), admission, sizeof(admission)) < 0) {
		http_reply_error(request, 400, "malformed", "receipt of %s: must be %d hex digits",
				 text, 2 * HASH_SIZE);
		return;
	}
	r = store_boot_get(store, admission, &boot);
	if (r < 0) {
		admin_reply_refused(request, r, "boot", text);
		return;
	}
	bundle = json_object();
	r = fill_bundle(store, &boot, bundle);
	if (r < 0) {
		json_decref(bundle);
		admin_reply_refused(request, r, "receipt of boot", text);
		return;
	}
	http_reply_json(request, 200, bundle);
}
