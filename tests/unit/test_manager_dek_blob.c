/* SPDX-License-Identifier: Apache-2.0 */
/* DEK blobs: what is sealed opens for the same KEK, workspace and context, and for no other; every
 * byte counts. */
#include "unit.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "keys/hkdf.h"
#include "manager/dek_blob.h"
#include "storage/emberlock-storage.h"

/* The client library links nothing of the manager: its sizes are written down a second time. */
_Static_assert(EMBERLOCK_DEK_SIZE == DEK_SIZE, "size of a DEK");
_Static_assert(EMBERLOCK_DEK_BLOB_MAX == DEK_BLOB_MAX, "size of a blob");
_Static_assert(EMBERLOCK_CONTEXT_MAX == DEK_CONTEXT_MAX, "length of a context");

static const uint8_t kek[KEK_SIZE] = "a kek that is known to the test";
static const char dek_text[DEK_SIZE] = "a dek that is known to the test";

struct sealed {
	struct kek_wrapped wrapped;
	uint8_t bytes[DEK_BLOB_MAX + 1];
	size_t n;
};

static struct sealed seal(size_t wrapped_size)
{
	struct sealed sealed = {.wrapped = {.id = "0123456789abcde", .version = 3, .use = "data"}};
	struct dek_scratch scratch;

	memset(sealed.wrapped.blob, 0x77, wrapped_size);
	sealed.wrapped.size = wrapped_size;
	memcpy(scratch.dek, dek_text, DEK_SIZE);
	assert_int_equal(dek_seal(&scratch, kek, &sealed.wrapped, "acme", "table=7", sealed.bytes,
				  &sealed.n),
			 0);
	assert_true(bytes_are_zero(scratch.derived, sizeof(scratch.derived)));
	return sealed;
}

static int open_blob(const uint8_t *bytes, size_t n, const uint8_t *with, const char *workspace,
		     const char *context)
{
	struct dek_scratch scratch;
	struct dek_blob blob;
	int r;

	assert_null(dek_blob_parse(bytes, n, &blob));
	r = dek_open(&scratch, with, &blob, workspace, context);
	if (r == 0)
		assert_memory_equal(scratch.dek, dek_text, DEK_SIZE);
	else
		assert_true(bytes_are_zero(&scratch, sizeof(scratch)));
	return r;
}

static void test_round_trip(void **state)
{
	static const size_t sizes[] = {1, 68, 700, KEK_WRAPPED_MAX};

	for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
		struct sealed sealed = seal(sizes[i]), again = seal(sizes[i]);
		struct dek_blob blob;

		assert_int_equal(sealed.n, 96 + sizes[i] + 32 + 16);
		assert_null(dek_blob_parse(sealed.bytes, sealed.n, &blob));
		assert_memory_equal(blob.kek.id, sealed.wrapped.id, KEK_ID_SIZE);
		assert_int_equal(blob.kek.version, 3);
		assert_string_equal(blob.kek.use, "data");
		assert_int_equal(blob.kek.size, sizes[i]);
		assert_memory_equal(blob.kek.blob, sealed.wrapped.blob, sizes[i]);
		assert_int_equal(open_blob(sealed.bytes, sealed.n, kek, "acme", "table=7"), 0);
		/* A salt of its own each time. */
		assert_memory_not_equal(sealed.bytes + 32, again.bytes + 32, DEK_SALT_SIZE);
		assert_memory_not_equal(sealed.bytes + sealed.n - 48, again.bytes + again.n - 48,
					48);
	}
}

/* The blob is what emberlock-protocol(7) says, by hand. */
static void test_form(void **state)
{
	struct sealed sealed = seal(5);
	const uint8_t *b = sealed.bytes;
	const struct hkdf_input input = {.key = kek,
					 .key_size = 32,
					 .salt = b + 32,
					 .salt_size = 32,
					 .info = (const uint8_t *)"emberlock v1 dek",
					 .info_size = 17};
	uint8_t derived[44], aad[101 + 6 + 9], plain[32];

	assert_memory_equal(b, "EMBDEK01", 8);
	assert_memory_equal(b + 8, "0123456789abcde", 16);
	assert_memory_equal(b + 24, "\0\0\0\3\0\5\0\0", 8);
	assert_string_equal((const char *)b + 64, "data");
	assert_memory_equal(b + 96, "wwwww", 5);
	assert_int_equal(hkdf(HKDF_SHA256, &input, derived, 44), 0);
	memcpy(aad, b, 101);
	memcpy(aad + 101, "\0\4acme", 6);
	memcpy(aad + 107, "\0\7table=7", 9);
	assert_int_equal(aead_open(derived, derived + 32, aad, sizeof(aad), b + 101, 32, plain), 0);
	assert_memory_equal(plain, dek_text, 32);
}

static void test_every_bit(void **state)
{
	struct sealed sealed = seal(68);

	for (size_t bit = 0; bit < 8 * sealed.n; bit++) {
		struct dek_blob blob;
		struct dek_scratch scratch;

		sealed.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (!dek_blob_parse(sealed.bytes, sealed.n, &blob))
			assert_int_equal(dek_open(&scratch, kek, &blob, "acme", "table=7"),
					 -EBADMSG);
		sealed.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(open_blob(sealed.bytes, sealed.n, kek, "acme", "table=7"), 0);
}

static void test_others(void **state)
{
	static const struct {
		const char *workspace, *context;
	} others[] = {
		{"acme", "table=8"},  {"acme", ""},	   {"acme", "table=77"},
		{"other", "table=7"}, {"acm", "etable=7"}, {"", "acmetable=7"},
	};
	struct sealed sealed = seal(68);
	uint8_t other[KEK_SIZE];

	for (size_t i = 0; i < ELEMENTSOF(others); i++)
		assert_int_equal(open_blob(sealed.bytes, sealed.n, kek, others[i].workspace,
					   others[i].context),
				 -EBADMSG);
	memcpy(other, kek, sizeof(other));
	other[31] ^= 1;
	assert_int_equal(open_blob(sealed.bytes, sealed.n, other, "acme", "table=7"), -EBADMSG);
}

/* Each length has a block of its own, so that AddressSanitizer sees a read behind it. */
static void test_lengths(void **state)
{
	struct sealed sealed = seal(68);
	struct dek_blob blob;

	for (size_t n = 0; n <= sealed.n + 1; n++) {
		uint8_t *cut = malloc(n > 0 ? n : 1);
		const char *why;

		assert_non_null(cut);
		memcpy(cut, sealed.bytes, n);
		why = dek_blob_parse(cut, n, &blob);
		free(cut);
		if (n == sealed.n)
			assert_null(why);
		else if (n < 8)
			assert_string_equal(why,
					    "it does not begin as a DEK blob of this version does");
		else
			assert_string_equal(why,
					    n < sealed.n ? "it is cut short" : "it is too long");
	}
}

static void test_headers(void **state)
{
	static const struct {
		size_t at;
		const char *bytes;
		size_t n;
	} table[] = {
		{24, "\0\0\0\0", 4},			      /* version 0 */
		{28, "\0\0", 2},			      /* no wrapped KEK */
		{28, "\x08\x01", 2},			      /* one byte above the most */
		{30, "\0\1", 2},			      /* not zero */
		{64, "\0", 1},				      /* no use */
		{64, ".data", 5},			      /* no name */
		{64, "da\0a", 4},			      /* more after its end */
		{64, "0123456789abcdef0123456789abcdef", 32}, /* no end */
	};

	for (size_t i = 0; i < ELEMENTSOF(table); i++) {
		struct sealed sealed = seal(68);
		struct dek_blob blob;

		memcpy(sealed.bytes + table[i].at, table[i].bytes, table[i].n);
		assert_string_equal(dek_blob_parse(sealed.bytes, sealed.n, &blob),
				    "its header is damaged");
	}
}

static void test_kek_id(void **state)
{
	struct kek_id_input input;
	uint8_t id[KEK_ID_SIZE], text[64] = "emberlock v1 kek", hash[32];
	unsigned n;

	memcpy(input.kek, kek, sizeof(kek));
	assert_int_equal(kek_id(&input, id), 0);
	memcpy(text + 32, kek, sizeof(kek));
	assert_int_equal(EVP_Digest(text, sizeof(text), hash, &n, EVP_sha256(), NULL), 1);
	assert_memory_equal(id, hash, KEK_ID_SIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_form),
		cmocka_unit_test(test_every_bit),  cmocka_unit_test(test_others),
		cmocka_unit_test(test_lengths),	   cmocka_unit_test(test_headers),
		cmocka_unit_test(test_kek_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
