/* SPDX-License-Identifier: Apache-2.0 */
/* What is read from tables, proc and sysfs, and what the ready file says. */
#include "scratch.h"

#include <errno.h>
#include <sys/sysmacros.h>

#include "disks/program.h"
#include "disks/queue.h"
#include "disks/ready.h"
#include "disks/segment.h"
#include "disks/uses.h"

static void key_references(void **state)
{
	static const struct {
		const char *table;
		bool referenced;
		unsigned major, minor;
		uint64_t offset;
	} cases[] = {
		{"aes-xts-plain64 :64:logon:emberlock:emberlock-a-s0 0 254:16 2048 3 "
		 "no_read_workqueue no_write_workqueue sector_size:4096",
		 true, 254, 16, 2048},
		/* A key in the table, as cryptsetup's plain mode leaves it; masked, too. */
		{"aes-xts-plain64 00112233445566778899aabbccddeeff 0 254:16 0", false, 254, 16},
		{"aes-xts-plain64 00000000000000000000000000000000 0 8:1 0", false, 8, 1},
		/* References that are not ours: another length, type, or owner. */
		{"aes-xts-plain64 :32:logon:emberlock:emberlock-a-s0 0 254:16 0", false, 254, 16},
		{"aes-xts-plain64 :64:user:emberlock:emberlock-a-s0 0 254:16 0", false, 254, 16},
		{"aes-xts-plain64 :64:logon:cryptsetup:x 0 254:16 0", false, 254, 16},
		{"aes-xts-plain64 - 0 254:16 0", false, 254, 16},
		/* Not of the form. */
		{"aes-xts-plain64 :64:logon:emberlock:emberlock-a-s0 0 /dev/vdb 0", false, 0, 0},
		{"aes-xts-plain64 :64:logon:emberlock:emberlock-a-s0", false, 0, 0},
		{"aes-xts-plain64", false, 0, 0},
		{"", false, 0, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct segment_table look;

		segment_table_look(cases[i].table, &look);
		assert_int_equal(look.referenced, cases[i].referenced);
		assert_int_equal(look.major, cases[i].major);
		assert_int_equal(look.minor, cases[i].minor);
		assert_int_equal(look.offset_sectors, cases[i].offset);
	}
}

/* What is left of the boot key when the keeper has wiped it: no map is made, nor tried. */
static void wiped_boot_key(void **state)
{
	static const uint8_t wiped[BOOT_KEY_SIZE];
	const struct volume_config config = {.name = "a", .use = VOLUME_RAW};
	const struct disk_facts disk = {.path = "/nonexistent/disk"};
	const struct plan_segment segment = {.length_sectors = 32768};
	const struct volume_job job = {
		.config = &config,
		.disks = &disk,
		.segments = &segment,
		.n_segments = 1,
		.instance = 1,
		.gate_fd = -1,
	};
	uint8_t boot_key[BOOT_KEY_SIZE] = {[BOOT_KEY_SIZE - 1] = 1};
	char reason[REASON_SIZE];

	assert_int_equal(segment_map(&job, wiped, 0, reason), -ENOKEY);
	assert_non_null(strstr(reason, "volume a: the key of segment 0"));
	/* Any other goes on to the disk. */
	assert_int_not_equal(segment_map(&job, boot_key, 0, reason), -ENOKEY);
	assert_non_null(strstr(reason, disk.path));
}

static void queue_file(const struct scratch *scratch, const char *name, char text[static 16])
{
	char path[128];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", scratch->path, name);
	file = fopen(path, "re");
	assert_non_null(file);
	assert_non_null(fgets(text, 16, file));
	assert_int_equal(fclose(file), 0);
}

/* Values have as many digits as their bounds: an ordinary file keeps what is behind a write. */
static void queues(void **state)
{
	const struct scratch *scratch = *state;
	char reason[256], text[16];
	bool bounded;

	scratch_text(scratch, "nr_requests", "256\n");
	scratch_text(scratch, "max_sectors_kb", "64\n");
	assert_int_equal(queue_directory_is_bounded(scratch->path, 128, 512, &bounded), 0);
	assert_false(bounded);
	assert_int_equal(queue_directory_bound(scratch->path, 128, 512, reason), 0);
	queue_file(scratch, "nr_requests", text);
	assert_string_equal(text, "128\n");
	/* Lower than the bound: left as it is. */
	queue_file(scratch, "max_sectors_kb", text);
	assert_string_equal(text, "64\n");
	assert_int_equal(queue_directory_is_bounded(scratch->path, 128, 512, &bounded), 0);
	assert_true(bounded);
	assert_int_equal(queue_directory_is_bounded(scratch->path, 128, 63, &bounded), 0);
	assert_false(bounded);
	assert_int_equal(queue_directory_is_bounded(scratch->path, 127, 64, &bounded), 0);
	assert_false(bounded);
}

static void queues_that_cannot_be_bounded(void **state)
{
	const struct scratch *scratch = *state;
	char reason[256];
	bool bounded;

	assert_int_equal(queue_directory_bound(scratch->path, 16, 128, reason), -ENOENT);
	assert_non_null(strstr(reason, "QueueRequests="));
	assert_int_equal(queue_directory_is_bounded(scratch->path, 16, 128, &bounded), -ENOENT);
	/* Takes the write and does not keep it. */
	scratch_text(scratch, "max_sectors_kb", "128\n");
	assert_int_equal(chdir(scratch->path), 0);
	assert_int_equal(symlink("/dev/zero", "nr_requests"), 0);
	assert_true(queue_directory_bound(scratch->path, 16, 128, reason) < 0);
	assert_int_equal(chdir("/"), 0);
}

static void mountinfo(void **state)
{
	const struct scratch *scratch = *state;
	_cleanup_uses_ struct uses uses = {.uses = NULL};
	char path[128];

	scratch_text(scratch, "good",
		     "22 1 254:1 / / rw,noatime shared:1 - ext4 /dev/vda1 rw\n"
		     "23 22 0:20 / /proc rw - proc proc rw\n"
		     "24 22 8:17 /sub /mnt/a\\040b\\134c rw master:1 propagate_from:2 - xfs "
		     "/dev/nothere rw\n");
	(void)snprintf(path, sizeof(path), "%s/good", scratch->path);
	assert_int_equal(uses_read_mountinfo(&uses, path), 0);
	assert_true(uses.n >= 3);
	assert_int_equal(uses.uses[0].major, 254);
	assert_int_equal(uses.uses[0].minor, 1);
	assert_true(uses.uses[0].mounted);
	assert_int_equal(uses.uses[uses.n - 1].major, 8);
	assert_int_equal(uses.uses[uses.n - 1].minor, 17);
	assert_string_equal(uses.uses[uses.n - 1].by, "/mnt/a b\\c");
}

static void mountinfo_of_another_form(void **state)
{
	static const char *const lines[] = {"22 1\n",
					    "22 1 254 / / rw - ext4 /dev/vda1 rw\n",
					    "22 1 254:1 / / rw ext4\n",
					    "22 1 254:1 / / rw -\n",
					    "22 1 254:1 / / rw - ext4\n",
					    "\n"};
	const struct scratch *scratch = *state;
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/bad", scratch->path);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		_cleanup_uses_ struct uses uses = {.uses = NULL};

		scratch_text(scratch, "bad", lines[i]);
		assert_int_equal(uses_read_mountinfo(&uses, path), -EBADMSG);
	}
}

static size_t uses_of_source(const struct scratch *scratch, const char *source)
{
	_cleanup_uses_ struct uses uses = {.uses = NULL};
	char path[128], line[512];

	(void)snprintf(line, sizeof(line), "22 1 0:40 / /mnt rw - fuse.x %s rw\n", source);
	scratch_text(scratch, "one", line);
	(void)snprintf(path, sizeof(path), "%s/one", scratch->path);
	assert_int_equal(uses_read_mountinfo(&uses, path), 0);
	return uses.n;
}

/* A source is looked up where only root makes names; elsewhere a look may never come back. */
static void sources_of_mounts(void **state)
{
	static const char link[] = "/dev/shm/emberlock-test-looks";
	const struct scratch *scratch = *state;
	char node[128], up[160];
	struct stat st;

	(void)snprintf(node, sizeof(node), "%s/node", scratch->path);
	(void)snprintf(up, sizeof(up), "/dev/..%s", node);
	if (mknod(node, S_IFBLK | 0600, makedev(7, 0)) < 0)
		skip(); /* not root, or in a container */
	assert_int_equal(uses_of_source(scratch, node), 1);
	assert_int_equal(uses_of_source(scratch, up), 1);
	(void)unlink(link);
	if (symlink(node, link) == 0) {
		assert_int_equal(uses_of_source(scratch, link), 1);
		assert_int_equal(unlink(link), 0);
	}
	if (stat("/dev/loop0", &st) == 0 && S_ISBLK(st.st_mode))
		assert_int_equal(uses_of_source(scratch, "/dev/loop0"), 2);
}

/* /proc/swaps has a heading; a swap file is no device, and lies on one that is mounted. */
static void swaps(void **state)
{
	const struct scratch *scratch = *state;
	_cleanup_uses_ struct uses uses = {.uses = NULL};
	char path[128];

	scratch_text(scratch, "swaps",
		     "Filename\tType\tSize\tUsed\tPriority\n/etc/passwd file 1 0 -2\n");
	(void)snprintf(path, sizeof(path), "%s/swaps", scratch->path);
	assert_int_equal(uses_read_swaps(&uses, path), 0);
	assert_int_equal(uses.n, 0);
	(void)snprintf(path, sizeof(path), "%s/none", scratch->path);
	assert_int_equal(uses_read_swaps(&uses, path), 0);
}

static void ready_files(void **state)
{
	struct volume_config config = {.name = "a", .use = VOLUME_RAW};
	const struct owner owner = {.uid = 100, .gid = 102, .mode = 0660};
	char text[128];
	size_t n;

	n = ready_text(&config, &owner, text, sizeof(text));
	assert_string_equal(text, "EMBERLOCK_READY=1\nEMBERLOCK_OWNER=100\nEMBERLOCK_GROUP=102\n"
				  "EMBERLOCK_MODE=0660\n");
	assert_int_equal(n, strlen(text));
	config.use = VOLUME_EXT4;
	n = ready_text(&config, &owner, text, sizeof(text));
	assert_string_equal(text, "EMBERLOCK_READY=1\n");
	assert_int_equal(n, strlen(text));
}

static void programs(void **state)
{
	const char *const missing[] = {"/nonexistent/mkfs", NULL};
	const char *const fails[] = {"/bin/sh", "-c",
				     "echo; echo two words >&2; echo x >&2; exit 3", NULL};
	const char *const silent[] = {"/bin/sh", "-c", "exit 3", NULL};
	const char *const killed[] = {"/bin/sh", "-c", "kill -9 $$", NULL};
	const char *const bare[] = {"/bin/sh", "-c",
				    "test \"$(ls /proc/self/fd | wc -l)\" -le 4 && "
				    "test -z \"$EMBERLOCK_CANARY\" && ! read -r line",
				    NULL};
	char text[REASON_SIZE];

	assert_int_equal(program_run(missing, text), -ENOENT);
	assert_non_null(strstr(text, "/nonexistent/mkfs"));
	assert_int_equal(program_run(fails, text), -EPROTO);
	assert_string_equal(text, "two words");
	assert_int_equal(program_run(silent, text), -EPROTO);
	assert_string_equal(text, "exit code 3");
	assert_int_equal(program_run(killed, text), -EPROTO);
	assert_string_equal(text, "signal 9");
	/* No input, no environment, no descriptor beside its three (and ls's own). */
	assert_int_equal(setenv("EMBERLOCK_CANARY", "1", 1), 0);
	assert_int_equal(program_run(bare, text), 0);
}

static void owners(void **state)
{
	struct volume_config config = {.name = "a", .owner = "12", .group = "", .mode = 0750};
	struct owner owner;
	char reason[256];

	assert_int_equal(owner_resolve(&config, &owner, reason), 0);
	assert_int_equal(owner.uid, 12);
	assert_int_equal(owner.gid, 0);
	assert_int_equal(owner.mode, 0750);
	memcpy(config.owner, "root", sizeof("root"));
	memcpy(config.group, "no such group", sizeof("no such group"));
	assert_int_equal(owner_resolve(&config, &owner, reason), -ESRCH);
	assert_string_equal(reason, "volume a: Group=: no group 'no such group'");
	/* To chown(2) it means "leave it as it is", which is root's. */
	memcpy(config.owner, "4294967295", sizeof("4294967295"));
	assert_int_equal(owner_resolve(&config, &owner, reason), -ESRCH);
	assert_string_equal(reason, "volume a: Owner=: no user '4294967295'");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_make, scratch_done)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(key_references),
		cmocka_unit_test(wiped_boot_key),
		TEST(queues),
		TEST(queues_that_cannot_be_bounded),
		TEST(mountinfo),
		TEST(mountinfo_of_another_form),
		TEST(sources_of_mounts),
		TEST(swaps),
		cmocka_unit_test(ready_files),
		cmocka_unit_test(programs),
		cmocka_unit_test(owners),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
