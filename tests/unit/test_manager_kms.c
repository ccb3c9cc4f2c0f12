/* SPDX-License-Identifier: Apache-2.0 */
/* The file provider and its classification, the envelope over it, the pool, locked memory. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keys/bind.h"
#include "manager/envelope.h"
#include "manager/kms/file/keyfile.h"
#include "manager/kms/kms.h"

static char top[] = "/tmp/emberlock-kms-XXXXXX";
static struct kms_key key;
static uint8_t *plain;

static int make(void **state)
{
	void *memory;

	if (!mkdtemp(top) || locked_new(KMS_PLAIN_MAX, &memory) < 0)
		return -1;
	plain = memory;
	return 0;
}

static int clean(void **state)
{
	locked_free(plain, KMS_PLAIN_MAX);
	return rmdir(top);
}

static int make_key(void **state)
{
	key = (struct kms_key){.provider = "file", .key_id = "k", .proven = true};
	snprintf(key.directory, sizeof(key.directory), "%s/keys", top);
	return keyfile_create(key.directory, key.key_id);
}

static int drop_key(void **state)
{
	char text[512];

	snprintf(text, sizeof(text), "%s/keys/k.json", top);
	unlink(text);
	snprintf(text, sizeof(text), "%s/keys", top);
	rmdir(text);
	return 0;
}

static const struct kms_context context = {2, {{"purpose", "test"}, {"workspace", "w"}}};

static void wrap(const char *text, uint8_t *blob, size_t *n)
{
	struct kms_outcome outcome;

	kms_file.wrap(&key, &context, (const uint8_t *)text, strlen(text), blob, n, &outcome);
	assert_int_equal(outcome.class, KMS_OK);
}

static enum kms_class unwrap(const struct kms_context *with, const uint8_t *blob, size_t n)
{
	struct kms_outcome outcome;
	size_t got = 0;

	kms_file.unwrap(&key, with, blob, n, plain, &got, &outcome);
	return outcome.class;
}

static void test_round_trip(void **state)
{
	uint8_t blob[KMS_BLOB_MAX], again[KMS_BLOB_MAX];
	struct kms_outcome outcome;
	size_t n, m, got;

	wrap("sesame", blob, &n);
	wrap("sesame", again, &m);
	assert_int_equal(n, 8 + 12 + 6 + 16);
	assert_memory_not_equal(blob, again, n);
	kms_file.unwrap(&key, &context, blob, n, plain, &got, &outcome);
	assert_int_equal(outcome.class, KMS_OK);
	assert_int_equal(got, 6);
	assert_memory_equal(plain, "sesame", 6);
}

static void test_largest(void **state)
{
	static uint8_t big[KMS_PLAIN_MAX + 1];
	uint8_t blob[KMS_BLOB_MAX];
	struct kms_outcome outcome;
	size_t n;

	kms_file.wrap(&key, &context, big, KMS_PLAIN_MAX, blob, &n, &outcome);
	assert_int_equal(outcome.class, KMS_OK);
	assert_int_equal(unwrap(&context, blob, n), KMS_OK);
	kms_file.wrap(&key, &context, big, KMS_PLAIN_MAX + 1, blob, &n, &outcome);
	assert_int_equal(outcome.class, KMS_MISCONFIGURED);
}

static void test_corrupt(void **state)
{
	static const struct kms_context others[] = {
		{2, {{"purpose", "test"}, {"workspace", "v"}}},
		{2, {{"workspace", "w"}, {"purpose", "test"}}},
		{1, {{"purpose", "test"}}},
		{2, {{"purpose", "tes"}, {"tworkspace", "w"}}},
	};
	uint8_t blob[KMS_BLOB_MAX];
	size_t n;

	wrap("sesame", blob, &n);
	for (size_t i = 0; i < n; i++) {
		blob[i] ^= 1;
		assert_int_equal(unwrap(&context, blob, n), KMS_CORRUPT);
		blob[i] ^= 1;
	}
	for (size_t i = 0; i < n; i++)
		assert_int_equal(unwrap(&context, blob, i), KMS_CORRUPT);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_int_equal(unwrap(&others[i], blob, n), KMS_CORRUPT);
	/* Nothing of a rejected plaintext stays. */
	for (size_t i = 0; i < KMS_PLAIN_MAX; i++)
		assert_int_equal(plain[i], 0);
	assert_int_equal(unwrap(&context, blob, n), KMS_OK);
}

static void assert_class(enum kms_class expected)
{
	static const uint8_t bytes[] = "x";
	uint8_t blob[KMS_BLOB_MAX] = {0};
	struct kms_outcome outcome;
	size_t n;

	kms_file.describe(&key, NULL, 0, &outcome);
	assert_int_equal(outcome.class, expected);
	kms_file.wrap(&key, &context, bytes, 1, blob, &n, &outcome);
	assert_int_equal(outcome.class, expected);
	assert_int_equal(unwrap(&context, blob, 60), expected);
	assert_string_not_equal(outcome.code, "");
}

/* Every cell: PROVEN is what it means after a first success, FIRST before it. */
static void assert_classes(enum kms_class proven, enum kms_class first)
{
	key.proven = true;
	assert_class(proven);
	key.proven = false;
	assert_class(first);
	key.proven = true;
}

static void test_states(void **state)
{
	assert_int_equal(keyfile_set_state(key.directory, "k", KEYFILE_DISABLED), 0);
	assert_classes(KMS_REVOKED_STATE, KMS_MISCONFIGURED);
	assert_int_equal(keyfile_set_state(key.directory, "k", KEYFILE_PENDING_DELETION), 0);
	assert_classes(KMS_REVOKED_STATE, KMS_MISCONFIGURED);
	assert_int_equal(keyfile_delete(key.directory, "k"), 0);
	assert_classes(KMS_REVOKED_STATE, KMS_MISCONFIGURED);
	/* The directory is not there: not mounted, rather than revoked. */
	assert_int_equal(rmdir(key.directory), 0);
	assert_classes(KMS_UNAVAILABLE, KMS_MISCONFIGURED);
}

static void test_unreadable(void **state)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/k.json", key.directory);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs("{\"key\":\"00\"}", file);
	fclose(file);
	assert_classes(KMS_UNAVAILABLE, KMS_MISCONFIGURED);
	/* Root reads it anyway; somebody else is refused. */
	assert_int_equal(chmod(key.directory, 0), 0);
	if (access(path, R_OK) < 0)
		assert_classes(KMS_REVOKED_ACCESS, KMS_MISCONFIGURED);
	assert_int_equal(chmod(key.directory, 0700), 0);
}

/* Root creates and switches keys in a directory of the manager's user, who must go on reading them. */
static void test_owner(void **state)
{
	struct stat st;
	char text[512];

	if (geteuid() != 0)
		skip();
	snprintf(text, sizeof(text), "%s/k.json", key.directory);
	assert_int_equal(keyfile_delete(key.directory, key.key_id), 0);
	assert_int_equal(chown(key.directory, 65534, 65533), 0);
	assert_int_equal(keyfile_create(key.directory, key.key_id), 0);
	assert_int_equal(stat(text, &st), 0);
	assert_int_equal(st.st_uid, 65534);
	assert_int_equal(st.st_gid, 65533);
	assert_int_equal(keyfile_set_state(key.directory, key.key_id, KEYFILE_DISABLED), 0);
	assert_int_equal(stat(text, &st), 0);
	assert_int_equal(st.st_uid, 65534);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void test_envelope(void **state)
{
	struct envelope_kek kek, again, other;
	uint8_t blob[KMS_BLOB_MAX];
	uint8_t boot_key[BOOT_KEY_SIZE] = {1}, boot_id[BOOT_ID_SIZE] = {2}, bind_key[BIND_KEY_SIZE];
	uint8_t admission[HASH_SIZE] = {3}, opened[BIND_SHARE_SIZE], unwrapped[KMS_PLAIN_MAX];
	const struct kms_context of_boot = {
		.n = 3, .pairs = {{"workspace", "w"}, {"vm", "v"}, {"boot", "00"}}};
	struct envelope_boot boot = {
		.workspace = "w", .vm = "v", .boot = "00", .admission = admission};
	struct envelope_requests requests = {0};
	struct kms_outcome outcome;
	struct bind_share share;
	size_t n, n_unwrapped;

	envelope_make(&key, "w", NULL, NULL, &kek, &outcome);
	assert_int_equal(outcome.class, KMS_OK);
	envelope_unwrap(&key, "w", &kek, &outcome);
	assert_int_equal(outcome.class, KMS_OK);
	/* Neither another workspace's context nor another's KEK. */
	envelope_unwrap(&key, "v", &kek, &outcome);
	assert_int_equal(outcome.class, KMS_CORRUPT);
	envelope_make(&key, "w", NULL, NULL, &other, &outcome);
	assert_memory_not_equal(kek.check, other.check, HASH_SIZE);
	memcpy(other.check, kek.check, HASH_SIZE);
	envelope_unwrap(&key, "w", &other, &outcome);
	assert_int_equal(outcome.class, KMS_CORRUPT);
	/* Wrapped anew: the same KEK in another blob. */
	envelope_make(&key, "w", &key, &kek, &again, &outcome);
	assert_int_equal(outcome.class, KMS_OK);
	assert_memory_equal(kek.check, again.check, HASH_SIZE);
	assert_memory_not_equal(kek.blob, again.blob, kek.size);
	envelope_pair(&key, &boot, blob, &n, &requests, NULL, &outcome);
	assert_int_equal(outcome.class, KMS_OK);
	/* A share is what the CMK encrypted, and the boot alone opens it. */
	assert_int_equal(bind_public(boot_key, boot_id, bind_key), 0);
	boot.bind_key = bind_key;
	envelope_pair(&key, &boot, blob, &n, &requests, &share, &outcome);
	assert_int_equal(outcome.class, KMS_OK);
	kms_provider_find(key.provider)
		->unwrap(&key, &of_boot, blob, n, unwrapped, &n_unwrapped, &outcome);
	assert_int_equal(outcome.class, KMS_OK);
	assert_int_equal(n_unwrapped, BIND_SHARE_SIZE);
	assert_int_equal(bind_open(boot_key, boot_id, &share, opened), 0);
	assert_memory_equal(opened, unwrapped, BIND_SHARE_SIZE);
	boot_id[0]++;
	assert_int_equal(bind_open(boot_key, boot_id, &share, opened), -EBADMSG);
	envelope_prove(&key, "main", &outcome);
	assert_int_equal(outcome.class, KMS_OK);
	assert_int_equal(keyfile_set_state(key.directory, "k", KEYFILE_DISABLED), 0);
	envelope_unwrap(&key, "w", &kek, &outcome);
	assert_int_equal(outcome.class, KMS_REVOKED_STATE);
	envelope_pair(&key, &boot, blob, &n, &requests, NULL, &outcome);
	assert_int_equal(outcome.class, KMS_REVOKED_STATE);
	envelope_make(&key, "w", &key, &kek, &again, &outcome);
	assert_int_equal(outcome.class, KMS_REVOKED_STATE);
}

static void test_locked(void **state)
{
	uint8_t *memory;
	void *got;
	FILE *status;
	char line[128];
	unsigned long before = 0, after = 0;

	for (int round = 0; round < 2; round++) {
		status = fopen("/proc/self/status", "r");
		assert_non_null(status);
		while (fgets(line, sizeof(line), status))
			sscanf(line, "VmLck: %lu", round ? &after : &before);
		fclose(status);
		if (round == 0)
			assert_int_equal(locked_new(8192, &got), 0);
	}
	memory = got;
	assert_true(after >= before + 8);
	memory[8191] = 1;
	assert_null(locked_free(memory, 8192));
	assert_null(locked_free(NULL, 1));
}

/* --- the pool --- */

struct test_job {
	struct kms_job job;
	int *order, *n, *freed;
	int id;
};

static void job_run(struct kms_job *job)
{
	usleep(1000);
}

static void job_done(struct kms_job *base)
{
	struct test_job *job = (struct test_job *)base;

	job->order[(*job->n)++] = job->id;
}

static void job_free(struct kms_job *base)
{
	++*((struct test_job *)base)->freed;
	free(base);
}

static void test_pool(void **state)
{
	int order[64], n = 0, freed = 0;
	struct kms_pool *pool;
	sd_event *event;

	assert_true(sd_event_new(&event) >= 0);
	assert_int_equal(kms_pool_new(event, 2, &pool), 0);
	for (int i = 0; i < 40; i++) {
		struct test_job *job = calloc(1, sizeof(*job));

		job->job = (struct kms_job){job_run, job_done, job_free, i >= 20, NULL};
		job->order = order;
		job->n = &n;
		job->freed = &freed;
		job->id = i;
		assert_int_equal(kms_pool_submit(pool, &job->job), 0);
	}
	while (n < 40)
		assert_true(sd_event_run(event, 5000000) > 0);
	assert_int_equal(freed, 40);
	/* Probes overtake: the last of them ends before the last of the others. */
	assert_in_range(order[39], 0, 19);
	kms_pool_free(pool);
	sd_event_unref(event);
}

static void test_pool_is_bounded(void **state)
{
	int order[64], n = 0, freed = 0, refused = 0;
	struct kms_pool *pool;
	sd_event *event;

	assert_true(sd_event_new(&event) >= 0);
	assert_int_equal(kms_pool_new(event, 2, &pool), 0);
	for (int i = 0; i < 1100; i++) {
		struct test_job *job = calloc(1, sizeof(*job));

		job->job = (struct kms_job){job_run, job_done, job_free, false, NULL};
		job->order = order;
		job->n = &n;
		job->freed = &freed;
		if (kms_pool_submit(pool, &job->job) == -EAGAIN) {
			refused++;
			free(job);
		}
	}
	assert_true(refused > 0);
	/* Ends without running what waits, and frees all of it. */
	kms_pool_free(pool);
	assert_int_equal(freed, 1100 - refused);
	assert_int_equal(n, 0);
	sd_event_unref(event);
}

int main(void)
{
#define KEY_TEST(f) cmocka_unit_test_setup_teardown(f, make_key, drop_key)
	const struct CMUnitTest tests[] = {
		KEY_TEST(test_round_trip),   KEY_TEST(test_largest),
		KEY_TEST(test_corrupt),	     KEY_TEST(test_states),
		KEY_TEST(test_owner),	     KEY_TEST(test_unreadable),
		KEY_TEST(test_envelope),     cmocka_unit_test(test_locked),
		cmocka_unit_test(test_pool), cmocka_unit_test(test_pool_is_bounded),
	};

	return cmocka_run_group_tests(tests, make, clean);
}
