/* SPDX-License-Identifier: Apache-2.0 */
/* emberlockctl status, volumes: what the agent says. */
#include "ctl.h"

int command_status(const struct ctl_options *options)
{
	static struct control_status status;

	if (client_status(&status) < 0)
		return EXIT_REFUSED;
	if (options->given & OPTION_JSON)
		return json_print(status_json(&status));
	status_print(&status);
	return EXIT_DONE;
}

int command_volumes(const struct ctl_options *options)
{
	static struct control_status status;

	if (client_status(&status) < 0)
		return EXIT_REFUSED;
	if (options->given & OPTION_JSON)
		return json_print(volumes_json(&status));
	volumes_print(&status);
	return EXIT_DONE;
}
