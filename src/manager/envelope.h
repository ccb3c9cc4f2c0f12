/* SPDX-License-Identifier: Apache-2.0 */
/* The key hierarchy: CMK wraps KEK. Blocking: called by jobs of the KMS pool only.
 *
 * A workspace's KEK is 32 random bytes, stored wrapped under the context {purpose, workspace}; what
 * is unwrapped lives in locked memory for the length of a call. A check value tells the right KEK.
 * It tells the CMK's health and wraps nothing.
 *
 * The KEKs of its DEKs, one a use and version, are wrapped under {purpose, workspace, use, kek: the
 * id}, and kept unwrapped by keks.h for a while. */
#pragma once

#include "core/limits.h"
#include "manager/dek_blob.h"
#include "manager/kms/kms.h"
#include "manager/store.h"

struct envelope_kek {
	uint8_t blob[KMS_BLOB_MAX];
	size_t size;
	uint8_t check[HASH_SIZE];
};

/* A real unwrap of the workspace's KEK: what health means. KMS_CORRUPT where it is not the one. */
void envelope_unwrap(const struct kms_key *key, const char *workspace,
		     const struct envelope_kek *kek, struct kms_outcome *ret_outcome);

/* A fresh KEK under KEY, or, where OLD_KEY is given, the one of OLD unwrapped by OLD_KEY. Unwrapped
 * again under KEY before it counts. */
void envelope_make(const struct kms_key *key, const char *workspace, const struct kms_key *old_key,
		   const struct envelope_kek *old, struct envelope_kek *ret_kek,
		   struct kms_outcome *ret_outcome);

/* A fresh KEK of KEK->use and version: fills in the rest of KEK, and RET_KEK (KEK_SIZE bytes of locked
 * memory), which holds it only where the class is KMS_OK. */
void envelope_kek_make(const struct kms_key *key, const char *workspace, struct kek_wrapped *kek,
		       uint8_t *ret_kek, struct kms_outcome *ret_outcome);
/* KMS_CORRUPT where it is not the KEK of that id, workspace and use. */
void envelope_kek_unwrap(const struct kms_key *key, const char *workspace,
			 const struct kek_wrapped *kek, uint8_t *ret_kek,
			 struct kms_outcome *ret_outcome);
/* The same KEK, which OLD_KEY unwraps, wrapped by KEY, which has unwrapped it again. */
void envelope_kek_move(const struct kms_key *key, const char *workspace,
		       const struct kms_key *old_key, struct kek_wrapped *kek,
		       struct kms_outcome *ret_outcome);

/* What the KMS called the two; "" where it does not say. */
struct envelope_requests {
	char encrypt[KMS_REQUEST_ID_MAX], decrypt[KMS_REQUEST_ID_MAX];
};

/* Whom an admission is of, and what for its share is to be sealed. */
struct envelope_boot {
	const char *workspace, *vm, *boot;   /* the context of both calls */
	const uint8_t *admission, *bind_key; /* NULL: no share is asked for */
};

/* Encrypts and decrypts 32 fresh bytes under the context {workspace, VM, boot}: the two lines of an
 * admission in the customer's own audit log. Where .bind_key is given, what came out of the KMS is
 * *RET_SHARE then, sealed. */
void envelope_pair(const struct kms_key *key, const struct envelope_boot *boot,
		   uint8_t blob[static KMS_BLOB_MAX], size_t *ret_n,
		   struct envelope_requests *ret_requests, struct bind_share *ret_share,
		   struct kms_outcome *ret_outcome);

/* The same for a key configuration that nothing is bound to. */
void envelope_prove(const struct kms_key *key, const char *name, struct kms_outcome *ret_outcome);
