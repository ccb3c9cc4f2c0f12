/* SPDX-License-Identifier: Apache-2.0 */
/* Head and tail of a fresh map. */
#include "disks/ends.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "core/limits.h"

#define END_SIZE ((size_t)1 << 20)

static int zero_range(int fd, const void *zeros, uint64_t offset, size_t size)
{
	while (size > 0) {
		ssize_t n = pwrite(fd, zeros, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

int ends_zero(const char *node, uint64_t length_sectors)
{
	uint64_t length = length_sectors * SECTOR_SIZE;
	size_t size = length < END_SIZE ? (size_t)length : END_SIZE;
	_cleanup_close_ int fd = -1;
	void *zeros;
	int r;

	fd = open(node, O_WRONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* Aligned for O_DIRECT; read-only, so all of it is the one zero page. */
	zeros = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (zeros == MAP_FAILED)
		return -errno;
	r = zero_range(fd, zeros, 0, size);
	if (r == 0)
		r = zero_range(fd, zeros, length - size, size);
	munmap(zeros, size);
	return r;
}
