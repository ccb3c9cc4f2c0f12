/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes with Bind=yes: decided on with the others, mapped once the manager has admitted this boot
 * and given it the share that their keys take (keys/bind.h).
 *
 *	plan ─▶ WORK_BIND ─▶ report, offer ─▶ token and share, on one page ─▶ WORK_WAIT ─▶ as any other
 *
 * An agent killed before that page asks again, and is answered the same; the next one after it finds
 * lease and share there, and its plan maps the volumes at once. The share stays on the page sealed;
 * a worker opens it while it makes a key. */
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"

uint16_t bind_volumes(const struct agent *a)
{
	unsigned bits = 0;

	for (uint32_t i = 0; i < a->state.n_volumes; i++)
		bits |= (unsigned)a->carry.configs[i].bind << i;
	return (uint16_t)bits;
}

bool bind_asked(const struct agent *a)
{
	struct boot_report report;

	return a->state.reported &&
	       boot_report_decode(a->state.report, sizeof(a->state.report), &report) == 0 &&
	       report.bound != 0;
}

bool bind_share(const struct agent *a, struct bind_share *ret_share)
{
	return bind_share_decode(a->state.share, sizeof(a->state.share), ret_share) == 0;
}

bool bind_may_map(const struct agent *a, uint32_t index)
{
	return !a->carry.configs[index].bind ||
	       (lease_is_admitted(a) && !bytes_are_zero(a->state.share, sizeof(a->state.share)));
}

void bind_wait(struct agent *a, uint32_t index)
{
	char reason[128];

	if (a->state.reported && !bind_asked(a)) {
		snprintf(reason, sizeof(reason),
			 "volume %s: Bind=yes, and this boot began without: from the next one on",
			 a->state.volumes[index].name);
		volume_failed(a, index, reason);
		return;
	}
	a->carry.works[index].kind = WORK_BIND;
}

/* Whether volume INDEX is still to be made, and not only when some disk comes. */
static bool is_awaited(const struct agent *a, uint32_t index)
{
	const struct agent_work *work = &a->carry.works[index];
	enum volume_state state = a->state.volumes[index].state;

	return a->carry.configs[index].bind &&
	       (state == VOLUME_PLANNED || state == VOLUME_MAPPING) &&
	       !(work->kind == WORK_WAIT && work->wait_until_ns == LEASE_NEVER);
}

bool bind_waits(const struct agent *a)
{
	for (uint32_t i = 0; i < a->state.n_volumes; i++)
		if (is_awaited(a, i))
			return true;
	return false;
}

void bind_begin(struct agent *a)
{
	uint64_t now_ns = clock_boottime_ns();
	bool any = false;

	for (uint32_t i = 0; i < a->state.n_volumes; i++) {
		const struct volume_config *config = &a->carry.configs[i];
		struct agent_work *work = &a->carry.works[i];

		if (work->kind != WORK_BIND || !bind_may_map(a, i))
			continue;
		/* Looked for again: its disk may have gone meanwhile, or be another. */
		plan_drop(&a->carry.plan, i);
		a->carry.plan.volumes[i].refusal = PLAN_OK;
		work->kind = WORK_WAIT;
		work->wait_until_ns = config->hot_plug
					      ? LEASE_NEVER
					      : now_ns + config->device_timeout_ms * NSEC_PER_MSEC;
		any = true;
	}
	if (!any)
		return;
	log_info("volumes with Bind=yes: the manager's share is here");
	sd_event_source_set_enabled(a->carry.begin_look, SD_EVENT_ONESHOT);
	plan_continue(a);
}

void bind_failed(struct agent *a, uint32_t index)
{
	const struct state_volume *volume = &a->state.volumes[index];

	/* The report stands, and leases go on; but what needs this volume must not start. */
	if (a->carry.bound || !bind_asked(a) || !volume->required || !a->carry.configs[index].bind)
		return;
	console_write(a, "failed: %s (Required=yes)", volume->reason);
	if (a->failure[0] == '\0')
		snprintf(a->failure, sizeof(a->failure), "%.100s (Required=yes)", volume->reason);
}

void bind_settle(struct agent *a)
{
	if (a->carry.bound || !bind_asked(a) || !lease_is_admitted(a) || bind_waits(a))
		return;
	a->carry.bound = true;
	report_boot_key_done(a);
	control_notify(a);
}
