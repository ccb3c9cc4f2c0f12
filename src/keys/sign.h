/* SPDX-License-Identifier: Apache-2.0 */
/* Ed25519 (RFC 8032) over the records of core/message.h, with domain separation: what is signed is
 * the domain string with its final NUL, then the bytes. A signature of one kind of record is never
 * one of another. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/message.h"

struct signing_key; /* a private key; its bytes are cleansed when it is freed */

/* *ret_key is the caller's, for signing_key_free(). 0 or -ENOMEM. */
int signing_key_new_from_seed(const uint8_t seed[static IDENTITY_SEED_SIZE],
			      struct signing_key **ret_key);
/* A fresh seed from OpenSSL's private generator. 0, or -EIO where it has no entropy. */
int signing_key_generate(uint8_t ret_seed[static IDENTITY_SEED_SIZE]);
/* Takes NULL too; returns NULL. */
struct signing_key *signing_key_free(struct signing_key *key);
static inline void cleanup_signing_key(struct signing_key **key)
{
	*key = signing_key_free(*key);
}
#define _cleanup_signing_key_ __attribute__((cleanup(cleanup_signing_key)))

void signing_key_public(const struct signing_key *key, uint8_t ret_public[static PUBLIC_KEY_SIZE]);
/* The first 8 bytes of SHA-256 of the public key, big-endian. */
uint64_t signing_key_id(const uint8_t public_key[static PUBLIC_KEY_SIZE]);

/* N bytes, at most 8,192. 0 or negative errno (-E2BIG, -EIO from OpenSSL). */
int sign_domain(const struct signing_key *key, const char *domain, const uint8_t *bytes, size_t n,
		uint8_t ret_signature[static SIGNATURE_SIZE]);
/* 0, or -EBADMSG where the signature is not PUBLIC_KEY's over exactly this. */
int verify_domain(const uint8_t public_key[static PUBLIC_KEY_SIZE], const char *domain,
		  const uint8_t *bytes, size_t n, const uint8_t signature[static SIGNATURE_SIZE]);

/* 0 or -EIO. */
int sha256(const void *bytes, size_t n, uint8_t ret_hash[static HASH_SIZE]);

/* Records. X_sign() fills the record's signature (a token's key_id too), and encodes it; 0 or
 * negative errno. X_verify() decodes N bytes and checks the signature over them: 0; -EBADMSG where
 * the form is wrong; -EKEYREJECTED where the signature is, or where no key of the set has the
 * token's key id. *ret_x is written only where all is right. */
int token_sign(const struct signing_key *key, struct token *token,
	       uint8_t ret_bytes[static TOKEN_SIZE]);
int token_verify(const uint8_t *bytes, size_t n, const struct signing_keys *set,
		 struct token *ret_token);

int signing_keys_sign(const struct signing_key *root_key, struct signing_keys *set,
		      uint8_t ret_bytes[static SIGNING_KEYS_SIZE]);
int signing_keys_verify(const uint8_t *bytes, size_t n,
			const uint8_t root_public[static PUBLIC_KEY_SIZE],
			struct signing_keys *ret_set);

/* Sets report->boot_key and both signatures. Verifying needs the VM's enrolled key only: the boot
 * key is in the report, which the VM's signature covers. */
int boot_report_sign(const struct signing_key *vm_key, const struct signing_key *boot_key,
		     struct boot_report *report, uint8_t ret_bytes[static BOOT_REPORT_SIZE]);
int boot_report_verify(const uint8_t *bytes, size_t n,
		       const uint8_t vm_public[static PUBLIC_KEY_SIZE],
		       struct boot_report *ret_report);

int lease_request_sign(const struct signing_key *boot_key, struct lease_request *request,
		       uint8_t ret_bytes[static LEASE_REQUEST_SIZE]);
int lease_request_verify(const uint8_t *bytes, size_t n,
			 const uint8_t boot_public[static PUBLIC_KEY_SIZE],
			 struct lease_request *ret_request);

int receipt_sign(const struct signing_key *boot_key, struct receipt *receipt,
		 uint8_t ret_bytes[static RECEIPT_SIZE]);
int receipt_verify(const uint8_t *bytes, size_t n,
		   const uint8_t boot_public[static PUBLIC_KEY_SIZE], struct receipt *ret_receipt);

int bind_offer_sign(const struct signing_key *boot_key, struct bind_offer *offer,
		    uint8_t ret_bytes[static BIND_OFFER_SIZE]);
int bind_offer_verify(const uint8_t *bytes, size_t n,
		      const uint8_t boot_public[static PUBLIC_KEY_SIZE],
		      struct bind_offer *ret_offer);

/* As a token. */
int bind_share_sign(const struct signing_key *key, struct bind_share *share,
		    uint8_t ret_bytes[static BIND_SHARE_RECORD_SIZE]);
int bind_share_verify(const uint8_t *bytes, size_t n, const struct signing_keys *set,
		      struct bind_share *ret_share);

int ending_sign(const struct signing_key *boot_key, struct ending *ending,
		uint8_t ret_bytes[static ENDING_SIZE]);
int ending_verify(const uint8_t *bytes, size_t n, const uint8_t boot_public[static PUBLIC_KEY_SIZE],
		  struct ending *ret_ending);
