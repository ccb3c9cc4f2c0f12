/* SPDX-License-Identifier: Apache-2.0 */
/* agent.conf and volumes.d: which of several files counts. */
#include "scratch.h"

#include <errno.h>

#include "disks/config.h"

#define MAX 4

struct loaded {
	struct agent_config agent;
	struct volume_config volumes[MAX];
	size_t n;
	char error[256];
};

static int load(const struct scratch *scratch, struct loaded *loaded)
{
	memset(loaded, 0, sizeof(*loaded));
	return configs_load(scratch->path, &loaded->agent, loaded->volumes, MAX, &loaded->n,
			    loaded->error);
}

static void volume(const struct scratch *scratch, const char *path, const char *use)
{
	char text[128];

	(void)snprintf(text, sizeof(text), "[Volume]\nUse=%s\n[Disk]\nSerial=a\n", use);
	scratch_text(scratch, path, text);
}

static void nothing_is_the_defaults(void **state)
{
	struct agent_config defaults;
	struct loaded loaded;

	agent_config_init(&defaults);
	assert_int_equal(load(*state, &loaded), 0);
	assert_int_equal(loaded.n, 0);
	assert_memory_equal(&loaded.agent, &defaults, sizeof(defaults));
}

static void first_agent_conf_counts(void **state)
{
	struct loaded loaded;

	scratch_text(*state, "usr/lib/emberlock/agent.conf", "[Agent]\nQueueRequests=7\n");
	assert_int_equal(load(*state, &loaded), 0);
	assert_int_equal(loaded.agent.queue_requests, 7);
	scratch_text(*state, "run/emberlock/conf/agent.conf", "[Agent]\nQueueRequests=8\n");
	assert_int_equal(load(*state, &loaded), 0);
	assert_int_equal(loaded.agent.queue_requests, 8);
	scratch_text(*state, "etc/emberlock/agent.conf", "[Agent]\nQueueMaxKiB=64\n");
	assert_int_equal(load(*state, &loaded), 0);
	assert_int_equal(loaded.agent.queue_requests, 16);
	assert_int_equal(loaded.agent.queue_max_kib, 64);
}

static void first_volume_file_counts(void **state)
{
	struct loaded loaded;

	volume(*state, "usr/lib/emberlock/volumes.d/data.conf", "ext4");
	volume(*state, "usr/lib/emberlock/volumes.d/b.conf", "raw");
	volume(*state, "run/emberlock/conf/volumes.d/data.conf", "xfs");
	volume(*state, "etc/emberlock/volumes.d/a.conf", "swap");
	scratch_text(*state, "etc/emberlock/volumes.d/README", "not a volume");
	scratch_text(*state, "etc/emberlock/volumes.d/.data.conf", "an editor's");
	assert_int_equal(load(*state, &loaded), 0);
	assert_int_equal(loaded.n, 3);
	assert_string_equal(loaded.volumes[0].name, "a");
	assert_string_equal(loaded.volumes[1].name, "b");
	assert_string_equal(loaded.volumes[2].name, "data");
	assert_int_equal(loaded.volumes[2].use, VOLUME_XFS);

	volume(*state, "etc/emberlock/volumes.d/data.conf", "ext4");
	assert_int_equal(load(*state, &loaded), 0);
	assert_int_equal(loaded.volumes[2].use, VOLUME_EXT4);
}

static void masks(void **state)
{
	const struct scratch *scratch = *state;
	struct loaded loaded;
	char path[128];

	volume(scratch, "usr/lib/emberlock/volumes.d/a.conf", "ext4");
	volume(scratch, "usr/lib/emberlock/volumes.d/b.conf", "ext4");
	volume(scratch, "usr/lib/emberlock/volumes.d/c.conf", "ext4");
	scratch_text(scratch, "etc/emberlock/volumes.d/a.conf", "");
	(void)snprintf(path, sizeof(path), "%s/etc/emberlock/volumes.d/b.conf", scratch->path);
	assert_int_equal(symlink("/dev/null", path), 0);
	assert_int_equal(load(scratch, &loaded), 0);
	assert_int_equal(loaded.n, 1);
	assert_string_equal(loaded.volumes[0].name, "c");
}

static void errors_name_file_and_line(void **state)
{
	struct loaded loaded;

	scratch_text(*state, "etc/emberlock/volumes.d/a.conf", "[Volume]\nUse=ext5\n");
	assert_int_equal(load(*state, &loaded), -EBADMSG);
	assert_non_null(strstr(loaded.error, "/etc/emberlock/volumes.d/a.conf:2: "));
	assert_non_null(strstr(loaded.error, "ext5"));

	scratch_text(*state, "etc/emberlock/agent.conf", "[Agent]\n\nNonsense=1\n");
	assert_int_equal(load(*state, &loaded), -EBADMSG);
	assert_non_null(strstr(loaded.error, "/etc/emberlock/agent.conf:3: "));
}

static void bad_names(void **state)
{
	struct loaded loaded;

	volume(*state, "etc/emberlock/volumes.d/a b.conf", "ext4");
	assert_int_equal(load(*state, &loaded), -EINVAL);
	assert_non_null(strstr(loaded.error, "'a b'"));
}

static void long_names(void **state)
{
	struct loaded loaded;

	volume(*state, "etc/emberlock/volumes.d/0123456789012345678901234567890.conf", "ext4");
	assert_int_equal(load(*state, &loaded), 0);
	assert_int_equal(loaded.n, 1);
	volume(*state, "etc/emberlock/volumes.d/01234567890123456789012345678901.conf", "ext4");
	assert_int_equal(load(*state, &loaded), -ENAMETOOLONG);
}

static void too_many(void **state)
{
	struct loaded loaded;
	char path[64];

	for (unsigned i = 0; i <= MAX; i++) {
		(void)snprintf(path, sizeof(path), "etc/emberlock/volumes.d/v%u.conf", i);
		volume(*state, path, "ext4");
		assert_int_equal(load(*state, &loaded), i < MAX ? 0 : -E2BIG);
	}
	assert_non_null(strstr(loaded.error, "more than 4 volumes"));
}

static void too_large(void **state)
{
	static char text[65537];
	struct loaded loaded;

	memset(text, '\n', sizeof(text));
	scratch_write(*state, "etc/emberlock/agent.conf", text, sizeof(text) - 1);
	assert_int_equal(load(*state, &loaded), 0);
	scratch_write(*state, "etc/emberlock/agent.conf", text, sizeof(text));
	assert_int_equal(load(*state, &loaded), -E2BIG);
}

static void one_overlay(void **state)
{
	struct loaded loaded;

	volume(*state, "etc/emberlock/volumes.d/a.conf", "overlay");
	volume(*state, "etc/emberlock/volumes.d/b.conf", "ext4");
	assert_int_equal(load(*state, &loaded), 0);
	volume(*state, "usr/lib/emberlock/volumes.d/c.conf", "overlay");
	assert_int_equal(load(*state, &loaded), -EEXIST);
	assert_non_null(strstr(loaded.error, "/c.conf: volume 'a' has Use=overlay"));
}

static void carry(const struct scratch *scratch, struct initramfs_config *config)
{
	char error[256] = "";

	memset(config, 0, sizeof(*config));
	assert_int_equal(configs_initramfs(scratch->path, config, error), 0);
}

static void initramfs_carries_what_the_root_needs(void **state)
{
	struct initramfs_config config;

	volume(*state, "etc/emberlock/volumes.d/data.conf", "ext4");
	scratch_text(*state, "etc/emberlock/agent.conf", "[Agent]\n");
	carry(*state, &config);
	assert_int_equal(config.n, 0);

	volume(*state, "usr/lib/emberlock/volumes.d/root.conf", "overlay");
	carry(*state, &config);
	assert_int_equal(config.n, 2);
	assert_string_equal(config.files[0].name, "volumes.d/root.conf");
	assert_non_null(strstr(config.files[0].path, "/usr/lib/emberlock/volumes.d/root.conf"));
	assert_string_equal(config.files[1].name, "agent.conf");

	/* Of two files of a name the one that counts. */
	volume(*state, "etc/emberlock/volumes.d/root.conf", "overlay");
	carry(*state, &config);
	assert_non_null(strstr(config.files[0].path, "/etc/emberlock/volumes.d/root.conf"));
}

/* The same in the initramfs, where all of it lies in /etc; another one where any byte of it differs. */
static void initramfs_hash(void **state)
{
	static const struct {
		const char *path, *text;
	} changes[] = {
		{"etc/emberlock/volumes.d/root.conf", "[Volume]\nUse=overlay\n[Disk]\nSerial=b\n"},
		{"etc/emberlock/agent.conf", "[Agent]\nQueueRequests=8\n"},
		{"etc/emberlock/keeper.conf", "[Keeper]\n"},
		{"etc/emberlock/keeper.conf", ""},
	};
	struct initramfs_config config, before;

	volume(*state, "usr/lib/emberlock/volumes.d/root.conf", "overlay");
	carry(*state, &before);
	volume(*state, "etc/emberlock/volumes.d/root.conf", "overlay");
	volume(*state, "etc/emberlock/volumes.d/data.conf", "ext4");
	carry(*state, &config);
	assert_memory_equal(config.hash, before.hash, HASH_SIZE);

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		scratch_text(*state, changes[i].path, changes[i].text);
		carry(*state, &config);
		assert_memory_not_equal(config.hash, before.hash, HASH_SIZE);
		before = config;
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_make, scratch_done)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_is_the_defaults),
		TEST(first_agent_conf_counts),
		TEST(first_volume_file_counts),
		TEST(masks),
		TEST(errors_name_file_and_line),
		TEST(bad_names),
		TEST(long_names),
		TEST(too_many),
		TEST(too_large),
		TEST(one_overlay),
		TEST(initramfs_carries_what_the_root_needs),
		TEST(initramfs_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
