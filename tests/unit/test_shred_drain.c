/* SPDX-License-Identifier: Apache-2.0 */
/* One unmapping on each processor, and the thread may run where it could before. The system calls are
 * the test's own: it may have one processor only. */
#include "unit.h"

#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#include "shred/drain.h"

#define PROCESSORS_MAX 8

static cpu_set_t allowed, current;
static unsigned unmapped[PROCESSORS_MAX];
static int refused; /* a processor that cannot be moved to; -1: there is none */
static bool no_memory;
static _Alignas(4096) char page[4096];

static void allow(int processor)
{
	CPU_SET(processor, &allowed);
	current = allowed;
}

int sched_getaffinity(pid_t thread, size_t size, cpu_set_t *set)
{
	assert_int_equal(thread, 0);
	*set = current;
	return 0;
}

int sched_setaffinity(pid_t thread, size_t size, const cpu_set_t *set)
{
	assert_int_equal(thread, 0);
	if (refused >= 0 && CPU_COUNT(set) == 1 && CPU_ISSET(refused, set))
		return -1;
	current = *set;
	return 0;
}

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
	return no_memory ? MAP_FAILED : page;
}

int munmap(void *address, size_t size)
{
	assert_ptr_equal(address, page);
	assert_int_equal(CPU_COUNT(&current), 1);
	for (int i = 0; i < PROCESSORS_MAX; i++)
		unmapped[i] += CPU_ISSET(i, &current) ? 1 : 0;
	return 0;
}

static int reset(void **state)
{
	CPU_ZERO(&allowed);
	memset(unmapped, 0, sizeof(unmapped));
	refused = -1;
	no_memory = false;
	return 0;
}

static void each_processor_gets_one(void **state)
{
	const unsigned expected[PROCESSORS_MAX] = {0, 1, 0, 1, 1};

	allow(1);
	allow(3);
	allow(4);
	assert_true(drain_processors());
	assert_memory_equal(unmapped, expected, sizeof(expected));
	assert_true(CPU_EQUAL(&current, &allowed));
}

static void one_that_is_refused_does_not_stop_the_others(void **state)
{
	const unsigned expected[PROCESSORS_MAX] = {1, 0, 1};

	allow(0);
	allow(1);
	allow(2);
	refused = 1;
	assert_false(drain_processors());
	assert_memory_equal(unmapped, expected, sizeof(expected));
	assert_true(CPU_EQUAL(&current, &allowed));
}

static void without_memory_it_says_so(void **state)
{
	allow(0);
	no_memory = true;
	assert_false(drain_processors());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(each_processor_gets_one, reset),
		cmocka_unit_test_setup(one_that_is_refused_does_not_stop_the_others, reset),
		cmocka_unit_test_setup(without_memory_it_says_so, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
