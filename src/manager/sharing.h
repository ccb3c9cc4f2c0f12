/* SPDX-License-Identifier: Apache-2.0 */
/* Who comes under a CMK that others are under already.
 *
 * A tenant that names another's CMK as its own must not have the manager, which that other trusts, use it
 * for them. Who is under a CMK may go on with it by another key configuration, and others may follow;
 * nobody else comes in that way. */
#pragma once

#include "manager/store.h"

struct sharing {
	char other[ID_TEXT_MAX +
		   1]; /* a workspace under that CMK by another key; "" where none is in the way */
	char through[ID_TEXT_MAX + 1]; /* that key */
};

/* Whether workspaces may come from FROM (NULL: from none) to the CMK that KEY names: -EBUSY where SHARING
 * says who is in the way; -errno of the store. */
int sharing_check(struct store *store, const struct store_key *key, const struct kms_key *from,
		  struct sharing *sharing);
