/* SPDX-License-Identifier: Apache-2.0 */
/* A receipt bundle from the root key down: what verifies, and each link broken once. */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "keys/sign.h"
#include "manager/admin_receipt.h"

/* Every key of a story, from fixed seeds. */
struct keys {
	struct signing_key *root, *manager, *vm, *boot, *stranger;
	uint8_t root_public[PUBLIC_KEY_SIZE];
};

static struct keys keys;

static struct signing_key *new_key(uint8_t seed_byte)
{
	uint8_t seed[IDENTITY_SEED_SIZE];
	struct signing_key *key = NULL;

	memset(seed, seed_byte, sizeof(seed));
	assert_int_equal(signing_key_new_from_seed(seed, &key), 0);
	return key;
}

static int make_keys(void **state)
{
	keys = (struct keys){.root = new_key(1),
			     .manager = new_key(2),
			     .vm = new_key(3),
			     .boot = new_key(4),
			     .stranger = new_key(5)};
	signing_key_public(keys.root, keys.root_public);
	return 0;
}

static int free_keys(void **state)
{
	signing_key_free(keys.root);
	signing_key_free(keys.manager);
	signing_key_free(keys.vm);
	signing_key_free(keys.boot);
	signing_key_free(keys.stranger);
	return 0;
}

/* The records before they are signed, so that a test changes one and all that follows is right. */
struct story {
	struct signing_keys set;
	struct boot_report report;
	struct token token, lease, verdict;
	struct receipt receipts[2];
	size_t n_receipts;
	bool without_token, without_verdict, without_lease;
	/* Who signs; NULL: who should. */
	struct signing_key *set_by, *token_by, *verdict_by, *receipt_by[2];
	/* Left as the story says, not set to what they must be. */
	bool own_token_admission, own_verdict_admission, own_receipt_admission[2], own_previous[2];
};

static void good_token(struct token *token, enum verdict verdict, enum reason reason,
		       uint64_t counter)
{
	*token = (struct token){.sequence = {.epoch = 1, .counter = counter},
				.ttl_ms = 300000,
				.margin_ms = 60000,
				.poll_ms = 10000,
				.verdict = verdict,
				.expiry = EXPIRY_SHRED,
				.cmk_state = reason ? CMK_REVOKED : CMK_HEALTHY,
				.reason = reason,
				.issued_at = 1700000000 + counter};
}

static void good_receipt(struct receipt *receipt, enum receipt_kind kind)
{
	*receipt = (struct receipt){
		.kind = kind,
		.reason = REASON_REVOKED,
		.verdict_ns = 1000000000,
		.start_ns = 1001000000,
		.keys_gone_ns = 1005000000,
		.blocked_io_ns = kind == RECEIPT_CLOSING ? 1006000000 : 0,
		.self_test_passed = SELF_TEST_MEMORY_LOCKED,
		.n_segments = 3,
		.segments = {{.volume = "data", .segment = 1, .fate = SEGMENT_WIPED, .wiped_us = 1},
			     {.volume = "data", .segment = 0, .fate = SEGMENT_WIPED, .wiped_us = 2},
			     {.volume = "swap", .fate = SEGMENT_WIPED, .wiped_us = 3}},
	};
}

static struct story good_story(void)
{
	struct story story = {.n_receipts = 2};

	story.set.epoch = 3;
	story.set.n_keys = 1;
	signing_key_public(keys.manager, story.set.keys[0]);
	story.report = (struct boot_report){
		.workspace = "acme",
		.vm = "db1",
		.boot_id = {7},
		.version = "0.1.0",
		.kernel = "6.1.0",
		.n_volumes = 3,
		.volumes = {{.name = "data",
			     .use = VOLUME_EXT4,
			     .state = VOLUME_READY,
			     .n_segments = 2,
			     .bytes = 4096},
			    {.name = "swap",
			     .use = VOLUME_SWAP,
			     .state = VOLUME_READY,
			     .n_segments = 1,
			     .bytes = 4096},
			    {.name = "bad", .use = VOLUME_RAW, .state = VOLUME_FAILED}},
	};
	good_token(&story.token, VERDICT_ADMIT, REASON_NONE, 1);
	good_token(&story.lease, VERDICT_CONTINUE, REASON_NONE, 2);
	good_token(&story.verdict, VERDICT_SHRED, REASON_REVOKED, 3);
	good_receipt(&story.receipts[0], RECEIPT_KEYS);
	good_receipt(&story.receipts[1], RECEIPT_CLOSING);
	return story;
}

static void sign_token(struct token *token, const struct signing_key *by, bool own_admission,
		       const uint8_t *admission, uint8_t *bytes)
{
	if (!own_admission)
		memcpy(token->admission, admission, HASH_SIZE);
	assert_int_equal(token_sign(by ? by : keys.manager, token, bytes), 0);
}

static void sign_receipts(struct story *story, const uint8_t *admission,
			  struct receipt_bundle *bundle)
{
	bundle->n_receipts = story->n_receipts;
	for (size_t i = 0; i < story->n_receipts; i++) {
		struct receipt *receipt = &story->receipts[i];

		if (!story->own_receipt_admission[i])
			memcpy(receipt->admission, admission, HASH_SIZE);
		if (!story->own_previous[i] && i == 0)
			sha256(bundle->verdict, TOKEN_SIZE, receipt->previous);
		else if (!story->own_previous[i])
			sha256(bundle->receipts[i - 1], RECEIPT_SIZE, receipt->previous);
		assert_int_equal(
			receipt_sign(story->receipt_by[i] ? story->receipt_by[i] : keys.boot,
				     receipt, bundle->receipts[i]),
			0);
	}
}

static void tell(struct story *story, struct receipt_bundle *bundle)
{
	uint8_t admission[HASH_SIZE];

	memset(bundle, 0, sizeof(*bundle));
	assert_int_equal(signing_keys_sign(story->set_by ? story->set_by : keys.root, &story->set,
					   bundle->signing_keys),
			 0);
	assert_int_equal(boot_report_sign(keys.vm, keys.boot, &story->report, bundle->report), 0);
	signing_key_public(keys.vm, bundle->vm_key);
	assert_int_equal(sha256(bundle->report, BOOT_REPORT_SIZE, admission), 0);
	if (!story->without_token)
		sign_token(&story->token, story->token_by, story->own_token_admission, admission,
			   bundle->token);
	if (!story->without_lease)
		sign_token(&story->lease, NULL, false, admission, bundle->lease);
	if (!story->without_verdict)
		sign_token(&story->verdict, story->verdict_by, story->own_verdict_admission,
			   admission, bundle->verdict);
	sign_receipts(story, admission, bundle);
}

static struct receipt_proof verifies(struct story *story)
{
	static struct receipt_bundle bundle;
	struct receipt_proof proof;
	char error[256] = "";
	int r;

	tell(story, &bundle);
	r = receipt_bundle_verify(&bundle, keys.root_public, &proof, error);
	if (r < 0)
		print_message("%s\n", error);
	assert_int_equal(r, 0);
	return proof;
}

static void bundle_is_refused(const struct receipt_bundle *bundle, const char *why)
{
	struct receipt_proof proof;
	char error[256] = "";

	assert_int_equal(receipt_bundle_verify(bundle, keys.root_public, &proof, error), -EBADMSG);
	if (!strstr(error, why))
		print_message("'%s' is not in '%s'\n", why, error);
	assert_non_null(strstr(error, why));
}

static void is_refused(struct story *story, const char *why)
{
	static struct receipt_bundle bundle;

	tell(story, &bundle);
	bundle_is_refused(&bundle, why);
}

static void whole_chain_verifies(void **state)
{
	struct story story = good_story();
	struct receipt_proof proof = verifies(&story);

	assert_true(proof.keys_gone);
	assert_int_equal(proof.anchor, RECEIPT_ANCHOR_VERDICT);
	assert_int_equal(proof.n_receipts, 2);
	assert_string_equal(proof.report.vm, "db1");
	assert_int_equal(proof.set.epoch, 3);
}

static void first_receipt_alone_verifies(void **state)
{
	struct story story = good_story();

	story.n_receipts = 1;
	assert_true(verifies(&story).keys_gone);
}

static void closing_receipt_alone_verifies_unanchored(void **state)
{
	struct story story = good_story();
	struct receipt_proof proof;

	story.receipts[0] = story.receipts[1];
	story.n_receipts = 1;
	story.own_previous[0] = true;
	memset(story.receipts[0].previous, 9, HASH_SIZE);
	proof = verifies(&story);
	assert_true(proof.keys_gone);
	assert_int_equal(proof.anchor, RECEIPT_ANCHOR_UNKNOWN);
}

static void local_reasons_follow_a_lease(void **state)
{
	struct story story = good_story();
	uint8_t bytes[TOKEN_SIZE];
	static struct receipt_bundle bundle;

	story.receipts[0].reason = story.receipts[1].reason = REASON_LEASE;
	story.without_verdict = true;
	tell(&story, &bundle);
	memcpy(bytes, bundle.lease, sizeof(bytes));
	story.own_previous[0] = true;
	sha256(bytes, sizeof(bytes), story.receipts[0].previous);
	assert_int_equal(verifies(&story).anchor, RECEIPT_ANCHOR_LEASE);
	sha256(bundle.token, sizeof(bundle.token), story.receipts[0].previous);
	assert_int_equal(verifies(&story).anchor, RECEIPT_ANCHOR_LEASE);
	memset(story.receipts[0].previous, 8, HASH_SIZE);
	assert_int_equal(verifies(&story).anchor, RECEIPT_ANCHOR_UNKNOWN);
	memset(story.receipts[0].previous, 0, HASH_SIZE);
	assert_int_equal(verifies(&story).anchor, RECEIPT_ANCHOR_NONE);
}

static void refused_boot_is_tied_by_its_verdict(void **state)
{
	struct story story = good_story();

	story.without_token = true;
	story.without_lease = true;
	assert_true(verifies(&story).keys_gone);
	story.without_verdict = true;
	is_refused(&story, "no token");
}

static void unwiped_segment_is_not_keys_gone(void **state)
{
	struct story story = good_story();

	for (int i = 0; i < 2; i++) {
		story.receipts[i].segments[1].fate = SEGMENT_UNWIPED;
		story.receipts[i].keys_gone_ns = 0;
	}
	assert_false(verifies(&story).keys_gone);
}

static void keys_without_a_time_are_not_gone(void **state)
{
	struct story story = good_story();

	story.receipts[0].keys_gone_ns = story.receipts[1].keys_gone_ns = 0;
	assert_false(verifies(&story).keys_gone);
}

static void other_root_key_is_refused(void **state)
{
	struct story story = good_story();

	story.set_by = keys.stranger;
	is_refused(&story, "not signed by this root key");
}

static void stranger_signed_token_is_refused(void **state)
{
	struct story story = good_story();

	story.token_by = keys.stranger;
	is_refused(&story, "admitting token is not signed");
}

static void token_of_another_boot_is_refused(void **state)
{
	struct story story = good_story();

	story.own_token_admission = true;
	is_refused(&story, "admitting token is not about");
}

/* Although the receipt follows the verdict. */
static void lease_of_another_boot_is_refused(void **state)
{
	static const uint8_t another[HASH_SIZE] = {1};
	struct story story = good_story();
	static struct receipt_bundle bundle;

	tell(&story, &bundle);
	sign_token(&story.lease, NULL, false, another, bundle.lease);
	bundle_is_refused(&bundle, "last lease is not about");
}

static void token_that_does_not_admit_is_refused(void **state)
{
	struct story story = good_story();

	story.token.verdict = VERDICT_CONTINUE;
	is_refused(&story, "not admit");
}

static void changed_report_is_refused(void **state)
{
	struct story story = good_story();
	static struct receipt_bundle bundle;

	tell(&story, &bundle);
	bundle.report[BOOT_REPORT_SIZE - 1] ^= 1;
	bundle_is_refused(&bundle, "admitting token is not about");
}

static void other_vm_key_is_refused(void **state)
{
	struct story story = good_story();
	static struct receipt_bundle bundle;

	tell(&story, &bundle);
	signing_key_public(keys.stranger, bundle.vm_key);
	bundle_is_refused(&bundle, "boot report is not signed");
}

static void bad_verdicts_are_refused(void **state)
{
	struct story story = good_story();

	story.verdict_by = keys.stranger;
	is_refused(&story, "verdict is not signed");
	story = good_story();
	story.own_verdict_admission = true;
	is_refused(&story, "verdict is not about");
	story = good_story();
	good_token(&story.verdict, VERDICT_CONTINUE, REASON_NONE, 3);
	is_refused(&story, "verdict is not shred");
	story = good_story();
	story.verdict.reason = REASON_SUPERSEDED;
	is_refused(&story, "its reason is not the verdict's");
}

static void bad_receipts_are_refused(void **state)
{
	for (int i = 0; i < 2; i++) {
		struct story story = good_story();
		char why[64];

		story.receipt_by[i] = keys.stranger;
		snprintf(why, sizeof(why), "receipt %d is not signed", i + 1);
		is_refused(&story, why);
		story = good_story();
		story.own_receipt_admission[i] = true;
		snprintf(why, sizeof(why), "receipt %d is not about", i + 1);
		is_refused(&story, why);
		story = good_story();
		story.receipts[i].kind = i ? RECEIPT_KEYS : RECEIPT_CLOSING;
		snprintf(why, sizeof(why), "receipt %d is of the wrong kind", i + 1);
		is_refused(&story, why);
	}
}

static void broken_chains_are_refused(void **state)
{
	struct story story = good_story();

	/* What only the manager can have said. */
	story.own_previous[0] = true;
	is_refused(&story, "it follows no such verdict");
	story.receipts[0].reason = story.receipts[1].reason = story.verdict.reason = REASON_DRILL;
	is_refused(&story, "its reason is 'drill', but it follows no such verdict");
	story = good_story();
	story.own_previous[1] = true;
	is_refused(&story, "receipt 2 does not follow receipt 1");
	story = good_story();
	story.receipts[1].reason = REASON_LEASE;
	is_refused(&story, "its reason is not receipt 1's");
	story = good_story();
	story.n_receipts = 0;
	is_refused(&story, "no receipt");
}

static void missing_segments_are_refused(void **state)
{
	struct story story = good_story();

	story.receipts[1].segments[0].segment = 7;
	is_refused(&story, "volume data, segment 1");
	story = good_story();
	story.receipts[1].n_segments = 2;
	is_refused(&story, "volume swap, segment 0");
}

/* Every bit of every record counts. */
static void every_flipped_byte_is_refused(void **state)
{
	static struct receipt_bundle bundle;
	struct story story = good_story();
	struct receipt_proof proof;
	char error[256];
	uint8_t *parts[] = {bundle.report,     bundle.vm_key,	    bundle.token,
			    bundle.verdict,    bundle.signing_keys, bundle.receipts[0],
			    bundle.receipts[1]};
	const size_t sizes[] = {BOOT_REPORT_SIZE,  PUBLIC_KEY_SIZE, TOKEN_SIZE,	 TOKEN_SIZE,
				SIGNING_KEYS_SIZE, RECEIPT_SIZE,    RECEIPT_SIZE};

	tell(&story, &bundle);
	for (size_t i = 0; i < ELEMENTSOF(parts); i++)
		for (size_t at = 0; at < sizes[i]; at += 5) {
			parts[i][at] ^= 0x40;
			assert_int_equal(
				receipt_bundle_verify(&bundle, keys.root_public, &proof, error),
				-EBADMSG);
			parts[i][at] ^= 0x40;
		}
	assert_int_equal(receipt_bundle_verify(&bundle, keys.root_public, &proof, error), 0);
}

/* --- the JSON around it --- */

static size_t put_hex(char *text, const char *name, const uint8_t *bytes, size_t n)
{
	size_t len = (size_t)sprintf(text, ",\"%s\":\"", name);

	hex_encode(bytes, n, text + len);
	len += 2 * n;
	return len + (size_t)sprintf(text + len, "\"");
}

static char *bundle_json(const struct receipt_bundle *bundle, const char *extra)
{
	char *text = malloc(RECEIPT_BUNDLE_MAX), *at = text;

	at += sprintf(at, "{\"format\":\"%s\"%s", RECEIPT_BUNDLE_FORMAT, extra);
	at += put_hex(at, "report", bundle->report, BOOT_REPORT_SIZE);
	at += put_hex(at, "vm_key", bundle->vm_key, PUBLIC_KEY_SIZE);
	at += put_hex(at, "token", bundle->token, TOKEN_SIZE);
	at += put_hex(at, "verdict", bundle->verdict, TOKEN_SIZE);
	at += put_hex(at, "signing_keys", bundle->signing_keys, SIGNING_KEYS_SIZE);
	at += sprintf(at, ",\"receipts\":[");
	for (size_t i = 0; i < bundle->n_receipts; i++) {
		at += sprintf(at, "%s\"", i ? "," : "");
		hex_encode(bundle->receipts[i], RECEIPT_SIZE, at);
		at += 2 * RECEIPT_SIZE;
		at += sprintf(at, "\"");
	}
	sprintf(at, "]}");
	return text;
}

static void json_is_read(void **state)
{
	static struct receipt_bundle bundle, read;
	struct story story = good_story();
	_cleanup_free_ char *text = NULL;
	char error[256];

	story.without_lease = true;
	tell(&story, &bundle);
	text = bundle_json(&bundle, "");
	assert_int_equal(receipt_bundle_read(text, strlen(text), &read, error), 0);
	assert_memory_equal(&read, &bundle, sizeof(read));
}

static void other_json_is_refused(void **state)
{
	static struct receipt_bundle bundle, read;
	static const struct {
		const char *extra, *why;
	} cases[] = {
		{",\"vm_key\":\"00\"", "given twice"},
		{",\"lease\":\"00\"", "'lease' must be hex digits"},
		{",\"surprise\":1", "unknown member 'surprise'"},
		{",,", "not valid JSON"},
	};
	struct story story = good_story();
	char error[256];

	tell(&story, &bundle);
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		_cleanup_free_ char *text = bundle_json(&bundle, cases[i].extra);

		assert_int_equal(receipt_bundle_read(text, strlen(text), &read, error), -EBADMSG);
		assert_non_null(strstr(error, cases[i].why));
	}
	assert_int_equal(receipt_bundle_read("{}", 2, &read, error), -EBADMSG);
	assert_non_null(strstr(error, "'format' is missing"));
	assert_int_equal(receipt_bundle_read("[]", 2, &read, error), -EBADMSG);
	assert_int_equal(receipt_bundle_read("", 0, &read, error), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_chain_verifies),
		cmocka_unit_test(first_receipt_alone_verifies),
		cmocka_unit_test(closing_receipt_alone_verifies_unanchored),
		cmocka_unit_test(local_reasons_follow_a_lease),
		cmocka_unit_test(refused_boot_is_tied_by_its_verdict),
		cmocka_unit_test(unwiped_segment_is_not_keys_gone),
		cmocka_unit_test(keys_without_a_time_are_not_gone),
		cmocka_unit_test(other_root_key_is_refused),
		cmocka_unit_test(stranger_signed_token_is_refused),
		cmocka_unit_test(token_of_another_boot_is_refused),
		cmocka_unit_test(lease_of_another_boot_is_refused),
		cmocka_unit_test(token_that_does_not_admit_is_refused),
		cmocka_unit_test(changed_report_is_refused),
		cmocka_unit_test(other_vm_key_is_refused),
		cmocka_unit_test(bad_verdicts_are_refused),
		cmocka_unit_test(bad_receipts_are_refused),
		cmocka_unit_test(broken_chains_are_refused),
		cmocka_unit_test(missing_segments_are_refused),
		cmocka_unit_test(every_flipped_byte_is_refused),
		cmocka_unit_test(json_is_read),
		cmocka_unit_test(other_json_is_refused),
	};

	return cmocka_run_group_tests(tests, make_keys, free_keys);
}
