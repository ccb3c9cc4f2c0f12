/* SPDX-License-Identifier: Apache-2.0 */
/* How the beginning of an orderly end is heard without a program being run for it. */
#include "shred/announce.h"

#include <errno.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

int announce_open(const char *directory)
{
	_cleanup_close_ int fd = -1;

	if (mkdir(directory, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (fd < 0 || inotify_add_watch(fd, directory, IN_CREATE | IN_ONLYDIR) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static enum end_verb verb_of(const char *name)
{
	for (enum end_verb verb = END_POWEROFF; verb < END_VERB__MAX; verb++)
		if (strcmp(name, end_verb_name(verb)) == 0)
			return verb;
	return 0;
}

enum end_verb announce_read(int fd)
{
	_Alignas(struct inotify_event) char events[1024]; /* NAME_MAX and more */
	enum end_verb verb = 0;
	ssize_t n = read(fd, events, sizeof(events));

	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *event = (const void *)(events + at);
		enum end_verb named = event->len > 0 ? verb_of(event->name) : 0;

		verb = named ? named : verb;
		at += (ssize_t)(sizeof(*event) + event->len);
	}
	return verb;
}
