/* SPDX-License-Identifier: Apache-2.0 */
/* A directory for the files of one test, gone after it. */
#pragma once

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

struct scratch {
	char path[64];
};

static int scratch_remove(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static inline int scratch_make(void **state)
{
	struct scratch *scratch = calloc(1, sizeof(*scratch));

	if (!scratch)
		return -1;
	(void)snprintf(scratch->path, sizeof(scratch->path), "/tmp/emberlock-test.XXXXXX");
	*state = scratch;
	return mkdtemp(scratch->path) ? 0 : -1;
}

static inline int scratch_done(void **state)
{
	struct scratch *scratch = *state;
	int r = nftw(scratch->path, scratch_remove, 8, FTW_DEPTH | FTW_PHYS);

	free(scratch);
	return r;
}

/* Writes SIZE bytes as the file NAME below the scratch directory, its directories too. */
static inline void scratch_write(const struct scratch *scratch, const char *name, const void *bytes,
				 size_t size)
{
	char path[256];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", scratch->path, name);
	for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		(void)mkdir(path, 0755);
		*p = '/';
	}
	file = fopen(path, "we");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

static inline void scratch_text(const struct scratch *scratch, const char *name, const char *text)
{
	scratch_write(scratch, name, text, strlen(text));
}
