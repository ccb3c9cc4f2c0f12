/* SPDX-License-Identifier: Apache-2.0 */
/* The boot report: layout, round trip, form. */
#include "base/bytes.h"
#include "base/parse.h"
#include "core/message.h"
#include "record.h"

static int decode(const uint8_t *bytes, size_t size, void *ret)
{
	return boot_report_decode(bytes, size, ret);
}
static const struct record_kind kind = {BOOT_REPORT_SIZE, sizeof(struct boot_report), decode};

static struct boot_report example(void)
{
	struct boot_report report = {
		.workspace = "acme",
		.vm = "db-1",
		.self_test_passed = 0x01020304,
		.self_test_failed = 0x05060708,
		.version = "0.1.0",
		.kernel = "6.1.0-1-amd64",
		.failure = "volume data: no disk matches Serial=x",
		.n_volumes = 2,
		.bound = 2,
		.volumes = {{"data", VOLUME_EXT4, VOLUME_READY, 0x0102, 0x1112131415161718},
			    {"swap", VOLUME_SWAP, VOLUME_FAILED, 1, 4096}},
	};

	memset(report.boot_id, 0xb1, BOOT_ID_SIZE);
	memset(report.boot_key, 0xb2, PUBLIC_KEY_SIZE);
	memset(report.plan_hash, 0xb3, HASH_SIZE);
	memset(report.vm_signature, 0x51, SIGNATURE_SIZE);
	memset(report.boot_signature, 0x52, SIGNATURE_SIZE);
	return report;
}

static void text_lies_at(const uint8_t *bytes, size_t size, const char *text)
{
	char padded[128];

	assert_int_equal(copy_text(padded, size, text), 0);
	assert_memory_equal(bytes, padded, size);
}

static void lies_as_documented(void **state)
{
	static const uint8_t volume[] = {VOLUME_EXT4, VOLUME_READY, 1,	  2,	0x11, 0x12,
					 0x13,	      0x14,	    0x15, 0x16, 0x17, 0x18};
	struct boot_report report = example();
	uint8_t bytes[BOOT_REPORT_SIZE];

	boot_report_encode(&report, bytes);
	assert_memory_equal(bytes, "EMBRPT01", 8);
	text_lies_at(bytes + 8, 64, "acme");
	text_lies_at(bytes + 72, 64, "db-1");
	assert_memory_equal(bytes + 136, report.boot_id, 16);
	assert_memory_equal(bytes + 152, report.boot_key, 32);
	assert_memory_equal(bytes + 184, report.plan_hash, 32);
	assert_memory_equal(bytes + 216, "\1\2\3\4\5\6\7\10", 8);
	text_lies_at(bytes + 224, 32, "0.1.0");
	text_lies_at(bytes + 256, 64, "6.1.0-1-amd64");
	text_lies_at(bytes + 320, 128, report.failure);
	assert_memory_equal(bytes + 448, "\0\0\0\2\0\2\0\0\0\0\0\0\0\0\0\0", 16);
	text_lies_at(bytes + 464, 32, "data");
	assert_memory_equal(bytes + 496, volume, sizeof(volume));
	text_lies_at(bytes + 508, 32, "swap");
	assert_true(bytes_are_zero(bytes + 552, 1168 - 552));
	assert_memory_equal(bytes + 1168, report.vm_signature, 64);
	assert_memory_equal(bytes + 1232, report.boot_signature, 64);
}

static void round_trip(void **state)
{
	struct boot_report report = example(), back;
	uint8_t bytes[BOOT_REPORT_SIZE], again[BOOT_REPORT_SIZE];

	boot_report_encode(&report, bytes);
	assert_int_equal(boot_report_decode(bytes, sizeof(bytes), &back), 0);
	assert_string_equal(back.workspace, "acme");
	assert_string_equal(back.vm, "db-1");
	assert_string_equal(back.failure, report.failure);
	assert_int_equal(back.n_volumes, 2);
	assert_int_equal(back.bound, 2);
	assert_string_equal(back.volumes[0].name, "data");
	assert_int_equal(back.volumes[0].n_segments, 0x0102);
	assert_int_equal(back.volumes[1].use, VOLUME_SWAP);
	assert_int_equal(back.volumes[1].state, VOLUME_FAILED);
	assert_int_equal(back.volumes[1].bytes, 4096);
	boot_report_encode(&back, again);
	assert_memory_equal(bytes, again, sizeof(bytes));
}

static void form(void **state)
{
	struct boot_report report = example();
	uint8_t bytes[BOOT_REPORT_SIZE];

	boot_report_encode(&report, bytes);
	record_has_one_size(&kind, bytes);
	record_is_fixed_at(&kind, bytes, 0, 8);
	record_is_fixed_at(&kind, bytes, 448, 3);
	record_is_fixed_at(&kind, bytes, 454, 10);
	/* Only volumes that are there are bound. */
	record_is_fixed_at(&kind, bytes, 452, 1);
	record_takes_at(&kind, bytes, 453, 0, 3);
	record_is_fixed_at(&kind, bytes, 464 + 2 * 44, 14 * 44);
	/* Two volumes are there: more would have no name, fewer leave bytes that must be zero. */
	record_takes_at(&kind, bytes, 451, 2, 2);
	record_takes_at(&kind, bytes, 496, VOLUME_EXT4, VOLUME_OVERLAY);
	record_takes_at(&kind, bytes, 497, VOLUME_PLANNED, VOLUME_FAILED);
	record_takes_at(&kind, bytes, 540, VOLUME_EXT4, VOLUME_OVERLAY);
	record_has_text_at(&kind, bytes, 8, 64, true);
	record_has_text_at(&kind, bytes, 72, 64, true);
	record_has_text_at(&kind, bytes, 224, 32, false);
	record_has_text_at(&kind, bytes, 256, 64, false);
	record_has_text_at(&kind, bytes, 320, 128, false);
	record_has_text_at(&kind, bytes, 464, 32, true);
}

static void full(void **state)
{
	struct boot_report report = example(), back;
	uint8_t bytes[BOOT_REPORT_SIZE];

	report.n_volumes = VOLUMES_MAX;
	for (unsigned i = 0; i < VOLUMES_MAX; i++)
		report.volumes[i] = report.volumes[0];
	boot_report_encode(&report, bytes);
	assert_int_equal(boot_report_decode(bytes, sizeof(bytes), &back), 0);
	assert_string_equal(back.volumes[VOLUMES_MAX - 1].name, "data");
	report.n_volumes = VOLUMES_MAX + 1;
	boot_report_encode(&report, bytes);
	/* What lies where one more would lie could be one. */
	memcpy(bytes + 1168, bytes + 464, 44);
	record_is_refused(&kind, bytes, sizeof(bytes));
}

static void text_without_end_is_cut(void **state)
{
	struct boot_report report = example(), back;
	uint8_t bytes[BOOT_REPORT_SIZE];

	memset(report.kernel, 'k', sizeof(report.kernel));
	boot_report_encode(&report, bytes);
	assert_int_equal(boot_report_decode(bytes, sizeof(bytes), &back), 0);
	assert_int_equal(strlen(back.kernel), sizeof(report.kernel) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lies_as_documented),
		cmocka_unit_test(round_trip),
		cmocka_unit_test(form),
		cmocka_unit_test(full),
		cmocka_unit_test(text_without_end_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
