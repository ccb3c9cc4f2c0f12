/* SPDX-License-Identifier: Apache-2.0 */
/* Whole files and whole datagrams. */
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/cleanup.h"

/* Reads up to SIZE bytes, fewer only at the end of the file. */
static ssize_t read_up_to(int fd, uint8_t *buf, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = read(fd, buf + done, size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

ssize_t file_read(int dirfd, const char *path, void *buf, size_t size)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	uint8_t more;
	ssize_t n, excess;

	if (fd < 0)
		return -errno;
	n = read_up_to(fd, buf, size);
	if (n >= 0) {
		excess = read_up_to(fd, &more, 1);
		bytes_wipe(&more, 1);
		if (excess == 0)
			return n;
		n = excess < 0 ? excess : -E2BIG;
	}
	bytes_wipe(buf, size);
	return n;
}

int directory_sync(const char *path)
{
	const char *slash = strrchr(path, '/');
	_cleanup_close_ int fd = -1;
	char directory[PATH_MAX] = ".";

	if (slash) {
		size_t n = (size_t)(slash - path) + 1;

		if (n >= sizeof(directory))
			return -ENAMETOOLONG;
		memcpy(directory, path, n);
		directory[n] = '\0';
	}
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

static int fill_and_rename(int fd, const char *temporary, const char *path, const void *buf,
			   size_t n)
{
	int r = fd_write_full(fd, buf, n);

	if (r < 0)
		return r;
	if (fsync(fd) < 0 || rename(temporary, path) < 0)
		return -errno;
	return 0;
}

int file_write_atomic(const char *path, const void *buf, size_t n, mode_t mode)
{
	return file_write_atomic_as(path, buf, n, mode, (uid_t)-1, (gid_t)-1);
}

int file_write_atomic_as(const char *path, const void *buf, size_t n, mode_t mode, uid_t uid,
			 gid_t gid)
{
	_cleanup_close_ int fd = -1;
	char temporary[PATH_MAX];
	int length = snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path), r;

	if (length < 0 || (size_t)length >= sizeof(temporary))
		return -ENAMETOOLONG;
	/* Mode 0600 until it has its own. */
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* Only where it is asked for: sandboxes leave nobody chown(2). */
	if ((uid != (uid_t)-1 && fchown(fd, uid, gid) < 0) || fchmod(fd, mode) < 0)
		r = -errno;
	else
		r = fill_and_rename(fd, temporary, path, buf, n);
	if (r < 0) {
		unlink(temporary);
		return r;
	}
	return directory_sync(path);
}

int fd_read_full(int fd, void *buf, size_t n)
{
	ssize_t done = read_up_to(fd, buf, n);

	if (done < 0)
		return (int)done;
	return (size_t)done == n ? 0 : -ENODATA;
}

int fd_write_full(int fd, const void *buf, size_t n)
{
	const uint8_t *p = buf;

	while (n > 0) {
		ssize_t written = write(fd, p, n);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		p += written;
		n -= (size_t)written;
	}
	return 0;
}

/* Room for one descriptor, aligned as a control message must be. */
union control {
	struct cmsghdr header;
	uint8_t bytes[CMSG_SPACE(sizeof(int))];
};

int datagram_send(int sock, const void *buf, size_t n, int fd)
{
	union control control = {};
	struct iovec iov = {.iov_base = (void *)buf, .iov_len = n};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t sent;

	if (fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
		control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)),
						  .cmsg_level = SOL_SOCKET,
						  .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	}
	do
		sent = sendmsg(sock, &message, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return -errno;
	return (size_t)sent == n ? 0 : -EMSGSIZE;
}

/* Takes the first descriptor out of MESSAGE and closes any other: alignment leaves room for a
 * second. The kernel has closed those that did not fit. */
static int take_descriptor(struct msghdr *message)
{
	int first = -1;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (first < 0)
				first = fd;
			else
				close(fd);
		}
	}
	return first;
}

ssize_t datagram_receive(int sock, void *buf, size_t size, int *ret_fd)
{
	union control control = {};
	struct iovec iov = {.iov_base = buf, .iov_len = size};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	_cleanup_close_ int fd = -1;
	ssize_t n;

	if (ret_fd) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
	}
	do
		n = recvmsg(sock, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	fd = take_descriptor(&message);
	if (message.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	if (ret_fd)
		*ret_fd = TAKE_FD(fd);
	return n;
}
