/* SPDX-License-Identifier: Apache-2.0 */
/* Two tenants, alpha and gamma, with all that each can have; and a third, doomed, for what can be done
 * once only. Names that mean the same to both are the same: vm1, page=1. */
#pragma once

#include "identities.h"

#include "core/lease.h"
#include "manager/admin_receipt.h"
#include "manager/events/events.h"
#include "manager/routes_storage.h"
#include "manager/routes_vm.h"

/* Leases outlast the slowest run. */
#define POLL                                                                                       \
	",\"poll_ms\":500,\"lease_ms\":7200000,\"margin_ms\":5000,\"max_staleness_ms\":7200000,"   \
	"\"probe_ms\":1000"

struct tenant {
	const char *workspace, *key;
	struct vm first, second, removed;
	struct dek dek, other_dek; /* of one use and context, of another */
};

static struct tenant alpha = {.workspace = "alpha", .key = "alpha-key"};
static struct tenant other = {.workspace = "gamma", .key = "gamma-key"};
static struct signing_key *stranger; /* of nobody */

static inline void enrol_node(const char *name, const char *workspace)
{
	struct identity *identity = identity_add(name, ROLE_STORAGE_NODE);
	struct node node;

	node_enrol(&node, workspace, name);
	memcpy(identity->certificate, node.certificate, sizeof(node.certificate));
	memcpy(identity->key, node.key, sizeof(node.key));
}

static inline struct node node_of(int index)
{
	struct node node = {0};

	memcpy(node.certificate, identities[index].certificate, sizeof(node.certificate));
	memcpy(node.key, identities[index].key, sizeof(node.key));
	return node;
}

/* The KMS may take longer than the poll interval. */
static inline void admit(struct vm *vm)
{
	static struct answer answer;

	do {
		vm_post_boot(vm, &answer);
	} while (answer.status == 202);
	vm_take(vm, &answer, VERDICT_ADMIT, REASON_NONE);
	new_challenge(vm);
}

static inline void tenant_make(struct tenant *tenant, const char *node_name)
{
	struct node node;
	char path[64];

	make_key(tenant->key, POLL);
	make_workspace(tenant->workspace, tenant->key);
	enrol_node(node_name, tenant->workspace);
	node = node_of((int)n_identities - 1);
	tenant->dek = generate(&node, "data", "page=1");
	tenant->other_dek = generate(&node, "logs", "page=2");
	vm_enrol(&tenant->first, tenant->workspace, "vm1");
	vm_enrol(&tenant->second, tenant->workspace, "vm2");
	vm_enrol(&tenant->removed, tenant->workspace, "vm3");
	admit(&tenant->first);
	admit(&tenant->second);
	snprintf(path, sizeof(path), "/v1/vms/%s/vm3", tenant->workspace);
	operate("DELETE", path, 204);
}

static inline void tenant_done(struct tenant *tenant)
{
	vm_done(&tenant->first);
	vm_done(&tenant->second);
	vm_done(&tenant->removed);
}

/* From now on the administrators of before are those of an authority that is gone. */
static inline void replace_authority(void)
{
	const struct pki_options options = {
		.state_dir = state_dir,
		.admin_url = "https://127.0.0.1",
		.manager_url = "https://127.0.0.1",
	};
	char command[256], error[256];

	manager_stop();
	snprintf(command, sizeof(command),
		 "cd %s && mv identities old-identities && rm admin-ca.pem admin-ca.key",
		 state_dir);
	assert_int_equal(system(command), 0);
	assert_true(pki_ensure(&options, (int64_t)clock_realtime_s(), error) >= 0);
	manager_start();
}

static inline int make_world(void **state)
{
	const struct pki_subject nobody = {.kind = PKI_NODE, .common_name = "nobody"};
	const int64_t now = (int64_t)clock_realtime_s();
	struct authority authority;

	if (set_up(state) < 0)
		return -1;
	replace_authority();
	random_key(&stranger);
	identity_of_manager("key-administrator", ROLE_KEY_ADMINISTRATOR,
			    "identities/key-administrator");
	identity_of_manager("operator", ROLE_OPERATOR, "identities/operator");
	tenant_make(&alpha, "node-alpha");
	tenant_make(&other, "node-gamma");
	enrol_node("node-removed", "alpha");
	operate("DELETE", "/v1/storage-nodes/alpha/node-removed", 204);
	identities[NODE_REMOVED].role = 0;
	identity_add("nobody", 0);
	identity_of_manager("a key administrator of a revoked authority", 0,
			    "old-identities/key-administrator");
	identity_of_manager("an operator of a revoked authority", 0, "old-identities/operator");
	identity_make("a node that nobody enrolled", &nobody, NULL, now, NULL);
	authority = authority_load("admin-ca.pem", "admin-ca.key");
	identities_of_authority(&authority, now);
	authority_done(&authority);
	identities_of_others(now);
	return 0;
}

static inline int end_world(void **state)
{
	signing_key_free(stranger);
	tenant_done(&alpha);
	tenant_done(&other);
	return tear_down(state);
}
