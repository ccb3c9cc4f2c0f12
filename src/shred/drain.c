/* SPDX-License-Identifier: Apache-2.0 */
/* Has each processor let go of pages that it holds back. */
#include "shred/drain.h"

#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

static bool drain_one(int processor)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	cpu_set_t set;
	void *page;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		return false;
	page = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return page != MAP_FAILED && munmap(page, size) == 0;
}

bool drain_processors(void)
{
	cpu_set_t set;
	bool ok = true;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return false;
	for (int n = 0; n < CPU_SETSIZE; n++)
		if (CPU_ISSET(n, &set))
			ok &= drain_one(n);
	return sched_setaffinity(0, sizeof(set), &set) == 0 && ok;
}
