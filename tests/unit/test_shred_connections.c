/* SPDX-License-Identifier: Apache-2.0 */
/* Who may connect to the keeper, and who when its places are taken. */
#include "unit.h"

#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "shred_keeper.h"

static struct ucred peer; /* who the next one to connect is to the keeper */

int getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
	assert_int_equal(name, SO_PEERCRED);
	memcpy(value, &peer, sizeof(peer));
	return 0;
}

static struct sockaddr_un address;
static socklen_t address_size;

static int new_listener(void **state)
{
	struct stat st;

	new_keeper(state);
	peer = (struct ucred){.pid = getpid()}; /* root of the keeper's own user namespace */
	assert_int_equal(stat("/proc/self/ns/user", &st), 0);
	keeper->proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	keeper->user_ns_dev = st.st_dev;
	keeper->user_ns_ino = st.st_ino;
	keeper->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
	address = (struct sockaddr_un){.sun_family = AF_UNIX};
	address_size = sizeof(sa_family_t); /* the kernel names it */
	assert_int_equal(bind(keeper->listen_fd, (struct sockaddr *)&address, address_size), 0);
	address_size = sizeof(address);
	assert_int_equal(getsockname(keeper->listen_fd, (struct sockaddr *)&address, &address_size),
			 0);
	assert_int_equal(listen(keeper->listen_fd, CONNECTIONS_MAX), 0);
	return 0;
}

/* The end of a new connection that the keeper has looked at. */
static int connect_now(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);

	assert_int_equal(connect(fd, (const struct sockaddr *)&address, address_size), 0);
	keeper_turn(keeper);
	return fd;
}

static bool is_open(int fd)
{
	char byte;

	return datagram_receive(fd, &byte, sizeof(byte), NULL) == -EAGAIN;
}

static void only_root_of_this_system_may_connect(void **state)
{
	pid_t gone = fork();
	int fd;

	if (gone == 0)
		_exit(0);
	assert_int_equal(waitpid(gone, NULL, 0), gone);

	fd = connect_now();
	assert_true(is_open(fd)); /* the control */
	close(fd);
	peer.uid = 65534;
	assert_false(is_open(connect_now()));
	peer.uid = 0;
	keeper->user_ns_ino++; /* root of a container's */
	assert_false(is_open(connect_now()));
	keeper->user_ns_ino--;
	peer.pid = gone;
	assert_false(is_open(connect_now()));
	peer.pid = 0; /* of a process that is not in our tree */
	assert_false(is_open(connect_now()));
}

static void idle_peers_shut_out_no_one(void **state)
{
	int peers[CONNECTIONS_MAX];

	say_hello(); /* the oldest of all */
	for (unsigned i = 0; i < CONNECTIONS_MAX; i++)
		peers[i] = connect_now();
	assert_true(is_open(agent_fd));
	assert_false(is_open(peers[0]));
	for (unsigned i = 1; i < CONNECTIONS_MAX; i++)
		assert_true(is_open(peers[i]));

	close(connect_now());
	assert_true(is_open(agent_fd));
	assert_false(is_open(peers[1])); /* not the one whose place was taken last */
	for (unsigned i = 2; i < CONNECTIONS_MAX; i++)
		assert_true(is_open(peers[i]));
}

static char announced[64]; /* the directory in which it is announced */

static void announce(const char *name)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", announced, name);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(rmdir(path), 0);
	keeper_turn(keeper);
}

/* What the agent has been told; 0: nothing. */
static enum end_verb told(void)
{
	struct keeper_ending frame;
	ssize_t n = datagram_receive(agent_fd, &frame, sizeof(frame), NULL);

	if (n == -EAGAIN)
		return 0;
	assert_int_equal(n, sizeof(frame));
	assert_true(frame_is_valid(&frame, sizeof(frame), FRAME_MAGIC_KEEPER));
	assert_int_equal(frame.header.type, KEEPER_ENDING);
	assert_int_equal(frame.began_ns, keeper->ending_began_ns);
	assert_int_equal(frame.end_ns, shared_due(keeper->shared));
	return frame.verb;
}

/* Heard in the loop, and told to the agent. */
static void announcement_is_heard(void **state)
{
	strcpy(announced, "/tmp/emberlock-test.XXXXXX");
	assert_non_null(mkdtemp(announced));
	keeper->announce_fd = announce_open(announced);
	say_hello();
	announce("other");
	assert_int_equal(shared_due(keeper->shared), LEASE_NEVER);
	assert_int_equal(told(), 0);
	announce("kexec");
	assert_int_equal(keeper->shared->ending_verb, POWER_KEXEC);
	assert_int_not_equal(shared_due(keeper->shared), LEASE_NEVER);
	assert_int_equal(told(), END_KEXEC);
	announce("kexec");
	assert_int_equal(told(), 0);
	announce("reboot");
	assert_int_equal(told(), END_REBOOT);
	/* In a shred it comes too late. */
	add_map("stalled", 0);
	keeper_shred(keeper, REASON_OPERATOR, clock_boottime_ns());
	announce("poweroff");
	assert_int_equal(keeper->shared->ending_verb, POWER_REBOOT);
	assert_int_equal(rmdir(announced), 0);
	close(keeper->announce_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(only_root_of_this_system_may_connect, new_listener),
		cmocka_unit_test_setup(idle_peers_shut_out_no_one, new_listener),
		cmocka_unit_test_setup(announcement_is_heard, new_listener),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
