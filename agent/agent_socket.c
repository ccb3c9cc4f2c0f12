/* SPDX-License-Identifier: Apache-2.0 */
/* Local sockets: where they lie, who may use them, who is at the other end. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "agent.h"
#include "base/cleanup.h"

#define BACKLOG 32

int user_find(const char *name, uid_t *ret_uid)
{
	_cleanup_fclose_ FILE *f = fopen("/etc/passwd", "re");
	struct passwd *entry;

	while (f && (entry = fgetpwent(f))) {
		if (strcmp(entry->pw_name, name) != 0)
			continue;
		*ret_uid = entry->pw_uid;
		return 0;
	}
	return -ENOENT;
}

int group_find(const char *name, gid_t *ret_gid)
{
	_cleanup_fclose_ FILE *f = fopen("/etc/group", "re");
	struct group *entry;

	while (f && (entry = fgetgrent(f))) {
		if (strcmp(entry->gr_name, name) != 0)
			continue;
		*ret_gid = entry->gr_gid;
		return 0;
	}
	return -ENOENT;
}

/* Root's directory, which GROUP may pass through. */
static int directory_make(const char *socket_path, gid_t gid)
{
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	char *slash;

	snprintf(path, sizeof(path), "%s", socket_path);
	slash = strrchr(path, '/');
	if (!slash)
		return -EINVAL;
	*slash = '\0';
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	return lchown(path, 0, gid) < 0 || chmod(path, 0710) < 0 ? -errno : 0;
}

int socket_listen(const char *path, const char *group, int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = -1;
	mode_t mask;
	gid_t gid;
	int r;

	r = group_find(group, &gid);
	if (r < 0)
		return r;
	r = directory_make(path, gid);
	if (r < 0)
		return r;
	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;

	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	mask = umask(0177);
	r = bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
	umask(mask);
	if (r < 0)
		return r;
	if (lchown(path, 0, gid) < 0 || chmod(path, 0660) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int socket_accept(int listener, int *ret_fd, uid_t *ret_uid, pid_t *ret_pid)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	_cleanup_close_ int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return -errno;
	*ret_uid = peer.uid;
	*ret_pid = peer.pid;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

bool peer_in_our_user_namespace(pid_t pid)
{
	struct stat ours, theirs;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
	if (pid <= 0 || stat(path, &theirs) < 0 || stat("/proc/self/ns/user", &ours) < 0)
		return false;
	return ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev;
}
