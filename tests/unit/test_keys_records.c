/* SPDX-License-Identifier: Apache-2.0 */
/* Signed records: each verifies as it was signed, and with any one byte changed it does not. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "keys/sign.h"

/* Verifies a record against what `key` signs with; anything but 0 is a refusal. */
struct record {
	uint8_t bytes[RECEIPT_SIZE];
	size_t size;
	int (*verify)(const struct record *record, const uint8_t public_key[PUBLIC_KEY_SIZE]);
};

static struct signing_key *key_of(uint8_t byte, uint8_t ret_public[static PUBLIC_KEY_SIZE])
{
	uint8_t seed[IDENTITY_SEED_SIZE];
	struct signing_key *key;

	memset(seed, byte, sizeof(seed));
	assert_int_equal(signing_key_new_from_seed(seed, &key), 0);
	signing_key_public(key, ret_public);
	return key;
}

/* All that a verifier must hold: the right key accepts, another does not, no changed byte and no
 * other size passes, and nothing is written on a refusal. */
static void record_holds(struct record *record, const uint8_t public_key[static PUBLIC_KEY_SIZE])
{
	uint8_t other[PUBLIC_KEY_SIZE];

	(void)signing_key_free(key_of(0x99, other));
	assert_int_equal(record->verify(record, public_key), 0);
	assert_int_equal(record->verify(record, other), -EKEYREJECTED);
	for (size_t i = 0; i < record->size; i++) {
		uint8_t bit = (uint8_t)(1u << i % 8);
		int r;

		record->bytes[i] ^= bit;
		r = record->verify(record, public_key);
		assert_true(r == -EBADMSG || r == -EKEYREJECTED);
		record->bytes[i] ^= bit;
	}
	record->size--;
	assert_int_equal(record->verify(record, public_key), -EBADMSG);
	record->size++;
	assert_int_equal(record->verify(record, public_key), 0);
}

/* Calls VERIFY and checks that it leaves its output alone unless it accepts. */
#define VERIFY(type, call)                                                                         \
	do {                                                                                       \
		struct type out, untouched;                                                        \
		int r;                                                                             \
                                                                                                   \
		memset(&untouched, 0xee, sizeof(untouched));                                       \
		memcpy(&out, &untouched, sizeof(out));                                             \
		r = call;                                                                          \
		if (r < 0)                                                                         \
			assert_memory_equal(&out, &untouched, sizeof(out));                        \
		return r;                                                                          \
	} while (0)

static int verify_token(const struct record *record, const uint8_t public_key[PUBLIC_KEY_SIZE])
{
	struct signing_keys set = {.epoch = 1, .n_keys = 2};

	memset(set.keys[0], 0x77, PUBLIC_KEY_SIZE);
	memcpy(set.keys[1], public_key, PUBLIC_KEY_SIZE);
	VERIFY(token, token_verify(record->bytes, record->size, &set, &out));
}

static int verify_set(const struct record *record, const uint8_t public_key[PUBLIC_KEY_SIZE])
{
	VERIFY(signing_keys, signing_keys_verify(record->bytes, record->size, public_key, &out));
}

static int verify_report(const struct record *record, const uint8_t public_key[PUBLIC_KEY_SIZE])
{
	VERIFY(boot_report, boot_report_verify(record->bytes, record->size, public_key, &out));
}

static int verify_request(const struct record *record, const uint8_t public_key[PUBLIC_KEY_SIZE])
{
	VERIFY(lease_request, lease_request_verify(record->bytes, record->size, public_key, &out));
}

static int verify_receipt(const struct record *record, const uint8_t public_key[PUBLIC_KEY_SIZE])
{
	VERIFY(receipt, receipt_verify(record->bytes, record->size, public_key, &out));
}

static int verify_ending(const struct record *record, const uint8_t public_key[PUBLIC_KEY_SIZE])
{
	VERIFY(ending, ending_verify(record->bytes, record->size, public_key, &out));
}

static int verify_offer(const struct record *record, const uint8_t public_key[PUBLIC_KEY_SIZE])
{
	VERIFY(bind_offer, bind_offer_verify(record->bytes, record->size, public_key, &out));
}

static int verify_share(const struct record *record, const uint8_t public_key[PUBLIC_KEY_SIZE])
{
	struct signing_keys set = {.epoch = 1, .n_keys = 2};

	memset(set.keys[0], 0x77, PUBLIC_KEY_SIZE);
	memcpy(set.keys[1], public_key, PUBLIC_KEY_SIZE);
	VERIFY(bind_share, bind_share_verify(record->bytes, record->size, &set, &out));
}

static struct token example_token(void)
{
	struct token token = {
		.sequence = {4, 5},
		.ttl_ms = 300000,
		.margin_ms = 60000,
		.poll_ms = 10000,
		.verdict = VERDICT_CONTINUE,
		.expiry = EXPIRY_SHRED,
		.cmk_state = CMK_HEALTHY,
		.issued_at = 1700000000,
	};

	memset(token.admission, 0xaa, sizeof(token.admission));
	memset(token.challenge, 0xcc, sizeof(token.challenge));
	return token;
}

static void token(void **state)
{
	uint8_t public_key[PUBLIC_KEY_SIZE];
	_cleanup_signing_key_ struct signing_key *key = key_of(1, public_key);
	struct record record = {.size = TOKEN_SIZE, .verify = verify_token};
	struct token token = example_token();

	assert_int_equal(token_sign(key, &token, record.bytes), 0);
	assert_true(token.key_id == signing_key_id(public_key));
	record_holds(&record, public_key);
}

/* A key that is no longer in the set is revoked, and an empty set accepts nothing. */
static void token_of_no_key_in_the_set(void **state)
{
	uint8_t public_key[PUBLIC_KEY_SIZE], bytes[TOKEN_SIZE];
	_cleanup_signing_key_ struct signing_key *key = key_of(1, public_key);
	struct signing_keys set = {.epoch = 2};
	struct token token = example_token(), out;

	assert_int_equal(token_sign(key, &token, bytes), 0);
	assert_int_equal(token_verify(bytes, sizeof(bytes), &set, &out), -EKEYREJECTED);
	memcpy(set.keys[0], public_key, PUBLIC_KEY_SIZE);
	assert_int_equal(token_verify(bytes, sizeof(bytes), &set, &out), -EKEYREJECTED);
	set.n_keys = 1;
	assert_int_equal(token_verify(bytes, sizeof(bytes), &set, &out), 0);
	assert_int_equal(out.ttl_ms, token.ttl_ms);
}

static void signing_keys(void **state)
{
	uint8_t public_key[PUBLIC_KEY_SIZE];
	_cleanup_signing_key_ struct signing_key *key = key_of(2, public_key);
	struct record record = {.size = SIGNING_KEYS_SIZE, .verify = verify_set};
	struct signing_keys set = {.epoch = 7, .n_keys = 2};

	memset(set.keys[0], 0x11, PUBLIC_KEY_SIZE);
	memset(set.keys[1], 0x22, PUBLIC_KEY_SIZE);
	assert_int_equal(signing_keys_sign(key, &set, record.bytes), 0);
	record_holds(&record, public_key);
}

static struct boot_report example_report(void)
{
	struct boot_report report = {
		.workspace = "acme", .vm = "db-1", .version = "0.1.0", .kernel = "6.1.0"};

	memset(report.boot_id, 0x42, sizeof(report.boot_id));
	return report;
}

static void boot_report(void **state)
{
	uint8_t vm_public[PUBLIC_KEY_SIZE], boot_public[PUBLIC_KEY_SIZE];
	_cleanup_signing_key_ struct signing_key *vm_key = key_of(3, vm_public);
	_cleanup_signing_key_ struct signing_key *boot_key = key_of(4, boot_public);
	struct record record = {.size = BOOT_REPORT_SIZE, .verify = verify_report};
	struct boot_report report = example_report();

	assert_int_equal(boot_report_sign(vm_key, boot_key, &report, record.bytes), 0);
	assert_memory_equal(report.boot_key, boot_public, PUBLIC_KEY_SIZE);
	record_holds(&record, vm_public);
}

/* Both signatures count: one that the holder of the VM's key alone could make is not enough. */
static void boot_report_without_the_boot_key(void **state)
{
	uint8_t vm_public[PUBLIC_KEY_SIZE], boot_public[PUBLIC_KEY_SIZE];
	_cleanup_signing_key_ struct signing_key *vm_key = key_of(3, vm_public);
	_cleanup_signing_key_ struct signing_key *boot_key = key_of(4, boot_public);
	struct boot_report report = example_report(), out;
	uint8_t bytes[BOOT_REPORT_SIZE];

	assert_int_equal(boot_report_sign(vm_key, boot_key, &report, bytes), 0);
	memcpy(bytes + BOOT_REPORT_SIZE - SIGNATURE_SIZE, report.vm_signature, SIGNATURE_SIZE);
	assert_int_equal(boot_report_verify(bytes, sizeof(bytes), vm_public, &out), -EKEYREJECTED);
}

static void lease_request(void **state)
{
	uint8_t public_key[PUBLIC_KEY_SIZE];
	_cleanup_signing_key_ struct signing_key *key = key_of(5, public_key);
	struct record record = {.size = LEASE_REQUEST_SIZE, .verify = verify_request};
	struct lease_request request = {.number = 9, .highest = {1, 2}};

	assert_int_equal(lease_request_sign(key, &request, record.bytes), 0);
	record_holds(&record, public_key);
}

static void receipt(void **state)
{
	uint8_t public_key[PUBLIC_KEY_SIZE];
	_cleanup_signing_key_ struct signing_key *key = key_of(6, public_key);
	struct record record = {.size = RECEIPT_SIZE, .verify = verify_receipt};
	struct receipt receipt = {
		.kind = RECEIPT_KEYS,
		.reason = REASON_REVOKED,
		.start_ns = 1000,
		.keys_gone_ns = 2000,
		.n_segments = 1,
		.segments = {{.volume = "data", .fate = SEGMENT_WIPED, .wiped_us = 1}},
	};

	assert_int_equal(receipt_sign(key, &receipt, record.bytes), 0);
	record_holds(&record, public_key);
}

static void ending(void **state)
{
	uint8_t public_key[PUBLIC_KEY_SIZE];
	_cleanup_signing_key_ struct signing_key *key = key_of(8, public_key);
	struct record record = {.size = ENDING_SIZE, .verify = verify_ending};
	struct ending ending = {.verb = END_KEXEC, .bound_ms = 1000, .began_ns = 1};

	assert_int_equal(ending_sign(key, &ending, record.bytes), 0);
	record_holds(&record, public_key);
}

static void bind_offer(void **state)
{
	uint8_t public_key[PUBLIC_KEY_SIZE];
	_cleanup_signing_key_ struct signing_key *key = key_of(9, public_key);
	struct record record = {.size = BIND_OFFER_SIZE, .verify = verify_offer};
	struct bind_offer offer = {.admission = {1}, .key = {2}};

	assert_int_equal(bind_offer_sign(key, &offer, record.bytes), 0);
	record_holds(&record, public_key);
}

static void bind_share(void **state)
{
	uint8_t public_key[PUBLIC_KEY_SIZE];
	_cleanup_signing_key_ struct signing_key *key = key_of(10, public_key);
	struct record record = {.size = BIND_SHARE_RECORD_SIZE, .verify = verify_share};
	struct bind_share share = {.admission = {1}, .encapsulated = {2}, .sealed = {3}};

	assert_int_equal(bind_share_sign(key, &share, record.bytes), 0);
	record_holds(&record, public_key);
}

/* A lease request and a token have one size, and could hold the same bytes: only the domain tells
 * them apart. */
static void a_record_of_another_domain(void **state)
{
	uint8_t public_key[PUBLIC_KEY_SIZE];
	_cleanup_signing_key_ struct signing_key *key = key_of(7, public_key);
	struct record record = {.size = TOKEN_SIZE, .verify = verify_token};
	struct token token = example_token();
	uint8_t *signature = record.bytes + TOKEN_SIZE - SIGNATURE_SIZE;

	assert_int_equal(token_sign(key, &token, record.bytes), 0);
	assert_int_equal(sign_domain(key, LEASE_REQUEST_DOMAIN, record.bytes,
				     TOKEN_SIZE - SIGNATURE_SIZE, signature),
			 0);
	assert_int_equal(verify_token(&record, public_key), -EKEYREJECTED);
	assert_int_equal(sign_domain(key, TOKEN_DOMAIN, record.bytes, TOKEN_SIZE - SIGNATURE_SIZE,
				     signature),
			 0);
	assert_int_equal(verify_token(&record, public_key), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(token),
		cmocka_unit_test(token_of_no_key_in_the_set),
		cmocka_unit_test(signing_keys),
		cmocka_unit_test(boot_report),
		cmocka_unit_test(boot_report_without_the_boot_key),
		cmocka_unit_test(lease_request),
		cmocka_unit_test(receipt),
		cmocka_unit_test(ending),
		cmocka_unit_test(bind_offer),
		cmocka_unit_test(bind_share),
		cmocka_unit_test(a_record_of_another_domain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
