/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes in locked memory behind a descriptor that can be handed on. */
#include "shred/secret.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447 /* the same on every architecture that has it */
#endif

static int open_secret_memory(size_t page, int *ret_fd)
{
	_cleanup_close_ int fd = -1;

	fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)page) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int open_plain_memory(size_t page, int *ret_fd)
{
	_cleanup_close_ int fd = -1;

	fd = memfd_create("emberlock", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)page) < 0)
		return -errno;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int fill_random(uint8_t *bytes, size_t size)
{
	ssize_t n;

	do
		n = getrandom(bytes, size, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	/* Up to 256 bytes come whole or not at all. */
	return (size_t)n == size ? 0 : -EIO;
}

int secret_new(size_t size, bool require_secret_memory, struct secret *ret_secret)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	_cleanup_close_ int fd = -1;
	bool secret_memory = true;
	uint8_t *bytes;
	int r;

	assert(size <= 256);
	r = open_secret_memory(page, &fd);
	if (r == -ENOSYS && !require_secret_memory) {
		secret_memory = false;
		r = open_plain_memory(page, &fd);
	}
	if (r < 0)
		return r;

	bytes = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (bytes == MAP_FAILED)
		return -errno;
	/* secret memory is locked by its nature, and mlock(2) leaves it alone */
	if (!secret_memory && mlock(bytes, page) < 0)
		r = -errno;
	if (r == 0)
		r = fill_random(bytes, size);
	if (r < 0) {
		munmap(bytes, page);
		return r;
	}
	*ret_secret = (struct secret){
		.fd = TAKE_FD(fd),
		.bytes = bytes,
		.size = size,
		.secret_memory = secret_memory,
	};
	return 0;
}

void secret_touch(const struct secret *secret)
{
	/* The last byte of the page: no byte of the secret passes through a register. */
	(void)*(volatile uint8_t *)(secret->bytes + sysconf(_SC_PAGESIZE) - 1);
}

void secret_wipe(struct secret *secret)
{
	bytes_wipe(secret->bytes, secret->size);
}
