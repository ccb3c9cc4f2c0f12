/* SPDX-License-Identifier: Apache-2.0 */
/* Release of resources at the end of a scope. */
#include "base/cleanup.h"

#include <errno.h>

void cleanup_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	errno = saved;
}
