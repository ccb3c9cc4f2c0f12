/* SPDX-License-Identifier: Apache-2.0 */
/* Hearing that udev has dealt with an event of a device: sd-device(3), sd-event(3). */
#include "disks/heard.h"

#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <time.h>

void heard_done(struct heard *heard)
{
	heard->monitor = sd_device_monitor_unref(heard->monitor);
	heard->event = sd_event_unref(heard->event);
}

static int on_device(sd_device_monitor *monitor, sd_device *device, void *userdata)
{
	const struct heard *heard = userdata;
	const char *value;
	dev_t number;

	if (sd_device_get_devnum(device, &number) < 0 ||
	    number != makedev(heard->major, heard->minor) ||
	    sd_device_get_property_value(device, heard->property, &value) < 0 ||
	    strcmp(value, "1") != 0)
		return 0;
	return sd_event_exit(heard->event, 0);
}

static int on_limit(sd_event_source *source, uint64_t usec, void *userdata)
{
	return sd_event_exit(userdata, -ETIMEDOUT);
}

int heard_begin(struct heard *heard, unsigned major, unsigned minor, const char *property)
{
	int r;

	heard->major = major;
	heard->minor = minor;
	heard->property = property;
	r = sd_event_new(&heard->event);
	r = r < 0 ? r : sd_device_monitor_new(&heard->monitor);
	r = r < 0 ? r
		  : sd_device_monitor_filter_add_match_subsystem_devtype(heard->monitor, "block",
									 "disk");
	r = r < 0 ? r : sd_device_monitor_attach_event(heard->monitor, heard->event);
	return r < 0 ? r : sd_device_monitor_start(heard->monitor, on_device, heard);
}

int heard_wait(struct heard *heard, uint64_t limit_us)
{
	int r = sd_event_add_time_relative(heard->event, NULL, CLOCK_BOOTTIME, limit_us, 0,
					   on_limit, heard->event);

	return r < 0 ? r : sd_event_loop(heard->event);
}
