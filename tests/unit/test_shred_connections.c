/* SPDX-License-Identifier: Apache-2.0 */
/* Who may connect to the keeper when its places are taken. */
#include "unit.h"

#include <sys/stat.h>
#include <sys/un.h>

#include "shred_keeper.h"

/* Who runs the test is root to the keeper. */
int getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
	struct ucred root = {.pid = getpid()};

	assert_int_equal(name, SO_PEERCRED);
	memcpy(value, &root, sizeof(root));
	return 0;
}

/* The end of a new connection that the keeper has accepted. */
static int connect_to(const struct sockaddr_un *address, socklen_t size)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);

	assert_int_equal(connect(fd, (const struct sockaddr *)address, size), 0);
	keeper_turn(keeper);
	return fd;
}

static bool is_open(int fd)
{
	char byte;

	return datagram_receive(fd, &byte, sizeof(byte), NULL) == -EAGAIN;
}

static void idle_peers_shut_out_no_one(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t size = sizeof(sa_family_t); /* the kernel names it */
	int peers[CONNECTIONS_MAX];
	struct stat st;

	assert_int_equal(stat("/proc/self/ns/user", &st), 0);
	keeper->user_ns_dev = st.st_dev;
	keeper->user_ns_ino = st.st_ino;
	keeper->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(keeper->listen_fd, (struct sockaddr *)&address, size), 0);
	size = sizeof(address);
	assert_int_equal(getsockname(keeper->listen_fd, (struct sockaddr *)&address, &size), 0);
	assert_int_equal(listen(keeper->listen_fd, CONNECTIONS_MAX), 0);

	say_hello(); /* the oldest of all */
	for (unsigned i = 0; i < CONNECTIONS_MAX; i++)
		peers[i] = connect_to(&address, size);
	assert_true(is_open(agent_fd));
	assert_false(is_open(peers[0]));
	for (unsigned i = 1; i < CONNECTIONS_MAX; i++)
		assert_true(is_open(peers[i]));

	close(connect_to(&address, size));
	assert_true(is_open(agent_fd));
	assert_false(is_open(peers[1])); /* not the one whose place was taken last */
	for (unsigned i = 2; i < CONNECTIONS_MAX; i++)
		assert_true(is_open(peers[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(idle_peers_shut_out_no_one, new_keeper),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
