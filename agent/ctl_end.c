/* SPDX-License-Identifier: Apache-2.0 */
/* emberlockctl ending and end: announces the orderly end of this boot, and makes it. */
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

/* 0: there is no such verb, which has been said. */
static enum end_verb verb_of(const char *command, const char *word)
{
	for (enum end_verb verb = END_POWEROFF; verb < END_VERB__MAX; verb++)
		if (strcmp(word, end_verb_name(verb)) == 0)
			return verb;
	fprintf(stderr, "emberlockctl: %s: '%s' is neither poweroff, reboot nor kexec\n", command,
		word);
	return 0;
}

static int keeper_failed(const char *command, int r)
{
	fprintf(stderr, "emberlockctl: %s: %s: %s\n", command, KEEPER_SOCKET, strerror(-r));
	return EXIT_REFUSED;
}

int command_end(const struct ctl_options *options)
{
	struct keeper_end request = {.verb = verb_of("end", options->word)};
	struct keeper_plain reply;
	_cleanup_close_ int fd = -1;
	int r;

	if (!request.verb)
		return EXIT_USAGE;
	r = client_connect(KEEPER_SOCKET, &fd);
	if (r == 0)
		r = client_call(fd, FRAME_MAGIC_KEEPER, KEEPER_END, &request, sizeof(request),
				&reply, sizeof(reply), REPLY_TIMEOUT_MS);
	/* -EBUSY: a shred is under way already, and ends the VM too. */
	if (r < 0 && r != -EBUSY)
		return keeper_failed("end", r);
	end_wait(fd);
	return fputs("emberlockctl: end: the keeper has not ended this VM\n", stderr), EXIT_REFUSED;
}

int command_ending(const struct ctl_options *options)
{
	struct keeper_ending request = {.verb = verb_of("ending", options->word)}, reply;
	_cleanup_close_ int fd = -1;
	int r;

	if (!request.verb)
		return EXIT_USAGE;
	r = client_connect(KEEPER_SOCKET, &fd);
	if (r == 0)
		r = client_call(fd, FRAME_MAGIC_KEEPER, KEEPER_ENDING, &request, sizeof(request),
				&reply, sizeof(reply), REPLY_TIMEOUT_MS);
	return r < 0 && r != -EBUSY ? keeper_failed("ending", r) : EXIT_DONE;
}
