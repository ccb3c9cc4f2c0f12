/* SPDX-License-Identifier: Apache-2.0 */
/* Whether udev runs on this machine. Without it nothing says when a disk has been looked at, nor makes names. */
#pragma once

#include <stdbool.h>

/* Where nobody listens, events reach no rule. True while systemd-udevd is restarted: its socket is systemd's. */
bool udev_runs(void);
