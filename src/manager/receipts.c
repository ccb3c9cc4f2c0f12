/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/receipt: what a boot says about its shred is verified with its boot key and kept. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "keys/sign.h"
#include "manager/admin_receipt.h"
#include "manager/audit.h"
#include "manager/leases.h"
#include "manager/metrics.h"
#include "manager/routes_vm.h"

/* The boot, its report, its verified receipt; false where the request has been answered. */
static bool receipt_verified(struct http_request *http, struct store_boot *boot,
			     struct boot_report *report, struct receipt *receipt)
{
	if (receipt_decode(http->body, http->body_size, receipt) < 0) {
		vm_reply_malformed(http);
		return false;
	}
	if (!vm_boot_find(http, receipt->admission, boot, report))
		return false;
	if (receipt_verify(http->body, http->body_size, report->boot_key, receipt) < 0) {
		vm_reply_unsigned(http, "the boot key");
		return false;
	}
	return leases_may_request(http->manager->leases, http, boot->vm);
}

static void record(struct store *store, const struct store_boot *boot,
		   const struct receipt *receipt, const struct store_receipt *row, bool keys_gone)
{
	char hex[2 * HASH_SIZE + 1] = "";
	uint8_t hash[HASH_SIZE];

	if (sha256(row->bytes, sizeof(row->bytes), hash) == 0)
		hex_encode(hash, sizeof(hash), hex);
	audit_add_boot(store, boot, "receipt",
		       json_pack("{s:s, s:s, s:b, s:s}", "kind",
				 receipt->kind == RECEIPT_CLOSING ? "closing" : "keys", "reason",
				 reason_name(receipt->reason), "keys_gone", keys_gone, "sha256",
				 hex));
}

/* With its receipt a boot has ended, whatever the manager thought of it. */
static int receipt_store(struct http_request *http, struct store_boot *boot,
			 const struct receipt *receipt, bool keys_gone)
{
	struct store *store = http->manager->store;
	struct store_receipt row = {
		.kind = receipt->kind,
		.received_ms = leases_time().real_ms,
	};
	int r;

	memcpy(row.admission, receipt->admission, HASH_SIZE);
	memcpy(row.bytes, http->body, RECEIPT_SIZE);
	r = store_receipt_insert(store, &row);
	if (r < 0)
		return r;
	if (r > 0)
		record(store, boot, receipt, &row, keys_gone);
	if (boot->state != BOOT_ENDING && boot->state != BOOT_OFF)
		boot->reason = receipt->reason;
	boot->state = BOOT_OFF;
	boot->keys_gone = boot->keys_gone || keys_gone;
	boot->last_ms = row.received_ms;
	return store_boot_update(store, boot);
}

void receipt_handle(struct http_request *http)
{
	struct boot_report report;
	struct store_boot boot;
	struct receipt receipt;
	bool keys_gone;
	int r;

	if (!receipt_verified(http, &boot, &report, &receipt))
		return;
	keys_gone = receipt_says_gone(&report, &receipt);
	r = receipt_store(http, &boot, &receipt, keys_gone);
	if (r == -ENOSPC) {
		http_reply_error(http, 409, "enough", "this boot has sent its receipts");
	} else if (r < 0) {
		vm_reply_store_error(http);
	} else {
		metrics_count(http->manager, METRIC_RECEIPTS);
		log_notice("%s/%s: receipt: %s, %s", boot.workspace_name, boot.vm_name,
			   reason_name(receipt.reason),
			   keys_gone ? "keys gone" : "it does not say that every key is gone");
		/* Not an empty 204: libcurl 7.88 notices the end of one over HTTP/2 only with the
		 * next bytes of the connection, and a VM that waits is about to go off. */
		http_reply_bytes(http, 200, "text/plain", "ok\n", 3);
	}
}
