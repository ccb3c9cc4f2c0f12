/* SPDX-License-Identifier: Apache-2.0 */
/* Operation of the admin API: a rotation begins, once the old CMK has unwrapped and the new one wrapped. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manager/envelope.h"
#include "manager/leases.h"
#include "manager/manager.h"
#include "manager/rotation.h"
#include "manager/sharing.h"
#include "manager/uses.h"

struct beginning {
	struct kms_job job;
	struct manager *manager;
	operation_done done; /* NULL once it was called */
	void *userdata;
	struct store_key key, successor; /* successor.id 0: of the CMK itself */
	struct store_workspace bound;	 /* one of the key's; id 0: it has none */
	const struct store_key *refused; /* whose CMK said OUTCOME */
	struct kms_outcome outcome;
};

static const struct store_key *target(const struct beginning *beginning)
{
	return beginning->successor.id > 0 ? &beginning->successor : &beginning->key;
}

static void run(struct kms_job *base)
{
	struct beginning *beginning = (struct beginning *)base;
	const struct store_workspace *bound = &beginning->bound;
	struct envelope_kek kek = {.size = bound->kek_size};

	if (bound->id > 0) {
		memcpy(kek.blob, bound->kek, bound->kek_size);
		memcpy(kek.check, bound->kek_check, HASH_SIZE);
		beginning->refused = &beginning->key;
		envelope_unwrap(&beginning->key.kms, bound->name, &kek, &beginning->outcome);
		if (beginning->outcome.class != KMS_OK)
			return;
	}
	beginning->refused = target(beginning);
	envelope_prove(&beginning->refused->kms, beginning->refused->name, &beginning->outcome);
}

static void finish(struct beginning *beginning, int r, const char *message)
{
	beginning->done(r, message, beginning->userdata);
	beginning->done = NULL;
}

/* -EBUSY: the operation is over. */
static int may_share(struct beginning *beginning)
{
	struct sharing sharing;
	char message[256];
	int r;

	if (beginning->successor.id == 0)
		return 0;
	r = sharing_check(beginning->manager->store, &beginning->successor, &beginning->key.kms,
			  &sharing);
	if (r != -EBUSY)
		return r;
	snprintf(message, sizeof(message),
		 "key %.48s: the CMK of key %.48s is that of workspace %.48s, by key %.48s",
		 beginning->key.name, beginning->successor.name, sharing.other, sharing.through);
	finish(beginning, -EBUSY, message);
	return -EBUSY;
}

/* The same. */
static int may_use(struct beginning *beginning)
{
	char why[256];
	int r;

	if (beginning->successor.id == 0)
		return 0;
	r = uses_check_all(beginning->manager->store, &beginning->successor, &beginning->key, why);
	if (r != -ENOTSUP)
		return r;
	finish(beginning, -ENOTSUP, why);
	return -EBUSY;
}

/* What was true when it was asked for may not be any more. */
static int begin(struct beginning *beginning)
{
	struct store *store = beginning->manager->store;
	struct store_key key, to;
	int r;

	r = store_key_get_by_id(store, beginning->key.id, &key);
	if (r == 0)
		r = store_key_get_by_id(store, target(beginning)->id, &to);
	if (r < 0)
		return r;
	if (key.revoked_ms > 0 || to.revoked_ms > 0 || key.generation != beginning->key.generation)
		return -EAGAIN;
	r = may_share(beginning);
	if (r == 0)
		r = may_use(beginning);
	if (r < 0)
		return r;
	return store_key_rotate(store, key.id, beginning->successor.id, leases_time().real_ms);
}

static void run_done(struct kms_job *base)
{
	struct beginning *beginning = (struct beginning *)base;
	enum kms_class class = beginning->outcome.class;
	char message[384], said[256];
	int r;

	if (class != KMS_OK) {
		kms_outcome_tell(&beginning->outcome, said);
		snprintf(message, sizeof(message), "key %s: %s", beginning->refused->name, said);
		finish(beginning,
		       class == KMS_UNAVAILABLE || class == KMS_IDENTITY ? -EAGAIN : -EKEYREJECTED,
		       message);
		return;
	}
	r = begin(beginning);
	if (r == -EBUSY)
		return;
	snprintf(message, sizeof(message), "key %s: %s", beginning->key.name,
		 r == -EAGAIN ? "it changed meanwhile: try again" : "the store failed");
	if (r == 0)
		rotation_wake(beginning->manager->rotation, beginning->key.id);
	finish(beginning, r, r < 0 ? message : "");
}

static void beginning_free(struct kms_job *base)
{
	struct beginning *beginning = (struct beginning *)base;

	if (beginning->done)
		finish(beginning, -ECANCELED, "the manager is stopping");
	free(beginning);
}

static int take(const struct store_workspace *workspace, void *userdata)
{
	*(struct store_workspace *)userdata = *workspace;
	return 0;
}

static int look_up(struct beginning *beginning, const char *name, const char *successor)
{
	struct store *store = beginning->manager->store;
	int r;

	r = store_key_get(store, name, &beginning->key);
	if (r == 0 && successor)
		r = store_key_get(store, successor, &beginning->successor);
	if (r < 0)
		return r;
	if (beginning->key.revoked_ms > 0 || beginning->successor.revoked_ms > 0)
		return -EKEYREJECTED;
	/* Two that go to each other would never end. */
	if (beginning->successor.id == beginning->key.id || beginning->successor.rotation_ms > 0)
		return -EBUSY;
	return store_workspaces_to_wrap(store, beginning->key.id, UINT32_MAX, 0, 1, take,
					&beginning->bound);
}

int operation_key_rotate(struct manager *manager, const char *name, const char *successor,
			 operation_done done, void *userdata)
{
	struct beginning *beginning = calloc(1, sizeof(*beginning));
	int r;

	if (!beginning)
		return -ENOMEM;
	beginning->job = (struct kms_job){.run = run,
					  .done = run_done,
					  .free = beginning_free,
					  .purpose = KMS_FOR_ADMINISTRATION};
	beginning->manager = manager;
	beginning->userdata = userdata;
	r = look_up(beginning, name, successor);
	if (r < 0) {
		free(beginning);
		return r;
	}
	beginning->done = done;
	beginning->job.key = beginning->key.id;
	beginning->key.kms.calls = beginning->successor.kms.calls = &beginning->job.calls;
	r = may_share(beginning);
	if (r == 0)
		r = may_use(beginning);
	if (r == 0)
		r = kms_pool_submit(manager->kms, &beginning->job);
	if (r < 0) {
		free(beginning);
		return r == -EBUSY ? 0 : r;
	}
	return 0;
}
