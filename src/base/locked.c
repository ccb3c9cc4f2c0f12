/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for unwrapped keys: locked, out of core dumps, wiped when it goes. */
#include "base/locked.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"

static size_t whole_pages(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (size + page - 1) / page * page;
}

int locked_new(size_t size, void **ret_memory)
{
	size_t n = whole_pages(size);
	void *memory = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int r;

	if (memory == MAP_FAILED)
		return -errno;
	/* mlock2 without flags is mlock, which AddressSanitizer would make a no-op. */
	if (mlock2(memory, n, 0) < 0 || madvise(memory, n, MADV_DONTDUMP) < 0 ||
	    madvise(memory, n, MADV_DONTFORK) < 0) {
		r = -errno;
		munmap(memory, n);
		return r;
	}
	*ret_memory = memory;
	return 0;
}

void *locked_free(void *memory, size_t size)
{
	if (memory) {
		bytes_wipe(memory, size);
		munmap(memory, whole_pages(size));
	}
	return NULL;
}
