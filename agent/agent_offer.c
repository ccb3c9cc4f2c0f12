/* SPDX-License-Identifier: Apache-2.0 */
/* The bind offer: the public half of a key pair that follows from the boot key, signed. */
#include <errno.h>
#include <string.h>

#include "agent.h"
#include "base/cleanup.h"
#include "keys/bind.h"
#include "keys/hygiene.h"
#include "keys/secret.h"

static int public_half(struct agent *a, uint8_t ret_public[static BIND_KEY_SIZE])
{
	_cleanup_secret_ struct secret boot_key = {.bytes = NULL};
	_cleanup_close_ int fd = -1;
	int r = keeper_boot_key(a, &fd);

	r = r < 0 ? r : secret_map(fd, BOOT_KEY_SIZE, &boot_key);
	r = r < 0 ? r : bind_public(boot_key.bytes, a->keeper.hello.boot_id, ret_public);
	registers_scrub();
	return r;
}

int offer_make(struct agent *a)
{
	_cleanup_signing_key_ struct signing_key *key = NULL;
	struct bind_offer offer = {};
	int r;

	if (a->requests.offered)
		return 0;
	memcpy(offer.admission, a->state.lease.admission, sizeof(offer.admission));
	r = public_half(a, offer.key);
	r = r < 0 ? r : identity_key(a, &key);
	r = r < 0 ? r : bind_offer_sign(key, &offer, a->requests.offer);
	registers_scrub();
	a->requests.offered = r == 0;
	return r;
}
