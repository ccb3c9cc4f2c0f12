/* SPDX-License-Identifier: Apache-2.0 */
/* Mapping secret memory, the way of a key through a keyring, and the scrubbing of registers. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "keys/hygiene.h"
#include "keys/keyring.h"
#include "keys/secret.h"

static int secret_fd(const char *text, size_t size)
{
	int fd = memfd_create("secret", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	assert_int_equal(pwrite(fd, text, strlen(text), 0), strlen(text));
	return fd;
}

static void maps_what_the_keeper_holds(void **state)
{
	int fd = secret_fd("abc", 64);
	_cleanup_secret_ struct secret secret = {.bytes = NULL};

	assert_int_equal(secret_map(fd, 64, &secret), 0);
	assert_memory_equal(secret.bytes, "abc", 4);
	/* Shared: what the keeper erases is erased here. */
	assert_int_equal(pwrite(fd, "xyz", 3, 0), 3);
	assert_memory_equal(secret.bytes, "xyz", 4);
	assert_int_equal(close(fd), 0);
	assert_memory_equal(secret.bytes, "xyz", 4);
	secret_unmap(&secret);
	assert_null(secret.bytes);
	secret_unmap(&secret);
}

static void short_files_are_refused(void **state)
{
	int fd = secret_fd("abc", 63);
	struct secret secret = {.bytes = NULL};

	assert_int_equal(secret_map(fd, 64, &secret), -ENODATA);
	assert_int_equal(secret_map(fd, 0, &secret), -ENODATA);
	assert_int_equal(secret_map(-1, 64, &secret), -EBADF);
	assert_null(secret.bytes);
	assert_int_equal(close(fd), 0);
}

static void children_do_not_have_it(void **state)
{
	int fd = secret_fd("abc", 64), status;
	_cleanup_secret_ struct secret secret = {.bytes = NULL};
	pid_t pid;

	assert_int_equal(secret_map(fd, 64, &secret), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		static const struct rlimit none = {0, 0};

		(void)setrlimit(RLIMIT_CORE, &none);
		(void)signal(SIGSEGV, SIG_DFL);
		_exit(*(const volatile uint8_t *)secret.bytes);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	assert_int_equal(close(fd), 0);
}

static long key_search(const char *description)
{
	return syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_THREAD_KEYRING, "logon", description, 0);
}

static void key_comes_and_goes(void **state)
{
	uint8_t payload[64], back[64];
	int32_t serial;
	int r;

	memset(payload, 0x5a, sizeof(payload));
	r = keyring_add("a-test", payload, sizeof(payload), &serial);
	if (r == -ENOSYS || r == -EPERM) {
		print_message("no keyrings in this container\n");
		skip();
	}
	assert_int_equal(r, 0);
	assert_int_equal(key_search("emberlock:a-test"), serial);
	/* No program reads a logon key back. */
	assert_int_equal(syscall(SYS_keyctl, KEYCTL_READ, serial, back, sizeof(back)), -1);
	assert_int_equal(errno, EOPNOTSUPP);
	assert_int_equal(keyring_remove(serial), 0);
	assert_int_equal(key_search("emberlock:a-test"), -1);
	assert_true(keyring_remove(serial) < 0);
}

static void long_descriptions_are_refused(void **state)
{
	char name[KEYRING_DESCRIPTION];
	int32_t serial = 0;

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(keyring_add(name, (const uint8_t *)"x", 1, &serial), -ENAMETOOLONG);
	assert_int_equal(serial, 0);
}

/* What a register holds after the scrub is the junk, not what was there. */
static void registers_are_overwritten(void **state)
{
	static const uint8_t secret[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
	uint8_t first[16], last[16];

#if defined(__x86_64__)
	__asm__ volatile("movdqu (%0), %%xmm0\n\tmovdqu (%0), %%xmm15"
			 :
			 : "r"(secret)
			 : "xmm0", "xmm15");
	registers_scrub();
	__asm__ volatile("movdqu %%xmm0, (%0)\n\tmovdqu %%xmm15, (%1)"
			 :
			 : "r"(first), "r"(last)
			 : "memory");
#else
	__asm__ volatile("ldr q0, [%0]\n\tldr q31, [%0]" : : "r"(secret) : "v0", "v31");
	registers_scrub();
	__asm__ volatile("str q0, [%0]\n\tstr q31, [%1]" : : "r"(first), "r"(last) : "memory");
#endif
	assert_memory_not_equal(first, secret, sizeof(secret));
	assert_memory_not_equal(last, secret, sizeof(secret));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(maps_what_the_keeper_holds),
		cmocka_unit_test(short_files_are_refused),
		cmocka_unit_test(children_do_not_have_it),
		cmocka_unit_test(key_comes_and_goes),
		cmocka_unit_test(long_descriptions_are_refused),
		cmocka_unit_test(registers_are_overwritten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
