/* SPDX-License-Identifier: Apache-2.0 */
/* volumes.d/NAME.conf: good texts, and bad ones with the line and the message they must give. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "core/config.h"
#include "unit.h"

static int parse(const char *text, struct volume_config *config, struct config_error *error)
{
	return volume_config_parse(text, strlen(text), "data", config, error);
}

static void smallest(void **state)
{
	struct volume_config config;
	struct config_error error;

	assert_int_equal(parse("[Volume]\nUse=ext4\n[Disk]\nSerial=a b\n", &config, &error), 0);
	assert_string_equal(config.name, "data");
	assert_int_equal(config.use, VOLUME_EXT4);
	assert_string_equal(config.mount_point, "");
	assert_string_equal(config.mount_options, "noatime");
	assert_string_equal(config.owner, "");
	assert_int_equal(config.mode, 0755);
	assert_true(config.required);
	assert_int_equal(config.device_timeout_ms, 30000);
	assert_int_equal(config.segment_bytes, SEGMENT_BYTES_MAX);
	assert_int_equal(config.swap_priority, -1);
	assert_string_equal(config.match[MATCH_SERIAL], "a b");
	assert_int_equal(config.size_min, 0);
	assert_int_equal(config.size_max, UINT64_MAX);
	assert_string_equal(config.destroy, "");
	assert_int_equal(config.queue_requests, 0);
	assert_int_equal(config.queue_max_kib, 0);
	assert_int_equal(config.n_disks, 1);
	assert_int_equal(config.layout, LAYOUT_LINEAR);
	assert_int_equal(config.discard, DISCARD_NO);
	assert_int_equal(config.offset.bytes + config.offset.percent, 0);
	assert_int_equal(config.length.bytes + config.length.percent, 0);
	assert_string_equal(config.label, "");
	assert_string_equal(config.make_options, "");
	assert_false(config.project_quota);
	assert_false(config.hot_plug);
	assert_false(config.bind);
}

static void everything(void **state)
{
	static const char text[] =
		"[Volume]\nUse=xfs\nMountPoint=/var/lib/postgresql\nMountOptions=nodev,x-a=b\n"
		"Owner=postgres\nGroup=115\nMode=0700\nRequired=no\nDeviceTimeoutSec=0\n"
		"SegmentSize=16M\n[Disk]\nSerial=s\nLabel=l\nWWN=w\nModel=m\n"
		"Path=/dev/disk/by-id/virtio-data\\x20one\nSize=8G-1T\nDestroy=ext4 crypto_LUKS\n"
		"QueueRequests=4\nQueueMaxKiB=4096\n";
	struct volume_config config;
	struct config_error error;

	assert_int_equal(parse(text, &config, &error), 0);
	assert_int_equal(config.use, VOLUME_XFS);
	assert_string_equal(config.mount_point, "/var/lib/postgresql");
	assert_string_equal(config.mount_options, "nodev,x-a=b");
	assert_string_equal(config.owner, "postgres");
	assert_string_equal(config.group, "115");
	assert_int_equal(config.mode, 0700);
	assert_false(config.required);
	assert_int_equal(config.device_timeout_ms, 0);
	assert_int_equal(config.segment_bytes, 16 << 20);
	assert_string_equal(config.match[MATCH_LABEL], "l");
	assert_string_equal(config.match[MATCH_WWN], "w");
	assert_string_equal(config.match[MATCH_MODEL], "m");
	assert_string_equal(config.match[MATCH_PATH], "/dev/disk/by-id/virtio-data\\x20one");
	assert_int_equal(config.size_min, 8ull << 30);
	assert_int_equal(config.size_max, 1ull << 40);
	assert_string_equal(config.destroy, "ext4 crypto_LUKS");
	assert_int_equal(config.queue_requests, 4);
	assert_int_equal(config.queue_max_kib, 4096);
}

static void disks_and_parts(void **state)
{
	struct volume_config config;
	struct config_error error;

	assert_int_equal(parse("[Volume]\nUse=ext4\nLayout=striped\nStripeSize=128K\n"
			       "[Disk]\nSerial=d*\nDisks=8\nOffset=25%\nLength=3G\n",
			       &config, &error),
			 0);
	assert_int_equal(config.layout, LAYOUT_STRIPED);
	assert_int_equal(config.stripe_bytes, 131072);
	assert_int_equal(config.n_disks, 8);
	assert_int_equal(config.offset.percent, 25);
	assert_int_equal(config.offset.bytes, 0);
	assert_int_equal(config.length.percent, 0);
	assert_int_equal(config.length.bytes, 3ull << 30);
	assert_int_equal(parse("[Volume]\nUse=raw\n[Disk]\nSerial=d\nOffset=1M\nLength=100%\n",
			       &config, &error),
			 0);
	assert_int_equal(config.offset.bytes, 1 << 20);
	assert_int_equal(config.length.percent, 100);
}

static void bound(void **state)
{
	static const char *const good[] = {
		"[Volume]\nUse=ext4\nBind=yes\nMountPoint=/var/lib/postgresql\n[Disk]\nSerial=d\n",
		"[Volume]\nUse=xfs\nBind=yes\nMountPoint=/variety\n[Disk]\nSerial=d\n",
		"[Volume]\nUse=ext4\nBind=yes\nHotPlug=yes\n[Disk]\nSerial=d\n",
		"[Volume]\nUse=swap\nBind=yes\n[Disk]\nSerial=d\n",
		"[Volume]\nUse=raw\nBind=yes\n[Disk]\nSerial=d\n",
	};
	struct volume_config config;
	struct config_error error;

	for (size_t i = 0; i < ELEMENTSOF(good); i++) {
		assert_int_equal(parse(good[i], &config, &error), 0);
		assert_true(config.bind);
	}
	assert_int_equal(
		parse("[Volume]\nUse=overlay\nBind=no\n[Disk]\nSerial=d\n", &config, &error), 0);
	assert_false(config.bind);
}

static void what_is_made_on_it(void **state)
{
	struct volume_config config;
	struct config_error error;

	assert_int_equal(parse("[Volume]\nUse=ext4\nDiscard=always\nFileSystemLabel=swap.disk-1_+\n"
			       "ProjectQuota=yes\nMakeOptions=-O ^metadata_csum -i 65536\n"
			       "HotPlug=yes\n[Disk]\nSerial=d\n",
			       &config, &error),
			 0);
	assert_int_equal(config.discard, DISCARD_ALWAYS);
	assert_string_equal(config.label, "swap.disk-1_+");
	assert_true(config.project_quota);
	assert_string_equal(config.make_options, "-O ^metadata_csum -i 65536");
	assert_true(config.hot_plug);
	/* Nothing waits for it. */
	assert_false(config.required);
	assert_int_equal(parse("[Volume]\nUse=swap\nDiscard=fstrim\nFileSystemLabel=s\n"
			       "[Disk]\nSerial=d\n",
			       &config, &error),
			 0);
	assert_int_equal(config.discard, DISCARD_FSTRIM);
}

static void other_uses(void **state)
{
	struct volume_config config;
	struct config_error error;

	assert_int_equal(
		parse("[Volume]\nUse=swap\nPriority=32767\n[Disk]\nSize=1G\n", &config, &error), 0);
	assert_int_equal(config.use, VOLUME_SWAP);
	assert_int_equal(config.swap_priority, 32767);
	assert_int_equal(config.size_min, 1 << 30);
	assert_int_equal(config.size_max, 1 << 30);
	assert_string_equal(config.mount_options, "");
	assert_int_equal(parse("[Volume]\nUse=raw\nOwner=1\n[Disk]\nModel=m\n", &config, &error),
			 0);
	assert_int_equal(config.mode, 0600);
	assert_string_equal(config.mount_options, "");
	assert_int_equal(
		parse("[Volume]\nUse=overlay\nRequired=yes\n[Disk]\nSerial=a\n", &config, &error),
		0);
	assert_int_equal(config.use, VOLUME_OVERLAY);
	assert_string_equal(config.mount_options, "");
}

#define PATH_MESSAGE                                                                               \
	"' is not an absolute path without . and .., of letters, digits and / . _ - + @ : , = ~"
#define DISK "[Disk]\nSerial=a\n"

static void bad(void **state)
{
	static const struct {
		const char *text;
		unsigned line;
		const char *message;
	} cases[] = {
		{DISK, 0, "Use= is missing in [Volume]"},
		{"[Volume]\nUse=ext5\n" DISK, 2,
		 "Use=: 'ext5' is not one of ext4, xfs, swap, raw, overlay"},
		{"[Volume]\nUse=ext4\n", 0,
		 "no disk is described: [Disk] needs Serial=, Label=, WWN=, Path=, Model= or "
		 "Size="},
		{"[Volume]\nUse=ext4\n[Disk]\nDestroy=any\n", 0,
		 "no disk is described: [Disk] needs Serial=, Label=, WWN=, Path=, Model= or "
		 "Size="},
		{"[Volume]\nUse=ext4\nLayout=striped\n" DISK, 3,
		 "Layout=striped has no meaning without Disks= of at least 2"},
		{"[Volume]\nUse=ext4\nStripeSize=64K\n" DISK "Disks=2\n", 3,
		 "StripeSize= has no meaning without Layout=striped"},
		{"[Volume]\nStripeSize=2K\n", 2,
		 "StripeSize=: '2K' is not a power of two from 4K to 1M"},
		{"[Volume]\nStripeSize=96K\n", 2,
		 "StripeSize=: '96K' is not a power of two from 4K to 1M"},
		{"[Volume]\nStripeSize=2M\n", 2,
		 "StripeSize=: '2M' is not a power of two from 4K to 1M"},
		{"[Disk]\nDisks=0\n", 2, "Disks=: '0' is not a number from 1 to 8"},
		{"[Disk]\nDisks=9\n", 2, "Disks=: '9' is not a number from 1 to 8"},
		{"[Disk]\nOffset=0%\n", 2, "Offset=: '0%' is not a multiple of 1M, or 1% to 100%"},
		{"[Disk]\nOffset=101%\n", 2,
		 "Offset=: '101%' is not a multiple of 1M, or 1% to 100%"},
		{"[Disk]\nOffset=%\n", 2, "Offset=: '%' is not a multiple of 1M, or 1% to 100%"},
		{"[Disk]\nLength=1000K\n", 2,
		 "Length=: '1000K' is not a multiple of 1M, or 1% to 100%"},
		{"[Volume]\nUse=ext4\n" DISK "Offset=60%\nLength=41%\n", 6,
		 "Offset= and Length= are more than 100% together"},
		{"[Volume]\nFileSystemLabel=-x\n", 2,
		 "FileSystemLabel=: '-x' is not at most 16 letters, digits and . _ - +, not "
		 "beginning with -"},
		{"[Volume]\nFileSystemLabel=12345678901234567\n", 2,
		 "FileSystemLabel=: '12345678901234567' is not at most 16 letters, digits and . _ "
		 "- "
		 "+, not beginning with -"},
		{"[Volume]\nUse=xfs\nFileSystemLabel=1234567890123\n" DISK, 3,
		 "FileSystemLabel=: xfs takes at most 12 characters"},
		/* No other disk can be named. */
		{"[Volume]\nMakeOptions=-J device=/dev/vdb\n", 2,
		 "MakeOptions=: '-J device=/dev/vdb' is not words for mkfs, of letters, digits and "
		 ". "
		 "_ - + ^ : , ="},
		{"[Volume]\nUse=raw\nMakeOptions=-q\n" DISK, 3,
		 "MakeOptions= has no meaning with Use=raw"},
		{"[Volume]\nUse=swap\nProjectQuota=yes\n" DISK, 3,
		 "ProjectQuota= has no meaning with Use=swap"},
		{"[Volume]\nUse=swap\nHotPlug=yes\n" DISK, 3,
		 "HotPlug= has no meaning with Use=swap"},
		{"[Volume]\nUse=ext4\nHotPlug=yes\nRequired=yes\n" DISK, 4,
		 "Required=yes has no meaning with HotPlug=yes"},
		{"[Volume]\nBind=maybe\n", 2, "Bind=: 'maybe' is not yes or no"},
		{"[Volume]\nUse=overlay\nBind=yes\n" DISK, 3,
		 "Bind=yes cannot work with Use=overlay: the root comes before the admission"},
		{"[Volume]\nUse=ext4\nBind=yes\nMountPoint=/var\n" DISK, 3,
		 "Bind=yes cannot work with MountPoint=/var: the system needs it before the "
		 "admission"},
		{"[Volume]\nUse=ext4\nMountPoint=/tmp\nBind=yes\n" DISK, 4,
		 "Bind=yes cannot work with MountPoint=/tmp: the system needs it before the "
		 "admission"},
		{"[Volume]\nUse=xfs\nMountPoint=/usr/local/x\nBind=yes\n" DISK, 4,
		 "Bind=yes cannot work with MountPoint=/usr/local/x: the system needs it before "
		 "the "
		 "admission"},
		{"[Volume]\nDiscard=yes\n", 2, "Discard=: 'yes' is not one of no, fstrim, always"},
		{"[Volume]\nMountPoint=var\n", 2, "MountPoint=: 'var" PATH_MESSAGE},
		{"[Volume]\nMountPoint=/\n", 2, "MountPoint=: '/" PATH_MESSAGE},
		{"[Volume]\nMountPoint=/a/\n", 2, "MountPoint=: '/a/" PATH_MESSAGE},
		{"[Volume]\nMountPoint=/a//b\n", 2, "MountPoint=: '/a//b" PATH_MESSAGE},
		{"[Volume]\nMountPoint=/a/../b\n", 2, "MountPoint=: '/a/../b" PATH_MESSAGE},
		{"[Volume]\nMountPoint=/a/./b\n", 2, "MountPoint=: '/a/./b" PATH_MESSAGE},
		{"[Volume]\nMountPoint=/a b\n", 2, "MountPoint=: '/a b" PATH_MESSAGE},
		{"[Volume]\nMountPoint=/a%i\n", 2, "MountPoint=: '/a%i" PATH_MESSAGE},
		{"[Volume]\nMountOptions=a b\n", 2,
		 "MountOptions=: 'a b' is not options separated by commas, of at most 127 "
		 "characters"},
		{"[Volume]\nUse=overlay\nRequired=no\n" DISK, 3,
		 "Required=no has no meaning with Use=overlay"},
		{"[Volume]\nUse=overlay\nMountPoint=/a\n" DISK, 3,
		 "MountPoint= has no meaning with Use=overlay"},
		{"[Volume]\nUse=overlay\nOwner=a\n" DISK, 3,
		 "Owner= has no meaning with Use=overlay"},
		{"[Volume]\nUse=swap\nMountPoint=/a\n" DISK, 3,
		 "MountPoint= has no meaning with Use=swap"},
		{"[Volume]\nMountPoint=/a\nUse=raw\n" DISK, 2,
		 "MountPoint= has no meaning with Use=raw"},
		{"[Volume]\nUse=raw\nMountOptions=a\n" DISK, 3,
		 "MountOptions= has no meaning with Use=raw"},
		{"[Volume]\nUse=xfs\nMountOptions=a\n" DISK, 3,
		 "MountOptions= has no meaning without MountPoint="},
		{"[Volume]\nUse=swap\nOwner=a\n" DISK, 3, "Owner= has no meaning with Use=swap"},
		{"[Volume]\nUse=swap\nGroup=a\n" DISK, 3, "Group= has no meaning with Use=swap"},
		{"[Volume]\nUse=swap\nMode=600\n" DISK, 3, "Mode= has no meaning with Use=swap"},
		{"[Volume]\nUse=ext4\nPriority=1\n" DISK, 3,
		 "Priority= has no meaning with Use=ext4"},
		{"[Volume]\nOwner=a:b\n", 2, "Owner=: 'a:b' is not a user's name or number"},
		{"[Volume]\nGroup=-1\n", 2, "Group=: '-1' is not a group's name or number"},
		{"[Volume]\nMode=888\n", 2, "Mode=: '888' is not three or four octal digits"},
		{"[Volume]\nRequired=2\n", 2, "Required=: '2' is not yes or no"},
		{"[Volume]\nDeviceTimeoutSec=2h\n", 2,
		 "DeviceTimeoutSec=: '2h' is not a time of at most 1 h"},
		{"[Volume]\nSegmentSize=15M\n", 2,
		 "SegmentSize=: '15M' is not a multiple of 1M from 16M to 1T"},
		{"[Volume]\nSegmentSize=2T\n", 2,
		 "SegmentSize=: '2T' is not a multiple of 1M from 16M to 1T"},
		{"[Volume]\nSegmentSize=16777217\n", 2,
		 "SegmentSize=: '16777217' is not a multiple of 1M from 16M to 1T"},
		{"[Volume]\nPriority=32768\n", 2,
		 "Priority=: '32768' is not a number from 0 to 32767"},
		{"[Disk]\nPath=/dev/vdb\n", 2,
		 "Path=: '/dev/vdb' is not a path below /dev/disk/by-*/ of at most 127 characters"},
		{"[Disk]\nPath=/dev/disk/by-id/../../sda\n", 2,
		 "Path=: '/dev/disk/by-id/../../sda' is not a path below /dev/disk/by-*/ of at "
		 "most "
		 "127 characters"},
		{"[Disk]\nSize=16G-8G\n", 2,
		 "Size=: '16G-8G' is not a size or two, like 8G or 8G-16G"},
		{"[Disk]\nSize=8G-\n", 2, "Size=: '8G-' is not a size or two, like 8G or 8G-16G"},
		{"[Disk]\nSize=-8G\n", 2, "Size=: '-8G' is not a size or two, like 8G or 8G-16G"},
		{"[Disk]\nDestroy=ext4,xfs\n", 2,
		 "Destroy=: 'ext4,xfs' is not a list of signature types, or any"},
		{"[Disk]\nQueueRequests=0\n", 2,
		 "QueueRequests=: '0' is not a number from 4 to 1024"},
		{"[Disk]\nUse=ext4\n", 2, "unknown setting Use= in [Disk]"},
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		struct config_error error = {};
		struct volume_config config;

		assert_int_equal(parse(cases[i].text, &config, &error), -EBADMSG);
		assert_string_equal(error.text, cases[i].message);
		assert_int_equal(error.line, cases[i].line);
		assert_true(bytes_are_zero(&config, sizeof(config)));
	}
}

static void texts_must_fit(void **state)
{
	char text[256] = "[Volume]\nUse=ext4\n[Disk]\nSerial=";
	size_t len = strlen(text);
	struct volume_config config;
	struct config_error error;

	memset(text + len, 's', 127);
	assert_int_equal(parse(text, &config, &error), 0);
	assert_int_equal(strlen(config.match[MATCH_SERIAL]), 127);
	text[len + 127] = 's';
	assert_int_equal(parse(text, &config, &error), -EBADMSG);
	assert_int_equal(error.line, 4);
}

static void names(void **state)
{
	static const char text[] = "[Volume]\nUse=ext4\n" DISK;
	static const char *const good[] = {"a",
					   "pg-data_1.x",
					   "a-s",
					   "a-sx",
					   "s0",
					   "a-s0x",
					   "1234567890123456789012345678901"};
	/* The last three would be a segment's map, or clash with one. */
	static const char *const wrong[] = {"",	    ".a",    "-a",
					    "a b",  "a/b",   "12345678901234567890123456789012",
					    "a-s0", "a-s12", "-s0"};
	struct volume_config config;
	struct config_error error;

	for (size_t i = 0; i < ELEMENTSOF(good); i++)
		assert_int_equal(volume_config_parse(text, strlen(text), good[i], &config, &error),
				 0);
	for (size_t i = 0; i < ELEMENTSOF(wrong); i++) {
		assert_int_equal(volume_config_parse(text, strlen(text), wrong[i], &config, &error),
				 -EBADMSG);
		assert_non_null(strstr(error.text, "is no name for a volume"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(smallest),
		cmocka_unit_test(everything),
		cmocka_unit_test(disks_and_parts),
		cmocka_unit_test(bound),
		cmocka_unit_test(what_is_made_on_it),
		cmocka_unit_test(other_uses),
		cmocka_unit_test(bad),
		cmocka_unit_test(texts_must_fit),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
