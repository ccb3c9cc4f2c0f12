/* SPDX-License-Identifier: Apache-2.0 */
/* One request and its reply on a local socket. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/parse.h"
#include "ctl.h"

#define STATUS_TIMEOUT_MS 10000

int client_connect(const char *path, int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = -1;
	int r = copy_text(address.sun_path, sizeof(address.sun_path), path);

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Waits until there is something to receive. 0, -ETIMEDOUT, or negative errno. */
static int readable_wait(int fd, uint64_t timeout_ms)
{
	uint64_t end = clock_boottime_ns() / NSEC_PER_MSEC;

	end = timeout_ms > UINT64_MAX - end ? UINT64_MAX : end + timeout_ms;
	for (;;) {
		uint64_t now = clock_boottime_ns() / NSEC_PER_MSEC;
		struct pollfd pollfd = {.fd = fd, .events = POLLIN};
		uint64_t left = end > now ? end - now : 0;
		int r = poll(&pollfd, 1, left > INT_MAX ? INT_MAX : (int)left);

		if (r > 0)
			return 0;
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r == 0 && left <= INT_MAX)
			return -ETIMEDOUT;
	}
}

int client_call(int fd, uint32_t magic, uint16_t type, void *request, size_t request_size,
		void *reply, size_t reply_size, uint64_t timeout_ms)
{
	struct frame_header header;
	ssize_t n;
	int r;

	frame_init(request, magic, type, (uint32_t)request_size);
	r = datagram_send(fd, request, request_size, -1);
	if (r < 0)
		return r;
	r = readable_wait(fd, timeout_ms);
	if (r < 0)
		return r;
	n = datagram_receive(fd, reply, reply_size, NULL);
	if (n < 0)
		return (int)n;
	if (n == 0)
		return -ECONNRESET;
	if (!frame_is_valid(reply, (size_t)n, magic))
		return -EBADMSG;
	memcpy(&header, reply, sizeof(header));
	if (header.type != type)
		return -EBADMSG;
	/* A refusal may be a header alone. */
	if (header.status < 0)
		return header.status;
	return (size_t)n == reply_size ? 0 : -EBADMSG;
}

int client_status(struct control_status *ret_status)
{
	struct control_plain request = {0};
	_cleanup_close_ int fd = -1;
	int r = client_connect(CONTROL_SOCKET, &fd);

	if (r == 0)
		r = client_call(fd, FRAME_MAGIC_CONTROL, CONTROL_STATUS, &request, sizeof(request),
				ret_status, sizeof(*ret_status), STATUS_TIMEOUT_MS);
	if (r == -EACCES)
		fprintf(stderr, "emberlockctl: %s: only root and the group 'emberlock' may ask\n",
			CONTROL_SOCKET);
	else if (r == -ENOENT || r == -ECONNREFUSED)
		fprintf(stderr,
			"emberlockctl: %s: emberlock-agent does not run, or has not opened "
			"it yet\n",
			CONTROL_SOCKET);
	else if (r < 0)
		fprintf(stderr, "emberlockctl: %s: %s\n", CONTROL_SOCKET, strerror(-r));
	return r;
}
