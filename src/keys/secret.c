/* SPDX-License-Identifier: Apache-2.0 */
/* A look at secret memory that the keeper holds. */
#include "keys/secret.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int secret_map(int fd, size_t size, struct secret *ret_secret)
{
	long page = sysconf(_SC_PAGESIZE);
	struct stat st;
	void *bytes;

	if (fstat(fd, &st) < 0)
		return -errno;
	/* A touch beyond the end of the file would be SIGBUS. */
	if (size == 0 || st.st_size < 0 || (uint64_t)st.st_size < size)
		return -ENODATA;

	bytes = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (bytes == MAP_FAILED)
		return -errno;
	if (madvise(bytes, size, MADV_DONTFORK) < 0) {
		int r = -errno;

		munmap(bytes, size);
		return r;
	}
	for (size_t i = 0; i < size; i += (size_t)page)
		(void)*(const volatile uint8_t *)((const uint8_t *)bytes + i);

	ret_secret->bytes = bytes;
	ret_secret->size = size;
	return 0;
}

void secret_unmap(struct secret *secret)
{
	if (secret->bytes)
		munmap((void *)(uintptr_t)secret->bytes, secret->size);
	secret->bytes = NULL;
	secret->size = 0;
}
