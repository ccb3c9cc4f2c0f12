/* SPDX-License-Identifier: Apache-2.0 */
/* What the audit log does by itself: checkpoints to the journal, and the ends of leases. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "manager/audit.h"
#include "manager/audit_checkpoint.h"
#include "manager/leases.h"
#include "manager/manager.h"
#include "manager/signing.h"

#define CHECKPOINT_RECORDS 100
#define TICK_US		   (10ull * 1000000)
#define TICKS_SAID	   6 /* a checkpoint where there is a new record */
#define SLACK_US	   500000
#define ENDS_MAX	   256 /* a tick: the others wait for the next */

struct audit_log {
	struct manager *manager;
	sd_event_source *timer;
	unsigned ticks;
	uint64_t said; /* number of the last checkpoint in the journal */
};

int audit_checkpoint_make(struct manager *manager, uint8_t ret_bytes[static AUDIT_CHECKPOINT_SIZE])
{
	struct audit_checkpoint checkpoint = {.made_at = leases_time().real_ms / 1000};
	int r;

	r = store_audit_head(manager->store, &checkpoint.head);
	if (r < 0)
		return r;
	if (checkpoint.head.number == 0)
		return -ENOENT;
	return signing_checkpoint(manager->signing, &checkpoint, ret_bytes);
}

/* Only of what is committed. */
static void say(struct audit_log *log, uint64_t number)
{
	uint8_t bytes[AUDIT_CHECKPOINT_SIZE];
	char hex[2 * AUDIT_CHECKPOINT_SIZE + 1];
	int r;

	r = audit_checkpoint_make(log->manager, bytes);
	if (r < 0) {
		log_errno(r, "audit: cannot make a checkpoint");
		return;
	}
	hex_encode(bytes, sizeof(bytes), hex);
	log_notice("audit: checkpoint of record %" PRIu64 ": %s", number, hex);
	log->said = number;
	log->ticks = 0;
}

/* Says one where AT_LEAST new records are there. */
static void consider(struct audit_log *log, uint64_t at_least)
{
	struct audit_head head;

	if (store_is_dirty(log->manager->store) || store_audit_head(log->manager->store, &head) < 0)
		return;
	if (head.number >= log->said + at_least)
		say(log, head.number);
}

void audit_log_committed(struct audit_log *log)
{
	consider(log, CHECKPOINT_RECORDS);
}

/* --- the ends of leases --- */

struct ends {
	size_t n;
	struct store_boot boots[ENDS_MAX];
};

static int collect(const struct store_boot *boot, void *userdata)
{
	struct ends *ends = userdata;

	ends->boots[ends->n++] = *boot;
	return 0;
}

/* That a lease has run out is nobody's request: it is noticed here, once. */
static void record_ends(struct manager *manager)
{
	uint64_t now_ms = leases_time().real_ms;
	struct ends *ends = calloc(1, sizeof(*ends));
	int r = ends ? 0 : -ENOMEM;

	if (r == 0)
		r = store_boots_to_end(manager->store, now_ms, ENDS_MAX, collect, ends);
	for (size_t i = 0; r == 0 && i < ends->n; i++) {
		const struct store_boot *boot = &ends->boots[i];
		enum engine_class class = engine_class(boot, now_ms);

		r = store_boot_set_ended(manager->store, boot->admission);
		/* Receipts are on record themselves. */
		if (r == 0 && class != CLASS_RECEIPT)
			audit_add_boot(manager->store, boot, "lease-ended",
				       json_pack("{s:s, s:I}", "class", engine_class_name(class),
						 "fence_ms", (json_int_t)boot->fence_ms));
	}
	if (r < 0)
		log_errno(r, "audit: cannot record which leases have ended");
	free(ends);
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct audit_log *log = userdata;

	record_ends(log->manager);
	if (++log->ticks >= TICKS_SAID)
		consider(log, 1);
	sd_event_source_set_time(source, clock_boottime_ns() / 1000 + TICK_US);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int audit_log_new(struct manager *manager, struct audit_log **ret_log)
{
	struct audit_log *log = calloc(1, sizeof(*log));
	int r;

	if (!log)
		return -ENOMEM;
	log->manager = manager;
	r = sd_event_add_time(manager->event, &log->timer, CLOCK_BOOTTIME, 0, SLACK_US, on_tick,
			      log);
	if (r < 0) {
		free(log);
		return r;
	}
	/* Who cut the log off while no manager ran is found by what the last one said. */
	consider(log, 1);
	*ret_log = log;
	return 0;
}

struct audit_log *audit_log_free(struct audit_log *log)
{
	if (!log)
		return NULL;
	consider(log, 1);
	sd_event_source_disable_unref(log->timer);
	free(log);
	return NULL;
}
