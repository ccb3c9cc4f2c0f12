/* SPDX-License-Identifier: Apache-2.0 */
/* DEKs at hand: found by all of their name, dropped when their time is over, locked, and wiped. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "storage/cache.h"

#define FAR (clock_boottime_ns() + 600 * NSEC_PER_SEC)

static struct emberlock_dek_blob blob(uint8_t mark)
{
	struct emberlock_dek_blob made = {.size = 200};

	memset(made.bytes, mark, made.size);
	return made;
}

/* 64 digits, wiped by the caller. Made at run time: no copy of them is in the program. */
static void make_hex(uint8_t mark, char hex[static 65])
{
	uint8_t dek[EMBERLOCK_DEK_SIZE];

	for (size_t i = 0; i < sizeof(dek); i++)
		dek[i] = (uint8_t)(mark * 7 + i * 13);
	hex_encode(dek, sizeof(dek), hex);
	bytes_wipe(dek, sizeof(dek));
}

static int put(struct cache *cache, uint8_t mark, const char *context, uint64_t until_ns)
{
	struct emberlock_dek_blob named = blob(mark);
	char hex[65];
	int r;

	make_hex(mark, hex);
	r = cache_put(cache, &named, context, hex, until_ns);
	bytes_wipe(hex, sizeof(hex));
	return r;
}

static int first_byte(const unsigned char dek[EMBERLOCK_DEK_SIZE], void *userdata)
{
	return dek[0];
}

static int use(struct cache *cache, uint8_t mark, const char *context)
{
	struct emberlock_dek_blob named = blob(mark);
	int r;

	return cache_use(cache, &named, context, first_byte, NULL, &r) ? r : -1;
}

static struct cache *fresh(unsigned max)
{
	struct cache *cache;

	assert_int_equal(cache_new(max, &cache), 0);
	return cache;
}

static void test_names(void **state)
{
	struct cache *cache = fresh(8);
	struct emberlock_dek_blob longer = blob(3);
	int r;

	assert_int_equal(put(cache, 3, "a", FAR), 0);
	assert_int_equal(put(cache, 4, "a", FAR), 0);
	assert_int_equal(use(cache, 3, "a"), 21);
	assert_int_equal(use(cache, 4, "a"), 28);
	assert_int_equal(use(cache, 3, "b"), -1);
	assert_int_equal(use(cache, 3, ""), -1);
	assert_int_equal(use(cache, 5, "a"), -1);
	longer.bytes[longer.size++] = 3;
	assert_false(cache_use(cache, &longer, "a", first_byte, NULL, &r));
	/* Again: no second one. */
	assert_int_equal(put(cache, 3, "a", FAR), 0);
	assert_int_equal(cache_count(cache), 2);
	cache_drop(cache);
	assert_int_equal(cache_count(cache), 0);
	assert_int_equal(use(cache, 3, "a"), -1);
	cache_free(cache);
}

static void test_room(void **state)
{
	struct cache *cache = fresh(3);

	assert_int_equal(put(cache, 1, "", FAR + 1000), 0);
	assert_int_equal(put(cache, 2, "", FAR), 0);
	assert_int_equal(put(cache, 3, "", FAR + 2000 * NSEC_PER_SEC), 0);
	assert_int_equal(put(cache, 4, "", FAR + 3000 * NSEC_PER_SEC), 0);
	assert_int_equal(cache_count(cache), 3);
	/* The one that would have ended first gave way. */
	assert_int_equal(use(cache, 1, ""), -1);
	assert_int_equal(use(cache, 2, ""), 14);
	cache_free(cache);
}

static void test_bad(void **state)
{
	struct emberlock_dek_blob named = blob(1);
	struct cache *cache = fresh(2);

	assert_int_equal(cache_put(cache, &named, "", "00ff", FAR), -EBADMSG);
	assert_int_equal(put(cache, 1, "", clock_boottime_ns()), -EKEYEXPIRED);
	assert_int_equal(cache_count(cache), 0);
	assert_int_equal(cache_new(1u << 20, &cache), -EINVAL);
	cache_free(cache);
}

/* Waits for the thread, which nobody calls. */
static void wait_count(struct cache *cache, unsigned n)
{
	const struct timespec time = {.tv_nsec = 5000000};

	for (int i = 0; cache_count(cache) > n; i++) {
		assert_in_range(i, 0, 2000);
		nanosleep(&time, NULL);
	}
	assert_int_equal(cache_count(cache), n);
}

static void test_expiry(void **state)
{
	struct cache *cache = fresh(8);
	uint64_t end = clock_boottime_ns() + 200 * NSEC_PER_MSEC;

	assert_int_equal(put(cache, 1, "", end), 0);
	assert_int_equal(put(cache, 2, "", FAR), 0);
	assert_int_equal(put(cache, 3, "", end + 1000 * NSEC_PER_MSEC), 0);
	assert_int_equal(use(cache, 1, ""), 7);
	wait_count(cache, 2);
	assert_true(clock_boottime_ns() >= end);
	assert_int_equal(use(cache, 1, ""), -1);
	assert_int_equal(use(cache, 2, ""), 14);
	wait_count(cache, 1);
	assert_int_equal(use(cache, 3, ""), -1);
	assert_int_equal(use(cache, 2, ""), 14);
	cache_free(cache);
}

/* --- in this process's memory --- */

/* How often the DEK of MARK is in it: raw. */
static unsigned count_in_memory(uint8_t mark)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	static uint8_t page[4096 + EMBERLOCK_DEK_SIZE];
	unsigned long from, to;
	char line[512], mode[5];
	unsigned found = 0;

	assert_non_null(maps);
	assert_true(memory >= 0);
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx %4s", &from, &to, mode) != 3 || mode[1] != 'w' ||
		    to - from > 64ul << 20)
			continue;
		for (unsigned long at = from; at < to; at += 4096) {
			if (at <= (unsigned long)page + sizeof(page) &&
			    at + 4096 > (unsigned long)page)
				continue;
			if (pread(memory, page, 4096, (off_t)at) != 4096)
				continue;
			for (size_t i = 0; i + EMBERLOCK_DEK_SIZE <= 4096; i++) {
				size_t k = 0;

				while (k < EMBERLOCK_DEK_SIZE &&
				       page[i + k] == (uint8_t)(mark * 7 + k * 13))
					k++;
				found += k == EMBERLOCK_DEK_SIZE;
			}
		}
	}
	bytes_wipe(page, sizeof(page));
	close(memory);
	fclose(maps);
	return found;
}

static void test_wiped(void **state)
{
	struct cache *cache = fresh(8);

	assert_int_equal(put(cache, 77, "", FAR), 0);
	assert_int_equal(count_in_memory(77), 1);
	cache_drop(cache);
	assert_int_equal(count_in_memory(77), 0);
	assert_int_equal(put(cache, 78, "", clock_boottime_ns() + 3 * NSEC_PER_SEC), 0);
	assert_int_equal(count_in_memory(78), 1);
	wait_count(cache, 0);
	assert_int_equal(count_in_memory(78), 0);
	assert_int_equal(put(cache, 79, "", FAR), 0);
	cache_free(cache);
	assert_int_equal(count_in_memory(79), 0);
}

static unsigned long locked_kib(void)
{
	FILE *status = fopen("/proc/self/status", "re");
	unsigned long kib = 0;
	char line[256];

	assert_non_null(status);
	while (fgets(line, sizeof(line), status))
		(void)sscanf(line, "VmLck: %lu", &kib);
	fclose(status);
	return kib;
}

static void test_locked(void **state)
{
	unsigned long before = locked_kib();
	struct cache *cache = fresh(1024);

	assert_int_equal(locked_kib(), before + 1024 * EMBERLOCK_DEK_SIZE / 1024);
	cache_free(cache);
	assert_int_equal(locked_kib(), before);
}

/* Memory that cannot be locked is an error. In a child: the limit does not come back. */
static void test_no_lock(void **state)
{
	static const struct rlimit none = {0, 0};
	struct cache *cache;
	int status;
	pid_t child;

	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		/* Root is above the limit. */
		if (setrlimit(RLIMIT_MEMLOCK, &none) < 0 ||
		    (geteuid() == 0 && setresuid(65534, 65534, 65534) < 0))
			_exit(2);
		_exit(cache_new(8, &cache) < 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),	cmocka_unit_test(test_room),
		cmocka_unit_test(test_bad),	cmocka_unit_test(test_expiry),
		cmocka_unit_test(test_wiped),	cmocka_unit_test(test_locked),
		cmocka_unit_test(test_no_lock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
