/* SPDX-License-Identifier: Apache-2.0 */
/* Signing and verifying the records of core/message.h. Each is signed over everything before its
 * signature, which stands at its end. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "keys/sign.h"

/* Where the VM's signature of a boot report stands: before the boot key's, and both sign what is
 * before the first. */
#define REPORT_VM_SIGNATURE   (BOOT_REPORT_SIZE - 2 * SIGNATURE_SIZE)
#define REPORT_BOOT_SIGNATURE (BOOT_REPORT_SIZE - SIGNATURE_SIZE)

/* Signs BYTES, which are encoded but for the signature, and puts that at their end, too. */
static int record_sign(const struct signing_key *key, const char *domain,
		       uint8_t ret_signature[static SIGNATURE_SIZE], uint8_t *bytes, size_t size)
{
	size_t n = size - SIGNATURE_SIZE;
	int r = sign_domain(key, domain, bytes, n, ret_signature);

	if (r == 0)
		memcpy(bytes + n, ret_signature, SIGNATURE_SIZE);
	return r;
}

static int record_verify(const uint8_t public_key[static PUBLIC_KEY_SIZE], const char *domain,
			 const uint8_t *bytes, size_t size)
{
	size_t n = size - SIGNATURE_SIZE;

	return verify_domain(public_key, domain, bytes, n, bytes + n) < 0 ? -EKEYREJECTED : 0;
}

/* By a key of SET whose id is KEY_ID. */
static int record_verify_by_set(const struct signing_keys *set, uint64_t key_id, const char *domain,
				const uint8_t *bytes, size_t size)
{
	for (uint32_t i = 0; i < set->n_keys && i < SIGNING_KEYS_MAX; i++)
		if (signing_key_id(set->keys[i]) == key_id &&
		    record_verify(set->keys[i], domain, bytes, size) == 0)
			return 0;
	return -EKEYREJECTED;
}

int token_sign(const struct signing_key *key, struct token *token,
	       uint8_t ret_bytes[static TOKEN_SIZE])
{
	uint8_t public_key[PUBLIC_KEY_SIZE];
	signing_key_public(key, public_key);
	token->key_id = signing_key_id(public_key);
	token_encode(token, ret_bytes);
	return record_sign(key, TOKEN_DOMAIN, token->signature, ret_bytes, TOKEN_SIZE);
}

int token_verify(const uint8_t *bytes, size_t n, const struct signing_keys *set,
		 struct token *ret_token)
{
	struct token token;
	int r;

	r = token_decode(bytes, n, &token);
	if (r < 0)
		return r;
	r = record_verify_by_set(set, token.key_id, TOKEN_DOMAIN, bytes, TOKEN_SIZE);
	if (r < 0)
		return r;
	*ret_token = token;
	return 0;
}

int signing_keys_sign(const struct signing_key *root_key, struct signing_keys *set,
		      uint8_t ret_bytes[static SIGNING_KEYS_SIZE])
{
	signing_keys_encode(set, ret_bytes);
	return record_sign(root_key, SIGNING_KEYS_DOMAIN, set->signature, ret_bytes,
			   SIGNING_KEYS_SIZE);
}

int signing_keys_verify(const uint8_t *bytes, size_t n,
			const uint8_t root_public[static PUBLIC_KEY_SIZE],
			struct signing_keys *ret_set)
{
	struct signing_keys set;
	int r;

	r = signing_keys_decode(bytes, n, &set);
	if (r < 0)
		return r;
	r = record_verify(root_public, SIGNING_KEYS_DOMAIN, bytes, SIGNING_KEYS_SIZE);
	if (r < 0)
		return r;
	*ret_set = set;
	return 0;
}

int boot_report_sign(const struct signing_key *vm_key, const struct signing_key *boot_key,
		     struct boot_report *report, uint8_t ret_bytes[static BOOT_REPORT_SIZE])
{
	int r;

	signing_key_public(boot_key, report->boot_key);
	boot_report_encode(report, ret_bytes);
	r = sign_domain(vm_key, BOOT_REPORT_DOMAIN, ret_bytes, REPORT_VM_SIGNATURE,
			report->vm_signature);
	if (r < 0)
		return r;
	r = sign_domain(boot_key, BOOT_REPORT_DOMAIN, ret_bytes, REPORT_VM_SIGNATURE,
			report->boot_signature);
	if (r < 0)
		return r;
	boot_report_encode(report, ret_bytes);
	return 0;
}

int boot_report_verify(const uint8_t *bytes, size_t n,
		       const uint8_t vm_public[static PUBLIC_KEY_SIZE],
		       struct boot_report *ret_report)
{
	struct boot_report report;
	int r;

	r = boot_report_decode(bytes, n, &report);
	if (r < 0)
		return r;
	if (verify_domain(vm_public, BOOT_REPORT_DOMAIN, bytes, REPORT_VM_SIGNATURE,
			  bytes + REPORT_VM_SIGNATURE) < 0)
		return -EKEYREJECTED;
	if (verify_domain(report.boot_key, BOOT_REPORT_DOMAIN, bytes, REPORT_VM_SIGNATURE,
			  bytes + REPORT_BOOT_SIGNATURE) < 0)
		return -EKEYREJECTED;
	*ret_report = report;
	return 0;
}

int lease_request_sign(const struct signing_key *boot_key, struct lease_request *request,
		       uint8_t ret_bytes[static LEASE_REQUEST_SIZE])
{
	lease_request_encode(request, ret_bytes);
	return record_sign(boot_key, LEASE_REQUEST_DOMAIN, request->signature, ret_bytes,
			   LEASE_REQUEST_SIZE);
}

int lease_request_verify(const uint8_t *bytes, size_t n,
			 const uint8_t boot_public[static PUBLIC_KEY_SIZE],
			 struct lease_request *ret_request)
{
	struct lease_request request;
	int r;

	r = lease_request_decode(bytes, n, &request);
	if (r < 0)
		return r;
	r = record_verify(boot_public, LEASE_REQUEST_DOMAIN, bytes, LEASE_REQUEST_SIZE);
	if (r < 0)
		return r;
	*ret_request = request;
	return 0;
}

int receipt_sign(const struct signing_key *boot_key, struct receipt *receipt,
		 uint8_t ret_bytes[static RECEIPT_SIZE])
{
	receipt_encode(receipt, ret_bytes);
	return record_sign(boot_key, RECEIPT_DOMAIN, receipt->signature, ret_bytes, RECEIPT_SIZE);
}

int receipt_verify(const uint8_t *bytes, size_t n,
		   const uint8_t boot_public[static PUBLIC_KEY_SIZE], struct receipt *ret_receipt)
{
	struct receipt receipt;
	int r;

	r = receipt_decode(bytes, n, &receipt);
	if (r < 0)
		return r;
	r = record_verify(boot_public, RECEIPT_DOMAIN, bytes, RECEIPT_SIZE);
	if (r < 0)
		return r;
	*ret_receipt = receipt;
	return 0;
}

int ending_sign(const struct signing_key *boot_key, struct ending *ending,
		uint8_t ret_bytes[static ENDING_SIZE])
{
	ending_encode(ending, ret_bytes);
	return record_sign(boot_key, ENDING_DOMAIN, ending->signature, ret_bytes, ENDING_SIZE);
}

int ending_verify(const uint8_t *bytes, size_t n, const uint8_t boot_public[static PUBLIC_KEY_SIZE],
		  struct ending *ret_ending)
{
	struct ending ending;
	int r;

	r = ending_decode(bytes, n, &ending);
	if (r < 0)
		return r;
	r = record_verify(boot_public, ENDING_DOMAIN, bytes, ENDING_SIZE);
	if (r < 0)
		return r;
	*ret_ending = ending;
	return 0;
}

int bind_offer_sign(const struct signing_key *boot_key, struct bind_offer *offer,
		    uint8_t ret_bytes[static BIND_OFFER_SIZE])
{
	bind_offer_encode(offer, ret_bytes);
	return record_sign(boot_key, BIND_OFFER_DOMAIN, offer->signature, ret_bytes,
			   BIND_OFFER_SIZE);
}

int bind_offer_verify(const uint8_t *bytes, size_t n,
		      const uint8_t boot_public[static PUBLIC_KEY_SIZE],
		      struct bind_offer *ret_offer)
{
	struct bind_offer offer;
	int r;

	r = bind_offer_decode(bytes, n, &offer);
	if (r < 0)
		return r;
	r = record_verify(boot_public, BIND_OFFER_DOMAIN, bytes, BIND_OFFER_SIZE);
	if (r < 0)
		return r;
	*ret_offer = offer;
	return 0;
}

int bind_share_sign(const struct signing_key *key, struct bind_share *share,
		    uint8_t ret_bytes[static BIND_SHARE_RECORD_SIZE])
{
	uint8_t public_key[PUBLIC_KEY_SIZE];
	signing_key_public(key, public_key);
	share->key_id = signing_key_id(public_key);
	bind_share_encode(share, ret_bytes);
	return record_sign(key, BIND_SHARE_DOMAIN, share->signature, ret_bytes,
			   BIND_SHARE_RECORD_SIZE);
}

int bind_share_verify(const uint8_t *bytes, size_t n, const struct signing_keys *set,
		      struct bind_share *ret_share)
{
	struct bind_share share;
	int r;

	r = bind_share_decode(bytes, n, &share);
	if (r < 0)
		return r;
	r = record_verify_by_set(set, share.key_id, BIND_SHARE_DOMAIN, bytes,
				 BIND_SHARE_RECORD_SIZE);
	if (r < 0)
		return r;
	*ret_share = share;
	return 0;
}
