/* SPDX-License-Identifier: Apache-2.0 */
/* AES-256-GCM against NIST's vectors, HKDF-SHA-256 against those of RFC 5869. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "gcm_vectors.h"
#include "keys/aead.h"
#include "keys/hkdf.h"

#define TEXT_MAX 256

struct text {
	uint8_t bytes[TEXT_MAX];
	size_t n;
};

static struct text from_hex(const char *hex)
{
	struct text text = {.n = strlen(hex) / 2};

	assert_in_range(text.n, 0, TEXT_MAX);
	assert_int_equal(hex_decode(hex, strlen(hex), text.bytes, text.n), 0);
	return text;
}

struct gcm {
	struct text key, nonce, additional, plain, sealed, tag;
};

static struct gcm load(const struct gcm_vector *vector)
{
	struct gcm gcm = {
		.key = from_hex(vector->key),
		.nonce = from_hex(vector->nonce),
		.additional = from_hex(vector->additional),
		.plain = from_hex(vector->plain),
		.sealed = from_hex(vector->sealed),
		.tag = from_hex(vector->tag),
	};

	assert_int_equal(gcm.key.n, AEAD_KEY_SIZE);
	assert_int_equal(gcm.nonce.n, AEAD_NONCE_SIZE);
	assert_int_equal(gcm.tag.n, AEAD_TAG_SIZE);
	/* As aead.h has it: the tag after the text. */
	memcpy(gcm.sealed.bytes + gcm.sealed.n, gcm.tag.bytes, gcm.tag.n);
	return gcm;
}

static int open_sealed(const struct gcm *gcm, uint8_t *plain)
{
	return aead_open(gcm->key.bytes, gcm->nonce.bytes, gcm->additional.bytes, gcm->additional.n,
			 gcm->sealed.bytes, gcm->sealed.n, plain);
}

static void test_gcm_vectors(void **state)
{
	for (size_t i = 0; i < ELEMENTSOF(gcm_encrypt); i++) {
		struct gcm gcm = load(&gcm_encrypt[i]);
		uint8_t sealed[TEXT_MAX], plain[TEXT_MAX];

		assert_int_equal(gcm.plain.n, gcm.sealed.n);
		assert_int_equal(aead_seal(gcm.key.bytes, gcm.nonce.bytes, gcm.additional.bytes,
					   gcm.additional.n, gcm.plain.bytes, gcm.plain.n, sealed),
				 0);
		assert_memory_equal(sealed, gcm.sealed.bytes, gcm.sealed.n + AEAD_TAG_SIZE);
		assert_int_equal(open_sealed(&gcm, plain), 0);
		assert_memory_equal(plain, gcm.plain.bytes, gcm.plain.n);
	}
}

static void test_gcm_refusals(void **state)
{
	static const uint8_t zero[TEXT_MAX];

	for (size_t i = 0; i < ELEMENTSOF(gcm_fail); i++) {
		struct gcm gcm = load(&gcm_fail[i]);
		uint8_t plain[TEXT_MAX];

		memset(plain, 0xee, sizeof(plain));
		assert_int_equal(open_sealed(&gcm, plain), -EBADMSG);
		assert_memory_equal(plain, zero, gcm.sealed.n);
	}
}

static void test_gcm_bits(void **state)
{
	struct gcm gcm = load(&gcm_encrypt[ELEMENTSOF(gcm_encrypt) - 1]);
	struct text *const parts[] = {&gcm.key, &gcm.nonce, &gcm.additional, &gcm.sealed};
	uint8_t plain[TEXT_MAX];

	gcm.sealed.n += AEAD_TAG_SIZE;
	for (size_t i = 0; i < ELEMENTSOF(parts); i++) {
		for (size_t bit = 0; bit < 8 * parts[i]->n; bit++) {
			parts[i]->bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
			gcm.sealed.n -= AEAD_TAG_SIZE;
			assert_int_equal(open_sealed(&gcm, plain), -EBADMSG);
			gcm.sealed.n += AEAD_TAG_SIZE;
			parts[i]->bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
	gcm.sealed.n -= AEAD_TAG_SIZE;
	assert_int_equal(open_sealed(&gcm, plain), 0);
	assert_int_equal(
		aead_open(gcm.key.bytes, gcm.nonce.bytes, NULL, AEAD_TEXT_MAX + 1, plain, 0, plain),
		-E2BIG);
}

/* RFC 5869, A.1 to A.3. */
static void test_hkdf_vectors(void **state)
{
	static const struct {
		const char *key, *salt, *info, *expected;
	} table[] = {
		{"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c",
		 "f0f1f2f3f4f5f6f7f8f9",
		 "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b88718"
		 "5865"},
		{"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324252627"
		 "28292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
		 "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f8081828384858687"
		 "88898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
		 "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7"
		 "d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
		 "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac78272"
		 "71cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f"
		 "1d87"},
		{"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
		 "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a"
		 "96c8"},
	};

	for (size_t i = 0; i < ELEMENTSOF(table); i++) {
		struct text key = from_hex(table[i].key), salt = from_hex(table[i].salt);
		struct text info = from_hex(table[i].info), expected = from_hex(table[i].expected);
		struct hkdf_input input = {.key = key.bytes,
					   .key_size = key.n,
					   .salt = salt.bytes,
					   .salt_size = salt.n,
					   .info = info.bytes,
					   .info_size = info.n};
		uint8_t got[TEXT_MAX];

		assert_int_equal(hkdf(HKDF_SHA256, &input, got, expected.n), 0);
		assert_memory_equal(got, expected.bytes, expected.n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gcm_vectors),
		cmocka_unit_test(test_gcm_refusals),
		cmocka_unit_test(test_gcm_bits),
		cmocka_unit_test(test_hkdf_vectors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
