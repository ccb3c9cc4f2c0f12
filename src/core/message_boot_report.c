/* SPDX-License-Identifier: Apache-2.0 */
/* The boot report: what booted; its SHA-256 is the admission. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "core/field.h"

#define MAGIC	    "EMBRPT01"
#define VOLUMES	    464
#define VOLUME_SIZE 44

static void put_volume(uint8_t *bytes, const struct report_volume *volume)
{
	field_put_text(bytes, sizeof(volume->name), volume->name);
	bytes[32] = (uint8_t)volume->use;
	bytes[33] = (uint8_t)volume->state;
	put_be16(bytes + 34, volume->n_segments);
	put_be64(bytes + 36, volume->bytes);
}

static bool get_volume(const uint8_t *bytes, struct report_volume *volume)
{
	uint8_t use = bytes[32], state = bytes[33];

	if (!field_get_name(bytes, sizeof(volume->name), volume->name) || use < VOLUME_EXT4 ||
	    use >= VOLUME_USE__MAX || state >= VOLUME_STATE__MAX)
		return false;
	volume->use = use;
	volume->state = state;
	volume->n_segments = get_be16(bytes + 34);
	volume->bytes = get_be64(bytes + 36);
	return true;
}

void boot_report_encode(const struct boot_report *report, uint8_t bytes[static BOOT_REPORT_SIZE])
{
	memset(bytes, 0, BOOT_REPORT_SIZE);
	memcpy(bytes, MAGIC, MAGIC_SIZE);
	field_put_text(bytes + 8, sizeof(report->workspace), report->workspace);
	field_put_text(bytes + 72, sizeof(report->vm), report->vm);
	memcpy(bytes + 136, report->boot_id, BOOT_ID_SIZE);
	memcpy(bytes + 152, report->boot_key, PUBLIC_KEY_SIZE);
	memcpy(bytes + 184, report->plan_hash, HASH_SIZE);
	put_be32(bytes + 216, report->self_test_passed);
	put_be32(bytes + 220, report->self_test_failed);
	field_put_text(bytes + 224, sizeof(report->version), report->version);
	field_put_text(bytes + 256, sizeof(report->kernel), report->kernel);
	field_put_text(bytes + 320, sizeof(report->failure), report->failure);
	put_be32(bytes + 448, report->n_volumes);
	put_be16(bytes + 452, report->bound);
	for (size_t i = 0; i < report->n_volumes && i < VOLUMES_MAX; i++)
		put_volume(bytes + VOLUMES + i * VOLUME_SIZE, &report->volumes[i]);
	memcpy(bytes + 1168, report->vm_signature, SIGNATURE_SIZE);
	memcpy(bytes + 1232, report->boot_signature, SIGNATURE_SIZE);
}

static bool get_volumes(const uint8_t *bytes, struct boot_report *report)
{
	size_t used;

	report->n_volumes = get_be32(bytes + 448);
	if (report->n_volumes > VOLUMES_MAX)
		return false;
	for (size_t i = 0; i < report->n_volumes; i++)
		if (!get_volume(bytes + VOLUMES + i * VOLUME_SIZE, &report->volumes[i]))
			return false;
	report->bound = get_be16(bytes + 452);
	if (report->bound >> report->n_volumes != 0)
		return false;
	used = report->n_volumes * (size_t)VOLUME_SIZE;
	return bytes_are_zero(bytes + VOLUMES + used, VOLUMES_MAX * VOLUME_SIZE - used);
}

static bool get_texts(const uint8_t *bytes, struct boot_report *report)
{
	return field_get_name(bytes + 8, sizeof(report->workspace), report->workspace) &&
	       field_get_name(bytes + 72, sizeof(report->vm), report->vm) &&
	       field_get_text(bytes + 224, sizeof(report->version), report->version) &&
	       field_get_text(bytes + 256, sizeof(report->kernel), report->kernel) &&
	       field_get_text(bytes + 320, sizeof(report->failure), report->failure);
}

int boot_report_decode(const uint8_t *bytes, size_t size, struct boot_report *ret_report)
{
	struct boot_report report = {};

	if (!field_starts(bytes, size, BOOT_REPORT_SIZE, MAGIC) ||
	    !bytes_are_zero(bytes + 454, 10) || !get_texts(bytes, &report) ||
	    !get_volumes(bytes, &report))
		return -EBADMSG;
	memcpy(report.boot_id, bytes + 136, BOOT_ID_SIZE);
	memcpy(report.boot_key, bytes + 152, PUBLIC_KEY_SIZE);
	memcpy(report.plan_hash, bytes + 184, HASH_SIZE);
	report.self_test_passed = get_be32(bytes + 216);
	report.self_test_failed = get_be32(bytes + 220);
	memcpy(report.vm_signature, bytes + 1168, SIGNATURE_SIZE);
	memcpy(report.boot_signature, bytes + 1232, SIGNATURE_SIZE);
	*ret_report = report;
	return 0;
}
