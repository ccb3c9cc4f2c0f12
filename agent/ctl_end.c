/* SPDX-License-Identifier: Apache-2.0 */
/* emberlockctl end: asks the keeper for the orderly end of keys and VM. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "core/shred.h"
#include "ctl.h"

#define REPLY_TIMEOUT_MS 2000
/* The keeper's budget, and the twin's after it: when both are over, nobody will end this VM. */
#define END_TIMEOUT_MS ((int)(SHRED_TWIN_NS / NSEC_PER_MSEC) + 1000)

/* What follows the hook would sync on maps without keys: it must not run while the keeper is at
 * it. */
static void end_wait(int fd)
{
	struct pollfd pollfd = {.fd = fd};

	while (poll(&pollfd, 1, END_TIMEOUT_MS) < 0 && errno == EINTR)
		;
}

int command_end(const struct ctl_options *options)
{
	struct keeper_end request = {.verb = KEEPER_END_POWEROFF};
	struct keeper_plain reply;
	_cleanup_close_ int fd = -1;
	int r;

	if (strcmp(options->word, "reboot") == 0)
		request.verb = KEEPER_END_REBOOT;
	else if (strcmp(options->word, "poweroff") != 0)
		return fprintf(stderr, "emberlockctl: end: '%s' is neither poweroff nor reboot\n",
			       options->word),
		       EXIT_USAGE;
	r = client_connect(KEEPER_SOCKET, &fd);
	if (r == 0)
		r = client_call(fd, FRAME_MAGIC_KEEPER, KEEPER_END, &request, sizeof(request),
				&reply, sizeof(reply), REPLY_TIMEOUT_MS);
	/* -EBUSY: a shred is under way already, and ends the VM too. */
	if (r < 0 && r != -EBUSY)
		return fprintf(stderr, "emberlockctl: end: %s: %s\n", KEEPER_SOCKET, strerror(-r)),
		       EXIT_REFUSED;
	end_wait(fd);
	return fputs("emberlockctl: end: the keeper has not ended this VM\n", stderr), EXIT_REFUSED;
}
