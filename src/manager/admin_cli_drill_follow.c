/* SPDX-License-Identifier: Apache-2.0 */
/* emberlock-admin drill: what became of each boot, read in the manager's audit log as it grows. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/parse.h"
#include "manager/admin_cli_drill.h"
#include "manager/audit_chain.h"
#include "manager/lease_engine.h"

#define LOOK_MS 300 /* the manager tells nobody of new records */

static void free_json(json_t **p)
{
	json_decref(*p);
}

static const char *text_of(const json_t *content, const char *name)
{
	const char *text = json_string_value(json_object_get(content, name));

	return text ? text : "";
}

static void note(uint64_t *at_ms, const json_t *content)
{
	if (*at_ms == 0)
		*at_ms = (uint64_t)json_integer_value(json_object_get(content, "time_ms"));
}

/* --- records of the log, by their event --- */

static void on_told(struct drill_boot *boot, const json_t *content)
{
	note(&boot->told_ms, content);
}

static void on_verdict(struct drill_boot *boot, const json_t *content)
{
	note(&boot->verdict_ms, content);
}

static void on_receipt(struct drill_boot *boot, const json_t *content)
{
	if (boot->receipt_ms == 0)
		boot->waited_ms = clock_boottime_ns() / NSEC_PER_MSEC;
	note(&boot->receipt_ms, content);
	if (json_is_true(json_object_get(content, "keys_gone")))
		note(&boot->gone_ms, content);
	if (strcmp(text_of(content, "kind"), "closing") == 0)
		note(&boot->closing_ms, content);
}

static void on_lease_ended(struct drill_boot *boot, const json_t *content)
{
	snprintf(boot->ended, sizeof(boot->ended), "%.31s", text_of(content, "class"));
}

static void on_admitted(struct drill_boot *boot, const json_t *content)
{
	note(&boot->again_ms, content);
}

/* A row an event: whether it is the boot's own, or another boot's of the same VM. */
static const struct {
	const char *event;
	bool of_next_boot;
	void (*apply)(struct drill_boot *boot, const json_t *content);
} events[] = {
	{"drill", false, on_told},	 {"verdict-shred", false, on_verdict},
	{"receipt", false, on_receipt},	 {"lease-ended", false, on_lease_ended},
	{"admitted", true, on_admitted},
};

static bool is_about(const struct drill_boot *boot, const json_t *content, bool of_next_boot)
{
	bool same = strcmp(text_of(content, "admission"), boot->admission) == 0;

	if (!of_next_boot)
		return same;
	return !same && boot->told_ms > 0 && strcmp(text_of(content, "vm"), boot->vm) == 0;
}

static int on_record(const struct audit_record *record, void *userdata)
{
	struct drill *drill = userdata;
	_cleanup_(free_json) json_t *content =
		record->content ? json_loadb(record->content, record->content_size, 0, NULL) : NULL;
	const char *event = text_of(content, "event");

	drill->next = record->number + 1;
	for (size_t e = 0; e < ELEMENTSOF(events); e++) {
		if (strcmp(event, events[e].event) != 0)
			continue;
		for (size_t i = 0; i < drill->n; i++)
			if (is_about(&drill->boots[i], content, events[e].of_next_boot))
				events[e].apply(&drill->boots[i], content);
	}
	return 0;
}

/* --- waiting --- */

/* A boot whose closing receipt does not come has no longer than a shred may take. */
static bool is_over(const struct drill_boot *boot, uint64_t now_ms)
{
	if (boot->refused || boot->closing_ms > 0 || boot->ended[0])
		return true;
	return boot->gone_ms > 0 && now_ms - boot->waited_ms > ENGINE_SHRED_BUDGET_MS;
}

struct progress {
	size_t told, verdicts, gone, over;
};

static struct progress progress_of(const struct drill *drill)
{
	uint64_t now_ms = clock_boottime_ns() / NSEC_PER_MSEC;
	struct progress progress = {0};

	for (size_t i = 0; i < drill->n; i++) {
		const struct drill_boot *boot = &drill->boots[i];

		progress.told += boot->told_ms > 0;
		progress.verdicts += boot->verdict_ms > 0;
		progress.gone += boot->gone_ms > 0;
		progress.over += is_over(boot, now_ms);
	}
	return progress;
}

int drill_follow(struct drill *drill)
{
	const struct timespec look = {LOOK_MS / 1000, LOOK_MS % 1000 * 1000000l};
	struct progress now, said = {0};
	int r;

	for (;;) {
		r = admin_audit_walk(drill->call, drill->next, on_record, drill);
		if (r < 0)
			return admin_refuse(r, "the drill goes on; see `emberlock-admin fleet`");
		now = progress_of(drill);
		if (memcmp(&now, &said, sizeof(now)) != 0)
			fprintf(stderr,
				"told %zu, verdict given to %zu, keys gone in %zu, over %zu of "
				"%zu\n",
				now.told, now.verdicts, now.gone, now.over, drill->n);
		said = now;
		if (now.over == drill->n)
			return 0;
		nanosleep(&look, NULL);
	}
}
