/* SPDX-License-Identifier: Apache-2.0 */
/* The bind offer and the bind share: how the manager's part of a key comes to one boot. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "core/field.h"

#define OFFER_MAGIC "EMBOFR01"
#define SHARE_MAGIC "EMBSHR01"

void bind_offer_encode(const struct bind_offer *offer, uint8_t bytes[static BIND_OFFER_SIZE])
{
	memset(bytes, 0, BIND_OFFER_SIZE);
	memcpy(bytes, OFFER_MAGIC, MAGIC_SIZE);
	memcpy(bytes + 8, offer->admission, HASH_SIZE);
	memcpy(bytes + 40, offer->key, BIND_KEY_SIZE);
	memcpy(bytes + 80, offer->signature, SIGNATURE_SIZE);
}

int bind_offer_decode(const uint8_t *bytes, size_t size, struct bind_offer *ret_offer)
{
	struct bind_offer offer = {};

	if (!field_starts(bytes, size, BIND_OFFER_SIZE, OFFER_MAGIC) ||
	    !bytes_are_zero(bytes + 72, 8))
		return -EBADMSG;
	memcpy(offer.admission, bytes + 8, HASH_SIZE);
	memcpy(offer.key, bytes + 40, BIND_KEY_SIZE);
	memcpy(offer.signature, bytes + 80, SIGNATURE_SIZE);
	*ret_offer = offer;
	return 0;
}

void bind_share_encode(const struct bind_share *share, uint8_t bytes[static BIND_SHARE_RECORD_SIZE])
{
	memset(bytes, 0, BIND_SHARE_RECORD_SIZE);
	memcpy(bytes, SHARE_MAGIC, MAGIC_SIZE);
	memcpy(bytes + 8, share->admission, HASH_SIZE);
	memcpy(bytes + 40, share->encapsulated, BIND_KEY_SIZE);
	memcpy(bytes + 72, share->sealed, BIND_SEALED_SIZE);
	put_be64(bytes + 120, share->key_id);
	memcpy(bytes + 128, share->signature, SIGNATURE_SIZE);
}

int bind_share_decode(const uint8_t *bytes, size_t size, struct bind_share *ret_share)
{
	struct bind_share share = {};

	if (!field_starts(bytes, size, BIND_SHARE_RECORD_SIZE, SHARE_MAGIC))
		return -EBADMSG;
	memcpy(share.admission, bytes + 8, HASH_SIZE);
	memcpy(share.encapsulated, bytes + 40, BIND_KEY_SIZE);
	memcpy(share.sealed, bytes + 72, BIND_SEALED_SIZE);
	share.key_id = get_be64(bytes + 120);
	memcpy(share.signature, bytes + 128, SIGNATURE_SIZE);
	*ret_share = share;
	return 0;
}
