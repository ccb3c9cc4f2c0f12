/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the second process. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdnoreturn.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/log.h"
#include "keeper_start.h"

#define TWIN_START_MS 10000

static noreturn void twin_main(struct keeper *keeper)
{
	int r;

	(void)prctl(PR_SET_NAME, "emberlock-twin");
	log_copy_errors(-1);
	/* New connections are the primary's; the lock on the directory is kept by both. */
	close(keeper->listen_fd);
	/* Memory locks are not inherited. */
	r = process_lock();
	secret_touch(&keeper->boot_key);
	secret_touch(&keeper->identity);
	if (r == 0)
		r = start_threads(keeper, PROCESS_TWIN);
	if (twin_send(keeper->peer.channel, TWIN_READY, 0, r, -1) < 0 || r < 0)
		_exit(1);
	for (;;)
		twin_turn(keeper);
}

static int wait_until_ready(const struct peer *peer)
{
	struct pollfd fds[] = {{peer->channel, POLLIN, 0}, {peer->pidfd, POLLIN, 0}};
	struct twin_message message;

	if (poll(fds, ELEMENTSOF(fds), TWIN_START_MS) <= 0)
		return -ETIMEDOUT;
	if (datagram_receive(peer->channel, &message, sizeof(message), NULL) != sizeof(message))
		return -ECHILD;
	return message.type == TWIN_READY ? message.status : -EPROTO;
}

/* The two processes' ends of everything that each has its own of. */
static int fork_twin(struct keeper *keeper)
{
	_cleanup_close_ int own_pidfd = -1;
	int channel[2];
	pid_t own = getpid(), pid;

	own_pidfd = pidfd_open(own, 0);
	if (own_pidfd < 0)
		return -errno;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, channel) < 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		close(channel[0]);
		keeper->peer.pid = own;
		keeper->peer.pidfd = TAKE_FD(own_pidfd);
		keeper->peer.channel = channel[1];
		twin_main(keeper);
	}
	close(channel[1]);
	keeper->peer.channel = channel[0];
	if (pid < 0)
		return -errno;
	keeper->peer.pid = pid;
	keeper->peer.pidfd = pidfd_open(pid, 0);
	return keeper->peer.pidfd < 0 ? -errno : 0;
}

int start_twin(struct keeper *keeper)
{
	int r;

	r = fork_twin(keeper);
	if (r == 0)
		r = wait_until_ready(&keeper->peer);
	if (r < 0)
		return log_errno(r, "cannot start the keeper's second process");
	/* The fork has made every private page copy-on-write. To lock them once more takes them
	 * back now, so that a shred takes no page fault. */
	r = process_lock();
	if (r < 0)
		return log_errno(r, "cannot lock all memory (CAP_IPC_LOCK, LimitMEMLOCK=)");
	return 0;
}
