/* SPDX-License-Identifier: Apache-2.0 */
/* The ending note: this boot ends in good order. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "core/field.h"

#define MAGIC "EMBEND01"

void ending_encode(const struct ending *ending, uint8_t bytes[static ENDING_SIZE])
{
	memset(bytes, 0, ENDING_SIZE);
	memcpy(bytes, MAGIC, MAGIC_SIZE);
	memcpy(bytes + 8, ending->admission, HASH_SIZE);
	bytes[40] = (uint8_t)ending->verb;
	put_be32(bytes + 44, ending->bound_ms);
	put_be64(bytes + 48, ending->began_ns);
	memcpy(bytes + 64, ending->signature, SIGNATURE_SIZE);
}

int ending_decode(const uint8_t *bytes, size_t size, struct ending *ret_ending)
{
	struct ending ending = {};

	if (!field_starts(bytes, size, ENDING_SIZE, MAGIC) || bytes[40] < END_POWEROFF ||
	    bytes[40] >= END_VERB__MAX || !bytes_are_zero(bytes + 41, 3) ||
	    !bytes_are_zero(bytes + 56, 8))
		return -EBADMSG;
	memcpy(ending.admission, bytes + 8, HASH_SIZE);
	ending.verb = bytes[40];
	ending.bound_ms = get_be32(bytes + 44);
	ending.began_ns = get_be64(bytes + 48);
	if (ending.bound_ms == 0)
		return -EBADMSG;
	memcpy(ending.signature, bytes + 64, SIGNATURE_SIZE);
	*ret_ending = ending;
	return 0;
}
