/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's socket: who may connect, what arrives, and the primary's loop around it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "core/lease.h"
#include "shred/keeper.h"

#define RUN_DIRECTORY	 "/run/emberlock"
#define KEEPER_DIRECTORY "/run/emberlock/keeper"

/* A directory of root's own, with exactly MODE. */
static int make_directory(const char *path, mode_t mode, int *ret_fd)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return -errno;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid != 0)
		return -EPERM;
	if (fchmod(fd, mode) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int make_socket(int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = KEEPER_SOCKET};
	_cleanup_close_ int fd = -1;

	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (unlink(KEEPER_SOCKET) < 0 && errno != ENOENT)
		return -errno;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 16) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* For whoever would put another agent in the place of the present one. */
static int say_protocol(int directory)
{
	_cleanup_close_ int fd = openat(
		directory, "protocol", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	char text[16];
	int n = snprintf(text, sizeof(text), "%d\n", KEEPER_PROTOCOL);

	if (fd < 0)
		return -errno;
	return fd_write_full(fd, text, (size_t)n);
}

int keeper_listen(struct keeper *keeper)
{
	_cleanup_close_ int run = -1, own = -1;
	struct stat st;
	int r;

	r = make_directory(RUN_DIRECTORY, 0711, &run);
	if (r < 0)
		return r;
	r = make_directory(KEEPER_DIRECTORY, 0700, &own);
	if (r < 0)
		return r;
	/* The lock is the descriptor's, so it is held as long as either process lives. */
	if (flock(own, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	r = say_protocol(own);
	if (r < 0)
		return r;
	keeper->proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	keeper->sys_fd = open("/sys", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (keeper->proc_fd < 0 || keeper->sys_fd < 0 ||
	    fstatat(keeper->proc_fd, "self/ns/user", &st, 0) < 0)
		return -errno;
	keeper->user_ns_dev = st.st_dev;
	keeper->user_ns_ino = st.st_ino;
	r = make_socket(&keeper->listen_fd);
	if (r < 0)
		return r;
	keeper->announce_fd = announce_open(ENDING_DIRECTORY);
	if (keeper->announce_fd < 0)
		return keeper->announce_fd;
	(void)TAKE_FD(own);
	return 0;
}

/* The peer is root, and root of our own user namespace. */
static int check_peer(const struct keeper *keeper, int fd, pid_t *ret_pid)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	char path[64];
	struct stat st;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return -errno;
	if (peer.uid != 0)
		return -EPERM;
	snprintf(path, sizeof(path), "%d/ns/user", (int)peer.pid);
	if (fstatat(keeper->proc_fd, path, &st, 0) < 0)
		return -errno;
	if (st.st_dev != keeper->user_ns_dev || st.st_ino != keeper->user_ns_ino)
		return -EPERM;
	*ret_pid = peer.pid;
	return 0;
}

static struct connection *free_place(struct keeper *keeper)
{
	for (unsigned i = 0; i < CONNECTIONS_MAX; i++)
		if (keeper->connections[i].fd < 0)
			return &keeper->connections[i];
	return NULL;
}

/* A hello alone is no sign of life: an agent that crashes at every start says it too. One that has
 * nothing to put (its lease ran out under expiry warn) is known by staying. */
static bool was_at_work(const struct connection *agent, uint64_t now_ns)
{
	return agent->works || now_ns - agent->since_ns >= AGENT_STAYS_NS;
}

static void close_connection(struct keeper *keeper, struct connection *connection, uint64_t now_ns)
{
	if (connection->role == ROLE_AGENT) {
		keeper->steps.agent_fd = -1;
		if (was_at_work(connection, now_ns))
			keeper->agent_gone_ns = now_ns;
		(void)twin_send(keeper->peer.channel, TWIN_AGENT_GONE, 0, 0, -1);
		if (keeper_phase(keeper) == PHASE_HOLDING)
			log_info("agent %d is gone", (int)connection->pid);
	}
	/* The twin holds the agent's connection too: end it for both. */
	(void)shutdown(connection->fd, SHUT_RDWR);
	close(connection->fd);
	*connection = (struct connection){.fd = -1};
}

/* Those that idle must shut out neither a new agent nor the orderly end. At most one is the agent,
 * so that there is one to close. */
static struct connection *make_place(struct keeper *keeper, uint64_t now_ns)
{
	struct connection *place = free_place(keeper), *oldest = NULL;

	if (place)
		return place;
	for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
		struct connection *connection = &keeper->connections[i];

		if (connection->role == ROLE_PEER &&
		    (!oldest || connection->since_ns < oldest->since_ns))
			oldest = connection;
	}
	log_warning("the connection of process %d is closed: all %d are taken, it is the oldest",
		    (int)oldest->pid, CONNECTIONS_MAX);
	close_connection(keeper, oldest, now_ns);
	return oldest;
}

static void accept_connection(struct keeper *keeper, uint64_t now_ns)
{
	_cleanup_close_ int fd = -1;
	struct connection *place;
	pid_t pid = 0;
	int r;

	fd = accept4(keeper->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	r = check_peer(keeper, fd, &pid);
	if (r < 0) {
		log_errno(r, "a connection was refused: its peer is not root of this system");
		return;
	}
	place = make_place(keeper, now_ns);
	*place = (struct connection){
		.fd = TAKE_FD(fd), .pid = pid, .role = ROLE_PEER, .since_ns = now_ns};
}

static void serve(struct keeper *keeper, struct connection *connection, uint64_t now_ns)
{
	ssize_t n = datagram_receive(connection->fd, keeper->frame.bytes,
				     sizeof(keeper->frame.bytes), NULL);
	int r;

	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		close_connection(keeper, connection, now_ns);
		return;
	}
	r = keeper_request(keeper, connection, (size_t)n);
	if (r < 0) {
		if (keeper_phase(keeper) == PHASE_HOLDING)
			log_errno(r, "the connection of process %d is closed: frame of %zd bytes",
				  (int)connection->pid, n);
		close_connection(keeper, connection, now_ns);
	}
}

static void hear_twin(struct keeper *keeper, short events)
{
	struct twin_message message;

	if (!(events & POLLIN))
		return;
	if (datagram_receive(keeper->peer.channel, &message, sizeof(message), NULL) !=
	    sizeof(message))
		return;
	if (message.type == TWIN_MAP_DONE)
		keeper_map_done(keeper, message.slot, message.status);
}

static void hear_announcement(struct keeper *keeper, uint64_t now_ns)
{
	enum end_verb verb = announce_read(keeper->announce_fd);

	if (verb && keeper_phase(keeper) == PHASE_HOLDING)
		keeper_ending(keeper, verb, now_ns);
}

void poll_until(struct pollfd *fds, unsigned n, uint64_t now_ns, uint64_t end_ns)
{
	uint64_t wait_ns = end_ns > now_ns ? end_ns - now_ns : 0;
	struct timespec wait = {
		.tv_sec = (time_t)(wait_ns / NSEC_PER_SEC),
		.tv_nsec = (long)(wait_ns % NSEC_PER_SEC),
	};

	if (ppoll(fds, n, end_ns == LEASE_NEVER ? NULL : &wait, NULL) >= 0)
		return;
	for (unsigned i = 0; i < n; i++)
		fds[i].revents = 0;
}

enum { POLL_LISTEN, POLL_ANNOUNCE, POLL_TWIN, POLL_TWIN_DEATH, POLL_DONE, POLL_CONNECTIONS };

static void choose_fds(struct keeper *keeper, struct pollfd *fds)
{
	/* No one new during a shred: to look at a peer is to open files. */
	bool accepting = keeper_phase(keeper) != PHASE_SHREDDING;
	/* The agent talks to the process that shreds; its requests come one by one. */
	bool hears_agent = atomic_load(&keeper->shared->owner) != PROCESS_TWIN &&
			   atomic_load(&keeper->shared->pending_slot) < 0;

	fds[POLL_LISTEN] = (struct pollfd){accepting ? keeper->listen_fd : -1, POLLIN, 0};
	fds[POLL_ANNOUNCE] = (struct pollfd){keeper->announce_fd, POLLIN, 0};
	fds[POLL_TWIN] =
		(struct pollfd){keeper->peer.pidfd < 0 ? -1 : keeper->peer.channel, POLLIN, 0};
	fds[POLL_TWIN_DEATH] = (struct pollfd){keeper->peer.pidfd, POLLIN, 0};
	fds[POLL_DONE] = (struct pollfd){keeper->steps.done_fd, POLLIN, 0};
	for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
		struct connection *connection = &keeper->connections[i];
		bool hears = connection->role != ROLE_AGENT || hears_agent;

		fds[POLL_CONNECTIONS + i] = (struct pollfd){hears ? connection->fd : -1, POLLIN, 0};
	}
}

void keeper_turn(struct keeper *keeper)
{
	struct pollfd fds[POLL_CONNECTIONS + CONNECTIONS_MAX];
	uint64_t now_ns = clock_boottime_ns();

	choose_fds(keeper, fds);
	poll_until(fds, ELEMENTSOF(fds), now_ns, keeper_next(keeper));

	now_ns = clock_boottime_ns();
	if (fds[POLL_TWIN_DEATH].revents) {
		keeper->peer.pidfd = -1;
		keeper_fault(keeper, true, "the keeper's twin died", now_ns);
	}
	keeper_run(keeper, now_ns);
	hear_twin(keeper, fds[POLL_TWIN].revents);
	if (fds[POLL_ANNOUNCE].revents)
		hear_announcement(keeper, now_ns);
	for (unsigned i = 0; i < CONNECTIONS_MAX; i++)
		if (fds[POLL_CONNECTIONS + i].revents)
			serve(keeper, &keeper->connections[i], now_ns);
	if (fds[POLL_LISTEN].revents)
		accept_connection(keeper, now_ns);
	keeper_run(keeper, clock_boottime_ns());
}
