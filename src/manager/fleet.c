/* SPDX-License-Identifier: Apache-2.0 */
/* The fleet as JSON: each boot, its lease, its volumes, and the class its keys are in. */
#include "base/bytes.h"
#include "manager/admin_receipt.h"
#include "manager/lease_engine.h"
#include "manager/leases.h"
#include "manager/manager.h"

#define SHOWN_MS (7ull * 24 * 3600 * 1000) /* boots that ended earlier are not listed */

struct walk {
	struct store *store;
	json_t *rows;
	uint64_t now_ms;
};

static json_t *volumes(const struct boot_report *report)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < report->n_volumes; i++) {
		const struct report_volume *v = &report->volumes[i];

		if (json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:b, s:i, s:I}", "name",
							  v->name, "use", volume_use_name(v->use),
							  "state", volume_state_name(v->state),
							  "bound", report->bound >> i & 1,
							  "segments", (int)v->n_segments, "bytes",
							  (json_int_t)v->bytes)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static const char *verdict_of(const struct store_boot *boot)
{
	struct token token;

	if (boot->state == BOOT_ENDING || (boot->state == BOOT_OFF && boot->shred_token[0]))
		return verdict_name(VERDICT_SHRED);
	if (token_decode(boot->token, sizeof(boot->token), &token) < 0)
		return "";
	return verdict_name(token.verdict);
}

/* A store that was rolled back is the first thing an operator must see. */
static const char *state_of(const struct store_boot *boot, uint64_t now_ms)
{
	return boot->frozen && boot->state == BOOT_LIVE ? "rolled back"
							: engine_state_name(boot, now_ms);
}

/* How a boot said that it ends; "" where it did not. */
static const char *ending_of(const struct store_boot *boot)
{
	struct ending ending;

	if (ending_decode(boot->ending, sizeof(boot->ending), &ending) < 0)
		return "";
	return end_verb_name(ending.verb);
}

struct gone_search {
	const struct boot_report *report;
	uint64_t received_ms;
};

static int says_gone(const struct store_receipt *stored, void *userdata)
{
	struct gone_search *search = userdata;
	struct receipt receipt;

	if (receipt_decode(stored->bytes, sizeof(stored->bytes), &receipt) < 0 ||
	    !receipt_says_gone(search->report, &receipt))
		return 0;
	search->received_ms = stored->received_ms;
	return 1;
}

/* Seconds, never too early; 0: no such time. */
static json_int_t gone_by(struct store *store, const struct store_boot *boot,
			  const struct boot_report *report, uint64_t now_ms)
{
	struct gone_search search = {.report = report};

	if (boot->keys_gone && store_receipts(store, boot->admission, says_gone, &search) < 0)
		return 0;
	return (json_int_t)((engine_gone_by(boot, search.received_ms, now_ms) + 999) / 1000);
}

static json_t *row(const struct walk *walk, const struct store_boot *boot)
{
	uint64_t now_ms = walk->now_ms;
	char boot_id[2 * BOOT_ID_SIZE + 1], admission[2 * HASH_SIZE + 1];
	uint64_t until = boot->granted_ms > 0 ? boot->granted_ms + boot->lease_ms : 0;
	struct boot_report report;

	if (boot_report_decode(boot->report, sizeof(boot->report), &report) < 0)
		return NULL;
	hex_encode(report.boot_id, BOOT_ID_SIZE, boot_id);
	hex_encode(boot->admission, HASH_SIZE, admission);
	return json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:I, s:s, s:s, s:i, "
		"s:i, s:i, s:o, s:s, s:s}",
		"workspace", boot->workspace_name, "vm", boot->vm_name, "boot_id", boot_id,
		"admission", admission, "state", state_of(boot, now_ms), "verdict",
		verdict_of(boot), "reason", reason_name(boot->reason), "lease_until",
		(json_int_t)(until / 1000), "last_seen", (json_int_t)(boot->last_ms / 1000),
		"class", engine_class_name(engine_class(boot, now_ms)), "gone_by",
		gone_by(walk->store, boot, &report, now_ms), "version", report.version, "kernel",
		report.kernel, "self_test_passed", (int)boot->self_test_passed, "self_test_failed",
		(int)boot->self_test_failed, "pauses", (int)boot->pauses, "volumes",
		volumes(&report), "failure", report.failure, "ending", ending_of(boot));
}

static int add_row(const struct store_boot *boot, void *userdata)
{
	struct walk *walk = userdata;

	return json_array_append_new(walk->rows, row(walk, boot));
}

json_t *fleet_list(struct manager *manager, const char *workspace)
{
	struct walk walk = {
		.store = manager->store,
		.rows = json_array(),
		.now_ms = leases_time().real_ms,
	};

	if (walk.rows && store_boots_since(manager->store, workspace, walk.now_ms - SHOWN_MS,
					   add_row, &walk) != 0) {
		json_decref(walk.rows);
		return NULL;
	}
	return walk.rows;
}
