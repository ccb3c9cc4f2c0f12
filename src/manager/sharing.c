/* SPDX-License-Identifier: Apache-2.0 */
/* Who comes under a CMK that others are under already. */
#include "manager/sharing.h"

#include <errno.h>
#include <string.h>

#include "manager/kms/kms.h"

struct look {
	struct store *store;
	const struct store_key *key;
	bool bound; /* a workspace is bound to the key itself */
	struct sharing *sharing;
};

static int look_at(const struct store_workspace *workspace, void *userdata)
{
	struct look *look = userdata;
	struct store_key key;
	int r;

	if (workspace->key == 0)
		return 0;
	if (workspace->key == look->key->id) {
		look->bound = true;
		return 0;
	}
	r = store_key_get_by_id(look->store, workspace->key, &key);
	if (r < 0)
		return r;
	if (!kms_key_same(&key.kms, &look->key->kms))
		return 0;
	memcpy(look->sharing->other, workspace->name, sizeof(look->sharing->other));
	memcpy(look->sharing->through, key.name, sizeof(look->sharing->through));
	return 0;
}

int sharing_check(struct store *store, const struct store_key *key, const struct kms_key *from,
		  struct sharing *sharing)
{
	struct look look = {.store = store, .key = key, .sharing = sharing};
	int r;

	*sharing = (struct sharing){0};
	if (from && kms_key_same(from, &key->kms))
		return 0;
	r = store_workspaces(store, look_at, &look);
	if (r < 0)
		return r;
	return sharing->other[0] && !look.bound ? -EBUSY : 0;
}
