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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(only_root_of_this_system_may_connect, new_listener),
		cmocka_unit_test_setup(idle_peers_shut_out_no_one, new_listener),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
