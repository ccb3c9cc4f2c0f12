/* SPDX-License-Identifier: Apache-2.0 */
/* What a key configuration may be used for, and what a workspace has. */
#include "manager/uses.h"

#include <errno.h>
#include <stdio.h>

/* Those who are in a rotation never go to one that is: more would be a circle. */
#define CHAIN_MAX 64

bool uses_cover_vms(unsigned uses)
{
	const unsigned volumes = KEY_USE_STORAGE | KEY_USE_CLUSTER_VOLUMES;

	return uses & KEY_USE_MANAGED_SERVICES || (uses & volumes) == volumes;
}

bool uses_cover_data(unsigned uses)
{
	return uses & KEY_USE_STORAGE;
}

int uses_of(struct store *store, const struct store_key *key, unsigned *ret_uses)
{
	struct store_key next = *key;
	bool vms = uses_cover_vms(key->uses), data = uses_cover_data(key->uses);

	for (int i = 0; next.successor > 0 && i < CHAIN_MAX; i++) {
		int r = store_key_get_by_id(store, next.successor, &next);

		if (r < 0)
			return r;
		vms = vms && uses_cover_vms(next.uses);
		data = data && uses_cover_data(next.uses);
	}
	*ret_uses = (vms ? KEY_USE_MANAGED_SERVICES : 0) | (data ? KEY_USE_STORAGE : 0);
	return 0;
}

struct look {
	int64_t workspace;
	bool any;
};

static int any_vm(const struct store_vm *vm, void *userdata)
{
	((struct look *)userdata)->any = true;
	return 0;
}

static int any_node(const struct store_node *node, void *userdata)
{
	struct look *look = userdata;

	look->any = look->any || node->workspace == look->workspace;
	return 0;
}

static int any_kek(const struct store_kek *kek, void *userdata)
{
	((struct look *)userdata)->any = true;
	return 0;
}

int uses_check(struct store *store, const struct store_key *key,
	       const struct store_workspace *workspace, char why[static 256])
{
	struct look vms = {workspace->id}, data = {workspace->id};
	unsigned uses;
	int r;

	r = uses_of(store, key, &uses);
	if (r == 0)
		r = store_vms(store, workspace->name, any_vm, &vms);
	if (r == 0)
		r = store_nodes(store, any_node, &data);
	if (r == 0)
		r = store_keks(store, workspace->id, any_kek, &data);
	if (r < 0)
		return r;
	if ((!vms.any || uses_cover_vms(uses)) && (!data.any || uses_cover_data(uses)))
		return 0;
	snprintf(why, 256, "workspace %.63s has %s, which the use_cases of key %.63s do not cover",
		 workspace->name,
		 vms.any && !uses_cover_vms(uses) ? "VMs" : "storage nodes, or keys of their data",
		 key->name);
	return -ENOTSUP;
}

struct check {
	struct store *store;
	const struct store_key *key;
	int64_t from;
	char *why;
};

/* Whether workspaces under KEY are, or will be, under FROM. */
static int leads_to(struct store *store, int64_t key, int64_t from, bool *ret_leads)
{
	struct store_key next = {.successor = key};

	*ret_leads = false;
	for (int i = 0; next.successor > 0 && !*ret_leads && i < CHAIN_MAX; i++) {
		int r;

		*ret_leads = next.successor == from;
		r = store_key_get_by_id(store, next.successor, &next);
		if (r < 0)
			return r;
	}
	return 0;
}

static int check_one(const struct store_workspace *workspace, void *userdata)
{
	const struct check *check = userdata;
	bool leads;
	int r;

	r = leads_to(check->store, workspace->key, check->from, &leads);
	if (r < 0 || !leads)
		return r;
	return uses_check(check->store, check->key, workspace, check->why);
}

int uses_check_all(struct store *store, const struct store_key *key, const struct store_key *from,
		   char why[static 256])
{
	struct check check = {store, key, from->id, why};

	return store_workspaces(store, check_one, &check);
}
