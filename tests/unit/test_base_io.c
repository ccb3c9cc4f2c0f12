/* SPDX-License-Identifier: Apache-2.0 */
/* Whole files and whole datagrams, with the ways they fail. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "unit.h"

static char directory[] = "/tmp/emberlock-unit-XXXXXX";
static char path[64];

static int make_directory(void **state)
{
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/file", directory);
	return 0;
}

static int remove_directory(void **state)
{
	unlink(path);
	return rmdir(directory);
}

static void file_round_trip(void **state)
{
	char back[8];
	struct stat st;

	assert_int_equal(file_write_atomic(path, "abcdefgh", 8, 0640), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(file_read(AT_FDCWD, path, back, sizeof(back)), 8);
	assert_memory_equal(back, "abcdefgh", 8);
	assert_int_equal(file_write_atomic(path, "xy", 2, 0600), 0);
	assert_int_equal(file_read(AT_FDCWD, path, back, sizeof(back)), 2);
	assert_memory_equal(back, "xy", 2);
	/* In the present directory, and in the root. */
	assert_int_equal(directory_sync("file"), 0);
	assert_int_equal(directory_sync("/file"), 0);
	assert_int_equal(directory_sync("/nonexistent/file"), -ENOENT);
}

static void file_failures(void **state)
{
	char back[4] = "....";
	_cleanup_close_ int dirfd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(file_read(AT_FDCWD, "/nonexistent/x", back, sizeof(back)), -ENOENT);
	assert_int_equal(file_read(AT_FDCWD, directory, back, sizeof(back)), -EISDIR);
	assert_int_equal(file_write_atomic(path, "secret", 6, 0600), 0);
	assert_int_equal(file_read(dirfd, "file", back, sizeof(back)), -E2BIG);
	assert_true(bytes_are_zero(back, sizeof(back)));
	assert_int_equal(file_write_atomic("/nonexistent/x", "a", 1, 0600), -ENOENT);
	/* The target is a directory: the rename fails and its temporary neighbour goes; else
	 * remove_directory() would fail. */
	assert_int_equal(file_write_atomic(directory, "a", 1, 0600), -EISDIR);
}

static void full_reads(void **state)
{
	int ends[2];
	char back[4];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(fd_write_full(ends[1], "abcdef", 6), 0);
	close(ends[1]);
	assert_int_equal(fd_read_full(ends[0], back, 4), 0);
	assert_memory_equal(back, "abcd", 4);
	assert_int_equal(fd_read_full(ends[0], back, 4), -ENODATA);
	assert_int_equal(fd_write_full(ends[0], "a", 1), -EBADF);
	close(ends[0]);
	assert_int_equal(fd_read_full(ends[0], back, 4), -EBADF);
}

struct pair {
	int a, b;
};

static void pair_open(struct pair *pair)
{
	int ends[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
	*pair = (struct pair){ends[0], ends[1]};
}

static void pair_close(struct pair *pair)
{
	close(pair->a);
	close(pair->b);
}

static void datagrams(void **state)
{
	struct pair pair;
	char back[8];
	int fd = 77;

	pair_open(&pair);
	assert_int_equal(datagram_receive(pair.b, back, sizeof(back), NULL), -EAGAIN);
	assert_int_equal(datagram_send(pair.a, "abc", 3, -1), 0);
	assert_int_equal(datagram_receive(pair.b, back, sizeof(back), &fd), 3);
	assert_int_equal(fd, -1);
	assert_memory_equal(back, "abc", 3);
	assert_int_equal(datagram_send(pair.a, "123456789", 9, -1), 0);
	assert_int_equal(datagram_receive(pair.b, back, sizeof(back), NULL), -EMSGSIZE);
	close(pair.b);
	assert_int_equal(datagram_send(pair.a, "abc", 3, -1), -EPIPE);
	pair.b = -1;
	pair_close(&pair);
}

static void datagram_at_the_end(void **state)
{
	struct pair pair;
	char back[8];
	int fd = 77;

	pair_open(&pair);
	shutdown(pair.a, SHUT_WR);
	assert_int_equal(datagram_receive(pair.b, back, sizeof(back), &fd), 0);
	assert_int_equal(fd, -1);
	pair_close(&pair);
}

/* The lowest free descriptor: the same before and after where none has leaked. */
static int lowest_free(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

static void descriptor_travels(void **state)
{
	struct pair pair;
	char back[8];
	int fd = -1, before;

	pair_open(&pair);
	assert_int_equal(datagram_send(pair.a, "x", 1, pair.a), 0);
	assert_int_equal(datagram_receive(pair.b, back, sizeof(back), &fd), 1);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	before = lowest_free();
	/* Not asked for, or with a datagram that was cut: closed. */
	assert_int_equal(datagram_send(pair.a, "x", 1, pair.a), 0);
	assert_int_equal(datagram_receive(pair.b, back, sizeof(back), NULL), 1);
	assert_int_equal(datagram_send(pair.a, "123456789", 9, pair.a), 0);
	assert_int_equal(datagram_receive(pair.b, back, sizeof(back), &fd), -EMSGSIZE);
	assert_int_equal(lowest_free(), before);
	pair_close(&pair);
}

/* A peer that sends three: one arrives, none leaks. */
static void further_descriptors_are_closed(void **state)
{
	struct pair pair;
	char back[8];
	union {
		struct cmsghdr header;
		uint8_t bytes[CMSG_SPACE(3 * sizeof(int))];
	} control = {};
	struct iovec iov = {.iov_base = back, .iov_len = 1};
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	int before, fd = -1;

	pair_open(&pair);
	before = lowest_free();
	control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(3 * sizeof(int)),
					  .cmsg_level = SOL_SOCKET,
					  .cmsg_type = SCM_RIGHTS};
	for (size_t i = 0; i < 3; i++)
		memcpy(CMSG_DATA(&control.header) + i * sizeof(int), &pair.a, sizeof(int));
	assert_int_equal(sendmsg(pair.a, &message, 0), 1);
	assert_int_equal(datagram_receive(pair.b, back, sizeof(back), &fd), 1);
	assert_int_equal(fd, before);
	close(fd);
	assert_int_equal(lowest_free(), before);
	pair_close(&pair);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(file_round_trip),
		cmocka_unit_test(file_failures),
		cmocka_unit_test(full_reads),
		cmocka_unit_test(datagrams),
		cmocka_unit_test(datagram_at_the_end),
		cmocka_unit_test(descriptor_travels),
		cmocka_unit_test(further_descriptors_are_closed),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
