/* SPDX-License-Identifier: Apache-2.0 */
/* DEK blobs that a storage node sends: what is read lies within the bytes and is of the form; only a
 * whole blob opens, and what was sealed opens again. */
#include "fuzz.h"

#include <errno.h>

#include "base/bytes.h"
#include "base/parse.h"
#include "manager/dek_blob.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const uint8_t kek[KEK_SIZE];
	struct dek_scratch scratch;
	uint8_t again[DEK_BLOB_MAX];
	struct dek_blob blob, other;
	size_t n;

	if (dek_blob_parse(bytes, size, &blob))
		return 0;
	must(blob.bytes == bytes && size <= DEK_BLOB_MAX);
	must(blob.sealed + DEK_SIZE + AEAD_TAG_SIZE == size);
	must(blob.kek.size > 0 && blob.kek.size <= KEK_WRAPPED_MAX && blob.kek.version > 0);
	must(name_is_valid(blob.kek.use, KEK_USE_MAX));
	if (dek_open(&scratch, kek, &blob, "w", "") < 0) {
		must(bytes_are_zero(&scratch, sizeof(scratch)));
		memset(&scratch, 1, sizeof(scratch));
	}
	must(dek_seal(&scratch, kek, &blob.kek, "w", "c", again, &n) == 0);
	must(n == size && !dek_blob_parse(again, n, &other));
	/* The header is a function of what it says. */
	must(memcmp(again, bytes, 32) == 0 &&
	     memcmp(again + 64, bytes + 64, blob.sealed - 64) == 0);
	must(dek_open(&scratch, kek, &other, "w", "c") == 0);
	must(dek_open(&scratch, kek, &other, "w", "") == -EBADMSG);
	return 0;
}
