/* SPDX-License-Identifier: Apache-2.0 */
/* A data-encryption key (DEK) as a storage node keeps it beside its data: sealed under a KEK that is
 * in the blob too, wrapped by the customer's CMK, so that no database is needed to open it.
 *
 *	0   8  magic "EMBDEK01"		48  16  salt, second half
 *	8  16  id of the KEK		64  32  use of the KEK, zero-padded
 *	24  4  version of the KEK	96   n  the KEK, wrapped by the CMK
 *	28  2  n			..  32  the DEK, sealed
 *	30  2  zero			..  16  tag
 *	32 16  salt, first half
 *
 * Integers are big-endian. Key ‖ nonce = HKDF-SHA-256 of the KEK, salt = the salt, info =
 * "emberlock v1 dek" with its NUL, 44 bytes; AES-256-GCM; additional data: all before the sealed DEK,
 * then workspace and context, each after its length (u16). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/limits.h"
#include "keys/aead.h"

#define DEK_SIZE	 32
#define DEK_CONTEXT_MAX	 255 /* characters */
#define KEK_SIZE	 32
#define KEK_ID_SIZE	 16
#define KEK_USE_MAX	 31   /* characters */
#define KEK_WRAPPED_MAX	 2048 /* a CMK's ciphertext of 32 bytes: about 700 at most today */
#define DEK_BLOB_FIXED	 96
#define DEK_BLOB_MAX	 (DEK_BLOB_FIXED + KEK_WRAPPED_MAX + DEK_SIZE + AEAD_TAG_SIZE)
#define DEK_SALT_SIZE	 32
#define DEK_DERIVED_SIZE (AEAD_KEY_SIZE + AEAD_NONCE_SIZE)

/* A KEK as the CMK wrapped it. */
struct kek_wrapped {
	uint8_t id[KEK_ID_SIZE]; /* kek_id() of it */
	uint32_t version;	 /* of its workspace and use; 1, 2, 3 and so on */
	char use[KEK_USE_MAX + 1];
	uint8_t blob[KEK_WRAPPED_MAX];
	size_t size;
};

struct dek_blob {
	struct kek_wrapped kek;
	const uint8_t *bytes; /* the caller's */
	size_t sealed;	      /* offset of the sealed DEK */
};

/* What is secret while a blob is made or opened; in locked memory. */
struct dek_scratch {
	uint8_t dek[DEK_SIZE];
	uint8_t derived[DEK_DERIVED_SIZE];
};

/* Reads the N bytes of a blob, which RET_BLOB points into. NULL, or what is wrong with them. */
const char *dek_blob_parse(const uint8_t *bytes, size_t n, struct dek_blob *ret_blob);

/* Seals SCRATCH->dek under KEK, which is WRAPPED, for WORKSPACE and CONTEXT. RET_BLOB takes
 * DEK_BLOB_MAX bytes. 0, -EIO. */
int dek_seal(struct dek_scratch *scratch, const uint8_t kek[static KEK_SIZE],
	     const struct kek_wrapped *wrapped, const char *workspace, const char *context,
	     uint8_t *ret_blob, size_t *ret_n);

/* Leaves the DEK in SCRATCH->dek. 0; -EBADMSG: it is of another KEK, workspace or context, or
 * damaged; -EIO. On error SCRATCH is wiped. */
int dek_open(struct dek_scratch *scratch, const uint8_t kek[static KEK_SIZE],
	     const struct dek_blob *blob, const char *workspace, const char *context);

/* The first 16 bytes of SHA-256 over "emberlock v1 kek", zero-padded to 32, and the KEK: so an id tells
 * the right KEK. PLAIN, in locked memory, holds the KEK; the domain is put before it. 0 or -EIO. */
struct kek_id_input {
	char domain[32];
	uint8_t kek[KEK_SIZE];
};
int kek_id(struct kek_id_input *plain, uint8_t ret_id[static KEK_ID_SIZE]);
