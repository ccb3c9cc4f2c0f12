/* SPDX-License-Identifier: Apache-2.0 */
/* Which worker loads a table first: an eventfd(2) as a semaphore of one, and later of many. */
#include "disks/gate.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "disks/volume.h"

#define GATE_LIMIT_MS 1000
#define GATE_WIDE     UINT32_MAX /* passes; far more than workers run in a boot */

int volume_gate_new(int *ret_fd)
{
	int fd = eventfd(1, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

void gate_pass(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint64_t one;

	if (fd < 0)
		return;
	while (read(fd, &one, sizeof(one)) < 0 && errno == EAGAIN)
		if (poll(&p, 1, GATE_LIMIT_MS) <= 0)
			break;
}

void gate_open(int fd)
{
	const uint64_t wide = GATE_WIDE;

	/* It refuses more than it can count, and is wide open then. */
	if (fd >= 0)
		(void)!write(fd, &wide, sizeof(wide));
}
