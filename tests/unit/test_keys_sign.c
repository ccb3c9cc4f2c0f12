/* SPDX-License-Identifier: Apache-2.0 */
/* Ed25519 against RFC 8032, 7.1, and domain separation. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "keys/sign.h"

/* Seed and public key of TEST 1, 2, 3 and 1024. */
static const struct {
	const char *seed, *public_key;
} pairs[] = {
	{"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
	 "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"},
	{"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
	 "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"},
	{"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
	 "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"},
	{"f5e5767cf153319517630f226876b86c8160cc583bc013744c6bf255f5cc0ee5",
	 "278117fc144c72340f67d0f2316e8386ceffbf2b2428c9c51fef7c597f1d426e"},
};

/* TEST 1024: the only message of the RFC with a zero byte early on. What is before it serves as the
 * domain, its zero as the domain's NUL, so that the RFC's signature is ours. */
static const char long_message[] =
	"08b8b2b733424243760fe426a4b54908632110a66c2f6591eabd3345e3e4eb98"
	"fa6e264bf09efe12ee50f8f54e9f77b1e355f6c50544e23fb1433ddf73be84d8"
	"79de7c0046dc4996d9e773f4bc9efe5738829adb26c81b37c93a1b270b20329d"
	"658675fc6ea534e0810a4432826bf58c941efb65d57a338bbd2e26640f89ffbc"
	"1a858efcb8550ee3a5e1998bd177e93a7363c344fe6b199ee5d02e82d522c4fe"
	"ba15452f80288a821a579116ec6dad2b3b310da903401aa62100ab5d1a36553e"
	"06203b33890cc9b832f79ef80560ccb9a39ce767967ed628c6ad573cb116dbef"
	"efd75499da96bd68a8a97b928a8bbc103b6621fcde2beca1231d206be6cd9ec7"
	"aff6f6c94fcd7204ed3455c68c83f4a41da4af2b74ef5c53f1d8ac70bdcb7ed1"
	"85ce81bd84359d44254d95629e9855a94a7c1958d1f8ada5d0532ed8a5aa3fb2"
	"d17ba70eb6248e594e1a2297acbbb39d502f1a8c6eb6f1ce22b3de1a1f40cc24"
	"554119a831a9aad6079cad88425de6bde1a9187ebb6092cf67bf2b13fd65f270"
	"88d78b7e883c8759d2c4f5c65adb7553878ad575f9fad878e80a0c9ba63bcbcc"
	"2732e69485bbc9c90bfbd62481d9089beccf80cfe2df16a2cf65bd92dd597b07"
	"07e0917af48bbb75fed413d238f5555a7a569d80c3414a8d0859dc65a46128ba"
	"b27af87a71314f318c782b23ebfe808b82b0ce26401d2e22f04d83d1255dc51a"
	"ddd3b75a2b1ae0784504df543af8969be3ea7082ff7fc9888c144da2af58429e"
	"c96031dbcad3dad9af0dcbaaaf268cb8fcffead94f3c7ca495e056a9b47acdb7"
	"51fb73e666c6c655ade8297297d07ad1ba5e43f1bca32301651339e22904cc8c"
	"42f58c30c04aafdb038dda0847dd988dcda6f3bfd15c4b4c4525004aa06eeff8"
	"ca61783aacec57fb3d1f92b0fe2fd1a85f6724517b65e614ad6808d6f6ee34df"
	"f7310fdc82aebfd904b01e1dc54b2927094b2db68d6f903b68401adebf5a7e08"
	"d78ff4ef5d63653a65040cf9bfd4aca7984a74d37145986780fc0b16ac451649"
	"de6188a7dbdf191f64b5fc5e2ab47b57f7f7276cd419c17a3ca8e1b939ae49e4"
	"88acba6b965610b5480109c8b17b80e1b7b750dfc7598d5d5011fd2dcc5600a3"
	"2ef5b52a1ecc820e308aa342721aac0943bf6686b64b2579376504ccc493d97e"
	"6aed3fb0f9cd71a43dd497f01f17c0e2cb3797aa2a2f256656168e6c496afc5f"
	"b93246f6b1116398a346f1a641f3b041e989f7914f90cc2c7fff357876e506b5"
	"0d334ba77c225bc307ba537152f3f1610e4eafe595f6d9d90d11faa933a15ef1"
	"369546868a7f3a45a96768d40fd9d03412c091c6315cf4fde7cb68606937380d"
	"b2eaaa707b4c4185c32eddcdd306705e4dc1ffc872eeee475a64dfac86aba41c"
	"0618983f8741c5ef68d3a101e8a3b8cac60c905c15fc910840b94c00a0b9d0";
static const char long_signature[] =
	"0aab4c900501b3e24d7cdf4663326a3a87df5e4843b2cbdb67cbf6e460fec350"
	"aa5371b1508f9f4528ecea23c436d94b5e8fcd4f681e30a6ac00a9704a188a03";
#define LONG_SIZE   1023
#define LONG_DOMAIN 67

static void from_hex(const char *text, void *bytes, size_t n)
{
	assert_int_equal(hex_decode(text, strlen(text), bytes, n), 0);
}

static struct signing_key *key_of(size_t pair)
{
	uint8_t seed[IDENTITY_SEED_SIZE];
	struct signing_key *key;

	from_hex(pairs[pair].seed, seed, sizeof(seed));
	assert_int_equal(signing_key_new_from_seed(seed, &key), 0);
	return key;
}

static void public_keys_are_the_rfcs(void **state)
{
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		_cleanup_signing_key_ struct signing_key *key = key_of(i);
		uint8_t expected[PUBLIC_KEY_SIZE], got[PUBLIC_KEY_SIZE];

		from_hex(pairs[i].public_key, expected, sizeof(expected));
		signing_key_public(key, got);
		assert_memory_equal(got, expected, sizeof(expected));
	}
}

static void signature_is_the_rfcs(void **state)
{
	_cleanup_signing_key_ struct signing_key *key = key_of(3);
	uint8_t message[LONG_SIZE], expected[SIGNATURE_SIZE], signature[SIGNATURE_SIZE];
	uint8_t public_key[PUBLIC_KEY_SIZE];
	const uint8_t *rest = message + LONG_DOMAIN + 1;
	const char *domain = (const char *)message;
	size_t n = LONG_SIZE - LONG_DOMAIN - 1;

	from_hex(long_message, message, sizeof(message));
	from_hex(long_signature, expected, sizeof(expected));
	assert_int_equal(strlen(domain), LONG_DOMAIN);
	assert_int_equal(sign_domain(key, domain, rest, n, signature), 0);
	assert_memory_equal(signature, expected, sizeof(expected));
	signing_key_public(key, public_key);
	assert_int_equal(verify_domain(public_key, domain, rest, n, expected), 0);
}

static void every_changed_byte_is_seen(void **state)
{
	_cleanup_signing_key_ struct signing_key *key = key_of(1);
	uint8_t message[32], signature[SIGNATURE_SIZE], public_key[PUBLIC_KEY_SIZE];
	struct {
		uint8_t *bytes;
		size_t n;
	} parts[] = {{message, sizeof(message)},
		     {signature, sizeof(signature)},
		     {public_key, sizeof(public_key)}};

	memset(message, 0x3c, sizeof(message));
	signing_key_public(key, public_key);
	assert_int_equal(sign_domain(key, "a domain", message, sizeof(message), signature), 0);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		for (size_t k = 0; k < 8 * parts[i].n; k++) {
			uint8_t bit = (uint8_t)(1u << k % 8);

			parts[i].bytes[k / 8] ^= bit;
			assert_int_equal(verify_domain(public_key, "a domain", message,
						       sizeof(message), signature),
					 -EBADMSG);
			parts[i].bytes[k / 8] ^= bit;
		}
	assert_int_equal(verify_domain(public_key, "a domain", message, sizeof(message), signature),
			 0);
}

static void domains_are_apart(void **state)
{
	_cleanup_signing_key_ struct signing_key *key = key_of(0);
	uint8_t signature[SIGNATURE_SIZE], public_key[PUBLIC_KEY_SIZE];
	static const uint8_t bytes[] = {'b', 0, 'c'};

	signing_key_public(key, public_key);
	assert_int_equal(sign_domain(key, "a", bytes, 3, signature), 0);
	assert_int_equal(verify_domain(public_key, "a", bytes, 3, signature), 0);
	assert_int_equal(verify_domain(public_key, "b", bytes, 3, signature), -EBADMSG);
	assert_int_equal(verify_domain(public_key, "", bytes, 3, signature), -EBADMSG);
	/* The NUL between them: "a" ‖ "b\0c" is not "ab" ‖ "\0c". */
	assert_int_equal(verify_domain(public_key, "ab", bytes + 1, 2, signature), -EBADMSG);
	assert_int_equal(verify_domain(public_key, "a", bytes, 2, signature), -EBADMSG);
	assert_int_equal(sign_domain(key, "a", bytes, 0, signature), 0);
	assert_int_equal(verify_domain(public_key, "a", bytes, 0, signature), 0);
}

static void long_ones_are_refused(void **state)
{
	static const uint8_t bytes[8193];
	_cleanup_signing_key_ struct signing_key *key = key_of(0);
	uint8_t signature[SIGNATURE_SIZE], public_key[PUBLIC_KEY_SIZE];
	char domain[129];

	memset(domain, 'd', sizeof(domain) - 1);
	domain[sizeof(domain) - 1] = '\0';
	signing_key_public(key, public_key);
	assert_int_equal(sign_domain(key, "a", bytes, 8193, signature), -E2BIG);
	assert_int_equal(sign_domain(key, domain, bytes, 1, signature), -E2BIG);
	assert_int_equal(sign_domain(key, "a", bytes, 8192, signature), 0);
	assert_int_equal(verify_domain(public_key, "a", bytes, 8192, signature), 0);
	assert_int_equal(verify_domain(public_key, "a", bytes, 8193, signature), -EBADMSG);
}

static void seeds_differ(void **state)
{
	uint8_t a[IDENTITY_SEED_SIZE] = {0}, b[IDENTITY_SEED_SIZE] = {0};

	assert_int_equal(signing_key_generate(a), 0);
	assert_int_equal(signing_key_generate(b), 0);
	assert_false(bytes_equal(a, b, sizeof(a)));
	assert_null(signing_key_free(NULL));
}

/* FIPS 180-2, B.1: SHA-256 of "abc". */
static void hash_is_sha256(void **state)
{
	static const char abc[] =
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
	uint8_t expected[HASH_SIZE], hash[HASH_SIZE], public_key[PUBLIC_KEY_SIZE];

	from_hex(abc, expected, sizeof(expected));
	assert_int_equal(sha256("abc", 3, hash), 0);
	assert_memory_equal(hash, expected, sizeof(hash));

	from_hex(pairs[0].public_key, public_key, sizeof(public_key));
	assert_int_equal(sha256(public_key, sizeof(public_key), hash), 0);
	assert_true(signing_key_id(public_key) == get_be64(hash));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(public_keys_are_the_rfcs),
		cmocka_unit_test(signature_is_the_rfcs),
		cmocka_unit_test(every_changed_byte_is_seen),
		cmocka_unit_test(domains_are_apart),
		cmocka_unit_test(long_ones_are_refused),
		cmocka_unit_test(seeds_differ),
		cmocka_unit_test(hash_is_sha256),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
