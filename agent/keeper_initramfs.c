/* SPDX-License-Identifier: Apache-2.0 */
/* A keeper that is born in the initramfs, and the real root's unit that takes it over.
 *
 *	initramfs                                real root
 *	emberlock-keeper --initramfs             emberlock-keeper.service
 *	├── start_detached(): goes on as a child └── keeper_adopt(): there is one that answers; it is
 *	└── start_confine(): what the unit's         moved to the unit's control group, named to systemd
 *	    sandbox would have taken away            as the main process; this process ends
 *
 * systemd sees to it as to a process of its own making: it is a child of PID 1, whoever that was when
 * it was born. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "keeper_start.h"

#define REPLY_MS     3000
#define CGROUP_ROOT  "/sys/fs/cgroup"
#define CGROUP_LINE  "0::" /* cgroups(7): of the unified hierarchy */
#define CGROUP_PROCS "cgroup.procs"

/* capset(2): the C library has it, and declares it nowhere. */
extern int capset(struct __user_cap_header_struct *header,
		  const struct __user_cap_data_struct *data);

int start_detached(int *ret_ready_fd)
{
	int fds[2];
	pid_t pid;
	char word;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return log_errno(-errno, "pipe");
	pid = fork();
	if (pid < 0)
		return log_errno(-errno, "fork");
	if (pid > 0) {
		close(fds[1]);
		/* A child that fails has said why, and closes its end. */
		_exit(read(fds[0], &word, 1) == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
	}
	close(fds[0]);
	(void)setsid();
	*ret_ready_fd = fds[1];
	return 0;
}

void start_detached_ready(int ready_fd)
{
	if (write(ready_fd, "1", 1) < 0)
		log_errno(-errno, "cannot tell the initramfs that the keeper is ready");
	close(ready_fd);
}

/* Those of CapabilityBoundingSet= in emberlock-keeper.service, but for what only its start needs. */
static uint64_t capabilities_kept(void)
{
	static const unsigned kept[] = {CAP_SYS_ADMIN,	CAP_SYS_BOOT,	  CAP_SYS_NICE,
					CAP_SYS_PTRACE, CAP_DAC_OVERRIDE, CAP_FOWNER};
	uint64_t set = 0;

	for (size_t i = 0; i < ELEMENTSOF(kept); i++)
		set |= 1ull << kept[i];
	return set;
}

int start_confine(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	uint64_t kept = capabilities_kept();

	/* EINVAL: beyond the last one that this kernel knows. */
	for (unsigned i = 0; prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++)
		if (!(kept & 1ull << i) && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0)
			return log_errno(-errno, "cannot drop capability %u", i);
	for (size_t i = 0; i < ELEMENTSOF(data); i++)
		data[i] = (struct __user_cap_data_struct){
			.effective = (uint32_t)(kept >> 32 * i),
			.permitted = (uint32_t)(kept >> 32 * i),
		};
	if (capset(&header, data) < 0)
		return log_errno(-errno, "cannot drop capabilities");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return log_errno(-errno, "cannot give up new privileges");
	return 0;
}

/* --- in the real root */

/* Connects to a keeper that lives. -ENOENT or -ECONNREFUSED: there is none. */
static int keeper_find(int *ret_fd, pid_t *ret_pid)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = KEEPER_SOCKET};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return -errno;
	*ret_pid = peer.pid;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int keeper_ask(int fd, struct keeper_status *ret_status)
{
	struct pollfd answer = {.fd = fd, .events = POLLIN};
	struct keeper_plain request = {0};
	int r;

	frame_init(&request.header, FRAME_MAGIC_KEEPER, KEEPER_STATUS, sizeof(request));
	r = datagram_send(fd, &request, sizeof(request), -1);
	if (r < 0)
		return r;
	if (poll(&answer, 1, REPLY_MS) != 1)
		return -ETIMEDOUT;
	if (datagram_receive(fd, ret_status, sizeof(*ret_status), NULL) != sizeof(*ret_status) ||
	    !frame_is_valid(ret_status, sizeof(*ret_status), FRAME_MAGIC_KEEPER))
		return -EPROTO;
	return ret_status->header.status;
}

/* The cgroup.procs of this process's own control group, where the unit's processes belong. */
static int own_group_open(void)
{
	char text[512], path[sizeof(text) + 64];
	ssize_t n = file_read(AT_FDCWD, "/proc/self/cgroup", text, sizeof(text) - 1);
	const char *line;
	int fd;

	if (n < 0)
		return (int)n;
	text[n] = '\0';
	line = strstr(text, CGROUP_LINE);
	if (!line)
		return -ENOENT;
	line += strlen(CGROUP_LINE);
	snprintf(path, sizeof(path), CGROUP_ROOT "%.*s/" CGROUP_PROCS, (int)strcspn(line, "\n"),
		 line);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* cgroups(7): a write of its number moves a process with all its threads. */
static int move_process(int group_fd, pid_t pid)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", (int)pid);

	return write(group_fd, text, (size_t)n) == n ? 0 : -errno;
}

/* Both processes, so that what freezes or kills PID 1's group leaves them alone. */
static int move_keeper(const struct keeper_status *status)
{
	_cleanup_close_ int group_fd = own_group_open();
	int r;

	if (group_fd < 0)
		return group_fd;
	r = move_process(group_fd, status->keeper_pid);
	return r < 0 ? r : move_process(group_fd, status->twin_pid);
}

int keeper_adopt(void)
{
	_cleanup_close_ int fd = -1;
	struct keeper_status status;
	char text[128];
	pid_t pid = 0;
	int r;

	r = keeper_find(&fd, &pid);
	if (r == -ENOENT || r == -ECONNREFUSED)
		return 0;
	r = r < 0 ? r : keeper_ask(fd, &status);
	if (r == 0 && (status.keeper_pid != pid || !status.twin_alive))
		r = -EPROTO;
	if (r < 0)
		return log_errno(r, "the keeper of the initramfs: " KEEPER_SOCKET);
	r = move_keeper(&status);
	if (r < 0)
		return log_errno(r, "the keeper of the initramfs: cannot be moved to this unit's "
				    "control group");
	snprintf(text, sizeof(text), "MAINPID=%d\nREADY=1\nSTATUS=Keys are held.", (int)pid);
	r = notify(text);
	if (r < 0)
		return log_errno(r, "cannot tell $NOTIFY_SOCKET of the keeper of the initramfs");
	log_notice("keys are held since the initramfs, by process %d", (int)pid);
	return 1;
}
