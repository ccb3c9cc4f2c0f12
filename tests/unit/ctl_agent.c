/* SPDX-License-Identifier: Apache-2.0 */
/* An agent for ctl.sh: one ready volume, and whatever is asked; prints each request. With "refuse" no
 * shred is allowed, with "failed" the boot has failed. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/frames.h"

static int listen_at(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, 8) < 0)
		return -1;
	return fd;
}

static void reply_status(int fd, uint16_t type, bool failed)
{
	static struct control_status status;

	status = (struct control_status){
		.version = "1",
		.workspace = "ws",
		.vm = "vm",
		.lease_state = failed ? LEASE_STARTING : LEASE_ADMITTED,
		.expiry = EXPIRY_SHRED,
		.cmk_state = CMK_HEALTHY,
		.now_ns = 1000000000,
		.deadline_ns = 201000000000,
		.ttl_ms = failed ? 0 : 300000,
		.failed = failed,
		.failure = "volume data: no disk matches Serial=x",
		.n_volumes = 1,
		.volumes = {{.name = "data",
			     .disk = "/dev/vdb",
			     .mount_point = "/data\033[2J",
			     .use = VOLUME_EXT4,
			     .state = VOLUME_READY,
			     .n_segments = 2,
			     .required = 1,
			     .bytes = 96 << 20}},
	};
	frame_init(&status.header, FRAME_MAGIC_CONTROL, type, sizeof(status));
	(void)send(fd, &status, sizeof(status), MSG_NOSIGNAL);
}

static void reply_plain(int fd, uint16_t type, int status)
{
	struct control_plain plain;

	frame_init(&plain.header, FRAME_MAGIC_CONTROL, type, sizeof(plain));
	plain.header.status = status;
	(void)send(fd, &plain, sizeof(plain), MSG_NOSIGNAL);
}

static void reply_changed(int fd, uint16_t type, bool refuse)
{
	struct control_changed changed = {.n_segments = 2, .bytes = 96 << 20};

	frame_init(&changed.header, FRAME_MAGIC_CONTROL, type, sizeof(changed));
	if (refuse) {
		changed.result = -1;
		(void)snprintf(changed.text, sizeof(changed.text), "volume data: no 16 MiB");
	}
	(void)send(fd, &changed, sizeof(changed), MSG_NOSIGNAL);
}

static const char *change_name(uint16_t type)
{
	if (type == CONTROL_ADD)
		return "add";
	if (type == CONTROL_GROW)
		return "grow";
	return type == CONTROL_SWAP_RESIZE ? "swap" : NULL;
}

int main(int argc, char **argv)
{
	bool refuse = argc > 1 && strcmp(argv[1], "refuse") == 0;
	bool failed = argc > 1 && strcmp(argv[1], "failed") == 0;
	int listener = listen_at(CONTROL_SOCKET);

	if (listener < 0)
		return 1;
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("listening");
	for (;;) {
		union {
			struct frame_header header;
			struct control_shred shred;
			struct control_change change;
		} in = {.change = {.bytes = 0}};
		int fd = accept(listener, NULL, NULL);
		ssize_t n = recv(fd, &in, sizeof(in), 0);

		if (n > 0 && in.header.type == CONTROL_SHRED) {
			puts(in.shred.dry_run ? "dry run" : "shred");
			reply_plain(fd, CONTROL_SHRED, refuse ? -1 : 0);
		} else if (n > 0 && in.header.type == CONTROL_ENDING) {
			puts("ending");
			reply_plain(fd, CONTROL_ENDING, refuse ? -1 : 0);
		} else if (n > 0 && change_name(in.header.type)) {
			printf("%s %s %ju\n", change_name(in.header.type), in.change.volume,
			       (uintmax_t)in.change.bytes);
			reply_changed(fd, in.header.type, refuse);
		} else if (n > 0) {
			reply_status(fd, in.header.type, failed);
		}
		close(fd);
	}
}
