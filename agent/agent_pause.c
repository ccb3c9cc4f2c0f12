/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at the machine's clock beside ours: a hypervisor that stopped us is seen by no other. */
#include <errno.h>
#include <fcntl.h>
#include <linux/rtc.h>
#include <sys/ioctl.h>
#include <time.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

#define RTC_DEVICE "/dev/rtc0"

static int rtc_read(int fd, int64_t *ret_s)
{
	struct rtc_time rtc;
	struct tm tm = {0};

	if (ioctl(fd, RTC_RD_TIME, &rtc) < 0)
		return -errno;
	tm.tm_year = rtc.tm_year;
	tm.tm_mon = rtc.tm_mon;
	tm.tm_mday = rtc.tm_mday;
	tm.tm_hour = rtc.tm_hour;
	tm.tm_min = rtc.tm_min;
	tm.tm_sec = rtc.tm_sec;
	*ret_s = timegm(&tm);
	return 0;
}

static int on_look(sd_event_source *s, uint64_t usec, void *userdata);

static void look(struct agent *a)
{
	struct agent_pauses *p = &a->pauses;
	enum drift_result result = DRIFT_NONE;
	uint64_t now = clock_boottime_ns();
	int64_t rtc_s = 0;

	if (p->rtc < 0)
		return;
	if (rtc_read(p->rtc, &rtc_s) == 0)
		result = drift_look(&p->drift, rtc_s, (int64_t)clock_realtime_s(), now);
	agent_timer(a, &p->timer,
		    now + (result == DRIFT_SUSPECTED ? DRIFT_CONFIRM_NS : DRIFT_LOOK_NS), on_look);
	if (result != DRIFT_PAUSE)
		return;
	log_warning("the VM was paused: %s ran on without it; a new challenge", RTC_DEVICE);
	lease_event(a, LEASE_EVENT_PAUSE, NULL, NULL);
}

static int on_look(sd_event_source *s, uint64_t usec, void *userdata)
{
	look(userdata);
	return 0;
}

void pause_look(struct agent *a)
{
	if (!a->pauses.drift.suspected) /* the look that confirms has its time */
		look(a);
}

void pause_start(struct agent *a)
{
	a->pauses.rtc = open(RTC_DEVICE, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (a->pauses.rtc < 0)
		log_info("%s: %m; pauses of the VM will not be noticed", RTC_DEVICE);
	look(a);
}

void pause_done(struct agent *a)
{
	a->pauses.timer = sd_event_source_disable_unref(a->pauses.timer);
	cleanup_close(&a->pauses.rtc);
	a->pauses.rtc = -1;
}
