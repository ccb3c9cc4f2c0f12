/* SPDX-License-Identifier: Apache-2.0 */
/* A receipt bundle, verified offline from the root key alone: one function a link. */
#include "manager/admin_receipt.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "keys/sign.h"
#include "manager/json.h"

int receipt_bundle_read(const char *text, size_t len, struct receipt_bundle *ret_bundle,
			char error[static 256])
{
	struct receipt_bundle *b = ret_bundle;
	struct json_bytes_array receipts = {.bytes = b->receipts[0], .max = RECEIPTS_MAX};
	char format[32] = "";
	const struct json_member members[] = {
		{"format", JSON_MEMBER_TEXT, format, sizeof(format)},
		{"report", JSON_MEMBER_BYTES, b->report, sizeof(b->report)},
		{"vm_key", JSON_MEMBER_BYTES, b->vm_key, sizeof(b->vm_key)},
		{"token", JSON_MEMBER_BYTES, b->token, sizeof(b->token), true},
		{"lease", JSON_MEMBER_BYTES, b->lease, sizeof(b->lease), true},
		{"verdict", JSON_MEMBER_BYTES, b->verdict, sizeof(b->verdict), true},
		{"signing_keys", JSON_MEMBER_BYTES, b->signing_keys, sizeof(b->signing_keys)},
		{"receipts", JSON_MEMBER_BYTES_ARRAY, &receipts, RECEIPT_SIZE},
	};
	int r;

	memset(b, 0, sizeof(*b));
	r = json_read_object(text, len, members, ELEMENTSOF(members), error);
	if (r < 0)
		return r;
	if (strcmp(format, RECEIPT_BUNDLE_FORMAT) != 0) {
		snprintf(error, 256, "member 'format' is not '%s'", RECEIPT_BUNDLE_FORMAT);
		return -EBADMSG;
	}
	b->n_receipts = receipts.n;
	return 0;
}

static int __attribute__((format(printf, 2, 3))) broken(char *error, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(error, 256, format, list);
	va_end(list);
	return -EBADMSG;
}

static int verify_signing_keys(const struct receipt_bundle *bundle, const uint8_t *root_public,
			       struct receipt_proof *proof, char *error)
{
	if (signing_keys_verify(bundle->signing_keys, SIGNING_KEYS_SIZE, root_public, &proof->set) <
	    0)
		return broken(error, "the set of signing keys is not signed by this root key");
	return 0;
}

/* A token of this boot by a key of the set. */
static int verify_token(const uint8_t bytes[static TOKEN_SIZE], const char *what,
			const struct receipt_proof *proof, struct token *ret_token, char *error)
{
	if (token_verify(bytes, TOKEN_SIZE, &proof->set, ret_token) < 0)
		return broken(error, "%s is not signed by a key of the set", what);
	if (!bytes_equal(ret_token->admission, proof->admission, HASH_SIZE))
		return broken(error, "%s is not about this boot report", what);
	return 0;
}

static int verify_admission(const struct receipt_bundle *bundle, struct receipt_proof *proof,
			    char *error)
{
	int r;

	if (bytes_are_zero(bundle->token, TOKEN_SIZE))
		return 0;
	r = verify_token(bundle->token, "the admitting token", proof, &proof->token, error);
	if (r < 0)
		return r;
	if (proof->token.verdict != VERDICT_ADMIT)
		return broken(error, "the admitting token's verdict is not admit");
	return 0;
}

static int verify_report(const struct receipt_bundle *bundle, struct receipt_proof *proof,
			 char *error)
{
	if (!proof->token.verdict && !proof->verdict.verdict)
		return broken(error, "no token in it is about the boot report");
	if (boot_report_verify(bundle->report, sizeof(bundle->report), bundle->vm_key,
			       &proof->report) < 0)
		return broken(error,
			      "the boot report is not signed by the VM's key and its boot's");
	memcpy(proof->vm_key, bundle->vm_key, sizeof(proof->vm_key));
	return 0;
}

static int verify_verdict(const struct receipt_bundle *bundle, struct receipt_proof *proof,
			  char *error)
{
	int r;

	if (bytes_are_zero(bundle->verdict, TOKEN_SIZE))
		return 0;
	r = verify_token(bundle->verdict, "the verdict", proof, &proof->verdict, error);
	if (r < 0)
		return r;
	if (proof->verdict.verdict != VERDICT_SHRED)
		return broken(error, "the verdict is not shred");
	return 0;
}

/* Whether the receipt follows it or not: nothing of another boot is in a bundle. */
static int verify_lease(const struct receipt_bundle *bundle, struct receipt_proof *proof,
			char *error)
{
	struct token lease;

	if (bytes_are_zero(bundle->lease, TOKEN_SIZE))
		return 0;
	return verify_token(bundle->lease, "the last lease", proof, &lease, error);
}

static bool is_hash_of(const uint8_t hash[static HASH_SIZE], const uint8_t *bytes, size_t n)
{
	uint8_t computed[HASH_SIZE];

	return sha256(bytes, n, computed) == 0 && bytes_equal(hash, computed, HASH_SIZE);
}

/* Reasons that only a token of the manager can give a VM. */
static bool is_managers_reason(enum reason reason)
{
	return reason == REASON_REVOKED || reason == REASON_SUPERSEDED || reason == REASON_CLONE ||
	       reason == REASON_REMOVED || reason == REASON_DRILL;
}

static int verify_anchor(const struct receipt_bundle *bundle, struct receipt_proof *proof,
			 char *error)
{
	const struct receipt *first = &proof->receipts[0];

	if (proof->verdict.verdict && is_hash_of(first->previous, bundle->verdict, TOKEN_SIZE)) {
		proof->anchor = RECEIPT_ANCHOR_VERDICT;
		if (proof->verdict.reason != first->reason)
			return broken(error, "receipt 1: its reason is not the verdict's");
		return 0;
	}
	if (is_managers_reason(first->reason) && first->kind == RECEIPT_KEYS)
		return broken(error,
			      "receipt 1: its reason is '%s', but it follows no such verdict",
			      reason_name(first->reason));
	if (bytes_are_zero(first->previous, HASH_SIZE)) {
		proof->anchor = RECEIPT_ANCHOR_NONE;
		return 0;
	}
	proof->anchor = RECEIPT_ANCHOR_UNKNOWN;
	if (is_hash_of(first->previous, bundle->token, TOKEN_SIZE) ||
	    is_hash_of(first->previous, bundle->lease, TOKEN_SIZE))
		proof->anchor = RECEIPT_ANCHOR_LEASE;
	return 0;
}

/* The keys' receipt, then closing ones; one alone may be either. */
static bool kind_fits(const struct receipt_bundle *bundle, size_t at, enum receipt_kind kind)
{
	if (bundle->n_receipts == 1)
		return true;
	return kind == (at == 0 ? RECEIPT_KEYS : RECEIPT_CLOSING);
}

static int verify_receipt(const struct receipt_bundle *bundle, size_t at,
			  struct receipt_proof *proof, char *error)
{
	struct receipt *receipt = &proof->receipts[at];

	if (receipt_verify(bundle->receipts[at], RECEIPT_SIZE, proof->report.boot_key, receipt) < 0)
		return broken(error, "receipt %zu is not signed by the boot's key", at + 1);
	if (!bytes_equal(receipt->admission, proof->admission, HASH_SIZE))
		return broken(error, "receipt %zu is not about this boot report", at + 1);
	if (!kind_fits(bundle, at, receipt->kind))
		return broken(error, "receipt %zu is of the wrong kind", at + 1);
	if (at > 0 && receipt->reason != proof->receipts[0].reason)
		return broken(error, "receipt %zu: its reason is not receipt 1's", at + 1);
	if (at > 0 && !is_hash_of(receipt->previous, bundle->receipts[at - 1], RECEIPT_SIZE))
		return broken(error, "receipt %zu does not follow receipt %zu", at + 1, at);
	return 0;
}

static const struct receipt_segment *find_segment(const struct receipt *receipt, const char *volume,
						  unsigned segment)
{
	for (uint32_t i = 0; i < receipt->n_segments; i++)
		if (receipt->segments[i].segment == segment &&
		    strcmp(receipt->segments[i].volume, volume) == 0)
			return &receipt->segments[i];
	return NULL;
}

bool receipt_covers(const struct boot_report *report, const struct receipt *receipt,
		    const char **ret_volume, unsigned *ret_segment)
{
	for (uint32_t v = 0; v < report->n_volumes; v++) {
		const struct report_volume *volume = &report->volumes[v];

		if (volume->state != VOLUME_READY)
			continue;
		for (unsigned s = 0; s < volume->n_segments; s++) {
			if (find_segment(receipt, volume->name, s))
				continue;
			*ret_volume = volume->name;
			*ret_segment = s;
			return false;
		}
	}
	return true;
}

/* One with a time of "keys gone" names no segment that was not wiped: its form (core/message.h). */
bool receipt_says_gone(const struct boot_report *report, const struct receipt *receipt)
{
	const char *volume;
	unsigned segment;

	return receipt->keys_gone_ns > 0 && receipt_covers(report, receipt, &volume, &segment);
}

/* A receipt that leaves out a segment of the boot report proves nothing about it. */
static int verify_coverage(const struct receipt_proof *proof, const struct receipt *receipt,
			   char *error)
{
	const char *volume;
	unsigned segment;

	if (receipt_covers(&proof->report, receipt, &volume, &segment))
		return 0;
	return broken(error, "no receipt for volume %s, segment %u", volume, segment);
}

static bool all_keys_gone(const struct receipt *receipt)
{
	for (uint32_t i = 0; i < receipt->n_segments; i++)
		if (receipt->segments[i].fate == SEGMENT_UNWIPED)
			return false;
	return receipt->keys_gone_ns != 0;
}

static int verify_receipts(const struct receipt_bundle *bundle, struct receipt_proof *proof,
			   char *error)
{
	const struct receipt *last;
	int r;

	if (bundle->n_receipts == 0)
		return broken(error, "there is no receipt in it");
	for (size_t i = 0; i < bundle->n_receipts; i++) {
		r = verify_receipt(bundle, i, proof, error);
		if (r < 0)
			return r;
	}
	proof->n_receipts = bundle->n_receipts;
	last = &proof->receipts[bundle->n_receipts - 1];
	proof->keys_gone = all_keys_gone(last);
	r = verify_anchor(bundle, proof, error);
	return r < 0 ? r : verify_coverage(proof, last, error);
}

int receipt_bundle_verify(const struct receipt_bundle *bundle,
			  const uint8_t root_public[static PUBLIC_KEY_SIZE],
			  struct receipt_proof *ret_proof, char error[static 256])
{
	int r;

	memset(ret_proof, 0, sizeof(*ret_proof));
	if (sha256(bundle->report, sizeof(bundle->report), ret_proof->admission) < 0)
		return broken(error, "OpenSSL cannot compute SHA-256");
	r = verify_signing_keys(bundle, root_public, ret_proof, error);
	if (r < 0)
		return r;
	r = verify_admission(bundle, ret_proof, error);
	if (r < 0)
		return r;
	r = verify_verdict(bundle, ret_proof, error);
	if (r < 0)
		return r;
	r = verify_lease(bundle, ret_proof, error);
	if (r < 0)
		return r;
	r = verify_report(bundle, ret_proof, error);
	if (r < 0)
		return r;
	return verify_receipts(bundle, ret_proof, error);
}
