/* SPDX-License-Identifier: Apache-2.0 */
/* What emberlockctl shows. */
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "base/clock.h"

bool status_is_final(const struct agent *a)
{
	if (a->state.lease.state >= LEASE_SHREDDING || a->shred.begun)
		return true;
	return a->carry.settled &&
	       (a->failure[0] != '\0' || (lease_is_admitted(a) && !bind_waits(a)));
}

static void volumes_fill(const struct agent *a, struct control_status *status)
{
	status->n_volumes = a->state.n_volumes;
	for (uint32_t i = 0; i < a->state.n_volumes; i++) {
		const struct state_volume *from = &a->state.volumes[i];
		struct control_volume *to = &status->volumes[i];

		memcpy(to->name, from->name, sizeof(to->name));
		memcpy(to->disk, from->disk, sizeof(to->disk));
		memcpy(to->reason, from->reason, sizeof(to->reason));
		memcpy(to->mount_point, a->carry.configs[i].mount_point, sizeof(to->mount_point));
		if (from->use == VOLUME_OVERLAY)
			to->mount_point[0] = '/';
		to->use = from->use;
		to->state = from->state;
		to->n_segments = from->n_segments;
		to->required = from->required;
		to->bound = a->carry.configs[i].bind;
		to->bytes = from->bytes;
	}
}

static void lease_fill(const struct agent *a, struct control_status *status)
{
	const struct lease *lease = &a->state.lease;

	memcpy(status->admission, lease->admission, sizeof(status->admission));
	status->lease_state = lease->state;
	status->expiry = lease->expiry;
	status->cmk_state = lease->cmk_state;
	status->reason = a->shred.reason ? a->shred.reason : lease->reason;
	status->deadline_ns = lease->deadline_ns;
	status->ttl_ms = lease->ttl_ms;
	status->number = lease->number;
	status->highest = lease->highest;
	status->pauses = lease->pauses;
}

void status_fill(const struct agent *a, struct control_status *ret_status)
{
	*ret_status = (struct control_status){
		.version = EMBERLOCK_VERSION,
		.now_ns = clock_boottime_ns(),
		.self_test_passed = a->state.self_test_passed,
		.self_test_failed = a->state.self_test_failed,
		.agents = a->keeper.hello.agents,
		.rejected_tokens = a->state.rejected_tokens,
		.keeper_connected = a->keeper.fd >= 0,
		.watchdog_connected = watchdog_connected(a),
		.manager_connected = a->requests.manager_connected,
		.failed = a->failure[0] != '\0',
	};
	memcpy(ret_status->workspace, a->workspace, sizeof(ret_status->workspace));
	memcpy(ret_status->vm, a->vm, sizeof(ret_status->vm));
	memcpy(ret_status->boot_id, a->keeper.hello.boot_id, sizeof(ret_status->boot_id));
	memcpy(ret_status->failure, a->failure, sizeof(ret_status->failure));
	memcpy(ret_status->last_error, a->requests.last_error, sizeof(ret_status->last_error));
	lease_fill(a, ret_status);
	volumes_fill(a, ret_status);
}
