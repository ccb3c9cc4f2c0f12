/* SPDX-License-Identifier: Apache-2.0 */
/* The audit log: the hashes that emberlock-audit(7) describes, its lines, its checkpoints, and that a
 * record is committed with what it records, or neither is. */
#include "scratch.h"

#include <errno.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "manager/audit.h"
#include "manager/audit_verify.h"
#include "manager/store_sql.h"

/* --- chain; the hashes were computed by Python's hashlib --- */

static const struct {
	const char *content, *content_hash, *hash;
} vectors[] = {
	{"{\"event\":\"a\"}", "ed04adee086d821bcb9811a89ff09309dcd5aa0dada986bf9ce541c3bc285da3",
	 "8bd9c12a77e742121038096c44010fc8601ead29b772ded8b04e87bbe893eab6"},
	{"{\"event\":\"b\"}", "bf463168a59e946827a9cb1e31fab86ab39abdc10707c93d2c5945551a60552e",
	 "9073e1bbcafa35fb2c54d66aa5a8abbb266502293af0ffe014e74e0d28a8a98c"},
};

static void assert_hash(const uint8_t hash[static HASH_SIZE], const char *expected)
{
	char hex[2 * HASH_SIZE + 1];

	hex_encode(hash, HASH_SIZE, hex);
	assert_string_equal(hex, expected);
}

static void test_vectors(void **state)
{
	uint8_t content_hash[HASH_SIZE];
	struct audit_head head = {0};

	for (size_t i = 0; i < ELEMENTSOF(vectors); i++) {
		assert_int_equal(audit_content_hash(vectors[i].content, strlen(vectors[i].content),
						    content_hash),
				 0);
		assert_hash(content_hash, vectors[i].content_hash);
		assert_int_equal(audit_head_add(&head, content_hash), 0);
		assert_int_equal(head.number, i + 1);
		assert_hash(head.hash, vectors[i].hash);
	}
}

/* --- lines --- */

#define ZERO	      "0000000000000000000000000000000000000000000000000000000000000000"
#define HASH	      "8bd9c12a77e742121038096c44010fc8601ead29b772ded8b04e87bbe893eab6"
#define CONTENT_HASH  "ed04adee086d821bcb9811a89ff09309dcd5aa0dada986bf9ce541c3bc285da3"
#define START(number) "{\"number\":" number ",\"previous\":\"" ZERO "\",\"hash\":\"" HASH "\","

static const char whole_line[] = START("1") "\"content\":{\"event\":\"a\"}}";
static const char bare_line[] = START("1") "\"content_hash\":\"" CONTENT_HASH "\"}";

static void test_lines(void **state)
{
	static const char *const lines[] = {whole_line, bare_line};
	char written[AUDIT_LINE_MAX];
	struct audit_record record;

	for (size_t i = 0; i < ELEMENTSOF(lines); i++) {
		struct audit_head head = {0};
		const char *why;
		size_t n;

		assert_int_equal(audit_line_read(lines[i], strlen(lines[i]), &record), 0);
		assert_int_equal(audit_head_follow(&head, &record, &why), 0);
		assert_hash(head.hash, HASH);
		n = audit_line_write(&record, written);
		assert_int_equal(n, strlen(lines[i]) + 1);
		assert_memory_equal(written, lines[i], n - 1);
		assert_int_equal(written[n - 1], '\n');
	}
}

static void test_other_lines(void **state)
{
	static const char *const lines[] = {
		"",
		"{}",
		START("0") "\"content\":{}}",
		START("01") "\"content\":{}}",
		START("-1") "\"content\":{}}",
		START("") "\"content\":{}}",
		START("18446744073709551616") "\"content\":{}}",
		START(" 1") "\"content\":{}}",
		START("1") "\"content\":1}",
		START("1") "\"content\":{}",
		START("1") "\"content\": {}}",
		START("1") "\"content\":{}}}x",
		START("1") "\"content_hash\":\"" CONTENT_HASH "\"}}",
		START("1") "\"content_hash\":\"ED04\"}",
		START("1") "\"extra\":{}}",
		"{\"number\":1,\"previous\":\"" ZERO "\",\"hash\":\"" HASH "\"}",
		" {\"number\":1,\"previous\":\"" ZERO "\",\"hash\":\"" HASH "\",\"content\":{}}",
		/* A second text of the same hash. */
		"{\"number\":1,\"previous\":\"" ZERO
		"\",\"hash\":\"8BD9C12A77E742121038096C44010FC8601EAD29B772DED8B04E87BBE893EAB6\","
		"\"content\":{}}",
	};
	struct audit_record record;

	for (size_t i = 0; i < ELEMENTSOF(lines); i++)
		assert_int_equal(audit_line_read(lines[i], strlen(lines[i]), &record), -EBADMSG);
	for (size_t n = 0; n < strlen(whole_line); n++)
		assert_int_equal(audit_line_read(whole_line, n, &record), -EBADMSG);
}

/* --- the verifier --- */

static void assert_not_verified(const char *text, const char *why)
{
	_cleanup_(audit_verifier_done) struct audit_verifier verifier = {0};
	char error[256] = "";
	int r = audit_verifier_text(&verifier, text, strlen(text), error);

	if (r == 0)
		r = audit_verifier_end(&verifier, error);
	assert_int_equal(r, -EBADMSG);
	if (!strstr(error, why))
		print_error("'%s', not '%s'\n", error, why);
	assert_non_null(strstr(error, why));
}

static void test_verifier_says_why(void **state)
{
	assert_not_verified("", "there is no record");
	assert_not_verified("x\n", "record 1: the line is not of the form");
	assert_not_verified(whole_line, "record 1: the line does not end");
	assert_not_verified(START("2") "\"content\":{\"event\":\"a\"}}\n", "does not follow");
	assert_not_verified(START("1") "\"content\":{\"event\":\"b\"}}\n", "not what was hashed");
	assert_not_verified(START("1") "\"content\":{\"event\":\"a\"}}\n" START(
				    "2") "\"content\":{\"event\":\"b\"}}\n",
			    "record 2: it does not follow the record before it");
}

static void sign_checkpoint(const struct signing_key *key, uint64_t number, const char *hash,
			    char hex[static 2 * AUDIT_CHECKPOINT_SIZE + 1])
{
	struct audit_checkpoint checkpoint = {.head.number = number, .made_at = 5}, got;
	uint8_t bytes[AUDIT_CHECKPOINT_SIZE], public_key[PUBLIC_KEY_SIZE];

	assert_int_equal(hex_decode(hash, 64, checkpoint.head.hash, HASH_SIZE), 0);
	assert_int_equal(audit_checkpoint_sign(key, &checkpoint, bytes), 0);
	assert_int_equal(audit_checkpoint_decode(bytes, sizeof(bytes), &got), 0);
	signing_key_public(key, public_key);
	assert_int_equal(audit_checkpoint_verify(&got, public_key), 0);
	hex_encode(bytes, sizeof(bytes), hex);
}

/* ROOT NULL: none is known. 0, or -EBADMSG with WHY in the error. */
static void assert_met(const char *hex, const uint8_t *root, const char *why)
{
	_cleanup_(audit_verifier_done) struct audit_verifier verifier = {0};
	char error[256] = "", text[sizeof(whole_line) + 1];
	int r;

	if (root) {
		verifier.have_root = true;
		memcpy(verifier.root_public, root, PUBLIC_KEY_SIZE);
	}
	snprintf(text, sizeof(text), "%s\n", whole_line);
	assert_int_equal(audit_verifier_add_checkpoint(&verifier, hex, strlen(hex)), 0);
	r = audit_verifier_text(&verifier, text, strlen(text), error);
	if (r == 0)
		r = audit_verifier_end(&verifier, error);
	assert_int_equal(r, why ? -EBADMSG : 0);
	if (why)
		assert_non_null(strstr(error, why));
	else
		assert_int_equal(verifier.proven, 1);
}

static void test_checkpoints(void **state)
{
	const uint8_t seed[IDENTITY_SEED_SIZE] = {7};
	char hex[2 * AUDIT_CHECKPOINT_SIZE + 1];
	uint8_t public_key[PUBLIC_KEY_SIZE];
	struct audit_verifier verifier = {0};
	struct signing_key *key;

	assert_int_equal(signing_key_new_from_seed(seed, &key), 0);
	signing_key_public(key, public_key);
	sign_checkpoint(key, 1, HASH, hex);
	assert_met(hex, NULL, NULL);
	assert_met(hex, public_key, "no signing key that the root key vouches for");
	sign_checkpoint(key, 1, ZERO, hex);
	assert_met(hex, NULL, "written anew");
	sign_checkpoint(key, 2, HASH, hex);
	assert_met(hex, NULL, "cut off");
	assert_int_equal(audit_verifier_add_checkpoint(&verifier, hex, strlen(hex) - 2), -EBADMSG);
	hex[0] = '0';
	assert_int_equal(audit_verifier_add_checkpoint(&verifier, hex, strlen(hex)), -EBADMSG);
	audit_verifier_done(&verifier);
	signing_key_free(key);
}

/* All that were kept count, in whatever order, the older ones too. */
static void test_many_checkpoints(void **state)
{
	const uint8_t seed[IDENTITY_SEED_SIZE] = {7};
	static char hex[3][2 * AUDIT_CHECKPOINT_SIZE + 1], text[1024];
	struct signing_key *key;
	char error[256] = "";

	snprintf(text, sizeof(text),
		 "%s\n{\"number\":2,\"previous\":\"%s\",\"hash\":\"%s\",\"content\":%s}\n",
		 whole_line, vectors[0].hash, vectors[1].hash, vectors[1].content);
	assert_int_equal(signing_key_new_from_seed(seed, &key), 0);
	sign_checkpoint(key, 2, vectors[1].hash, hex[0]);
	sign_checkpoint(key, 1, vectors[0].hash, hex[1]);
	sign_checkpoint(key, 1, ZERO, hex[2]);
	for (unsigned n = 2; n <= 3; n++) {
		_cleanup_(audit_verifier_done) struct audit_verifier verifier = {0};

		for (unsigned i = 0; i < n; i++)
			for (unsigned again = 0; again < 40; again++)
				assert_int_equal(audit_verifier_add_checkpoint(&verifier, hex[i],
									       strlen(hex[i])),
						 0);
		assert_int_equal(audit_verifier_text(&verifier, text, strlen(text), error),
				 n == 2 ? 0 : -EBADMSG);
		assert_int_equal(verifier.proven, n == 2 ? 2 : verifier.proven);
	}
	assert_non_null(strstr(error, "record 1: the checkpoint"));
	signing_key_free(key);
}

/* The next record of CHAIN: a set of N keys, the last one KEY's, at TEXT; returns what comes after. */
static char *put_set(char *text, struct audit_head *chain, const struct signing_key *root,
		     uint32_t n, const struct signing_key *key)
{
	struct signing_keys set = {.epoch = chain->number + 1, .n_keys = n};
	char hex[2 * SIGNING_KEYS_SIZE + 1], content[2 * SIGNING_KEYS_SIZE + 64];
	struct audit_record record = {.number = chain->number + 1, .content = content};
	uint8_t bytes[SIGNING_KEYS_SIZE], content_hash[HASH_SIZE];

	for (uint32_t i = 0; i < n; i++)
		signing_key_public(i + 1 < n ? root : key, set.keys[i]);
	/* No key twice in a set. */
	for (uint32_t i = 0; i + 1 < n; i++)
		set.keys[i][0] = (uint8_t)i;
	assert_int_equal(signing_keys_sign(root, &set, bytes), 0);
	hex_encode(bytes, sizeof(bytes), hex);
	record.content_size = (size_t)snprintf(content, sizeof(content),
					       "{\"" AUDIT_SIGNING_KEYS "\":\"%s\"}", hex);
	memcpy(record.previous, chain->hash, HASH_SIZE);
	assert_int_equal(audit_content_hash(content, record.content_size, content_hash), 0);
	assert_int_equal(audit_head_add(chain, content_hash), 0);
	memcpy(record.hash, chain->hash, HASH_SIZE);
	return text + audit_line_write(&record, text);
}

/* However often sets were installed, the key of the newest one is known. */
static void test_many_sets_of_keys(void **state)
{
	const uint8_t root_seed[IDENTITY_SEED_SIZE] = {1}, seed[IDENTITY_SEED_SIZE] = {7};
	static char text[64 * AUDIT_LINE_MAX];
	_cleanup_(audit_verifier_done) struct audit_verifier verifier = {.have_root = true};
	char hex[2 * AUDIT_CHECKPOINT_SIZE + 1], hash[2 * HASH_SIZE + 1], error[256] = "";
	struct audit_head chain = {0};
	struct signing_key *root, *key;
	char *at = text;

	assert_int_equal(signing_key_new_from_seed(root_seed, &root), 0);
	assert_int_equal(signing_key_new_from_seed(seed, &key), 0);
	signing_key_public(root, verifier.root_public);
	for (size_t i = 0; i <= AUDIT_KEYS_MAX / SIGNING_KEYS_MAX; i++)
		at = put_set(at, &chain, root, SIGNING_KEYS_MAX, root);
	at = put_set(at, &chain, root, SIGNING_KEYS_MAX, key);
	hex_encode(chain.hash, HASH_SIZE, hash);
	sign_checkpoint(key, chain.number, hash, hex);
	assert_int_equal(audit_verifier_add_checkpoint(&verifier, hex, strlen(hex)), 0);
	assert_int_equal(audit_verifier_text(&verifier, text, (size_t)(at - text), error), 0);
	assert_int_equal(audit_verifier_end(&verifier, error), 0);
	assert_int_equal(verifier.proven, chain.number);
	signing_key_free(root);
	signing_key_free(key);
}

/* --- in the store --- */

static struct store *open_store(void **state)
{
	const struct scratch *scratch = *state;
	struct store *store;
	char path[128];

	snprintf(path, sizeof(path), "%s/manager.db", scratch->path);
	assert_int_equal(store_open(path, &store), 0);
	return store;
}

static uint64_t number_of(struct store *store)
{
	struct audit_head head;

	assert_int_equal(store_audit_head(store, &head), 0);
	return head.number;
}

static void note(struct store *store, struct audit_about about, const char *event)
{
	audit_add(store, about, event, json_pack("{s:s}", "note", event));
}

static void test_with_what_it_records(void **state)
{
	struct store *store = open_store(state);
	struct store_workspace workspace;
	int64_t id;

	/* Undone with it: the whole turn, a handler's part of it. */
	assert_int_equal(number_of(store), 1);
	assert_int_equal(store_workspace_insert(store, "w", &id), 0);
	note(store, (struct audit_about){.workspace = id}, "made");
	assert_int_equal(number_of(store), 2);
	store_rollback(store);
	assert_int_equal(number_of(store), 1);
	assert_int_equal(store_savepoint(store), 0);
	note(store, (struct audit_about){0}, "undone");
	assert_int_equal(store_settle(store, -EINVAL), -EINVAL);
	note(store, (struct audit_about){0}, "kept");
	assert_int_equal(store_commit(store), 0);
	assert_int_equal(number_of(store), 2);
	/* What cannot be put on record does not happen. */
	assert_int_equal(store_workspace_insert(store, "x", &id), 0);
	audit_add(store, (struct audit_about){0}, "lost", NULL);
	assert_int_equal(store_commit(store), -EIO);
	assert_int_equal(store_workspace_get(store, "x", &workspace), -ENOENT);
	assert_int_equal(store_commit(store), 0);
	/* The next turn is a new one. */
	assert_int_equal(store_workspace_insert(store, "y", &id), 0);
	note(store, (struct audit_about){0}, "after");
	assert_int_equal(store_commit(store), 0);
	assert_int_equal(store_workspace_get(store, "y", &workspace), 0);
	assert_int_equal(number_of(store), 3);
	store_free(store);
	store = open_store(state);
	assert_int_equal(number_of(store), 4);
	store_free(store);
}

static void test_spoilt_without_a_write(void **state)
{
	struct store *store = open_store(state);

	store_spoil(store);
	assert_int_equal(store_commit(store), -EIO);
	assert_int_equal(store_commit(store), 0);
	store_free(store);
}

static void test_append_only(void **state)
{
	static const char *const statements[] = {
		"DELETE FROM audit",
		"DELETE FROM audit WHERE number = 2",
		"UPDATE audit SET content = '{}' WHERE number = 1",
		"UPDATE audit SET workspace = 9",
		"INSERT OR REPLACE INTO audit VALUES (2, 0, 0, '{}', x'00')",
		"INSERT INTO audit VALUES (4, 0, 0, '{}', x'00')",
	};
	struct store *store = open_store(state);

	note(store, (struct audit_about){0}, "kept");
	assert_int_equal(store_commit(store), 0);
	for (size_t i = 0; i < ELEMENTSOF(statements); i++) {
		assert_int_not_equal(sqlite3_exec(store->db, statements[i], NULL, NULL, NULL),
				     SQLITE_OK);
		assert_int_equal(number_of(store), 2);
	}
	store_free(store);
}

/* --- who may read what --- */

struct reader {
	unsigned seen; /* a bit a record */
	struct audit_head head;
};

static int look(const struct audit_record *record, void *userdata)
{
	struct reader *reader = userdata;
	const char *why;

	if (record->content)
		reader->seen |= 1u << record->number;
	return audit_head_follow(&reader->head, record, &why);
}

static unsigned seen_by(struct store *store, const struct store_workspace *workspace)
{
	struct reader reader = {0};

	assert_int_equal(store_audit(store, 1, 100, workspace, look, &reader), 0);
	assert_int_equal(reader.head.number, number_of(store));
	return reader.seen;
}

static void test_readers(void **state)
{
	const struct store_workspace one = {.id = 1, .key = 5}, two = {.id = 2, .key = 6},
				     unbound = {.id = 3};
	struct store *store = open_store(state);
	struct reader reader = {0};

	note(store, (struct audit_about){0}, "nobody's");			    /* 2 */
	note(store, (struct audit_about){.workspace = 1}, "one's");		    /* 3 */
	note(store, (struct audit_about){.workspace = 2}, "two's");		    /* 4 */
	note(store, (struct audit_about){.key = 5}, "its key's");		    /* 5 */
	note(store, (struct audit_about){.workspace = 2, .key = 5}, "two's again"); /* 6 */
	note(store, (struct audit_about){.workspace = AUDIT_PUBLIC}, "all's");	    /* 7 */
	assert_int_equal(seen_by(store, NULL), 0xfe);
	assert_int_equal(seen_by(store, &one), 1 << 3 | 1 << 5 | 1 << 7);
	assert_int_equal(seen_by(store, &two), 1 << 4 | 1 << 6 | 1 << 7);
	assert_int_equal(seen_by(store, &unbound), 1 << 7);
	/* A part: it goes on from the head that was reached. */
	assert_int_equal(store_audit(store, 1, 3, NULL, look, &reader), 0);
	assert_int_equal(reader.head.number, 3);
	assert_int_equal(store_audit(store, 4, 100, NULL, look, &reader), 0);
	assert_int_equal(reader.head.number, 7);
	store_free(store);
}

/* Two records of the same have not the same hash: it cannot be guessed. */
static int take_hash(const struct audit_record *record, void *userdata)
{
	uint8_t(*hashes)[HASH_SIZE] = userdata;

	memcpy(hashes[record->number], record->content_hash, HASH_SIZE);
	return 0;
}

static void test_salt(void **state)
{
	const struct store_workspace other = {.id = 9};
	struct store *store = open_store(state);
	uint8_t hashes[4][HASH_SIZE];

	note(store, (struct audit_about){0}, "same");
	note(store, (struct audit_about){0}, "same");
	assert_int_equal(store_audit(store, 2, 2, &other, take_hash, hashes), 0);
	assert_memory_not_equal(hashes[2], hashes[3], HASH_SIZE);
	store_free(store);
}

static void test_text(void **state)
{
	json_t *text = audit_text("a\x1b[31m\xff\nb");

	assert_string_equal(json_string_value(text), "a?[31m??b");
	json_decref(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_other_lines),
		cmocka_unit_test(test_verifier_says_why),
		cmocka_unit_test(test_checkpoints),
		cmocka_unit_test(test_many_checkpoints),
		cmocka_unit_test(test_many_sets_of_keys),
		cmocka_unit_test_setup_teardown(test_with_what_it_records, scratch_make,
						scratch_done),
		cmocka_unit_test_setup_teardown(test_spoilt_without_a_write, scratch_make,
						scratch_done),
		cmocka_unit_test_setup_teardown(test_append_only, scratch_make, scratch_done),
		cmocka_unit_test_setup_teardown(test_readers, scratch_make, scratch_done),
		cmocka_unit_test_setup_teardown(test_salt, scratch_make, scratch_done),
		cmocka_unit_test(test_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
