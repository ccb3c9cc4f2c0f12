/* SPDX-License-Identifier: Apache-2.0 */
/* The key that signs tokens, and the root-signed set that names it. */
#include "manager/signing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "keys/sign.h"
#include "manager/audit.h"
#include "manager/manager.h"

struct pair {
	struct signing_key *key; /* NULL: none */
	uint8_t public_key[PUBLIC_KEY_SIZE];
};

struct signing {
	struct store *store;
	char state_dir[256];
	struct pair active, next; /* next: made, not yet in the set */
	uint8_t root_public[PUBLIC_KEY_SIZE];
	uint8_t set[SIGNING_KEYS_SIZE];
	uint64_t counter;
};

static int path_of(const struct signing *signing, const char *name, char path[static 512])
{
	if (snprintf(path, 512, "%s/%s", signing->state_dir, name) >= 512)
		return -ENAMETOOLONG;
	return 0;
}

/* A key file that others may read is no secret: refused. */
static int check_mode(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || (st.st_mode & 077)) {
		log_error("signing: %s: must be a file that only its owner can read", path);
		return -EPERM;
	}
	return 0;
}

static int pair_set(struct pair *pair, const uint8_t seed[static IDENTITY_SEED_SIZE])
{
	struct signing_key *key;
	int r = signing_key_new_from_seed(seed, &key);

	if (r < 0)
		return r;
	signing_key_free(pair->key);
	pair->key = key;
	signing_key_public(key, pair->public_key);
	return 0;
}

/* -ENOENT where there is no such file. */
static int pair_load(const char *path, struct pair *pair)
{
	uint8_t seed[IDENTITY_SEED_SIZE];
	char text[2 * IDENTITY_SEED_SIZE + 2];
	ssize_t n;
	int r;

	r = check_mode(path);
	if (r < 0)
		return r;
	n = file_read(AT_FDCWD, path, text, sizeof(text));
	if (n > 0 && text[n - 1] == '\n')
		n--;
	r = n < 0 ? (int)n : hex_decode(text, (size_t)n, seed, sizeof(seed));
	bytes_wipe(text, sizeof(text));
	if (r == 0)
		r = pair_set(pair, seed);
	bytes_wipe(seed, sizeof(seed));
	return r;
}

static int write_hex(const char *path, const uint8_t bytes[static 32], mode_t mode)
{
	char text[2 * 32 + 2];
	int r;

	hex_encode(bytes, 32, text);
	text[64] = '\n';
	r = file_write_atomic(path, text, 65, mode);
	bytes_wipe(text, sizeof(text));
	return r;
}

static int pair_make(const char *path, struct pair *pair)
{
	uint8_t seed[IDENTITY_SEED_SIZE];
	int r;

	r = signing_key_generate(seed);
	if (r < 0)
		return r;
	r = write_hex(path, seed, 0600);
	if (r == 0)
		r = pair_set(pair, seed);
	bytes_wipe(seed, sizeof(seed));
	return r;
}

static bool set_has(const struct signing_keys *set, const struct pair *pair)
{
	for (uint32_t i = 0; pair->key && i < set->n_keys; i++) {
		if (bytes_equal(set->keys[i], pair->public_key, PUBLIC_KEY_SIZE))
			return true;
	}
	return false;
}

/* The new key becomes the active one, on disk as in memory. */
static int promote(struct signing *signing)
{
	char from[512], to[512];
	int r;

	r = path_of(signing, "signing.key.new", from);
	if (r == 0)
		r = path_of(signing, "signing.key", to);
	if (r < 0)
		return r;
	if (rename(from, to) < 0)
		return -errno;
	signing_key_free(signing->active.key);
	signing->active = signing->next;
	signing->next = (struct pair){0};
	return directory_sync(to);
}

/* Stores SET, decoded as KEYS. The record holds it whole: with it and the root key's public half
 * checkpoints of the log are verified. */
static int store_set(struct store *store, const struct signing_keys *keys,
		     const uint8_t set[static SIGNING_KEYS_SIZE])
{
	char hex[2 * SIGNING_KEYS_SIZE + 1];
	int r;

	r = store_signing_keys_set(store, set);
	if (r < 0)
		return r;
	hex_encode(set, SIGNING_KEYS_SIZE, hex);
	audit_add(
		store, (struct audit_about){.workspace = AUDIT_PUBLIC}, "signing-keys",
		json_pack("{s:I, s:s}", "epoch", (json_int_t)keys->epoch, AUDIT_SIGNING_KEYS, hex));
	return 0;
}

/* --- the first start --- */

static int root_pair(struct signing *signing, struct pair *root)
{
	char path[512];
	int r;

	r = path_of(signing, "offline", path);
	if (r < 0)
		return r;
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	r = path_of(signing, "offline/root.key", path);
	if (r < 0)
		return r;
	r = pair_load(path, root);
	if (r == -ENOENT) {
		r = pair_make(path, root);
		if (r == 0)
			log_notice("made the root key %s: move it off this machine", path);
	}
	if (r < 0)
		return log_errno(r, "signing: %s", path);
	r = path_of(signing, "offline/root.pub", path);
	return r < 0 ? r : write_hex(path, root->public_key, 0644);
}

static int first_set(struct signing *signing)
{
	struct signing_keys set = {.epoch = 1, .n_keys = 1};
	struct pair root = {0};
	int r;

	r = root_pair(signing, &root);
	if (r < 0)
		return r;
	memcpy(set.keys[0], signing->active.public_key, PUBLIC_KEY_SIZE);
	r = signing_keys_sign(root.key, &set, signing->set);
	memcpy(signing->root_public, root.public_key, PUBLIC_KEY_SIZE);
	signing_key_free(root.key);
	if (r == 0)
		r = store_root_public_set(signing->store, signing->root_public);
	if (r == 0)
		r = store_set(signing->store, &set, signing->set);
	return r < 0 ? r : store_commit(signing->store);
}

/* --- every start --- */

static int load_active(struct signing *signing, bool first)
{
	char path[512];
	int r;

	r = path_of(signing, "signing.key", path);
	if (r < 0)
		return r;
	r = pair_load(path, &signing->active);
	if (r == -ENOENT && first)
		r = pair_make(path, &signing->active);
	if (r < 0)
		return log_errno(r, "signing: %s", path);
	r = path_of(signing, "signing.key.new", path);
	if (r < 0)
		return r;
	r = pair_load(path, &signing->next);
	return r < 0 && r != -ENOENT ? log_errno(r, "signing: %s", path) : 0;
}

static int load_set(struct signing *signing)
{
	struct signing_keys set = {0};
	int r;

	r = store_root_public_get(signing->store, signing->root_public);
	if (r == 0)
		r = signing_keys_verify(signing->set, sizeof(signing->set), signing->root_public,
					&set);
	if (r < 0)
		return log_errno(r, "signing: the stored set of signing keys");
	if (set_has(&set, &signing->active))
		return 0;
	/* A crash between the commit of a set and the renaming of the key file. */
	if (set_has(&set, &signing->next))
		return promote(signing);
	log_error(
		"signing: %s/signing.key is not in the set of signing keys of manager.db: restore "
		"the two from one backup",
		signing->state_dir);
	return -ENOKEY;
}

int signing_open(const char *state_dir, struct store *store, struct signing **ret_signing)
{
	struct signing *signing = calloc(1, sizeof(*signing));
	bool first;
	int r;

	if (!signing)
		return -ENOMEM;
	signing->store = store;
	snprintf(signing->state_dir, sizeof(signing->state_dir), "%s", state_dir);
	r = store_signing_keys_get(store, signing->set);
	first = r == -ENOENT;
	if (r == 0 || first)
		r = load_active(signing, first);
	if (r == 0)
		r = first ? first_set(signing) : load_set(signing);
	if (r < 0) {
		signing_free(signing);
		return r;
	}
	*ret_signing = signing;
	return 0;
}

struct signing *signing_free(struct signing *signing)
{
	if (!signing)
		return NULL;
	signing_key_free(signing->active.key);
	signing_key_free(signing->next.key);
	free(signing);
	return NULL;
}

struct sequence signing_last(const struct signing *signing)
{
	return (struct sequence){store_epoch(signing->store), signing->counter};
}

struct sequence signing_next(struct signing *signing)
{
	signing->counter++;
	return signing_last(signing);
}

int signing_token(const struct signing *signing, struct token *token,
		  uint8_t ret_bytes[static TOKEN_SIZE])
{
	token->issued_at = clock_realtime_s();
	return token_sign(signing->active.key, token, ret_bytes);
}

int signing_share(const struct signing *signing, struct bind_share *share,
		  uint8_t ret_bytes[static BIND_SHARE_RECORD_SIZE])
{
	return bind_share_sign(signing->active.key, share, ret_bytes);
}

int signing_checkpoint(const struct signing *signing, struct audit_checkpoint *checkpoint,
		       uint8_t ret_bytes[static AUDIT_CHECKPOINT_SIZE])
{
	return audit_checkpoint_sign(signing->active.key, checkpoint, ret_bytes);
}

bool signing_counts(const struct signing *signing, const uint8_t bytes[static TOKEN_SIZE])
{
	struct signing_keys set;
	struct token token;

	if (signing_keys_decode(signing->set, sizeof(signing->set), &set) < 0 ||
	    token_decode(bytes, TOKEN_SIZE, &token) < 0)
		return false;
	for (uint32_t i = 0; i < set.n_keys; i++) {
		if (signing_key_id(set.keys[i]) == token.key_id)
			return true;
	}
	return false;
}

const uint8_t *signing_set(const struct signing *signing)
{
	return signing->set;
}

/* --- operations of the admin API --- */

int operation_signing_key_new(struct manager *manager, uint8_t ret_public[static PUBLIC_KEY_SIZE])
{
	struct signing *signing = manager->signing;
	char path[512];
	int r;

	r = path_of(signing, "signing.key.new", path);
	if (r == 0)
		r = pair_make(path, &signing->next);
	if (r < 0)
		return log_errno(r, "signing: cannot make a new key");
	memcpy(ret_public, signing->next.public_key, PUBLIC_KEY_SIZE);
	return 0;
}

int operation_signing_keys_install(struct manager *manager,
				   const uint8_t set[static SIGNING_KEYS_SIZE])
{
	struct signing *signing = manager->signing;
	struct signing_keys new, old;
	int r;

	r = signing_keys_verify(set, SIGNING_KEYS_SIZE, signing->root_public, &new);
	if (r == 0)
		r = signing_keys_decode(signing->set, sizeof(signing->set), &old);
	if (r < 0)
		return r;
	if (new.epoch <= old.epoch)
		return -ESTALE;
	if (!set_has(&new, &signing->active) && !set_has(&new, &signing->next))
		return -ENOKEY;
	r = store_set(signing->store, &new, set);
	/* The key file is renamed only after the set that names the new key is safe. */
	if (r == 0)
		r = store_commit_early(signing->store);
	if (r < 0)
		return r;
	memcpy(signing->set, set, SIGNING_KEYS_SIZE);
	if (!set_has(&new, &signing->active))
		r = promote(signing);
	return r;
}

void operation_signing_key_list(const struct manager *manager,
				uint8_t ret_active[static PUBLIC_KEY_SIZE],
				uint8_t ret_new[static PUBLIC_KEY_SIZE])
{
	memcpy(ret_active, manager->signing->active.public_key, PUBLIC_KEY_SIZE);
	memcpy(ret_new, manager->signing->next.public_key, PUBLIC_KEY_SIZE);
}
