/* SPDX-License-Identifier: Apache-2.0 */
/* Whole files and whole datagrams. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Reads the file PATH (relative to DIRFD, or AT_FDCWD) into BUF, at most SIZE bytes. Returns the
 * number of bytes; -E2BIG where the file is larger; negative errno otherwise. No copy of the
 * content is left elsewhere. */
ssize_t file_read(int dirfd, const char *path, void *buf, size_t size);

/* Writes N bytes as the file PATH with MODE: a temporary neighbour, fsync, rename, fsync of the
 * directory. 0 or negative errno. */
int file_write_atomic(const char *path, const void *buf, size_t n, mode_t mode);
/* The same, as a file of UID and GID (UID -1: the caller's). */
int file_write_atomic_as(const char *path, const void *buf, size_t n, mode_t mode, uid_t uid,
			 gid_t gid);

/* Has the directory that holds PATH on the disk: a rename lasts only then. 0 or negative errno. */
int directory_sync(const char *path);

/* Reads or writes exactly N bytes, restarting after signals. 0, -ENODATA at an early end, or errno.
 */
int fd_read_full(int fd, void *buf, size_t n);
int fd_write_full(int fd, const void *buf, size_t n);

/* Sends one datagram of N bytes with at most one descriptor (FD, or -1). Whole or not at all; never
 * SIGPIPE. */
int datagram_send(int sock, const void *buf, size_t n, int fd);

/* Receives one datagram of at most SIZE bytes; *ret_fd takes the descriptor that came with it, or
 * -1 (close-on-exec; any further ones are closed). ret_fd NULL: none is accepted. Returns its size,
 * 0 at the end, -EAGAIN, -EMSGSIZE where it was cut. */
ssize_t datagram_receive(int sock, void *buf, size_t size, int *ret_fd);
