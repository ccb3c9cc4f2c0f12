/* SPDX-License-Identifier: Apache-2.0 */
/* emberlockctl plan: which disk each volume would take now; nothing is touched. */
#include <string.h>

#include "core/plan.h"
#include "ctl.h"
#include "disks/config.h"
#include "disks/find.h"

#define TEXT_SIZE 65536

int command_plan(const struct ctl_options *options)
{
	static struct volume_config volumes[VOLUMES_MAX];
	static struct disk_facts disks[DISKS_MAX];
	static char text[TEXT_SIZE];
	static struct plan plan;
	struct agent_config agent;
	size_t n_volumes = 0, n_disks = 0;
	bool unfinished = false;
	char error[256];
	int r, code = EXIT_DONE;

	r = configs_load(options->root, &agent, volumes, VOLUMES_MAX, &n_volumes, error);
	if (r < 0)
		return fprintf(stderr, "emberlockctl: %s\n", error), EXIT_REFUSED;
	r = disks_find(volumes, n_volumes, disks, DISKS_MAX, &n_disks, &unfinished);
	if (r < 0)
		return fprintf(stderr, "emberlockctl: cannot look at the disks: %s\n",
			       strerror(-r)),
		       EXIT_REFUSED;
	r = plan_make(&plan, volumes, n_volumes, disks, n_disks);
	if (r == 0)
		r = plan_print(&plan, disks, text, sizeof(text));
	if (r < 0)
		return fprintf(stderr, "emberlockctl: cannot plan: %s\n", strerror(-r)),
		       EXIT_REFUSED;
	fputs(text, stdout);
	if (unfinished)
		fprintf(stderr, "emberlockctl: udev has not finished with every disk; the agent "
				"waits for that\n");
	if (n_volumes == 0)
		puts("no volume files");
	for (uint32_t i = 0; i < plan.n_volumes; i++)
		if (plan.volumes[i].refusal != PLAN_OK && plan.volumes[i].config->required)
			code = EXIT_REFUSED;
	return code;
}
