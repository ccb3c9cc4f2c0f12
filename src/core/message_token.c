/* SPDX-License-Identifier: Apache-2.0 */
/* The token: a lease, or its end. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "core/field.h"

#define MAGIC "EMBTOK01"

void token_encode(const struct token *token, uint8_t bytes[static TOKEN_SIZE])
{
	memset(bytes, 0, TOKEN_SIZE);
	memcpy(bytes, MAGIC, MAGIC_SIZE);
	memcpy(bytes + 8, token->admission, HASH_SIZE);
	memcpy(bytes + 40, token->challenge, CHALLENGE_SIZE);
	field_put_sequence(bytes + 72, token->sequence);
	put_be32(bytes + 88, token->ttl_ms);
	put_be32(bytes + 92, token->margin_ms);
	put_be32(bytes + 96, token->poll_ms);
	bytes[100] = (uint8_t)token->verdict;
	bytes[101] = (uint8_t)token->expiry;
	bytes[102] = (uint8_t)token->cmk_state;
	bytes[103] = (uint8_t)token->reason;
	put_be64(bytes + 104, token->issued_at);
	put_be64(bytes + 112, token->key_id);
	memcpy(bytes + 128, token->signature, SIGNATURE_SIZE);
}

static bool enums_are_valid(const uint8_t *bytes)
{
	uint8_t verdict = bytes[100], expiry = bytes[101], cmk_state = bytes[102],
		reason = bytes[103];

	return verdict >= VERDICT_ADMIT && verdict < VERDICT__MAX && expiry >= EXPIRY_SHRED &&
	       expiry < EXPIRY__MAX && cmk_state < CMK__MAX && reason < REASON__MAX &&
	       (verdict == VERDICT_SHRED) == (reason != REASON_NONE);
}

int token_decode(const uint8_t *bytes, size_t size, struct token *ret_token)
{
	struct token token = {};

	if (!field_starts(bytes, size, TOKEN_SIZE, MAGIC) || !enums_are_valid(bytes) ||
	    !bytes_are_zero(bytes + 120, 8))
		return -EBADMSG;
	memcpy(token.admission, bytes + 8, HASH_SIZE);
	memcpy(token.challenge, bytes + 40, CHALLENGE_SIZE);
	token.sequence = field_get_sequence(bytes + 72);
	token.ttl_ms = get_be32(bytes + 88);
	token.margin_ms = get_be32(bytes + 92);
	token.poll_ms = get_be32(bytes + 96);
	token.verdict = bytes[100];
	token.expiry = bytes[101];
	token.cmk_state = bytes[102];
	token.reason = bytes[103];
	token.issued_at = get_be64(bytes + 104);
	token.key_id = get_be64(bytes + 112);
	memcpy(token.signature, bytes + 128, SIGNATURE_SIZE);
	*ret_token = token;
	return 0;
}
