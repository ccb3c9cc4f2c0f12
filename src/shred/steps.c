/* SPDX-License-Identifier: Apache-2.0 */
/* Carries out a shred: drives the machine with the threads of one process. */
#include "shred/steps.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/io.h"
#include "core/lease.h"

int steps_prepare(struct steps *steps, unsigned slot)
{
	struct steps_segment *segment = &steps->segments[slot];

	segment->shared = steps->shared;
	segment->map = &steps->shared->maps[slot];
	segment->dm_fd = steps->dm_fd;
	return worker_start(&segment->worker, steps->done_fd);
}

static void note_fate(struct steps_segment *segment, int r)
{
	struct shared_map *map = segment->map;
	uint64_t start_ns = atomic_load(&segment->shared->start_ns);

	if (r == -ENXIO) {
		atomic_store(&map->fate, SEGMENT_ABSENT);
	} else if (r == 0) {
		/* Never earlier than it was. */
		atomic_store(&map->wiped_us,
			     (unsigned)((clock_boottime_ns() - start_ns + 999) / 1000));
		atomic_store(&map->fate, SEGMENT_WIPED);
	}
}

/* Step 1, in a segment's thread. */
static void destroy_key(void *argument)
{
	struct steps_segment *segment = argument;
	struct shared_map *map = segment->map;

	/* By the process that this one has taken over from. */
	if (atomic_load(&map->fate) == SEGMENT_WIPED)
		return;
	/* It may have been absent at step 1 and be there now: that counts until it is wiped. */
	atomic_store(&map->fate, SEGMENT_UNWIPED);
	note_fate(segment,
		  dm_destroy_key(segment->dm_fd, &segment->buffer, map->name, map->length_sectors));
}

/* Step 2, in a segment's thread. A map that has come into being since step 1, or whose key could
 * not be destroyed then, gets its second chance. */
static void unblock(void *argument)
{
	struct steps_segment *segment = argument;
	struct shared_map *map = segment->map;

	destroy_key(segment);
	if (atomic_load(&map->fate) == SEGMENT_WIPED &&
	    dm_swap_to_error(segment->dm_fd, &segment->buffer, map->name, map->length_sectors) == 0)
		atomic_store(&map->fails, 1);
	else if (atomic_load(&map->fate) == SEGMENT_ABSENT)
		atomic_store(&map->fails, 1);
}

static void ask_all(struct steps *steps, void (*job)(void *argument))
{
	for (unsigned i = 0; i < SEGMENTS_MAX; i++) {
		struct steps_segment *segment = &steps->segments[i];

		segment->asked = atomic_load(&steps->shared->maps[i].used) &&
				 worker_give(&segment->worker, job, segment);
	}
}

static bool all_done(struct steps *steps)
{
	if (steps->unblock_ns != 0)
		return false;
	for (unsigned i = 0; i < SEGMENTS_MAX; i++)
		if (steps->segments[i].asked && worker_is_busy(&steps->segments[i].worker))
			return false;
	return true;
}

static bool all_wiped(struct steps *steps)
{
	for (unsigned i = 0; i < SEGMENTS_MAX; i++) {
		struct shared_map *map = &steps->shared->maps[i];

		if (atomic_load(&map->used) && atomic_load(&map->fate) == SEGMENT_UNWIPED)
			return false;
	}
	return true;
}

static void wipe_boot_key(struct steps *steps)
{
	secret_wipe(steps->boot_key);
	steps->boot_key_gone_ns = clock_boottime_ns();
	atomic_store(&steps->shared->boot_key_held, 0);
}

/* Whether A comes before B in a report: in the order of wiping, the others after those. */
static bool is_before(const struct receipt_segment *a, const struct receipt_segment *b)
{
	if ((a->fate == SEGMENT_WIPED) != (b->fate == SEGMENT_WIPED))
		return a->fate == SEGMENT_WIPED;
	return a->wiped_us < b->wiped_us;
}

static void report_segment(struct keeper_report *report, struct shared_map *map)
{
	struct receipt_segment entry = {
		.segment = (uint16_t)map->segment,
		.fate = (enum segment_fate)atomic_load(&map->fate),
		.wiped_us = atomic_load(&map->wiped_us),
	};
	uint32_t at = report->n_segments++;

	memcpy(entry.volume, map->volume, sizeof(entry.volume));
	for (; at > 0 && is_before(&entry, &report->segments[at - 1]); at--)
		report->segments[at] = report->segments[at - 1];
	report->segments[at] = entry;
}

/* T3, when the last one went; 0 while a segment is unwiped. */
static uint64_t keys_gone_at(struct steps *steps)
{
	uint64_t start_ns = atomic_load(&steps->shared->start_ns);
	uint64_t gone_ns = steps->boot_key_gone_ns;

	if (!all_wiped(steps))
		return 0;
	for (unsigned i = 0; i < SEGMENTS_MAX; i++) {
		struct shared_map *map = &steps->shared->maps[i];
		uint64_t ns = start_ns + atomic_load(&map->wiped_us) * 1000ull;

		if (atomic_load(&map->used) && ns > gone_ns)
			gone_ns = ns;
	}
	return gone_ns;
}

static void send_report(struct steps *steps, enum receipt_kind kind)
{
	struct keeper_report *report = &steps->report;

	if (steps->agent_fd < 0)
		return;
	memset(report, 0, sizeof(*report));
	frame_init(&report->header, FRAME_MAGIC_KEEPER, KEEPER_SHRED_REPORT, sizeof(*report));
	report->kind = kind;
	report->reason = steps->machine.reason;
	report->start_ns = atomic_load(&steps->shared->start_ns);
	report->keys_gone_ns = keys_gone_at(steps);
	report->blocked_io_ns = steps->machine.blocked_io_ns;
	report->plaintext_ns = steps->machine.plaintext_ns;
	report->self_test_passed = atomic_load(&steps->look->passed);
	report->self_test_failed = atomic_load(&steps->look->failed);
	for (unsigned i = 0; i < SEGMENTS_MAX; i++)
		if (atomic_load(&steps->shared->maps[i].used))
			report_segment(report, &steps->shared->maps[i]);
	/* An agent that does not take it has no receipt to send. */
	if (datagram_send(steps->agent_fd, report, sizeof(*report), -1) < 0)
		steps->agent_fd = -1;
}

static const char *verb_name(enum power_verb verb)
{
	static const char *const names[POWER_VERB__MAX] = {
		[POWER_OFF] = "power off",
		[POWER_REBOOT] = "reboot",
		[POWER_KEXEC] = "kexec",
	};

	return names[verb];
}

static void say_reason(struct steps *steps)
{
	enum reason reason = (enum reason)atomic_load(&steps->shared->reason);

	if (steps->said_reason)
		return;
	steps->said_reason = true;
	console_say(steps->console, "off: %s (code %d)", reason_name(reason), reason_code(reason));
}

static void say_plaintext(struct steps *steps)
{
	char text[160];

	if (steps->said_plaintext || steps->plaintext->begin_ns == 0)
		return;
	steps->said_plaintext = true;
	plaintext_print(steps->plaintext, text, sizeof(text));
	console_say(steps->console, "plaintext: %s", text);
}

/* Now, where that needs no waiting; else when nothing else is left to do. */
static void say(struct steps *steps, void (*line)(struct steps *steps))
{
	if (!worker_is_busy(&steps->console->worker))
		line(steps);
}

/* The threads that what follows depends on, however busy the machine is kept. */
static void keep_apart(struct steps *steps)
{
	worker_keep_apart(NULL);
	worker_keep_apart(&steps->console->worker);
	worker_keep_apart(&steps->power->worker);
}

static void clear_plaintext(struct steps *steps, uint64_t now_ns)
{
	say(steps, say_reason);
	if (!steps->power->armed)
		return;
	keep_apart(steps);
	plaintext_begin(steps->plaintext, now_ns, shred_next(&steps->machine));
}

static void report_all(struct steps *steps)
{
	struct look *look = steps->look;
	bool gone = steps->machine.plaintext_ns != 0;

	atomic_fetch_or(gone ? &look->passed : &look->failed, SELF_TEST_PLAINTEXT);
	send_report(steps, RECEIPT_CLOSING);
	say(steps, say_plaintext);
}

static void go_off(struct steps *steps, uint64_t now_ns)
{
	enum power_verb verb = (enum power_verb)atomic_load(&steps->shared->verb);
	uint64_t begin_ns = clock_boottime_ns();

	secret_wipe(steps->identity);
	say_reason(steps);
	if (steps->power->armed)
		plaintext_finish(steps->plaintext);
	/* Both leave RAM to what comes next. */
	if (verb != POWER_OFF && !all_wiped(steps)) {
		console_say(steps->console, "a key could not be wiped: power off instead of %s",
			    verb_name(verb));
		verb = POWER_OFF;
	}
	say_plaintext(steps);
	console_wait(steps->console);
	if (power_go(steps->power, verb)) {
		/* What has been waited for above is none of reboot(2)'s time. */
		steps->reset_ns = now_ns + (clock_boottime_ns() - begin_ns) + POWER_BUDGET_NS;
		return;
	}
	console_say(steps->console,
		    "power is not armed (no %s on the kernel command line): "
		    "this machine would now %s; it stays on, with %s",
		    POWER_ARMED_WORD, verb_name(verb),
		    all_wiped(steps) ? "no keys" : "keys that could not be wiped");
	freezer_thaw(steps->freezer);
	atomic_store(&steps->shared->wiped, 1);
}

static void act(struct steps *steps, enum shred_action action, uint64_t now_ns)
{
	switch (action) {
	case SHRED_DO_NOTHING:
		break;
	case SHRED_DO_KEYS:
		ask_all(steps, destroy_key);
		wipe_boot_key(steps);
		break;
	case SHRED_DO_BLOCKED_IO:
		freezer_freeze(steps->freezer);
		steps->unblock_ns = now_ns + FREEZE_BUDGET_NS;
		send_report(steps, RECEIPT_KEYS);
		break;
	case SHRED_DO_SELF_TEST:
		look_begin(steps->look);
		break;
	case SHRED_DO_PLAINTEXT:
		clear_plaintext(steps, now_ns);
		break;
	case SHRED_DO_REPORT:
		report_all(steps);
		break;
	case SHRED_DO_POWER:
		go_off(steps, now_ns);
		break;
	}
}

/* Whether the current step has done what it can. */
static bool step_is_over(struct steps *steps, uint64_t now_ns)
{
	switch (steps->machine.step) {
	case SHRED_KEYS:
	case SHRED_BLOCKED_IO:
		return all_done(steps);
	case SHRED_SELF_TEST:
		return !worker_is_busy(&steps->look->worker);
	case SHRED_PLAINTEXT:
		return plaintext_run(steps->plaintext, now_ns);
	default:
		return false;
	}
}

static bool next_event(struct steps *steps, uint64_t now_ns, struct shred_event *ret_event)
{
	enum shred_step step = steps->machine.step;
	struct shred_event event = {.type = SHRED_EVENT__MAX};

	if (step_is_over(steps, now_ns)) {
		event.type = SHRED_EVENT_DONE;
		event.complete = step == SHRED_PLAINTEXT && plaintext_is_gone(steps->plaintext);
	} else if (step == SHRED_RECEIPT && (steps->receipt_sent || steps->agent_fd < 0)) {
		event.type = SHRED_EVENT_RECEIPT;
	} else if (now_ns >= shred_next(&steps->machine)) {
		event.type = SHRED_EVENT_TIME;
	}
	*ret_event = event;
	return event.type != SHRED_EVENT__MAX;
}

/* Makes this process the owner. A shred that is taken over keeps its reason, verb and start. */
static bool claim(struct steps *steps, enum reason reason, enum power_verb verb, bool take_over,
		  uint64_t now_ns)
{
	struct shared *shared = steps->shared;
	unsigned owner = PROCESS_NONE;

	if (take_over)
		atomic_store(&shared->owner, steps->self);
	else if (!atomic_compare_exchange_strong(&shared->owner, &owner, steps->self))
		return false;
	if (atomic_load(&shared->start_ns) != 0)
		return true;
	atomic_store(&shared->verb, verb);
	atomic_store(&shared->reason, reason);
	atomic_store(&shared->start_ns, now_ns);
	return true;
}

/* The second half of step 2: once PID 1 is frozen, or has had its time to. */
static void unblock_all(struct steps *steps, uint64_t now_ns)
{
	if (steps->unblock_ns == 0 ||
	    (freezer_is_busy(steps->freezer) && now_ns < steps->unblock_ns))
		return;
	steps->unblock_ns = 0;
	ask_all(steps, unblock);
}

bool steps_begin(struct steps *steps, enum reason reason, enum power_verb verb, bool take_over,
		 uint64_t now_ns)
{
	struct shred_event event = {.type = SHRED_EVENT_START};

	if (atomic_load(&steps->shared->wiped) || steps->machine.step != SHRED_IDLE)
		return false;
	if (!claim(steps, reason, verb, take_over, now_ns))
		return false;
	event.reason = (enum reason)atomic_load(&steps->shared->reason);
	event.receipt_wanted = steps->agent_fd >= 0;
	act(steps, shred_machine_step(&steps->machine, &event, now_ns), now_ns);
	return true;
}

void steps_run(struct steps *steps, uint64_t now_ns)
{
	struct shred_event event;
	eventfd_t count;

	if (steps->machine.step == SHRED_IDLE)
		return;
	(void)eventfd_read(steps->done_fd, &count);
	unblock_all(steps, now_ns);
	while (steps->machine.step != SHRED_POWER && next_event(steps, now_ns, &event)) {
		act(steps, shred_machine_step(&steps->machine, &event, now_ns), now_ns);
		unblock_all(steps, now_ns);
	}

	if (steps->reset_ns != 0 && now_ns >= steps->reset_ns) {
		steps->reset_ns = 0;
		power_reset(steps->power);
	}
}

uint64_t steps_next(const struct steps *steps)
{
	if (steps->reset_ns != 0)
		return steps->reset_ns;
	if (steps->machine.step == SHRED_IDLE || steps->machine.step == SHRED_POWER)
		return LEASE_NEVER;
	if (steps->unblock_ns != 0 && steps->unblock_ns < shred_next(&steps->machine))
		return steps->unblock_ns;
	if (steps->machine.step == SHRED_PLAINTEXT &&
	    plaintext_next(steps->plaintext) < shred_next(&steps->machine))
		return plaintext_next(steps->plaintext);
	return shred_next(&steps->machine);
}

void steps_cut_short(struct steps *steps, uint64_t now_ns)
{
	atomic_store(&steps->shared->owner, steps->self);
	steps->machine.step = SHRED_POWER;
	wipe_boot_key(steps);
	go_off(steps, now_ns);
}
