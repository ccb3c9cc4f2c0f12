/* SPDX-License-Identifier: Apache-2.0 */
/* Operations of the admin API that ask the KMS first: create a key configuration, clear its
 * revocation, bind a workspace. Each is one job; what the store said when it began is looked at
 * again when it ends. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "manager/audit.h"
#include "manager/envelope.h"
#include "manager/keks.h"
#include "manager/leases.h"
#include "manager/manager.h"
#include "manager/prober.h"
#include "manager/rotation.h"
#include "manager/sharing.h"
#include "manager/uses.h"

/* A workspace whose KEK is to be unwrapped. */
struct bound {
	struct bound *next;
	char name[ID_TEXT_MAX + 1];
	struct prober_answer answer;
	struct envelope_kek kek;
};

/* A KEK of DEKs that goes under another CMK with its workspace. */
struct moving {
	struct moving *next;
	struct kek_wrapped wrapped;
	uint64_t start_ms; /* CLOCK_BOOTTIME, before the new CMK unwrapped it */
};

struct operation {
	struct kms_job job;
	struct manager *manager;
	operation_done done; /* NULL once it was called */
	void *userdata;
	struct store_key key;
	struct kms_outcome outcome;
	char workspace[ID_TEXT_MAX + 1]; /* of a bind */
	int64_t workspace_id, old_key_id;
	struct kms_key old_key;
	struct envelope_kek old_kek, kek;
	struct moving *moving;
	struct prober_answer answer; /* of the new CMK */
	struct bound *bound;	     /* of a clear */
};

static void finish(struct operation *operation, int r, const char *message)
{
	operation->done(r, message, operation->userdata);
	operation->done = NULL;
}

static void operation_free(struct kms_job *base)
{
	struct operation *operation = (struct operation *)base;

	/* The manager ends before the KMS answered. */
	if (operation->done)
		finish(operation, -ECANCELED, "the manager is stopping");
	while (operation->bound) {
		struct bound *bound = operation->bound;

		operation->bound = bound->next;
		free(bound);
	}
	while (operation->moving) {
		struct moving *moving = operation->moving;

		operation->moving = moving->next;
		free(moving);
	}
	free(operation);
}

static struct operation *operation_new(struct manager *manager, const struct store_key *key,
				       void (*run)(struct kms_job *job),
				       void (*done)(struct kms_job *job), operation_done callback,
				       void *userdata)
{
	struct operation *operation = calloc(1, sizeof(*operation));

	if (!operation)
		return NULL;
	operation->job = (struct kms_job){.run = run,
					  .done = done,
					  .free = operation_free,
					  .purpose = KMS_FOR_ADMINISTRATION,
					  .key = key->id};
	operation->manager = manager;
	operation->done = callback;
	operation->userdata = userdata;
	operation->key = *key;
	operation->key.kms.calls = &operation->job.calls;
	return operation;
}

/* One that never began does not call back. */
static int operation_refuse(struct operation *operation, int r)
{
	operation->done = NULL;
	operation_free(&operation->job);
	return r;
}

static int operation_submit(struct operation *operation)
{
	int r = kms_pool_submit(operation->manager->kms, &operation->job);

	return r < 0 ? operation_refuse(operation, r) : 0;
}

/* True where the KMS agreed; else the operation is over. */
static bool kms_agreed(struct operation *operation)
{
	enum kms_class class = operation->outcome.class;
	char message[384], said[256];

	if (class == KMS_OK)
		return true;
	kms_outcome_tell(&operation->outcome, said);
	snprintf(message, sizeof(message), "key %s: %s", operation->key.name, said);
	finish(operation,
	       class == KMS_UNAVAILABLE || class == KMS_IDENTITY ? -EAGAIN : -EKEYREJECTED,
	       message);
	return false;
}

static void finish_stored(struct operation *operation, int r, const char *object, const char *name)
{
	char message[256];

	snprintf(message, sizeof(message), "%s %s: %s", object, name,
		 r == -EEXIST	? "there is one of that name already"
		 : r == -ENOENT ? "not found"
				: "the store failed");
	finish(operation, r < 0 ? r : 0, r < 0 ? message : "");
}

/* --- create --- */

static void run_create(struct kms_job *base)
{
	struct operation *operation = (struct operation *)base;

	envelope_prove(&operation->key.kms, operation->key.name, &operation->outcome);
}

static void create_done(struct kms_job *base)
{
	struct operation *operation = (struct operation *)base;
	int r;

	if (!kms_agreed(operation))
		return;
	operation->key.kms.proven = true;
	memcpy(operation->key.kms.proven_by, operation->outcome.by,
	       sizeof(operation->key.kms.proven_by));
	operation->key.created_ms = leases_time().real_ms;
	r = store_key_insert(operation->manager->store, &operation->key);
	if (r == 0)
		operation->job.key = operation->key.id; /* the calls are its own */
	finish_stored(operation, r, "key", operation->key.name);
}

int operation_key_create(struct manager *manager, const struct store_key *key, operation_done done,
			 void *userdata)
{
	struct operation *operation;
	struct store_key other;
	int r;

	r = store_key_get(manager->store, key->name, &other);
	if (r != -ENOENT)
		return r < 0 ? r : -EEXIST;
	operation = operation_new(manager, key, run_create, create_done, done, userdata);
	return operation ? operation_submit(operation) : -ENOMEM;
}

/* --- clear --- */

static void run_clear(struct kms_job *base)
{
	struct operation *operation = (struct operation *)base;

	if (!operation->bound)
		envelope_prove(&operation->key.kms, operation->key.name, &operation->outcome);
	for (struct bound *b = operation->bound; b; b = b->next) {
		struct engine_time now = leases_time();

		b->answer.start_ms = now.boot_ms;
		b->answer.start_real_ms = now.real_ms;
		envelope_unwrap(&operation->key.kms, b->name, &b->kek, &b->answer.outcome);
		operation->outcome = b->answer.outcome;
		if (operation->outcome.class != KMS_OK)
			return;
	}
}

static void clear_done(struct kms_job *base)
{
	struct operation *operation = (struct operation *)base;
	struct manager *manager = operation->manager;
	int r;

	if (!kms_agreed(operation))
		return;
	r = store_key_set_revoked(manager->store, operation->key.id, 0, "");
	for (struct bound *b = operation->bound; r == 0 && b; b = b->next)
		prober_observe(manager->prober, &b->answer);
	if (r == 0)
		log_notice("key %s: the revocation is cleared", operation->key.name);
	if (r == 0)
		rotation_wake(manager->rotation, operation->key.id);
	finish_stored(operation, r, "key", operation->key.name);
}

static int add_bound(const struct store_workspace *workspace, void *userdata)
{
	struct operation *operation = userdata;
	struct bound *bound;

	if (workspace->key != operation->key.id)
		return 0;
	bound = calloc(1, sizeof(*bound));
	if (!bound)
		return -ENOMEM;
	memcpy(bound->name, workspace->name, sizeof(bound->name));
	memcpy(bound->kek.blob, workspace->kek, workspace->kek_size);
	bound->kek.size = workspace->kek_size;
	memcpy(bound->kek.check, workspace->kek_check, HASH_SIZE);
	bound->answer.workspace = workspace->id;
	bound->answer.key = workspace->key;
	bound->next = operation->bound;
	operation->bound = bound;
	return 0;
}

int operation_key_clear(struct manager *manager, const char *name, operation_done done,
			void *userdata)
{
	struct operation *operation;
	struct store_key key;
	int r;

	r = store_key_get(manager->store, name, &key);
	if (r < 0)
		return r;
	operation = operation_new(manager, &key, run_clear, clear_done, done, userdata);
	if (!operation)
		return -ENOMEM;
	r = store_workspaces(manager->store, add_bound, operation);
	if (r < 0)
		return operation_refuse(operation, r);
	return operation_submit(operation);
}

/* --- bind --- */

static void run_bind(struct kms_job *base)
{
	struct operation *operation = (struct operation *)base;
	struct engine_time now;

	operation->outcome.class = KMS_OK;
	for (struct moving *m = operation->moving; m && operation->outcome.class == KMS_OK;
	     m = m->next) {
		m->start_ms = leases_time().boot_ms;
		envelope_kek_move(&operation->key.kms, operation->workspace, &operation->old_key,
				  &m->wrapped, &operation->outcome);
	}
	if (operation->outcome.class != KMS_OK)
		return;
	/* Last: it is the evidence from now on. */
	now = leases_time();
	operation->answer.start_ms = now.boot_ms;
	operation->answer.start_real_ms = now.real_ms;
	envelope_make(&operation->key.kms, operation->workspace,
		      operation->old_key_id > 0 ? &operation->old_key : NULL, &operation->old_kek,
		      &operation->kek, &operation->outcome);
}

/* -EBUSY: the operation is over. */
static int may_share(struct operation *operation)
{
	const struct kms_key *old = operation->old_key_id > 0 ? &operation->old_key : NULL;
	struct sharing sharing;
	char message[256];
	int r;

	r = sharing_check(operation->manager->store, &operation->key, old, &sharing);
	if (r != -EBUSY)
		return r;
	snprintf(message, sizeof(message),
		 "workspace %.48s: the CMK of key %.48s is that of workspace %.48s, by key %.48s",
		 operation->workspace, operation->key.name, sharing.other, sharing.through);
	finish(operation, -EBUSY, message);
	return -EBUSY;
}

/* The same. */
static int may_use(struct operation *operation, const struct store_workspace *workspace)
{
	char why[256];
	int r = uses_check(operation->manager->store, &operation->key, workspace, why);

	if (r != -ENOTSUP)
		return r;
	finish(operation, -ENOTSUP, why);
	return -EBUSY;
}

/* One that was made meanwhile would stay behind, under the old CMK. */
static int is_moving(const struct store_kek *kek, void *userdata)
{
	const struct operation *operation = userdata;

	for (const struct moving *m = operation->moving; m; m = m->next)
		if (memcmp(m->wrapped.id, kek->wrapped.id, KEK_ID_SIZE) == 0)
			return 0;
	return -EAGAIN;
}

static int store_moved(struct operation *operation, const struct store_workspace *workspace)
{
	struct store *store = operation->manager->store;
	uint32_t generation = operation->key.generation;
	int r = 0;

	for (const struct moving *m = operation->moving; r == 0 && m; m = m->next) {
		const struct store_kek kek = {.wrapped = m->wrapped, .generation = generation};

		r = store_kek_set_wrapped(store, &m->wrapped, generation);
		if (r == 0)
			audit_add_kek(store, workspace, &operation->key, &kek, "kek-rewrapped");
	}
	return r;
}

static int store_bind(struct operation *operation, struct store_workspace *workspace)
{
	struct store *store = operation->manager->store;
	int r;

	r = store_savepoint(store);
	if (r < 0)
		return r;
	workspace->key = operation->key.id;
	memcpy(workspace->kek, operation->kek.blob, operation->kek.size);
	workspace->kek_size = operation->kek.size;
	memcpy(workspace->kek_check, operation->kek.check, HASH_SIZE);
	workspace->kek_generation = operation->key.generation;
	r = store_workspace_bind(store, workspace);
	if (r == 0)
		r = store_moved(operation, workspace);
	return store_settle(store, r);
}

/* What is held stays: the new CMK has unwrapped it, too. So do leases: there is evidence already. */
static void go_on(struct operation *operation)
{
	struct manager *manager = operation->manager;

	for (const struct moving *m = operation->moving; m; m = m->next)
		keks_rewrapped(manager->keks, operation->workspace_id, m->wrapped.id,
			       operation->key.id, m->start_ms,
			       m->start_ms + operation->key.max_staleness_ms);
	operation->answer.workspace = operation->workspace_id;
	operation->answer.key = operation->key.id;
	operation->answer.outcome = operation->outcome;
	prober_observe(manager->prober, &operation->answer);
	prober_rebound(manager->prober, operation->workspace_id);
}

static void bind_done(struct kms_job *base)
{
	struct operation *operation = (struct operation *)base;
	struct store *store = operation->manager->store;
	struct store_workspace workspace;
	struct store_key key, old = {0};
	int r;

	if (!kms_agreed(operation))
		return;
	r = store_workspace_get_by_id(store, operation->workspace_id, &workspace);
	if (r == 0)
		r = store_key_get_by_id(store, operation->key.id, &key);
	if (r == 0 && workspace.key > 0)
		r = store_key_get_by_id(store, workspace.key, &old);
	if (r == 0)
		r = store_keks(store, workspace.id, is_moving, operation);
	if (r == -EAGAIN || (r == 0 && (workspace.key != operation->old_key_id ||
					key.generation != operation->key.generation ||
					key.revoked_ms > 0 || old.revoked_ms > 0))) {
		finish(operation, -EAGAIN, "the workspace or its key changed meanwhile: try again");
		return;
	}
	if (r == 0)
		r = may_share(operation);
	if (r == 0)
		r = may_use(operation, &workspace);
	if (r == -EBUSY)
		return;
	if (r == 0)
		r = store_bind(operation, &workspace);
	if (r == 0)
		go_on(operation);
	finish_stored(operation, r, "workspace", operation->workspace);
}

static int add_moving(const struct store_kek *kek, void *userdata)
{
	struct operation *operation = userdata;
	struct moving *moving = calloc(1, sizeof(*moving));

	if (!moving)
		return -ENOMEM;
	moving->wrapped = kek->wrapped;
	moving->next = operation->moving;
	operation->moving = moving;
	return 0;
}

/* The key that the workspace is bound to now must be healthy: its KEK is unwrapped by it. */
static int set_old(struct operation *operation, const struct store_workspace *workspace)
{
	struct store_key old;
	int r;

	memcpy(operation->workspace, workspace->name, sizeof(operation->workspace));
	operation->workspace_id = workspace->id;
	operation->old_key_id = workspace->key;
	if (workspace->key == 0)
		return 0;
	r = store_key_get_by_id(operation->manager->store, workspace->key, &old);
	if (r < 0)
		return r;
	if (old.revoked_ms > 0)
		return -EKEYREJECTED;
	operation->old_key = old.kms;
	operation->old_key.calls = &operation->job.calls;
	memcpy(operation->old_kek.blob, workspace->kek, workspace->kek_size);
	operation->old_kek.size = workspace->kek_size;
	memcpy(operation->old_kek.check, workspace->kek_check, HASH_SIZE);
	return store_keks(operation->manager->store, workspace->id, add_moving, operation);
}

int operation_workspace_bind(struct manager *manager, const char *workspace, const char *key,
			     operation_done done, void *userdata)
{
	struct store_workspace workspace_row;
	struct operation *operation;
	struct store_key key_row;
	int r;

	r = store_workspace_get(manager->store, workspace, &workspace_row);
	if (r == 0)
		r = store_key_get(manager->store, key, &key_row);
	if (r < 0)
		return r;
	if (key_row.revoked_ms > 0)
		return -EKEYREJECTED;
	operation = operation_new(manager, &key_row, run_bind, bind_done, done, userdata);
	if (!operation)
		return -ENOMEM;
	r = set_old(operation, &workspace_row);
	if (r == 0)
		r = may_share(operation);
	if (r == 0)
		r = may_use(operation, &workspace_row);
	if (r < 0 && operation->done)
		return operation_refuse(operation, r);
	if (r == 0)
		return operation_submit(operation);
	operation_free(&operation->job);
	return 0;
}
