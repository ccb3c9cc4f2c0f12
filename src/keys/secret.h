/* SPDX-License-Identifier: Apache-2.0 */
/* A look at secret memory that the keeper holds: its descriptor, mapped. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct secret {
	const uint8_t *bytes; /* NULL: not mapped */
	size_t size;
};

/* Maps the first SIZE bytes of FD (a memfd_secret, or the keeper's locked memfd), shared and
 * read-only, and touches each page, so that a lack of lockable memory shows here and not as SIGBUS
 * later. The caller has called process_lock(), under
 * which a mapping is locked as it is made. Not inherited by children. FD stays the caller's, who
 * may close it at once. 0; -ENODATA where the file is shorter; or negative errno. The pages are the
 * keeper's and are wiped by it alone. */
int secret_map(int fd, size_t size, struct secret *ret_secret);

/* Takes an unmapped one too. */
void secret_unmap(struct secret *secret);
#define _cleanup_secret_ __attribute__((cleanup(secret_unmap)))
