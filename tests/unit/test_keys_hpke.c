/* SPDX-License-Identifier: Apache-2.0 */
/* HPKE against the vector of RFC 9180's test-vectors.json, and against everything that must not
 * open it. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "keys/hpke.h"

#define PLAIN_SIZE 29

/* github.com/cfrg/draft-irtf-cfrg-hpke, test-vectors.json at 5f503c5, to which RFC 9180, appendix
 * A, refers: mode 0 (base), kem_id 32, kdf_id 1, aead_id 2, encryption 0. */
static const struct {
	const char *ikm_e, *pk_em, *sk_em, *ikm_r, *pk_rm, *sk_rm, *info, *aad, *pt, *ct;
} vector = {
	.ikm_e = "2cd7c601cefb3d42a62b04b7a9041494c06c7843818e0ce28a8f704ae7ab20f9",
	.sk_em = "179d4b53b6365c45b600c4163b61d95cbc2f4d9e36f1695558dce265ab8bab11",
	.pk_em = "6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256",
	.ikm_r = "dac33b0e9db1b59dbbea58d59a14e7b5896e9bdf98fad6891e99d1686492b9ee",
	.sk_rm = "497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d",
	.pk_rm = "430f4b9859665145a6b1ba274024487bd66f03a2dd577d7753c68d7d7d00c00c",
	.info = "4f6465206f6e2061204772656369616e2055726e",
	.aad = "436f756e742d30",
	.pt = "4265617574792069732074727574682c20747275746820626561757479",
	.ct = "e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad"
	      "859d5b7a",
};

struct message {
	uint8_t private_key[HPKE_KEY_SIZE], public_key[HPKE_KEY_SIZE], seed[HPKE_SEED_SIZE];
	uint8_t encapsulated[HPKE_KEY_SIZE];
	uint8_t info[20], additional[7];
	uint8_t plain[PLAIN_SIZE], sealed[PLAIN_SIZE + AEAD_TAG_SIZE];
	struct hpke_context context;
};

static void from_hex(const char *hex, void *bytes, size_t n)
{
	assert_int_equal(hex_decode(hex, strlen(hex), bytes, n), 0);
}

static void load(struct message *m)
{
	from_hex(vector.sk_rm, m->private_key, sizeof(m->private_key));
	from_hex(vector.pk_rm, m->public_key, sizeof(m->public_key));
	from_hex(vector.ikm_e, m->seed, sizeof(m->seed));
	from_hex(vector.pk_em, m->encapsulated, sizeof(m->encapsulated));
	from_hex(vector.info, m->info, sizeof(m->info));
	from_hex(vector.aad, m->additional, sizeof(m->additional));
	from_hex(vector.pt, m->plain, sizeof(m->plain));
	from_hex(vector.ct, m->sealed, sizeof(m->sealed));
	m->context = (struct hpke_context){
		.info = m->info,
		.info_size = sizeof(m->info),
		.additional = m->additional,
		.additional_size = sizeof(m->additional),
	};
}

static int open_message(const struct message *m, uint8_t plain[static PLAIN_SIZE])
{
	return hpke_open(m->private_key, m->encapsulated, &m->context, m->sealed, PLAIN_SIZE,
			 plain);
}

static void opens(const struct message *m)
{
	uint8_t plain[PLAIN_SIZE];

	assert_int_equal(open_message(m, plain), 0);
	assert_memory_equal(plain, m->plain, sizeof(plain));
}

static void is_refused(const struct message *m)
{
	uint8_t plain[PLAIN_SIZE];

	memset(plain, 0xff, sizeof(plain));
	assert_int_equal(open_message(m, plain), -EBADMSG);
	assert_true(bytes_are_zero(plain, sizeof(plain)));
}

static void derives_key_pairs(void **state)
{
	uint8_t seed[HPKE_SEED_SIZE], private_key[HPKE_KEY_SIZE], public_key[HPKE_KEY_SIZE];
	uint8_t expected[HPKE_KEY_SIZE];
	const struct {
		const char *seed, *private_key, *public_key;
	} pairs[] = {
		{vector.ikm_e, vector.sk_em, vector.pk_em},
		{vector.ikm_r, vector.sk_rm, vector.pk_rm},
		/* RFC 9180, A.1.1. */
		{"7268600d403fce431561aef583ee1613527cff655c1343f29812e66706df3234",
		 "52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736",
		 "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431"},
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		from_hex(pairs[i].seed, seed, sizeof(seed));
		assert_int_equal(hpke_key_derive(seed, private_key, public_key), 0);
		from_hex(pairs[i].private_key, expected, sizeof(expected));
		assert_memory_equal(private_key, expected, sizeof(expected));
		from_hex(pairs[i].public_key, expected, sizeof(expected));
		assert_memory_equal(public_key, expected, sizeof(expected));
	}
}

static void seals_as_published(void **state)
{
	uint8_t encapsulated[HPKE_KEY_SIZE], sealed[PLAIN_SIZE + AEAD_TAG_SIZE];
	struct message m;

	load(&m);
	assert_int_equal(hpke_seal(m.public_key, m.seed, &m.context, m.plain, PLAIN_SIZE,
				   encapsulated, sealed),
			 0);
	assert_memory_equal(encapsulated, m.encapsulated, sizeof(encapsulated));
	assert_memory_equal(sealed, m.sealed, sizeof(sealed));
}

static void opens_what_is_published(void **state)
{
	struct message m;

	load(&m);
	opens(&m);
}

static void flip(uint8_t *bytes, size_t bit)
{
	bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
}

/* Every bit of what both sides must agree in. Of an X25519 private key five bits do not count (RFC
 * 7748, section 5), and of a public one the highest. */
static void every_bit_counts(void **state)
{
	struct message m;
	struct {
		uint8_t *bytes;
		size_t n;
	} parts[] = {
		{m.encapsulated, sizeof(m.encapsulated)},
		{m.sealed, sizeof(m.sealed)},
		{m.info, sizeof(m.info)},
		{m.additional, sizeof(m.additional)},
	};

	load(&m);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		for (size_t bit = 0; bit < 8 * parts[i].n; bit++) {
			if (parts[i].bytes == m.encapsulated && bit == 255)
				continue;
			flip(parts[i].bytes, bit);
			is_refused(&m);
			flip(parts[i].bytes, bit);
		}
	}
	opens(&m);
	for (size_t bit = 3; bit < 254; bit++) {
		flip(m.private_key, bit);
		is_refused(&m);
		flip(m.private_key, bit);
	}
	opens(&m);
}

/* The highest bit of an encapsulated key is no part of the number, but of what is hashed. */
static void the_unused_bit_counts_too(void **state)
{
	struct message m;

	load(&m);
	flip(m.encapsulated, 255);
	is_refused(&m);
}

static void another_key_does_not_open(void **state)
{
	uint8_t seed[HPKE_SEED_SIZE] = {7}, public_key[HPKE_KEY_SIZE];
	struct message m;

	load(&m);
	assert_int_equal(hpke_key_derive(seed, m.private_key, public_key), 0);
	is_refused(&m);
}

static void lengths_count(void **state)
{
	uint8_t plain[PLAIN_SIZE];
	struct message m;

	load(&m);
	m.context.info_size--;
	is_refused(&m);
	load(&m);
	m.context.additional_size--;
	is_refused(&m);
	load(&m);
	m.context.additional_size = 0;
	is_refused(&m);
	load(&m);
	for (size_t n = 0; n < PLAIN_SIZE; n++)
		assert_int_equal(
			hpke_open(m.private_key, m.encapsulated, &m.context, m.sealed, n, plain),
			-EBADMSG);
	m.context.info_size = HPKE_INFO_MAX + 1;
	assert_int_equal(open_message(&m, plain), -E2BIG);
	assert_int_equal(hpke_seal(m.public_key, m.seed, &m.context, m.plain, PLAIN_SIZE,
				   m.encapsulated, m.sealed),
			 -E2BIG);
}

/* Points of small order, RFC 7748, section 6.1: whatever the private key, the secret would be zero. */
static void small_order_is_refused(void **state)
{
	static const char *const points[] = {
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	};
	uint8_t encapsulated[HPKE_KEY_SIZE], sealed[PLAIN_SIZE + AEAD_TAG_SIZE];
	struct message m;

	for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		load(&m);
		from_hex(points[i], m.encapsulated, sizeof(m.encapsulated));
		is_refused(&m);
		assert_int_equal(hpke_seal(m.encapsulated, m.seed, &m.context, m.plain, PLAIN_SIZE,
					   encapsulated, sealed),
				 -EBADMSG);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(derives_key_pairs),
		cmocka_unit_test(seals_as_published),
		cmocka_unit_test(opens_what_is_published),
		cmocka_unit_test(every_bit_counts),
		cmocka_unit_test(the_unused_bit_counts_too),
		cmocka_unit_test(another_key_does_not_open),
		cmocka_unit_test(lengths_count),
		cmocka_unit_test(small_order_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
