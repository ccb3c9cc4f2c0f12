/* SPDX-License-Identifier: Apache-2.0 */
/* Having a block device alone. */
#pragma once

/* Opens PATH with FLAGS and O_EXCL, which a mount, a swap, a map or another exclusive opener of it,
 * of its disk or of its partitions refuses with -EBUSY. Tries for a tenth of a second: one that only
 * looks, as this very function does, is gone at once. Returns the descriptor or negative errno. */
int claim_open(const char *path, int flags);

/* How often, and how long apart, to try something that needs the claim. */
#define CLAIM_TRIES 10
void claim_wait(void);
