/* SPDX-License-Identifier: Apache-2.0 */
/* Whether udev runs on this machine: its control socket is there, which libudev goes by too. */
#include "disks/udev.h"

#include <unistd.h>

#define CONTROL "/run/udev/control" /* udev_queue_get_udev_is_active(3) */

bool udev_runs(void)
{
	return access(CONTROL, F_OK) == 0;
}
