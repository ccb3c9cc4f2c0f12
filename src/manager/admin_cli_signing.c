/* SPDX-License-Identifier: Apache-2.0 */
/* emberlock-admin signing-key, root-key: which keys may sign leases, as the root key says. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/parse.h"
#include "keys/sign.h"
#include "manager/admin_cli.h"

#define KEY_ID_TEXT 16 /* hex digits of signing_key_id() */

static void free_json(json_t **p)
{
	json_decref(*p);
}

/* The hex member NAME of ANSWER as N bytes. */
static int hex_member(const json_t *answer, const char *name, uint8_t *ret_bytes, size_t n)
{
	const json_t *value = json_object_get(answer, name);

	if (!json_is_string(value) ||
	    hex_decode(json_string_value(value), json_string_length(value), ret_bytes, n) < 0)
		return admin_refuse(-EBADMSG, "the manager's answer: bad member '%s'", name);
	return 0;
}

int admin_fetch_signing_keys(const struct admin_call *call, const char *file,
			     const uint8_t root_public[static PUBLIC_KEY_SIZE],
			     struct signing_keys *ret_set,
			     uint8_t ret_bytes[static SIGNING_KEYS_SIZE])
{
	_cleanup_(free_json) json_t *answer = NULL;
	int r;

	r = admin_http(call, "GET", "/v1/signing-keys", NULL, &answer);
	if (r < 0)
		return r;
	r = hex_member(answer, "set", ret_bytes, SIGNING_KEYS_SIZE);
	if (r < 0)
		return r;
	r = signing_keys_verify(ret_bytes, SIGNING_KEYS_SIZE, root_public, ret_set);
	if (r < 0)
		return admin_refuse(
			r,
			"the manager's set of signing keys is not signed by the root key "
			"of %s",
			file);
	return 0;
}

/* The root key, and the manager's set, which that key must have signed. */
static int open_root(const struct admin_call *call, struct signing_key **ret_root,
		     struct signing_keys *ret_set)
{
	_cleanup_signing_key_ struct signing_key *root = NULL;
	const char *file = admin_value(call, "root-key");
	uint8_t seed[IDENTITY_SEED_SIZE], public_key[PUBLIC_KEY_SIZE], bytes[SIGNING_KEYS_SIZE];
	int r;

	r = admin_read_key_file(file, true, seed);
	if (r < 0)
		return r;
	r = signing_key_new_from_seed(seed, &root);
	bytes_wipe(seed, sizeof(seed));
	if (r < 0)
		return admin_refuse(r, "--root-key %s: %s", file, strerror(-r));
	signing_key_public(root, public_key);
	r = admin_fetch_signing_keys(call, file, public_key, ret_set, bytes);
	if (r < 0)
		return r;
	*ret_root = TAKE_PTR(root);
	return 0;
}

/* Signs SET with the next epoch and installs it. */
static int install(const struct admin_call *call, const struct signing_key *root,
		   struct signing_keys *set)
{
	_cleanup_(free_json) json_t *body = NULL;
	uint8_t bytes[SIGNING_KEYS_SIZE];
	char hex[2 * SIGNING_KEYS_SIZE + 1];
	int r;

	set->epoch++;
	r = signing_keys_sign(root, set, bytes);
	if (r < 0)
		return admin_refuse(r, "--root-key %s: cannot sign: %s",
				    admin_value(call, "root-key"), strerror(-r));
	hex_encode(bytes, sizeof(bytes), hex);
	body = json_pack("{s:s}", "set", hex);
	return admin_http(call, "PUT", "/v1/signing-keys", body, NULL);
}

static int print_done(const struct admin_call *call, const char *what, uint64_t id,
		      const struct signing_keys *set)
{
	if (call->json)
		printf("{\"key_id\":\"%016" PRIx64 "\",\"epoch\":%" PRIu64 "}\n", id, set->epoch);
	else
		printf("signing key %016" PRIx64 ": %s; set epoch %" PRIu64 ", %" PRIu32 " keys\n",
		       id, what, set->epoch, set->n_keys);
	return 0;
}

static int find_key(const struct signing_keys *set, uint64_t id)
{
	for (uint32_t i = 0; i < set->n_keys; i++)
		if (signing_key_id(set->keys[i]) == id)
			return (int)i;
	return -ENOENT;
}

/* The manager goes on with the old key until that is revoked, and then changes to the new one: a VM
 * asks for the newest set when it meets a key it does not know, so that it learns of the revocation
 * by the change. */
static int rotate(const struct admin_call *call)
{
	_cleanup_signing_key_ struct signing_key *root = NULL;
	_cleanup_(free_json) json_t *answer = NULL;
	uint8_t public_key[PUBLIC_KEY_SIZE];
	struct signing_keys set;
	int r;

	r = open_root(call, &root, &set);
	if (r < 0)
		return r;
	if (set.n_keys == SIGNING_KEYS_MAX)
		return admin_refuse(
			-ENOSPC, "the set holds %d signing keys already: revoke an old one first",
			SIGNING_KEYS_MAX);
	r = admin_http(call, "POST", "/v1/signing-keys/new", NULL, &answer);
	if (r < 0)
		return r;
	r = hex_member(answer, "public_key", public_key, sizeof(public_key));
	if (r < 0)
		return r;
	if (find_key(&set, signing_key_id(public_key)) >= 0)
		return admin_refuse(-EEXIST, "the manager's new signing key is in the set already");
	memcpy(set.keys[set.n_keys++], public_key, sizeof(public_key));
	r = install(call, root, &set);
	if (r < 0)
		return r;
	return print_done(call, "added; in use once the active one is revoked",
			  signing_key_id(public_key), &set);
}

static int revoke_key(const struct admin_call *call)
{
	_cleanup_signing_key_ struct signing_key *root = NULL;
	const char *text = call->arguments[0];
	struct signing_keys set;
	uint8_t id_bytes[8];
	uint64_t id;
	int at, r;

	if (hex_decode(text, strlen(text), id_bytes, sizeof(id_bytes)) < 0)
		return admin_refuse(-EINVAL, "ID: '%.64s' is not %d hex digits", text, KEY_ID_TEXT);
	id = get_be64(id_bytes);
	r = open_root(call, &root, &set);
	if (r < 0)
		return r;
	at = find_key(&set, id);
	if (at < 0)
		return admin_refuse(at, "signing key %s: not in the manager's set", text);
	if (set.n_keys == 1)
		return admin_refuse(-EBUSY,
				    "signing key %s: is the only one; `signing-key rotate` first",
				    text);
	set.n_keys--;
	memmove(set.keys[at], set.keys[at + 1], (set.n_keys - (uint32_t)at) * PUBLIC_KEY_SIZE);
	bytes_wipe(set.keys[set.n_keys], PUBLIC_KEY_SIZE);
	r = install(call, root, &set);
	if (r < 0)
		return r;
	return print_done(call, "revoked", id, &set);
}

static int list(const struct admin_call *call)
{
	static const struct admin_column columns[] = {
		{"KEY", "key_id", ADMIN_COLUMN_TEXT},
		{"USE", "use", ADMIN_COLUMN_TEXT},
		{"PUBLIC KEY", "public_key", ADMIN_COLUMN_TEXT},
	};
	_cleanup_(free_json) json_t *answer = NULL;
	int r;

	r = admin_http(call, "GET", "/v1/signing-keys", NULL, &answer);
	if (r < 0)
		return r;
	admin_print_table(call, json_object_get(answer, "keys"), columns, ELEMENTSOF(columns));
	return 0;
}

static int root_path(const char *directory, const char *name, char path[static PATH_MAX])
{
	if (snprintf(path, PATH_MAX, "%s/%s", directory, name) >= PATH_MAX)
		return admin_refuse(-ENAMETOOLONG, "--output: the path is too long");
	if (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return admin_refuse(-EEXIST, "--output: %s is there already", path);
	return 0;
}

static int write_root(const char *private_path, const char *public_path)
{
	_cleanup_signing_key_ struct signing_key *key = NULL;
	uint8_t seed[IDENTITY_SEED_SIZE], public_key[PUBLIC_KEY_SIZE];
	int r;

	r = signing_key_generate(seed);
	if (r == 0)
		r = signing_key_new_from_seed(seed, &key);
	if (r < 0)
		return admin_refuse(r, "cannot make a root key: %s", strerror(-r));
	signing_key_public(key, public_key);
	r = admin_write_key_file(private_path, seed, 0600);
	bytes_wipe(seed, sizeof(seed));
	return r < 0 ? r : admin_write_key_file(public_path, public_key, 0644);
}

static int generate(const struct admin_call *call)
{
	const char *directory = admin_value(call, "output");
	char private_path[PATH_MAX], public_path[PATH_MAX];
	int r;

	r = admin_make_directory(directory);
	if (r < 0)
		return r;
	r = root_path(directory, "root.key", private_path);
	if (r < 0)
		return r;
	r = root_path(directory, "root.pub", public_path);
	if (r < 0)
		return r;
	r = write_root(private_path, public_path);
	if (r < 0)
		return r;
	printf("%s: keep it off the manager's machine; %s may be public\n", private_path,
	       public_path);
	return 0;
}

#define ROOT_KEY_OPTION                                                                            \
	{                                                                                          \
		"root-key", "FILE", "the root key (root.key, secret)", true                        \
	}

/* A row a command. */
/* clang-format off */
const struct admin_command admin_signing_commands[] = {
	{"signing-key", "list", {NULL}, "List the keys that may sign leases.", list, {{NULL}}},
	{"signing-key", "rotate", {NULL}, "Add a new key, in use once the active one is revoked.",
	 rotate, {ROOT_KEY_OPTION}},
	{"signing-key", "revoke", {"ID"}, "Take a key out of the set; what it signed counts no more.",
	 revoke_key, {ROOT_KEY_OPTION}},
	{"root-key", "generate", {NULL}, "Make a root key pair: root.key and root.pub.", generate,
	 {{"output", "DIR", "where to write it", true}}},
	{NULL},
};
/* clang-format on */
