/* SPDX-License-Identifier: Apache-2.0 */
/* emberlockctl wait: returns when this boot is admitted, has failed, or ends. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "core/retry.h"
#include "ctl.h"

#define NOT_YET (-1)

/* The exit code that STATUS means, or NOT_YET. */
static int verdict_of(const struct control_status *status)
{
	switch ((enum lease_state)status->lease_state) {
	case LEASE_ADMITTED:
	case LEASE_WARNING:
	case LEASE_UNBOUNDED:
		return EXIT_DONE;
	case LEASE_SHREDDING:
	case LEASE_OFF:
		fprintf(stderr, "emberlock: shredding: %s\n",
			reason_name((enum reason)status->reason));
		return EXIT_SHREDDING;
	case LEASE_STARTING:
	case LEASE_STATE__MAX:
		break;
	}
	if (!status->failed)
		return NOT_YET;
	fprintf(stderr, "emberlock: this boot will not be admitted: %.*s\n",
		(int)sizeof(status->failure), status->failure);
	return EXIT_NOT_ADMITTED;
}

static int ask(struct control_status *ret_status, uint64_t timeout_ms)
{
	struct control_plain request = {0};
	_cleanup_close_ int fd = -1;
	int r = client_connect(CONTROL_SOCKET, &fd);

	if (r < 0)
		return r;
	return client_call(fd, FRAME_MAGIC_CONTROL, CONTROL_WAIT, &request, sizeof(request),
			   ret_status, sizeof(*ret_status), timeout_ms);
}

static void sleep_ms(uint64_t ms)
{
	struct timespec time = {.tv_sec = (time_t)(ms / 1000),
				.tv_nsec = (long)(ms % 1000 * NSEC_PER_MSEC)};

	while (nanosleep(&time, &time) < 0 && errno == EINTR)
		;
}

/* The agent is not there, or went away: it may be restarting. */
static void pause_for(struct retry *retry, uint64_t left_ms)
{
	uint32_t random = 0;
	uint64_t ms;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		random = 0;
	ms = retry_failed(retry, random);
	sleep_ms(ms < left_ms ? ms : left_ms);
}

/* One that is not there has nothing more to send. */
static int wait_ending(uint64_t timeout_ms)
{
	struct control_plain request = {0}, reply;
	_cleanup_close_ int fd = -1;
	int r = client_connect(CONTROL_SOCKET, &fd);

	if (r == 0)
		r = client_call(fd, FRAME_MAGIC_CONTROL, CONTROL_ENDING, &request, sizeof(request),
				&reply, sizeof(reply), timeout_ms);
	if (r < 0)
		return fprintf(stderr, "emberlockctl: wait: %s: %s\n", CONTROL_SOCKET,
			       strerror(-r)),
		       EXIT_REFUSED;
	return EXIT_DONE;
}

int command_wait(const struct ctl_options *options)
{
	static struct control_status status;
	struct retry retry = {.first_ms = 50, .max_ms = 1000};
	uint64_t start_ms = clock_boottime_ns() / NSEC_PER_MSEC;

	if (options->for_ending)
		return wait_ending(options->timeout_ms);
	for (;;) {
		uint64_t spent = clock_boottime_ns() / NSEC_PER_MSEC - start_ms, left;
		int r, code;

		left = options->timeout_ms == UINT64_MAX ? UINT64_MAX
		       : spent < options->timeout_ms	 ? options->timeout_ms - spent
							 : 0;
		r = ask(&status, left);
		if (r == -EACCES || r == -EPERM)
			return fprintf(stderr,
				       "emberlockctl: %s: only root and the group 'emberlock' may "
				       "ask\n",
				       CONTROL_SOCKET),
			       EXIT_REFUSED;
		code = r == 0 ? verdict_of(&status) : NOT_YET;
		if (code != NOT_YET)
			return code;
		if (left == 0 || r == -ETIMEDOUT)
			return fputs("emberlockctl: wait: not admitted in the time of --timeout\n",
				     stderr),
			       EXIT_REFUSED;
		if (r == 0)
			retry_succeeded(&retry);
		pause_for(&retry, left);
	}
}
