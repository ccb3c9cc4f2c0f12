/* SPDX-License-Identifier: Apache-2.0 */
/* Operations of the admin API on KEKs of DEKs: the next version is made, an old one retired or restored. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manager/audit.h"
#include "manager/keks.h"
#include "manager/leases.h"
#include "manager/manager.h"

/* --- rotate --- */

struct making {
	operation_done done;
	void *userdata;
	char workspace[ID_TEXT_MAX + 1], use[KEK_USE_MAX + 1];
};

static void finish(struct making *making, int r, const char *words)
{
	char message[256];

	snprintf(message, sizeof(message), "workspace %s: the KEK of use %s: %s", making->workspace,
		 making->use, words);
	making->done(r, r < 0 ? message : "", making->userdata);
	free(making);
}

static void on_made(int r, enum kms_class class, void *userdata)
{
	if (r == 0 && class != KMS_OK)
		finish(userdata,
		       class == KMS_UNAVAILABLE || class == KMS_IDENTITY ? -EAGAIN : -EKEYREJECTED,
		       kms_class_name(class));
	else if (r == -ESTALE)
		finish(userdata, -EAGAIN, "the workspace or its key changed meanwhile: try again");
	else
		finish(userdata, r, "the store failed");
}

static void on_cancelled(void *userdata)
{
	finish(userdata, -ECANCELED, "the manager is stopping");
}

/* Not for a storage node: its budget is left alone. */
static bool may_ask(void *userdata)
{
	return true;
}

static int count_kek(const struct store_kek *kek, void *userdata)
{
	(*(unsigned *)userdata)++;
	return 0;
}

/* The workspace, its key, and the KEK that new DEKs of USE are sealed under. */
static int look_up(struct store *store, const char *name, const char *use,
		   struct store_workspace *workspace, struct store_key *key, struct store_kek *kek)
{
	unsigned n = 0;
	int r;

	r = store_workspace_get(store, name, workspace);
	if (r == 0)
		r = store_kek_current(store, workspace->id, use, kek);
	if (r == 0 && workspace->key == 0)
		return -ENOKEY;
	if (r == 0)
		r = store_key_get_by_id(store, workspace->key, key);
	if (r == 0)
		r = store_keks(store, workspace->id, count_kek, &n);
	if (r < 0)
		return r;
	if (key->revoked_ms > 0)
		return -EKEYREJECTED;
	return n >= KEKS_OF_WORKSPACE_MAX ? -EBUSY : 0;
}

int operation_kek_rotate(struct manager *manager, const char *name, const char *use,
			 operation_done done, void *userdata)
{
	struct store_workspace workspace;
	struct store_key key;
	struct store_kek kek;
	struct kek_wrapped next = {0};
	struct making *making;
	const struct kek_ask ask = {
		.workspace = &workspace,
		.key = &key,
		.wrapped = &next,
		.may = may_ask,
		.done = on_made,
		.cancelled = on_cancelled,
		.userdata = making = calloc(1, sizeof(*making)),
	};
	int r;

	if (!making)
		return -ENOMEM;
	r = look_up(manager->store, name, use, &workspace, &key, &kek);
	if (r == 0) {
		making->done = done;
		making->userdata = userdata;
		memcpy(making->workspace, workspace.name, sizeof(making->workspace));
		memcpy(making->use, kek.wrapped.use, sizeof(making->use));
		memcpy(next.use, kek.wrapped.use, sizeof(next.use));
		next.version = kek.wrapped.version + 1;
		r = kek_fetch(manager->keks, &ask);
	}
	if (r < 0)
		free(making);
	return r;
}

/* --- retire, restore --- */

#define SAME_VERSION_MAX 8 /* two KEKs of one version there are after a store was lost */

struct matching {
	const char *use;
	uint32_t version;
	struct store_kek keks[SAME_VERSION_MAX];
	unsigned n;
};

static int add_matching(const struct store_kek *kek, void *userdata)
{
	struct matching *matching = userdata;

	if (kek->wrapped.version == matching->version &&
	    strcmp(kek->wrapped.use, matching->use) == 0 && matching->n < SAME_VERSION_MAX)
		matching->keks[matching->n++] = *kek;
	return 0;
}

static int retire(struct manager *manager, const struct store_workspace *workspace,
		  const struct store_key *key, struct store_kek *kek, bool retired)
{
	int r;

	r = store_kek_set_retired(manager->store, kek->wrapped.id,
				  retired ? leases_time().real_ms : 0);
	if (r < 0)
		return r;
	audit_add_kek(manager->store, workspace, key, kek,
		      retired ? "kek-retired" : "kek-restored");
	if (retired)
		keks_drop(manager->keks, workspace->id, kek->wrapped.id);
	return 0;
}

int operation_kek_retire(struct manager *manager, const char *name, const char *use,
			 uint32_t version, bool retired)
{
	struct store *store = manager->store;
	struct matching *matching;
	struct store_workspace workspace;
	struct store_key key = {0};
	struct store_kek current;
	int r;

	r = store_workspace_get(store, name, &workspace);
	if (r == 0 && workspace.key > 0)
		r = store_key_get_by_id(store, workspace.key, &key);
	if (r == 0)
		r = store_kek_current(store, workspace.id, use, &current);
	if (r < 0)
		return r;
	if (retired && current.wrapped.version == version)
		return -EBUSY;
	matching = calloc(1, sizeof(*matching));
	if (!matching)
		return -ENOMEM;
	matching->use = use;
	matching->version = version;
	r = store_keks(store, workspace.id, add_matching, matching);
	if (r == 0)
		r = store_savepoint(store);
	if (r == 0) {
		for (unsigned i = 0; r == 0 && i < matching->n; i++)
			r = retire(manager, &workspace, &key, &matching->keks[i], retired);
		r = store_settle(store, r);
	}
	if (r == 0 && matching->n == 0)
		r = -ENOENT;
	free(matching);
	return r;
}
