/* SPDX-License-Identifier: Apache-2.0 */
/* emberlockctl shred: the operator's end of this VM's keys. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ctl.h"

#define REPLY_TIMEOUT_MS 10000

static void losses_print(const struct control_status *status)
{
	char size[16];

	for (uint32_t i = 0; i < status->n_volumes && i < VOLUMES_MAX; i++) {
		const struct control_volume *volume = &status->volumes[i];

		if (volume->state != VOLUME_READY && volume->state != VOLUME_MAPPING)
			continue;
		size_text(volume->bytes, size);
		printf("  volume %.*s, %s, %s\n", (int)sizeof(volume->name), volume->name, size,
		       volume->mount_point[0] ? volume->mount_point
					      : volume_use_name((enum volume_use)volume->use));
	}
}

/* Whether someone at a terminal typed the word. */
static bool confirmed(const struct control_status *status)
{
	char line[32];

	printf("This destroys every key of this boot, and with them all data on:\n");
	losses_print(status);
	printf("Then the VM powers off. There is no way back.\nType 'shred' to go on: ");
	fflush(stdout);
	return fgets(line, sizeof(line), stdin) && strcmp(line, "shred\n") == 0;
}

static int request(bool dry_run)
{
	struct control_shred frame = {.dry_run = dry_run};
	struct control_plain reply;
	_cleanup_close_ int fd = -1;
	int r = client_connect(CONTROL_SOCKET, &fd);

	if (r < 0)
		return r;
	return client_call(fd, FRAME_MAGIC_CONTROL, CONTROL_SHRED, &frame, sizeof(frame), &reply,
			   sizeof(reply), REPLY_TIMEOUT_MS);
}

int command_shred(const struct ctl_options *options)
{
	static struct control_status status;
	bool dry_run = options->given & OPTION_DRY_RUN;
	int r;

	if (client_status(&status) < 0)
		return EXIT_REFUSED;
	if (!dry_run && !(options->given & OPTION_YES)) {
		if (!isatty(STDIN_FILENO))
			return fputs("emberlockctl: shred: not on a terminal, and without --yes\n",
				     stderr),
			       EXIT_REFUSED;
		if (!confirmed(&status))
			return fputs("emberlockctl: shred: nothing was done\n", stderr),
			       EXIT_REFUSED;
	}
	r = request(dry_run);
	if (r == -EPERM || r == -EACCES)
		return fputs("emberlockctl: shred: only root of the initial user namespace may\n",
			     stderr),
		       EXIT_REFUSED;
	if (r < 0)
		return fprintf(stderr, "emberlockctl: shred: %s\n", strerror(-r)), EXIT_REFUSED;
	if (dry_run) {
		puts("a shred would now destroy every key of this boot:");
		losses_print(&status);
	} else {
		puts("shredding");
	}
	return EXIT_DONE;
}
