/* SPDX-License-Identifier: Apache-2.0 */
/* The receipt: what a shred did. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "core/field.h"

#define MAGIC	     "EMBRCT01"
#define SEGMENTS     128
#define SEGMENT_SIZE 40
#define SIGNATURE    3008

static void put_segment(uint8_t *bytes, const struct receipt_segment *segment)
{
	field_put_text(bytes, sizeof(segment->volume), segment->volume);
	put_be16(bytes + 32, segment->segment);
	bytes[34] = (uint8_t)segment->fate;
	put_be32(bytes + 36, segment->wiped_us);
}

static bool get_segment(const uint8_t *bytes, struct receipt_segment *segment)
{
	if (!field_get_name(bytes, sizeof(segment->volume), segment->volume) ||
	    bytes[34] >= SEGMENT_FATE__MAX || bytes[35] != 0)
		return false;
	segment->segment = get_be16(bytes + 32);
	segment->fate = bytes[34];
	segment->wiped_us = get_be32(bytes + 36);
	return true;
}

void receipt_encode(const struct receipt *receipt, uint8_t bytes[static RECEIPT_SIZE])
{
	memset(bytes, 0, RECEIPT_SIZE);
	memcpy(bytes, MAGIC, MAGIC_SIZE);
	memcpy(bytes + 8, receipt->admission, HASH_SIZE);
	bytes[40] = (uint8_t)receipt->kind;
	bytes[41] = (uint8_t)receipt->reason;
	put_be32(bytes + 44, receipt->n_segments);
	memcpy(bytes + 48, receipt->previous, HASH_SIZE);
	put_be64(bytes + 80, receipt->verdict_ns);
	put_be64(bytes + 88, receipt->start_ns);
	put_be64(bytes + 96, receipt->keys_gone_ns);
	put_be64(bytes + 104, receipt->blocked_io_ns);
	put_be32(bytes + 112, receipt->self_test_passed);
	put_be32(bytes + 116, receipt->self_test_failed);
	put_be64(bytes + 120, receipt->plaintext_ns);
	for (size_t i = 0; i < receipt->n_segments && i < SEGMENTS_MAX; i++)
		put_segment(bytes + SEGMENTS + i * SEGMENT_SIZE, &receipt->segments[i]);
	memcpy(bytes + SIGNATURE, receipt->signature, SIGNATURE_SIZE);
}

static bool head_is_valid(const uint8_t *bytes)
{
	uint8_t kind = bytes[40], reason = bytes[41];

	return kind >= RECEIPT_KEYS && kind < RECEIPT_KIND__MAX && reason > REASON_NONE &&
	       reason < REASON__MAX && bytes_are_zero(bytes + 42, 2);
}

/* Also refuses the one contradiction that would let "all keys are gone" be read out of a receipt
 * that lists a key that is not. */
static bool get_segments(const uint8_t *bytes, struct receipt *receipt)
{
	size_t end;

	receipt->n_segments = get_be32(bytes + 44);
	if (receipt->n_segments > SEGMENTS_MAX)
		return false;
	for (size_t i = 0; i < receipt->n_segments; i++) {
		struct receipt_segment *segment = &receipt->segments[i];

		if (!get_segment(bytes + SEGMENTS + i * SEGMENT_SIZE, segment))
			return false;
		if (segment->fate == SEGMENT_UNWIPED && receipt->keys_gone_ns != 0)
			return false;
	}
	end = SEGMENTS + receipt->n_segments * (size_t)SEGMENT_SIZE;
	return bytes_are_zero(bytes + end, SIGNATURE - end);
}

int receipt_decode(const uint8_t *bytes, size_t size, struct receipt *ret_receipt)
{
	struct receipt receipt = {};

	if (!field_starts(bytes, size, RECEIPT_SIZE, MAGIC) || !head_is_valid(bytes))
		return -EBADMSG;
	memcpy(receipt.admission, bytes + 8, HASH_SIZE);
	receipt.kind = bytes[40];
	receipt.reason = bytes[41];
	memcpy(receipt.previous, bytes + 48, HASH_SIZE);
	receipt.verdict_ns = get_be64(bytes + 80);
	receipt.start_ns = get_be64(bytes + 88);
	receipt.keys_gone_ns = get_be64(bytes + 96);
	receipt.blocked_io_ns = get_be64(bytes + 104);
	receipt.self_test_passed = get_be32(bytes + 112);
	receipt.self_test_failed = get_be32(bytes + 116);
	receipt.plaintext_ns = get_be64(bytes + 120);
	if (!get_segments(bytes, &receipt))
		return -EBADMSG;
	memcpy(receipt.signature, bytes + SIGNATURE, SIGNATURE_SIZE);
	*ret_receipt = receipt;
	return 0;
}
