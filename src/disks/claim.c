/* SPDX-License-Identifier: Apache-2.0 */
/* Having a block device alone: open(2), O_EXCL without O_CREAT. */
#include "disks/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>

/* The kernel tells nobody when a claim ends. */
void claim_wait(void)
{
	static const struct timespec while_one_looks = {.tv_nsec = 10 * 1000 * 1000};

	(void)nanosleep(&while_one_looks, NULL);
}

int claim_open(const char *path, int flags)
{
	int fd;

	for (int i = 0; i < CLAIM_TRIES; i++) {
		fd = open(path, flags | O_EXCL | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (fd >= 0)
			return fd;
		if (errno != EBUSY)
			return -errno;
		claim_wait();
	}
	return -EBUSY;
}
