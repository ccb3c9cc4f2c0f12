/* SPDX-License-Identifier: Apache-2.0 */
/* Release of resources at the end of a scope, and hand-over out of it. */
#pragma once

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f)	   __attribute__((cleanup(f)))
#define _cleanup_free_	   _cleanup_(cleanup_free)
#define _cleanup_close_	   _cleanup_(cleanup_close)
#define _cleanup_fclose_   _cleanup_(cleanup_fclose)
#define _cleanup_closedir_ _cleanup_(cleanup_closedir)

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

/* Closes *FD unless it is negative; keeps errno. */
void cleanup_close(int *fd);

static inline void cleanup_fclose(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void cleanup_closedir(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* Hand-over empties the source, so that its cleanup finds nothing. */
#define TAKE_FD(fd)                                                                                \
	__extension__({                                                                            \
		int *_fd = &(fd);                                                                  \
		int _taken = *_fd;                                                                 \
		*_fd = -1;                                                                         \
		_taken;                                                                            \
	})
#define TAKE_PTR(p)                                                                                \
	__extension__({                                                                            \
		__typeof__(p) *_p = &(p);                                                          \
		__typeof__(p) _taken = *_p;                                                        \
		*_p = NULL;                                                                        \
		_taken;                                                                            \
	})

#define ELEMENTSOF(x) (sizeof(x) / sizeof((x)[0]))
