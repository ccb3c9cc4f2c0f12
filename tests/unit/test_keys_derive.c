/* SPDX-License-Identifier: Apache-2.0 */
/* Segment keys: HKDF-SHA-512. RFC 5869 has vectors of SHA-256 and SHA-1 only, so the function is
 * held against HKDF written here in bare HMAC (RFC 5869, 2.2 and 2.3), which is itself held against
 * the RFC's vector A.1; and against one value that Python's hmac module computed. */
#include "unit.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "base/bytes.h"
#include "keys/derive.h"

static void from_hex(const char *text, void *bytes, size_t n)
{
	assert_int_equal(hex_decode(text, strlen(text), bytes, n), 0);
}

static void hkdf(const EVP_MD *hash, const uint8_t *salt, size_t salt_size, const uint8_t *key,
		 size_t key_size, const uint8_t *info, size_t info_size, uint8_t *out, size_t size)
{
	uint8_t prk[EVP_MAX_MD_SIZE], block[EVP_MAX_MD_SIZE], input[EVP_MAX_MD_SIZE + 256];
	unsigned prk_size, block_size = 0;

	assert_non_null(HMAC(hash, salt, (int)salt_size, key, key_size, prk, &prk_size));
	for (uint8_t i = 1; size > 0; i++) {
		size_t n;

		memcpy(input, block, block_size);
		memcpy(input + block_size, info, info_size);
		input[block_size + info_size] = i;
		assert_non_null(HMAC(hash, prk, (int)prk_size, input, block_size + info_size + 1,
				     block, &block_size));
		n = block_size < size ? block_size : size;
		memcpy(out, block, n);
		out += n;
		size -= n;
	}
}

/* RFC 5869, A.1: Basic test case with SHA-256. */
static void reference_is_the_rfcs(void **state)
{
	uint8_t key[22], salt[13], info[10], expected[42], got[42];

	memset(key, 0x0b, sizeof(key));
	from_hex("000102030405060708090a0b0c", salt, sizeof(salt));
	from_hex("f0f1f2f3f4f5f6f7f8f9", info, sizeof(info));
	from_hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
		 "34007208d5b887185865",
		 expected, sizeof(expected));
	hkdf(EVP_sha256(), salt, sizeof(salt), key, sizeof(key), info, sizeof(info), got,
	     sizeof(got));
	assert_memory_equal(got, expected, sizeof(expected));
}

struct inputs {
	uint8_t boot_key[BOOT_KEY_SIZE], boot_id[BOOT_ID_SIZE];
	const char *name;
	uint64_t instance, segment;
};

static struct inputs example(void)
{
	struct inputs in = {.name = "data", .instance = 3, .segment = 2};

	for (uint8_t i = 0; i < BOOT_KEY_SIZE; i++)
		in.boot_key[i] = i;
	for (uint8_t i = 0; i < BOOT_ID_SIZE; i++)
		in.boot_id[i] = i;
	return in;
}

static void derive(const struct inputs *in, uint8_t key[static SEGMENT_KEY_SIZE])
{
	assert_int_equal(segment_key_derive(in->boot_key, in->boot_id, in->name, in->instance,
					    in->segment, key),
			 0);
}

static void key_is_hkdf_sha512(void **state)
{
	static const char *const names[] = {"", "a", "data", "0123456789012345678901234567890"};
	static const uint64_t numbers[] = {0, 1, 0x0102030405060708, UINT64_MAX};
	struct inputs in = example();

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		for (size_t k = 0; k < sizeof(numbers) / sizeof(numbers[0]); k++) {
			uint8_t info[96] = "emberlock v1 segment", *p = info + 21;
			uint8_t expected[SEGMENT_KEY_SIZE], key[SEGMENT_KEY_SIZE];

			in.name = names[i];
			in.instance = numbers[k];
			in.segment = numbers[3 - k];
			put_be32(p, (uint32_t)strlen(in.name));
			memcpy(p + 4, in.name, strlen(in.name));
			p += 4 + strlen(in.name);
			put_be64(p, in.instance);
			put_be64(p + 8, in.segment);
			hkdf(EVP_sha512(), in.boot_id, BOOT_ID_SIZE, in.boot_key, BOOT_KEY_SIZE,
			     info, (size_t)(p + 16 - info), expected, sizeof(expected));
			derive(&in, key);
			assert_memory_equal(key, expected, sizeof(key));
		}
}

static void key_is_pythons(void **state)
{
	struct inputs in = example();
	uint8_t expected[SEGMENT_KEY_SIZE], key[SEGMENT_KEY_SIZE];

	from_hex("70197aee465695e6cd49fda2c6f21d6073f2279b6a36e0b5f37f9b43415ca9e7"
		 "8c4b0dc29ac179d1074614a1aa0c3ed37edf62253efbe6e54a11ac2c50c958ce",
		 expected, sizeof(expected));
	derive(&in, key);
	assert_memory_equal(key, expected, sizeof(key));
}

/* The length of the name is in it: "a" + instance and "a\0…" cannot meet. */
static void every_input_counts(void **state)
{
	struct inputs all[6];
	uint8_t keys[6][SEGMENT_KEY_SIZE];

	for (size_t i = 0; i < 6; i++)
		all[i] = example();
	all[1].boot_key[63] ^= 1;
	all[2].boot_id[15] ^= 1;
	all[3].name = "date";
	all[4].instance++;
	all[5].segment++;
	for (size_t i = 0; i < 6; i++) {
		derive(&all[i], keys[i]);
		for (size_t k = 0; k < i; k++)
			assert_memory_not_equal(keys[i], keys[k], SEGMENT_KEY_SIZE);
		/* XTS with equal halves would be weak, and the kernel refuses it in FIPS mode. */
		assert_memory_not_equal(keys[i], keys[i] + 32, 32);
	}
}

static const uint8_t example_share[BIND_SHARE_SIZE] = {0x5a, 1, 2, 3};

static void bound_key_is_hkdf_of_both(void **state)
{
	uint8_t both[BOOT_KEY_SIZE + BIND_SHARE_SIZE], info[96] = "emberlock v1 bound segment";
	uint8_t expected[SEGMENT_KEY_SIZE], key[SEGMENT_KEY_SIZE];
	struct inputs in = example();
	uint8_t *p = info + 27;

	memcpy(both, in.boot_key, BOOT_KEY_SIZE);
	memcpy(both + BOOT_KEY_SIZE, example_share, BIND_SHARE_SIZE);
	put_be32(p, 4);
	memcpy(p + 4, "data", 4);
	put_be64(p + 8, in.instance);
	put_be64(p + 16, in.segment);
	hkdf(EVP_sha512(), in.boot_id, BOOT_ID_SIZE, both, sizeof(both), info,
	     (size_t)(p + 24 - info), expected, sizeof(expected));
	assert_int_equal(bound_segment_key_derive(in.boot_key, example_share, in.boot_id, in.name,
						  in.instance, in.segment, key),
			 0);
	assert_memory_equal(key, expected, sizeof(key));
	/* Without the share it is another. */
	derive(&in, expected);
	assert_memory_not_equal(key, expected, sizeof(key));
}

static void every_bit_of_the_share_counts(void **state)
{
	uint8_t share[BIND_SHARE_SIZE], key[SEGMENT_KEY_SIZE], other[SEGMENT_KEY_SIZE];
	struct inputs in = example();

	memcpy(share, example_share, sizeof(share));
	assert_int_equal(bound_segment_key_derive(in.boot_key, share, in.boot_id, in.name,
						  in.instance, in.segment, key),
			 0);
	for (size_t bit = 0; bit < 8 * sizeof(share); bit++) {
		share[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(bound_segment_key_derive(in.boot_key, share, in.boot_id, in.name,
							  in.instance, in.segment, other),
				 0);
		assert_memory_not_equal(key, other, sizeof(key));
		share[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void long_name_is_refused(void **state)
{
	struct inputs in = example();
	uint8_t key[SEGMENT_KEY_SIZE];

	assert_int_equal(segment_key_derive(in.boot_key, in.boot_id,
					    "01234567890123456789012345678901", 1, 1, key),
			 -ENAMETOOLONG);
	assert_int_equal(bound_segment_key_derive(in.boot_key, example_share, in.boot_id,
						  "01234567890123456789012345678901", 1, 1, key),
			 -ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reference_is_the_rfcs),
		cmocka_unit_test(key_is_hkdf_sha512),
		cmocka_unit_test(key_is_pythons),
		cmocka_unit_test(every_input_counts),
		cmocka_unit_test(long_name_is_refused),
		cmocka_unit_test(bound_key_is_hkdf_of_both),
		cmocka_unit_test(every_bit_of_the_share_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
