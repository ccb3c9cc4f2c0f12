/* SPDX-License-Identifier: Apache-2.0 */
/* The manager's store: typed rows over SQLite, one transaction a turn of the loop.
 *
 * The first write of a turn opens the transaction; store_commit() at its end closes it (manager.c
 * calls that, then lets the replies go). A handler that writes several rows that belong together
 * puts them between store_savepoint() and store_settle().
 *
 * Every function: 0 (or a count), -ENOENT where a row is absent, -EEXIST where it is there already,
 * -EBUSY where others refer to it, -EIO for the rest of SQLite's errors (logged). Times are
 * CLOCK_REALTIME in ms unless said otherwise. Row ids are positive. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/limits.h"
#include "core/message.h"
#include "manager/audit_chain.h"
#include "manager/dek_blob.h"
#include "manager/kms/kms.h"

struct store;

/* Opens or creates PATH (mode 0600), brings the schema to this version, and raises the epoch: the
 * new one is committed before this returns. -EPROTONOSUPPORT for a schema newer than this program.
 */
int store_open(const char *path, struct store **ret_store);
struct store *store_free(struct store *store);

/* Calls OPENED whenever a write opens a transaction: somebody must call store_commit() then. */
void store_on_open(struct store *store, void (*opened)(void *userdata), void *userdata);

/* Commits the turn's transaction, where one is open. On error it has been rolled back. */
int store_commit(struct store *store);
/* The same before the end of the turn. What is lost here the next store_commit() reports too: others
 * wrote in this turn, and their replies must not leave. */
int store_commit_early(struct store *store);
void store_rollback(struct store *store);
/* The turn's transaction will be rolled back in place of its commit. */
void store_spoil(struct store *store);
bool store_is_dirty(const struct store *store);

/* Nested once: rows written since are kept or undone together. */
int store_savepoint(struct store *store);
/* Keeps them where R is not negative, undoes them where it is. Returns R, or why that failed. */
int store_settle(struct store *store, int r);

/* --- sequence, adoption --- */
/* The epoch of this start, and the lowest epoch since the last adoption. */
uint64_t store_epoch(const struct store *store);
uint64_t store_adopted_epoch(const struct store *store);
/* Sets the epoch above all that was shown and the current one; forgets the rollbacks. */
int store_adopt(struct store *store);

/* --- key configurations --- */
/* What a customer lets the key be used for; in the store, too. */
enum key_use {
	KEY_USE_MANAGED_SERVICES = 1 << 0, /* VMs */
	KEY_USE_STORAGE = 1 << 1,	   /* data-encryption keys of storage nodes */
	KEY_USE_CLUSTER_VOLUMES = 1 << 2,  /* with STORAGE: VMs as well */
};
struct store_key {
	int64_t id;
	char name[ID_TEXT_MAX + 1];
	struct kms_key kms;
	char alias[264]; /* aws: what the customer calls it; it names nothing to us; "" none */
	uint32_t poll_ms, lease_ms, margin_ms, max_staleness_ms, probe_ms;
	enum expiry expiry;
	bool confirm_boot;
	unsigned uses; /* bits of enum key_use */
	uint64_t created_ms;
	uint64_t revoked_ms; /* 0: not revoked. Sticky until cleared */
	char revoked_code[96];
	/* Counts the rotations of its CMK. A KEK wrapped in an earlier one is to be wrapped anew. */
	uint32_t generation;
	uint64_t rotation_ms; /* a rotation is under way since then; 0: none is */
	int64_t successor;    /* its workspaces go to this key configuration; 0: they stay */
	uint64_t rotated_ms;  /* the last rotation was complete; 0: never */
};
/* The defaults of design.md §5: poll 10 s, lease 300 s, margin 60 s, staleness 120 s, probe 10 s.
 */
void store_key_defaults(struct store_key *ret_key);
/* 0, or -EINVAL with ERROR naming the setting: ranges, and provider->check(). */
int store_key_check(const struct store_key *key, char error[static 256]);
/* Fills in where KMS finds its credentials. */
void store_credentials_dir(const struct store *store, struct kms_key *kms);
int store_key_insert(struct store *store, struct store_key *key); /* sets .id */
int store_key_get(struct store *store, const char *name, struct store_key *ret_key);
int store_key_get_by_id(struct store *store, int64_t id, struct store_key *ret_key);
int store_key_delete(struct store *store, const char *name); /* -EBUSY while bound */
int store_key_set_revoked(struct store *store, int64_t id, uint64_t revoked_ms, const char *code);
/* BY: kms_outcome.by of the success. */
int store_key_set_proven(struct store *store, int64_t id, const uint8_t by[static 32]);
/* A rotation begins, in place of one that is under way: to SUCCESSOR, or, where that is 0, of the CMK
 * itself, which raises the generation. */
int store_key_rotate(struct store *store, int64_t id, int64_t successor, uint64_t now_ms);
/* It is complete. */
int store_key_rotated(struct store *store, int64_t id, uint64_t now_ms);
/* KEKs that the key's CMK has wrapped, those of workspaces included. */
struct store_key_keks {
	unsigned n, left; /* all; of an earlier generation */
};
int store_key_count_keks(struct store *store, const struct store_key *key,
			 struct store_key_keks *ret_keks);
/* EACH returning non-zero ends the walk, which then returns that. By name. EACH must not write. */
typedef int (*store_key_each)(const struct store_key *key, void *userdata);
int store_keys(struct store *store, store_key_each each, void *userdata);

/* --- workspaces --- */
struct store_workspace {
	int64_t id;
	char name[ID_TEXT_MAX + 1];
	int64_t key;			/* id of its key configuration; 0: unbound */
	char key_name[ID_TEXT_MAX + 1]; /* "" unbound */
	uint8_t kek[KMS_BLOB_MAX];	/* wrapped by the CMK */
	size_t kek_size;
	uint32_t kek_generation;      /* of the key when it wrapped it */
	uint8_t kek_check[HASH_SIZE]; /* SHA-256 over a domain string and the KEK */
	uint64_t created_ms;
	/* The highest sequence a VM of it showed that this store never issued; epoch 0: none.
	 * While it is set nothing is issued to the workspace (store_adopt()). */
	struct sequence rolled_back;
};
int store_workspace_insert(struct store *store, const char *name, int64_t *ret_id);
int store_workspace_get(struct store *store, const char *name, struct store_workspace *ret);
int store_workspace_get_by_id(struct store *store, int64_t id, struct store_workspace *ret);
/* -EBUSY while it has VMs, storage nodes, KEKs of DEKs, or records of boots. */
int store_workspace_delete(struct store *store, const char *name);
/* Writes .key, .kek, .kek_generation, .kek_check. */
int store_workspace_bind(struct store *store, const struct store_workspace *workspace);
int store_workspace_set_rolled_back(struct store *store, int64_t id, struct sequence shown);
typedef int (*store_workspace_each)(const struct store_workspace *workspace, void *userdata);
int store_workspaces(struct store *store, store_workspace_each each, void *userdata);
/* At most MAX that are bound to KEY by a KEK of a generation below GENERATION, after AFTER, by id. */
int store_workspaces_to_wrap(struct store *store, int64_t key, uint32_t generation, int64_t after,
			     unsigned max, store_workspace_each each, void *userdata);

/* --- KEKs of DEKs --- */
struct store_kek {
	int64_t workspace;
	struct kek_wrapped wrapped;
	uint64_t created_ms; /* 0: it came back in a blob */
	uint32_t generation; /* of the key when it wrapped it; 0 where it came back in a blob */
	uint64_t retired_ms; /* read only; 0: it is not retired */
};
int store_kek_insert(struct store *store, const struct store_kek *kek);
int store_kek_get(struct store *store, const uint8_t id[static KEK_ID_SIZE],
		  struct store_kek *ret_kek);
/* The one that new DEKs are sealed under: of the highest version. */
int store_kek_current(struct store *store, int64_t workspace, const char *use,
		      struct store_kek *ret_kek);
/* Another wrapping of the same KEK. */
int store_kek_set_wrapped(struct store *store, const struct kek_wrapped *wrapped,
			  uint32_t generation);
int store_kek_set_retired(struct store *store, const uint8_t id[static KEK_ID_SIZE],
			  uint64_t retired_ms);
typedef int (*store_kek_each)(const struct store_kek *kek, void *userdata);
int store_keks(struct store *store, int64_t workspace, store_kek_each each, void *userdata);
/* At most MAX of KEY's workspaces, of a generation below GENERATION, after AFTER, by id. */
int store_keks_to_wrap(struct store *store, int64_t key, uint32_t generation,
		       const uint8_t after[static KEK_ID_SIZE], unsigned max, store_kek_each each,
		       void *userdata);
/* All of KEY's workspaces. */
int store_keks_of_key(struct store *store, int64_t key, store_kek_each each, void *userdata);

/* --- storage nodes --- */
struct store_node {
	int64_t id;
	int64_t workspace;
	char workspace_name[ID_TEXT_MAX + 1];
	char name[ID_TEXT_MAX + 1];
	uint8_t public_key[HASH_SIZE]; /* SHA-256 of its SubjectPublicKeyInfo (RFC 5280) */
	uint64_t enrolled_ms;
	uint64_t removed_ms; /* 0: enrolled */
};
/* A removed node of that name is enrolled anew with the new key; -EEXIST where it is enrolled, or the
 * key is, or was, another node's. */
int store_node_enrol(struct store *store, int64_t workspace, const char *name,
		     const uint8_t public_key[static HASH_SIZE]);
/* Removed ones too: look at .removed_ms. */
int store_node_get(struct store *store, const char *workspace, const char *name,
		   struct store_node *ret_node);
int store_node_get_by_key(struct store *store, const uint8_t public_key[static HASH_SIZE],
			  struct store_node *ret_node);
int store_node_remove(struct store *store, int64_t id);
typedef int (*store_node_each)(const struct store_node *node, void *userdata);
/* Only enrolled ones. */
int store_nodes(struct store *store, store_node_each each, void *userdata);

/* --- VMs --- */
struct store_vm {
	int64_t id;
	int64_t workspace;
	char workspace_name[ID_TEXT_MAX + 1];
	char name[ID_TEXT_MAX + 1];
	uint8_t public_key[PUBLIC_KEY_SIZE];
	uint64_t enrolled_ms;
	uint64_t removed_ms; /* 0: enrolled */
};
/* A removed VM of that name is enrolled anew with the new key; -EEXIST where it is enrolled. */
int store_vm_enrol(struct store *store, int64_t workspace, const char *name,
		   const uint8_t public_key[static PUBLIC_KEY_SIZE]);
/* Removed ones too: look at .removed_ms. */
int store_vm_get(struct store *store, const char *workspace, const char *name,
		 struct store_vm *ret_vm);
int store_vm_remove(struct store *store, int64_t id);
typedef int (*store_vm_each)(const struct store_vm *vm, void *userdata);
/* WORKSPACE NULL: all. Only enrolled ones. */
int store_vms(struct store *store, const char *workspace, store_vm_each each, void *userdata);

/* --- boots --- */
enum boot_state {
	BOOT_WAITING = 1, /* reported; the KMS pair, or evidence, is still to come */
	BOOT_HELD,	  /* waits for an operator: ConfirmBoot */
	BOOT_REFUSED,	  /* its report says that something required failed */
	BOOT_LIVE,	  /* admitted */
	BOOT_ENDING,	  /* its verdict is shred, .reason; final */
	BOOT_OFF,	  /* a receipt came: keys gone, or not (.keys_gone); final */
	BOOT_STATE__MAX
};

struct store_boot {
	uint8_t admission[HASH_SIZE];
	int64_t vm, workspace;
	char vm_name[ID_TEXT_MAX + 1], workspace_name[ID_TEXT_MAX + 1]; /* read only */
	uint8_t vm_key[PUBLIC_KEY_SIZE]; /* that verified the report */
	uint8_t report[BOOT_REPORT_SIZE];
	bool frozen; /* read only: nothing is issued to its workspace (.rolled_back) */
	enum boot_state state;
	enum reason reason;
	bool confirmed;		    /* an operator let it in */
	bool paired;		    /* the KMS pair of this admission succeeded */
	bool was_admitted;	    /* an admitting token was issued */
	bool unbounded;		    /* its last lease says expiry = warn */
	uint64_t first_ms, last_ms; /* report; last signed request */
	uint64_t granted_ms;	    /* last lease was issued; 0 never */
	uint64_t lease_ms;	    /* its time to live */
	uint64_t fence_ms; /* never renewed after this, unless unbounded; 0 never granted */
	uint64_t
		fence_boot_ms; /* the same on CLOCK_BOOTTIME, which a wrong clock cannot move; 0 once
 this machine has booted since */
	uint64_t number;       /* of the challenge last answered; 0 none */
	uint8_t challenge[CHALLENGE_SIZE];
	struct sequence issued;				     /* last sequence issued to it */
	uint32_t self_test_passed, self_test_failed, pauses; /* of the last request */
	bool keys_gone; /* a receipt says that every key is gone */
	bool ended;	/* the end of its last lease is on record */
	/* Read only: what the KMS called the two requests of its pair. */
	char encrypt_id[KMS_REQUEST_ID_MAX], decrypt_id[KMS_REQUEST_ID_MAX];
	/* Written once each, zero where there is none: what its share is to be sealed for, and that
	 * share, not signed. */
	uint8_t bind_key[BIND_KEY_SIZE];
	uint8_t share[BIND_SHARE_RECORD_SIZE];
	uint8_t token[TOKEN_SIZE];	 /* last lease, zero where none */
	uint8_t admit_token[TOKEN_SIZE]; /* first lease, zero where none */
	uint8_t shred_token[TOKEN_SIZE]; /* zero where none */
	uint8_t ending
		[ENDING_SIZE]; /* its note that it ends in good order, as signed; zero where none */
	uint64_t ending_ms;    /* when that came; 0: it has not */
};
/* -EEXIST where the admission or its boot id is there already. */
int store_boot_insert(struct store *store, const struct store_boot *boot);
int store_boot_get(struct store *store, const uint8_t admission[static HASH_SIZE],
		   struct store_boot *ret_boot);
/* Whoever opened it. */
int store_boot_get_by_boot_id(struct store *store, const uint8_t boot_id[static BOOT_ID_SIZE],
			      struct store_boot *ret_boot);
/* Writes all but admission, VM, workspace, VM key, report, bind key, share and first_ms. */
int store_boot_update(struct store *store, const struct store_boot *boot);
/* What the customer's audit log shows of this admission; ENCRYPT_ID, DECRYPT_ID: what the KMS called
 * the two requests. SHARE: what was encrypted, sealed for the boot; NULL where it asked for none. */
int store_boot_set_pair(struct store *store, const uint8_t admission[static HASH_SIZE],
			const uint8_t *blob, size_t n, const char *encrypt_id,
			const char *decrypt_id, const uint8_t *share);
/* The VM's, or the key's, boots that are waiting, held or live become BOOT_ENDING with REASON; but
 * not EXCEPT (may be NULL). Return how many. */
int store_boots_end_of_vm(struct store *store, int64_t vm, const uint8_t *except,
			  enum reason reason);
int store_boots_end_of_key(struct store *store, int64_t key, enum reason reason);
/* The same of those boots of a VM alone that said that they end; with REASON_END. */
int store_boots_ended_of_vm(struct store *store, int64_t vm, const uint8_t *except);
typedef int (*store_boot_each)(const struct store_boot *boot, void *userdata);
/* Newest first, that left a receipt; WORKSPACE and VM may be NULL. */
int store_boots_with_receipt(struct store *store, const char *workspace, const char *vm,
			     store_boot_each each, void *userdata);
/* Newest first, that were heard of since SINCE_MS, or have not ended. */
int store_boots_since(struct store *store, const char *workspace, uint64_t since_ms,
		      store_boot_each each, void *userdata);
/* At most MAX whose last lease ran out before NOW_MS, and which are not .ended. */
int store_boots_to_end(struct store *store, uint64_t now_ms, unsigned max, store_boot_each each,
		       void *userdata);
int store_boot_set_ended(struct store *store, const uint8_t admission[static HASH_SIZE]);
/* Number of boots of a workspace that may hold keys under a lease at NOW_MS, or, reported within the
 * last day, are waiting for one. */
int store_boots_current(struct store *store, int64_t workspace, uint64_t now_ms);

/* --- receipts --- */
struct store_receipt {
	uint8_t admission[HASH_SIZE];
	enum receipt_kind kind;
	uint8_t bytes[RECEIPT_SIZE];
	uint64_t received_ms;
};
/* At most RECEIPTS_PER_BOOT an admission: -ENOSPC. 1 where it is new, 0: the same bytes again. */
#define RECEIPTS_PER_BOOT 4
int store_receipt_insert(struct store *store, const struct store_receipt *receipt);
typedef int (*store_receipt_each)(const struct store_receipt *receipt, void *userdata);
/* Of one admission, in the order of arrival. */
int store_receipts(struct store *store, const uint8_t admission[static HASH_SIZE],
		   store_receipt_each each, void *userdata);

/* --- signing keys --- */
/* The pinned root public key; -ENOENT before the first start is done. */
int store_root_public_get(struct store *store, uint8_t ret_public[static PUBLIC_KEY_SIZE]);
int store_root_public_set(struct store *store, const uint8_t public_key[static PUBLIC_KEY_SIZE]);
int store_signing_keys_get(struct store *store, uint8_t ret_set[static SIGNING_KEYS_SIZE]);
/* The set before stays among the past ones: receipts of its time are verified by it. */
int store_signing_keys_set(struct store *store, const uint8_t set[static SIGNING_KEYS_SIZE]);
/* Every set that was ever installed, the present one first. */
typedef int (*store_signing_keys_each)(const uint8_t set[static SIGNING_KEYS_SIZE], void *userdata);
int store_signing_keys_all(struct store *store, store_signing_keys_each each, void *userdata);

/* --- the audit log: written through audit.h alone --- */
/* Of what is written, committed or not. */
int store_audit_head(struct store *store, struct audit_head *ret_head);
/* CONTENT is one JSON object of N bytes, at most AUDIT_CONTENT_MAX. */
int store_audit_append(struct store *store, struct audit_about about, const char *content,
		       size_t n);
typedef int (*store_audit_each)(const struct audit_record *record, void *userdata);
/* At most MAX records from number FROM. WORKSPACE NULL: whole. Else the content of what neither
 * WORKSPACE, nor the key that it is bound to, is about is withheld. */
int store_audit(struct store *store, uint64_t from, unsigned max,
		const struct store_workspace *workspace, store_audit_each each, void *userdata);
