/* SPDX-License-Identifier: Apache-2.0 */
/* Hearing that udev has dealt with an event of a device. */
#pragma once

#include <stdint.h>
#include <systemd/sd-device.h>
#include <systemd/sd-event.h>

struct heard {
	sd_event *event;
	sd_device_monitor *monitor;
	unsigned major, minor;
	const char *property;
};

/* Listens from now on for events of the block device MAJOR:MINOR. HEARD begins as all zero; PROPERTY
 * stays the caller's. 0 or negative errno. */
int heard_begin(struct heard *heard, unsigned major, unsigned minor, const char *property);

/* Waits until udev has dealt with one and found PROPERTY=1: its links and the node's owner are made then.
 * 0, -ETIMEDOUT behind LIMIT_US, or another negative errno. */
int heard_wait(struct heard *heard, uint64_t limit_us);

void heard_done(struct heard *heard);
#define _cleanup_heard_ __attribute__((cleanup(heard_done)))
