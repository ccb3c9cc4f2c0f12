/* SPDX-License-Identifier: Apache-2.0 */
/* The boot identity: its seed stays in the keeper's memory and is looked at only to sign. */
#include <errno.h>

#include "agent.h"
#include "keys/hygiene.h"
#include "keys/secret.h"

int identity_key(struct agent *a, struct signing_key **ret_key)
{
	struct secret seed = {0};
	int r;

	if (a->keeper.identity_fd < 0)
		return -ENOKEY;
	r = secret_map(a->keeper.identity_fd, IDENTITY_SEED_SIZE, &seed);
	if (r < 0)
		return r;
	r = signing_key_new_from_seed(seed.bytes, ret_key);
	secret_unmap(&seed);
	registers_scrub();
	return r;
}
