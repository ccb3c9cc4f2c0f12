/* SPDX-License-Identifier: Apache-2.0 */
/* What step 3 makes of what it sees: a faked device mapper, files in place of /proc and /sys. */
#include "scratch.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "core/message.h"
#include "shred/look.h"
#include "shred_dm.h"

#define ALL	(SELF_TEST_KEYS_GONE | SELF_TEST_KEYRING | SELF_TEST_CRASH_KERNEL)
#define NAME	"emberlock-data-s0"
#define FOREIGN "0d8c3b41 I--Q---     1 perm 1f3f0000     0 65534 keyring   _uid_ses.0: 1\n"
#define OURS	"2a1b3c4d I--Q---     1 perm 3f010000     0     0 logon     emberlock:data: 64\n"

/* A thread cannot be taken back, so each test gets a new one. */
static struct look looks[16];
static unsigned n_looks;
static struct look *look;
static uint8_t key[64];
static const struct secret boot_key = {.bytes = key, .size = sizeof(key)};

static int directory_open(const struct scratch *scratch, const char *name)
{
	char path[128];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", scratch->path, name);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static int begin(void **state)
{
	unsigned slot;

	if (scratch_make(state) < 0)
		return -1;
	scratch_text(*state, "proc/keys", FOREIGN);
	scratch_text(*state, "sys/kernel/kexec_loaded", "0\n");
	scratch_text(*state, "sys/kernel/kexec_crash_loaded", "0\n");
	atomic_store(&dm_n_calls, 0);
	memset(key, 0, sizeof(key));
	assert_true(n_looks < 16);
	look = &looks[n_looks++];
	look->proc_fd = directory_open(*state, "proc");
	look->sys_fd = directory_open(*state, "sys");
	look->dm_fd = DM_FD;
	look->boot_key = &boot_key;
	assert_int_equal(shared_new(&look->shared), 0);
	assert_int_equal(shared_map_add(look->shared, NAME, "data", 0, 8, &slot), 0);
	shared_map_publish(look->shared, slot);
	assert_int_equal(dm_swap_to_error(DM_FD, &look->buffer, NAME, 8), 0);
	return 0;
}

static int end(void **state)
{
	close(look->proc_fd);
	close(look->sys_fd);
	return scratch_done(state);
}

/* The bits that failed; the others have passed. */
static uint32_t failed(void)
{
	int done_fd = eventfd(0, EFD_CLOEXEC);
	eventfd_t count;

	assert_int_equal(look_start(look, done_fd), 0);
	look_begin(look);
	assert_int_equal(eventfd_read(done_fd, &count), 0);
	assert_int_equal(look->passed | look->failed, ALL);
	assert_int_equal(look->passed & look->failed, 0);
	return look->failed;
}

static void nothing_is_left(void **state)
{
	assert_int_equal(failed(), 0);
}

static void a_map_with_a_key(void **state)
{
	atomic_store(&dm_n_calls, 0); /* none has the error target any more */
	assert_int_equal(failed(), SELF_TEST_KEYS_GONE);
}

static void a_map_that_cannot_be_asked(void **state)
{
	look->dm_fd = -1;
	assert_int_equal(failed(), SELF_TEST_KEYS_GONE);
}

static void a_map_that_is_not_there_any_more(void **state)
{
	unsigned slot;

	assert_int_equal(shared_map_add(look->shared, "absent", "data", 1, 8, &slot), 0);
	shared_map_publish(look->shared, slot);
	assert_int_equal(failed(), 0);
}

static void the_boot_key(void **state)
{
	key[63] = 1;
	assert_int_equal(failed(), SELF_TEST_KEYS_GONE);
}

static void a_key_in_a_keyring(void **state)
{
	scratch_text(*state, "proc/keys", FOREIGN OURS);
	assert_int_equal(failed(), SELF_TEST_KEYRING);
}

/* Wherever the pieces that are read of it end. */
static void a_key_behind_many_others(void **state)
{
	const size_t size = sizeof(look->text) - 1;
	char *text = calloc(1, 2 * size + sizeof(OURS));

	assert_non_null(text);
	memset(text, '.',
	       size - strlen("emberl") -
		       strlen("2a1b3c4d I--Q---     1 perm 3f010000 "
			      "    0     0 logon     "));
	strcat(text, OURS);
	scratch_text(*state, "proc/keys", text);
	free(text);
	assert_int_equal(failed(), SELF_TEST_KEYRING);
}

static void many_keys_and_none_is_ours(void **state)
{
	char *text = calloc(1, 200 * sizeof(FOREIGN));

	assert_non_null(text);
	for (unsigned i = 0; i < 200; i++)
		strcat(text, FOREIGN);
	scratch_text(*state, "proc/keys", text);
	free(text);
	assert_int_equal(failed(), 0);
}

static void another_kernel(void **state)
{
	scratch_text(*state, "sys/kernel/kexec_crash_loaded", "1\n");
	assert_int_equal(failed(), SELF_TEST_CRASH_KERNEL);
}

static void a_kernel_for_kexec(void **state)
{
	scratch_text(*state, "sys/kernel/kexec_loaded", "1\n");
	assert_int_equal(failed(), SELF_TEST_CRASH_KERNEL);
}

static void a_kernel_without_keyrings_and_kexec(void **state)
{
	static const char *const files[] = {"proc/keys", "sys/kernel/kexec_loaded",
					    "sys/kernel/kexec_crash_loaded"};
	char path[128];

	for (size_t i = 0; i < 3; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", ((struct scratch *)*state)->path,
			       files[i]);
		assert_int_equal(unlink(path), 0);
	}
	assert_int_equal(failed(), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_is_left),
		TEST(a_map_with_a_key),
		TEST(a_map_that_cannot_be_asked),
		TEST(a_map_that_is_not_there_any_more),
		TEST(the_boot_key),
		TEST(a_key_in_a_keyring),
		TEST(a_key_behind_many_others),
		TEST(many_keys_and_none_is_ours),
		TEST(another_kernel),
		TEST(a_kernel_for_kexec),
		TEST(a_kernel_without_keyrings_and_kexec),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
