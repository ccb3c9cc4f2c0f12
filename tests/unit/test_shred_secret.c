/* SPDX-License-Identifier: Apache-2.0 */
/* Secret memory: of both kinds, what is refused, and that a wipe is seen by all who map it. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "shred/secret.h"

/* In place of libc's: the kernel's answer to memfd_secret(2), or 0 for a plain memfd that stands
 * for one, since not every kernel has it. */
static int memfd_secret_error;

long syscall(long number, ...)
{
	assert_int_equal(number, 447);
	if (memfd_secret_error == 0)
		return memfd_create("secret", MFD_CLOEXEC);
	errno = memfd_secret_error;
	return -1;
}

static void done(struct secret *secret)
{
	munmap(secret->bytes, 4096);
	close(secret->fd);
}

static void is_random_and_of_its_size(void **state)
{
	struct secret a, b;

	memfd_secret_error = 0;
	assert_int_equal(secret_new(64, true, &a), 0);
	assert_int_equal(secret_new(64, false, &b), 0);
	assert_true(a.secret_memory && b.secret_memory);
	assert_int_equal(a.size, 64);
	assert_false(bytes_are_zero(a.bytes, 32) || bytes_are_zero(a.bytes + 32, 32));
	assert_memory_not_equal(a.bytes, b.bytes, 64);
	assert_true(bytes_are_zero(a.bytes + 64, 4096 - 64));
	done(&a);
	done(&b);
}

static void wipe_is_seen_by_all(void **state)
{
	struct secret secret;
	uint8_t *other;
	int status;
	pid_t pid;

	memfd_secret_error = 0;
	assert_int_equal(secret_new(64, false, &secret), 0);
	other = mmap(NULL, 4096, PROT_READ, MAP_SHARED, secret.fd, 0);
	assert_ptr_not_equal(other, MAP_FAILED);
	assert_memory_equal(other, secret.bytes, 64); /* the control: it was there */

	/* As the keeper's twin does. */
	pid = fork();
	if (pid == 0) {
		secret_wipe(&secret);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(bytes_are_zero(other, 4096));
	assert_true(bytes_are_zero(secret.bytes, 4096));
	munmap(other, 4096);
	done(&secret);
}

/* Bit 63 of the page's entry; proc(5). */
static bool is_present(const void *page)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (pread(fd, &entry, 8, (off_t)((uintptr_t)page / 4096 * 8)) != 8)
		_exit(2);
	close(fd);
	return entry >> 63 != 0;
}

static void fork_finds_it_there(void **state)
{
	struct secret secret;
	int status;
	pid_t pid;

	memfd_secret_error = 0;
	assert_int_equal(secret_new(64, false, &secret), 0);
	assert_true(is_present(secret.bytes));
	pid = fork();
	if (pid == 0) {
		if (is_present(secret.bytes)) /* the control: it is not by itself */
			_exit(3);
		secret_touch(&secret);
		_exit(is_present(secret.bytes) ? 0 : 4);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	done(&secret);
}

static void old_kernel_gets_sealed_locked_memory(void **state)
{
	struct secret secret;
	unsigned char resident = 0;

	memfd_secret_error = ENOSYS;
	assert_int_equal(secret_new(32, false, &secret), 0);
	assert_false(secret.secret_memory);
	assert_int_equal(ftruncate(secret.fd, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(secret.fd, 8192), -1);
	assert_int_equal(mincore(secret.bytes, 4096, &resident), 0);
	assert_int_equal(resident & 1, 1);
	assert_false(bytes_are_zero(secret.bytes, 32));
	done(&secret);
}

static void what_is_refused(void **state)
{
	struct secret secret = {.fd = -7};

	memfd_secret_error = ENOSYS;
	assert_int_equal(secret_new(32, true, &secret), -ENOSYS);
	memfd_secret_error = EPERM; /* a sandbox, not an old kernel */
	assert_int_equal(secret_new(32, false, &secret), -EPERM);
	assert_int_equal(secret.fd, -7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_random_and_of_its_size),
		cmocka_unit_test(wipe_is_seen_by_all),
		cmocka_unit_test(fork_finds_it_there),
		cmocka_unit_test(old_kernel_gets_sealed_locked_memory),
		cmocka_unit_test(what_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
