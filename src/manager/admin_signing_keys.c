/* SPDX-License-Identifier: Apache-2.0 */
/* Admin API: the set of signing keys, and the adoption of a store that was rolled back. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "keys/sign.h"
#include "manager/admin_routes.h"
#include "manager/manager.h"
#include "manager/store.h"

static json_t *key_json(const uint8_t public_key[static PUBLIC_KEY_SIZE], const char *use)
{
	char id[17], hex[2 * PUBLIC_KEY_SIZE + 1];

	snprintf(id, sizeof(id), "%016" PRIx64, signing_key_id(public_key));
	hex_encode(public_key, PUBLIC_KEY_SIZE, hex);
	return json_pack("{s:s, s:s, s:s}", "key_id", id, "public_key", hex, "use", use);
}

static int add_keys(const struct manager *manager, const struct signing_keys *set, json_t *keys)
{
	uint8_t active[PUBLIC_KEY_SIZE], new[PUBLIC_KEY_SIZE];

	operation_signing_key_list(manager, active, new);
	for (uint32_t i = 0; i < set->n_keys; i++) {
		const char *use = "valid";

		if (bytes_equal(set->keys[i], active, PUBLIC_KEY_SIZE))
			use = "active";
		else if (bytes_equal(set->keys[i], new, PUBLIC_KEY_SIZE))
			use = "next";
		if (json_array_append_new(keys, key_json(set->keys[i], use)) < 0)
			return -ENOMEM;
	}
	return 0;
}

void admin_signing_keys_get(struct http_request *request)
{
	uint8_t bytes[SIGNING_KEYS_SIZE];
	char hex[2 * SIGNING_KEYS_SIZE + 1];
	struct signing_keys set;
	json_t *keys;
	int r;

	r = store_signing_keys_get(request->manager->store, bytes);
	if (r == 0)
		r = signing_keys_decode(bytes, sizeof(bytes), &set) < 0 ? -EIO : 0;
	if (r < 0) {
		admin_reply_refused(request, r, "signing keys", "set");
		return;
	}
	keys = json_array();
	if (add_keys(request->manager, &set, keys) < 0) {
		json_decref(keys);
		keys = NULL;
	}
	hex_encode(bytes, sizeof(bytes), hex);
	http_reply_json(request, 200,
			json_pack("{s:s, s:I, s:o}", "set", hex, "epoch", (json_int_t)set.epoch,
				  "keys", keys));
}

void admin_signing_keys_new(struct http_request *request)
{
	uint8_t public_key[PUBLIC_KEY_SIZE];
	int r;

	r = operation_signing_key_new(request->manager, public_key);
	if (r < 0)
		admin_reply_refused(request, r, "signing key", "new");
	else {
		request->details = key_json(public_key, "new");
		http_reply_json(request, 200, key_json(public_key, "new"));
	}
}

void admin_signing_keys_install(struct http_request *request)
{
	uint8_t set[SIGNING_KEYS_SIZE];
	const struct json_member members[] = {
		{"set", JSON_MEMBER_BYTES, set, sizeof(set)},
	};
	int r;

	r = admin_read_body(request, members, ELEMENTSOF(members));
	if (r < 0)
		return;
	r = operation_signing_keys_install(request->manager, set);
	if (r == -EKEYREJECTED)
		admin_reply_message(request, r,
				    "the set: the root key of this manager did not sign it");
	else if (r == -ESTALE)
		admin_reply_message(request, r,
				    "the set: its epoch is not higher than the present");
	else if (r == -ENOKEY)
		admin_reply_message(
			request, r,
			"the set: neither the manager's active key nor its new one is in "
			"it");
	else if (r < 0)
		admin_reply_refused(request, r, "the set", "of signing keys");
	else
		http_reply_empty(request, 204);
}

void admin_store_adopt(struct http_request *request)
{
	int r = operation_store_adopt(request->manager);

	if (r < 0)
		admin_reply_refused(request, r, "store", "adopt");
	else {
		request->details = json_pack("{s:I}", "epoch",
					     (json_int_t)store_epoch(request->manager->store));
		http_reply_empty(request, 204);
	}
}
