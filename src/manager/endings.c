/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/ending: a boot says that it ends in good order. Verified with its boot key and kept; its lease
 * goes on as before. */
#include <string.h>

#include "base/log.h"
#include "keys/sign.h"
#include "manager/leases.h"
#include "manager/metrics.h"
#include "manager/routes_vm.h"

/* The boot and its verified note; false where the request has been answered. */
static bool ending_verified(struct http_request *http, struct store_boot *boot,
			    struct ending *ending)
{
	struct boot_report report;

	if (ending_decode(http->body, http->body_size, ending) < 0) {
		vm_reply_malformed(http);
		return false;
	}
	if (!vm_boot_find(http, ending->admission, boot, &report))
		return false;
	if (ending_verify(http->body, http->body_size, report.boot_key, ending) < 0) {
		vm_reply_unsigned(http, "the boot key");
		return false;
	}
	return leases_may_request(http->manager->leases, http, boot->vm);
}

/* The first counts, and says when: what comes later cannot put the end off. A boot that has been told to
 * shred, or has left its receipt, has more to say than this. */
static int ending_store(struct http_request *http, struct store_boot *boot,
			const struct ending *ending)
{
	if (boot->ending_ms > 0 || boot->state == BOOT_ENDING || boot->state == BOOT_OFF)
		return 0;
	memcpy(boot->ending, http->body, ENDING_SIZE);
	boot->ending_ms = leases_time().real_ms;
	boot->last_ms = boot->ending_ms;
	metrics_count(http->manager, METRIC_ENDINGS);
	log_notice("%s/%s: ends in good order: %s, within %u s", boot->workspace_name,
		   boot->vm_name, end_verb_name(ending->verb), ending->bound_ms / 1000);
	return store_boot_update(http->manager->store, boot);
}

void ending_handle(struct http_request *http)
{
	struct store_boot boot;
	struct ending ending;

	if (!ending_verified(http, &boot, &ending))
		return;
	if (ending_store(http, &boot, &ending) < 0)
		vm_reply_store_error(http);
	else
		/* With a body, for the reason that receipts.c gives. */
		http_reply_bytes(http, 200, "text/plain", "ok\n", 3);
}
