/* SPDX-License-Identifier: Apache-2.0 */
/* Making a swap area again, of another size, at run time: swapon(2). */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/swap.h>

#include "disks/content.h"
#include "disks/volume_parts.h"

static int swap_on(const struct volume_config *config, const char *node)
{
	int flags = config->discard == DISCARD_ALWAYS ? SWAP_FLAG_DISCARD : 0;

	if (config->swap_priority >= 0)
		flags |= SWAP_FLAG_PREFER | (config->swap_priority & SWAP_FLAG_PRIO_MASK);
	return swapon(node, flags) < 0 ? -errno : 0;
}

int volume_swap_resize(const struct volume_job *job, char reason[static 256])
{
	char node[MAP_NODE_SIZE];
	const char *volume = job->config->name;
	bool was_on;
	int r, again;

	r = volume_node(volume, node);
	if (r < 0)
		return reason_errno(reason, r, "volume %s: its map", volume);
	was_on = swapoff(node) == 0;
	/* EINVAL: it was not on. */
	if (!was_on && errno != EINVAL)
		return reason_errno(reason, -errno, "volume %s: it cannot be swapped off", volume);
	r = content_swap(job->config, job->bytes, reason);
	if (!was_on)
		return r;
	again = swap_on(job->config, node);
	if (r < 0)
		return r;
	if (again < 0)
		return reason_errno(reason, again, "volume %s: made again, it cannot be swapped on",
				    volume);
	return 0;
}
