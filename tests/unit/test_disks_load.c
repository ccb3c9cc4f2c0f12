/* SPDX-License-Identifier: Apache-2.0 */
/* How a segment's key gets into the kernel: by a keyring, while a table that names it is loaded; and
 * that no event of a map has a cookie. The library and the keyring are stood in for. */
#include "unit.h"

#include <errno.h>
#include <libdevmapper.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "disks/claim.h"
#include "disks/ends.h"
#include "disks/maps.h"
#include "disks/parts.h"
#include "disks/segment.h"
#include "keys/keyring.h"

#define SERIAL 4711
#define MINOR  7

/* --- the world: what was done to it, and what it answers */

static struct {
	uint8_t key[SEGMENT_KEY_SIZE]; /* in the keyring */
	bool key_is_in;
	unsigned n_added, n_removed, n_loads, n_looks, n_zeroed;
	char name[MAP_UUID_SIZE], uuid[MAP_UUID_SIZE], type[16], table[MAP_TABLE_SIZE];
	uint64_t start, length;
	bool in_step; /* the library waits for udev where there is a cookie, and makes names else */
	int types[16]; /* what was run */
	size_t n_types;

	int keyring_errno, load_errno, remove_errno;
	bool foreign;	   /* somebody else has a map on the disk */
	const char *shown; /* the table that the kernel shows, if not the one that was loaded */
} world;

int keyring_add(const char *name, const uint8_t *payload, size_t n, int32_t *ret_serial)
{
	if (world.keyring_errno)
		return -world.keyring_errno;
	assert_int_equal(n, sizeof(world.key));
	assert_int_equal(copy_text(world.name, sizeof(world.name), name), 0);
	memcpy(world.key, payload, n);
	world.key_is_in = true;
	world.n_added++;
	*ret_serial = SERIAL;
	return 0;
}

int keyring_remove(int32_t serial)
{
	assert_int_equal(serial, SERIAL);
	world.key_is_in = false;
	world.n_removed++;
	return -world.remove_errno;
}

void parts_read(struct disk_facts *facts)
{
	world.n_looks++;
	facts->ours = !world.foreign;
}

int ends_zero(const char *node, uint64_t length_sectors)
{
	assert_string_equal(node, "/dev/dm-7");
	assert_int_equal(length_sectors, world.length);
	world.n_zeroed++;
	return 0;
}

struct dm_task {
	int type, code;
	char name[MAP_UUID_SIZE], uuid[MAP_UUID_SIZE], target[16], parameters[MAP_TABLE_SIZE];
	uint64_t start, length;
};

struct dm_task *dm_task_create(int type)
{
	struct dm_task *task = calloc(1, sizeof(*task));

	assert_non_null(task);
	task->type = type;
	return task;
}

void dm_task_destroy(struct dm_task *task)
{
	free(task);
}

int dm_task_set_name(struct dm_task *task, const char *name)
{
	return copy_text(task->name, sizeof(task->name), name) == 0;
}

int dm_task_set_uuid(struct dm_task *task, const char *uuid)
{
	return copy_text(task->uuid, sizeof(task->uuid), uuid) == 0;
}

int dm_task_add_target(struct dm_task *task, uint64_t start, uint64_t size, const char *ttype,
		       const char *params)
{
	assert_string_equal(task->target, "");
	task->start = start;
	task->length = size;
	return copy_text(task->target, sizeof(task->target), ttype) == 0 &&
	       copy_text(task->parameters, sizeof(task->parameters), params) == 0;
}

int dm_task_secure_data(struct dm_task *task)
{
	return 1;
}

int dm_task_set_cookie(struct dm_task *task, uint32_t *cookie, uint16_t flags)
{
	fail();
	return 1;
}

void dm_udev_set_sync_support(int in_step)
{
	world.in_step = in_step;
}

int dm_task_no_flush(struct dm_task *task)
{
	return 1;
}

int dm_task_skip_lockfs(struct dm_task *task)
{
	return 1;
}

int dm_task_retry_remove(struct dm_task *task)
{
	return 1;
}

int dm_task_deferred_remove(struct dm_task *task)
{
	return 1;
}

int dm_task_get_info(struct dm_task *task, struct dm_info *info)
{
	assert_int_equal(task->type, DM_DEVICE_INFO);
	*info = (struct dm_info){.exists = 1, .major = 253, .minor = MINOR};
	return 1;
}

const char *dm_task_get_uuid(const struct dm_task *task)
{
	return world.uuid;
}

static int load(struct dm_task *task)
{
	assert_true(world.key_is_in);
	assert_string_equal(task->name, world.name);
	world.n_loads++;
	assert_int_equal(copy_text(world.uuid, sizeof(world.uuid), task->uuid), 0);
	assert_int_equal(copy_text(world.type, sizeof(world.type), task->target), 0);
	assert_int_equal(copy_text(world.table, sizeof(world.table), task->parameters), 0);
	world.start = task->start;
	world.length = task->length;
	task->code = world.load_errno;
	return !task->code;
}

int dm_task_run(struct dm_task *task)
{
	assert_false(world.in_step);
	assert_true(world.n_types < ELEMENTSOF(world.types));
	world.types[world.n_types++] = task->type;
	if (strcmp(task->target, "crypt") == 0)
		return load(task);
	assert_false(world.key_is_in);
	return 1;
}

int dm_task_get_errno(struct dm_task *task)
{
	return task->code;
}

void *dm_get_next_target(struct dm_task *task, void *next, uint64_t *start, uint64_t *length,
			 char **target_type, char **params)
{
	static char shown[MAP_TABLE_SIZE];

	assert_int_equal(copy_text(shown, sizeof(shown), world.shown ? world.shown : world.table),
			 0);
	*start = world.start;
	*length = world.length;
	*target_type = world.type;
	*params = shown;
	return NULL;
}

/* --- the tests */

static const struct disk_facts disks[] = {
	{.path = "/dev/vdb", .major = 254, .minor = 16},
	{.path = "/dev/vdc", .major = 254, .minor = 32},
};
static const struct plan_segment segments[] = {
	{.disk = 0, .offset_sectors = 2048, .length_sectors = 65536},
	{.disk = 0, .offset_sectors = 67584, .length_sectors = 32768},
	{.disk = 1, .offset_sectors = 0, .length_sectors = 8},
};
static const uint8_t boot_key[BOOT_KEY_SIZE] = {1};

static int begin(void **state)
{
	memset(&world, 0, sizeof(world));
	world.in_step = true;
	return 0;
}

static struct volume_job job_of(const struct volume_config *config)
{
	return (struct volume_job){
		.config = config,
		.disks = disks,
		.segments = segments,
		.n_segments = ELEMENTSOF(segments),
		.instance = 1,
		.gate_fd = -1,
	};
}

static int map(uint32_t number, char reason[static REASON_SIZE])
{
	static const struct volume_config config = {.name = "a", .use = VOLUME_RAW};
	const struct volume_job job = job_of(&config);

	reason[0] = '\0';
	return segment_map(&job, boot_key, number, reason);
}

static void tables(void **state)
{
	static const char *const expected[] = {
		"aes-xts-plain64 :64:logon:emberlock:emberlock-a-s0 0 254:16 2048 ",
		"aes-xts-plain64 :64:logon:emberlock:emberlock-a-s1 0 254:16 67584 ",
		"aes-xts-plain64 :64:logon:emberlock:emberlock-a-s2 0 254:32 0 ",
	};
	static const struct {
		enum volume_discard discard;
		const char *options;
	} options[] = {
		{DISCARD_NO, "3 no_read_workqueue no_write_workqueue sector_size:4096"},
		{DISCARD_FSTRIM,
		 "4 no_read_workqueue no_write_workqueue sector_size:4096 allow_discards"},
		{DISCARD_ALWAYS,
		 "4 no_read_workqueue no_write_workqueue sector_size:4096 allow_discards"},
	};

	for (size_t i = 0; i < ELEMENTSOF(options); i++) {
		const struct volume_config config = {.name = "a", .discard = options[i].discard};
		const struct volume_job job = job_of(&config);

		for (uint32_t k = 0; k < ELEMENTSOF(expected); k++) {
			char table[MAP_TABLE_SIZE], whole[MAP_TABLE_SIZE];
			struct segment_table look;

			segment_table_make(&job, k, table);
			(void)snprintf(whole, sizeof(whole), "%s%s", expected[k],
				       options[i].options);
			assert_string_equal(table, whole);
			segment_table_look(table, &look);
			assert_true(look.referenced);
			assert_int_equal(look.minor, disks[segments[k].disk].minor);
			assert_int_equal(look.offset_sectors, segments[k].offset_sectors);
		}
	}
}

static void longest_table(void **state)
{
	static const struct disk_facts disk = {.major = UINT32_MAX, .minor = UINT32_MAX};
	struct plan_segment many[SEGMENTS_MAX] = {
		[SEGMENTS_MAX - 1] = {.offset_sectors = UINT64_MAX}};
	struct volume_config config = {.discard = DISCARD_ALWAYS};
	const struct volume_job job = {.config = &config, .disks = &disk, .segments = many};
	static const char end[] = " allow_discards";
	char table[MAP_TABLE_SIZE];

	memset(config.name, 'n', VOLUME_NAME_MAX);
	segment_table_make(&job, SEGMENTS_MAX - 1, table);
	assert_true(strlen(table) < MAP_TABLE_SIZE - 1);
	assert_string_equal(table + strlen(table) - strlen(end), end);
}

static bool holds(const char *text, const uint8_t *key, size_t n)
{
	char hex[9];

	(void)snprintf(hex, sizeof(hex), "%02x%02x%02x%02x", key[0], key[1], key[2], key[3]);
	assert_true(n >= 4);
	return strcasestr(text, hex) != NULL;
}

static void loaded_by_reference(void **state)
{
	char reason[REASON_SIZE];

	assert_int_equal(map(1, reason), 0);
	assert_int_equal(world.n_added, 1);
	assert_int_equal(world.n_loads, 1);
	assert_int_equal(world.n_removed, 1);
	assert_int_equal(world.n_zeroed, 1);
	assert_string_equal(world.name, "emberlock-a-s1");
	assert_string_equal(world.uuid, "CRYPT-PLAIN-emberlock-a-s1");
	assert_string_equal(world.type, "crypt");
	assert_int_equal(world.start, 0);
	assert_int_equal(world.length, 32768);
	assert_non_null(strstr(world.table, " :64:logon:emberlock:emberlock-a-s1 "));
	assert_false(holds(world.table, world.key, sizeof(world.key)));
}

/* The key is out of the keyring on each error, and no byte is written. */
static void errors(void **state)
{
	static const struct {
		int keyring, load, remove;
		bool foreign;
		const char *shown;
		int r;
		unsigned n_loads;
		const char *says;
	} cases[] = {
		{.keyring = EDQUOT, .r = -EDQUOT, .says = "segment 0 on disk /dev/vdb"},
		{.load = EINVAL, .r = -EINVAL, .n_loads = 1, .says = "segment 0 on disk /dev/vdb"},
		/* Somebody looks at the disk: tried again. */
		{.load = EBUSY, .r = -EBUSY, .n_loads = CLAIM_TRIES, .says = "on disk /dev/vdb"},
		{.remove = EIO, .r = -EIO, .n_loads = 1, .says = "segment 0 on disk /dev/vdb"},
		{.foreign = true,
		 .r = -EBUSY,
		 .n_loads = 1,
		 .says = "disk /dev/vdb is in use by somebody else too"},
		{.shown = "aes-xts-plain64 00112233445566778899aabbccddeeff 0 254:16 2048",
		 .r = -EBADMSG,
		 .n_loads = 1,
		 .says = "the table of segment 0 holds its key"},
		{.shown = "aes-xts-plain64 :64:logon:emberlock:emberlock-a-s0 0 254:48 2048",
		 .r = -ENODEV,
		 .n_loads = 1,
		 .says = "/dev/vdb is no longer the planned disk"},
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		char reason[REASON_SIZE];

		(void)begin(NULL);
		world.keyring_errno = cases[i].keyring;
		world.load_errno = cases[i].load;
		world.remove_errno = cases[i].remove;
		world.foreign = cases[i].foreign;
		world.shown = cases[i].shown;
		assert_int_equal(map(0, reason), cases[i].r);
		assert_non_null(strstr(reason, "volume a: "));
		assert_non_null(strstr(reason, cases[i].says));
		assert_int_equal(world.n_loads, cases[i].n_loads);
		assert_int_equal(world.n_removed, world.n_added);
		assert_false(world.key_is_in);
		assert_int_equal(world.n_zeroed, 0);
	}
}

/* Whose maps are on a disk is asked at its first segment. */
static void disks_looked_at(void **state)
{
	static const unsigned expected[] = {1, 1, 2};
	char reason[REASON_SIZE];

	for (uint32_t i = 0; i < ELEMENTSOF(segments); i++) {
		world.n_types = 0;
		assert_int_equal(map(i, reason), 0);
		assert_int_equal(world.n_looks, expected[i]);
	}
}

static int create(const struct map_stretch *stretch)
{
	return map_create("emberlock-a", "EMBERLOCK-VOLUME-a", stretch, 1);
}

static int change(const struct map_stretch *stretch)
{
	return map_change("emberlock-a", stretch, 1);
}

static int fail_all(const struct map_stretch *stretch)
{
	return map_fail("emberlock-a", stretch->length_sectors);
}

static int remove_now(const struct map_stretch *stretch)
{
	return map_remove("emberlock-a", world.uuid);
}

static int remove_later(const struct map_stretch *stretch)
{
	return map_remove_later("emberlock-a", world.uuid);
}

/* A cookie is a semaphore, which stays when the one who waits for it is killed. */
static void no_cookies(void **state)
{
	static const struct map_stretch stretch = {.length_sectors = 8, .n_devices = 1};
	static const struct {
		int (*call)(const struct map_stretch *stretch);
		int types[2];
	} cases[] = {
		{create, {DM_DEVICE_CREATE}},
		{change, {DM_DEVICE_RELOAD, DM_DEVICE_RESUME}},
		{fail_all, {DM_DEVICE_RELOAD, DM_DEVICE_RESUME}},
		{remove_now, {DM_DEVICE_INFO, DM_DEVICE_REMOVE}},
		{remove_later, {DM_DEVICE_INFO, DM_DEVICE_REMOVE}},
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		size_t n = cases[i].types[1] == DM_DEVICE_CREATE ? 1 : 2;

		(void)begin(NULL);
		assert_int_equal(cases[i].call(&stretch), 0);
		assert_int_equal(world.n_types, n);
		assert_memory_equal(world.types, cases[i].types, n * sizeof(int));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables),
		cmocka_unit_test(longest_table),
		cmocka_unit_test_setup(loaded_by_reference, begin),
		cmocka_unit_test(errors),
		cmocka_unit_test_setup(disks_looked_at, begin),
		cmocka_unit_test(no_cookies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
