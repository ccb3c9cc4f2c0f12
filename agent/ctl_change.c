/* SPDX-License-Identifier: Apache-2.0 */
/* emberlockctl add, grow, swap resize: the agent changes a volume at run time. */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "ctl.h"

/* Waits for the end of it, however long that takes: the agent limits its workers. */
static int change(uint16_t type, const char *what, const char *name, uint64_t bytes)
{
	struct control_change request = {.bytes = bytes};
	struct control_changed reply;
	_cleanup_close_ int fd = -1;
	char size[16];
	int r;

	if (!name_is_valid(name, VOLUME_NAME_MAX))
		return fprintf(stderr, "emberlockctl: %s: '%s' is no name of a volume\n", what,
			       name),
		       EXIT_USAGE;
	memcpy(request.volume, name, strlen(name));
	r = client_connect(CONTROL_SOCKET, &fd);
	if (r == 0)
		r = client_call(fd, FRAME_MAGIC_CONTROL, type, &request, sizeof(request), &reply,
				sizeof(reply), UINT64_MAX);
	if (r == -EPERM || r == -EACCES)
		return fprintf(stderr,
			       "emberlockctl: %s: only root of the initial user namespace may\n",
			       what),
		       EXIT_REFUSED;
	if (r < 0)
		return fprintf(stderr, "emberlockctl: %s: %s\n", what, strerror(-r)), EXIT_REFUSED;
	if (reply.result < 0)
		return fprintf(stderr, "emberlockctl: %s: %.*s\n", what, (int)sizeof(reply.text),
			       reply.text),
		       EXIT_REFUSED;
	if (reply.n_segments == 0)
		return printf("volume %s: is made when its disk is there (HotPlug=yes)\n", name),
		       EXIT_DONE;
	size_text(reply.bytes, size);
	printf("volume %s: %s, %u segments\n", name, size, reply.n_segments);
	return EXIT_DONE;
}

int command_add(const struct ctl_options *options)
{
	return change(CONTROL_ADD, "add", options->word, 0);
}

int command_grow(const struct ctl_options *options)
{
	return change(CONTROL_GROW, "grow", options->word, 0);
}

int command_swap(const struct ctl_options *options)
{
	const char *size = options->words[2];
	uint64_t bytes = 0;

	if (strcmp(options->word, "resize") != 0)
		return fprintf(stderr, "emberlockctl: swap: '%s' is not resize\n", options->word),
		       EXIT_USAGE;
	if (size && (parse_size(size, &bytes) < 0 || bytes == 0))
		return fprintf(stderr, "emberlockctl: swap: '%s' is no size, like 8G\n", size),
		       EXIT_USAGE;
	return change(CONTROL_SWAP_RESIZE, "swap", options->words[1], bytes);
}
