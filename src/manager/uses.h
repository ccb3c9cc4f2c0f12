/* SPDX-License-Identifier: Apache-2.0 */
/* What a key configuration may be used for, and what a workspace has: the one must cover the other, at
 * each moment at which either changes. */
#pragma once

#include "manager/store.h"

/* The use cases that KEY covers, and every key configuration that its workspaces are on their way to; bits
 * of enum key_use. -errno of the store. */
int uses_of(struct store *store, const struct store_key *key, unsigned *ret_uses);

/* What an enrolment needs: a VM, or a storage node. */
bool uses_cover_vms(unsigned uses);
bool uses_cover_data(unsigned uses);

/* Whether WORKSPACE may come under KEY. -ENOTSUP with WHY naming what of it the key is not for; -errno of
 * the store. */
int uses_check(struct store *store, const struct store_key *key,
	       const struct store_workspace *workspace, char why[static 256]);
/* The same of all that are under FROM, or on their way to it. */
int uses_check_all(struct store *store, const struct store_key *key, const struct store_key *from,
		   char why[static 256]);
