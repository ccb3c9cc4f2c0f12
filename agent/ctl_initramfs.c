/* SPDX-License-Identifier: Apache-2.0 */
/* emberlockctl initramfs: what an initramfs must carry of the configuration. */
#include <stdio.h>

#include "ctl.h"
#include "disks/config.h"

int command_initramfs(const struct ctl_options *options)
{
	static struct initramfs_config config;
	char error[256];

	if (configs_initramfs(options->root, &config, error) < 0)
		return fprintf(stderr, "emberlockctl: initramfs: %s\n", error), EXIT_REFUSED;
	for (size_t i = 0; i < config.n; i++)
		printf("%s %s\n", config.files[i].name, config.files[i].path);
	return EXIT_DONE;
}
