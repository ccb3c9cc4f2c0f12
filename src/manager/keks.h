/* SPDX-License-Identifier: Apache-2.0 */
/* The KEKs that are unwrapped now, in locked memory: fetched from a KMS when they are wanted, dropped
 * max_staleness after the start of their unwrap, and at once when their CMK is revoked.
 *
 *	kek_fetch() ─▶ job of the KMS pool ─▶ store (one that was made) ─▶ held ─▶ done
 *	                    └─▶ prober: a success is evidence, a refusal is looked into */
#pragma once

#include "manager/manager.h"

#define KEKS_MAX	      1024 /* held at once */
#define KEKS_OF_WORKSPACE_MAX 256  /* made; those that come back in blobs are not refused */

struct keks;
int keks_new(struct manager *manager, struct keks **ret_keks);
/* After the KMS pool is gone. */
struct keks *keks_free(struct keks *keks);

struct kek {
	struct kek *next;
	int64_t workspace, key; /* under which CMK it was unwrapped */
	uint8_t id[KEK_ID_SIZE];
	uint8_t *bytes;	   /* KEK_SIZE of locked memory */
	uint64_t start_ms; /* CLOCK_BOOTTIME when the KMS was asked for it */
	uint64_t until_ms;
};

/* NULL where it is not held, or not for ENGINE_TTL_MIN_MS more. It stays until the loop goes on. */
const struct kek *kek_find(const struct keks *keks, int64_t workspace, int64_t key,
			   const uint8_t id[static KEK_ID_SIZE], uint64_t now_ms);

/* What became of a fetch. R is 0, or negative: the store failed, -ESTALE the workspace, its key, or how
 * that wraps the KEK changed meanwhile: begin again; CLASS is the KMS's. The KEK is held where R is 0 and CLASS is KMS_OK. */
typedef void (*kek_done)(int r, enum kms_class class, void *userdata);

/* Unwraps WRAPPED of WORKSPACE under KEY; or, where its id is zero, makes the first KEK of its use, or
 * the next VERSION, which is stored. STORED: WRAPPED is from the store, not from a blob. Who asks
 * for one that is under way joins. MAY says, userdata at hand, whether the KMS may be asked; not for
 * who joins. DONE (may be NULL) is called later in the loop, unless the manager ends before. 0; -EDQUOT
 * where MAY says no; -EAGAIN too much waits for the KMS; -ENOMEM, memory that cannot be locked
 * included. */
struct kek_ask {
	const struct store_workspace *workspace;
	const struct store_key *key;
	const struct kek_wrapped *wrapped;
	bool stored;
	bool (*may)(void *userdata);
	kek_done done;
	void (*cancelled)(
		void *userdata); /* in place of DONE where the manager ends; may be NULL */
	void *userdata;
};
int kek_fetch(struct keks *keks, const struct kek_ask *ask);

/* The CMK is revoked. */
void keks_drop_key(struct keks *keks, int64_t key);
/* It is retired. */
void keks_drop(struct keks *keks, int64_t workspace, const uint8_t id[static KEK_ID_SIZE]);
/* The KEK of this ID is WORKSPACE's, and KEY, which has wrapped it, unwrapped it at START_MS: where it is
 * held, it is so until UNTIL_MS. */
void keks_rewrapped(struct keks *keks, int64_t workspace, const uint8_t id[static KEK_ID_SIZE],
		    int64_t key, uint64_t start_ms, uint64_t until_ms);
