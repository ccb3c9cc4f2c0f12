/* SPDX-License-Identifier: Apache-2.0 */
/* A data-encryption key as a storage node keeps it: form, sealing, opening. */
#include "manager/dek_blob.h"

#include <errno.h>
#include <openssl/rand.h>
#include <string.h>

#include "base/bytes.h"
#include "base/parse.h"
#include "keys/hkdf.h"
#include "keys/sign.h"

#define MAGIC	      "EMBDEK01"
#define MAGIC_SIZE    8
#define INFO	      "emberlock v1 dek"
#define KEK_ID_DOMAIN "emberlock v1 kek"
#define TAIL_SIZE     (DEK_SIZE + AEAD_TAG_SIZE)

enum { AT_ID = 8, AT_VERSION = 24, AT_SIZE = 28, AT_ZERO = 30, AT_SALT = 32, AT_USE = 64 };

const char *dek_blob_parse(const uint8_t *bytes, size_t n, struct dek_blob *ret_blob)
{
	struct dek_blob blob = {.bytes = bytes};
	struct kek_wrapped *kek = &blob.kek;

	if (n < MAGIC_SIZE || memcmp(bytes, MAGIC, MAGIC_SIZE) != 0)
		return "it does not begin as a DEK blob of this version does";
	if (n < DEK_BLOB_FIXED + TAIL_SIZE)
		return "it is cut short";
	memcpy(kek->id, bytes + AT_ID, KEK_ID_SIZE);
	kek->version = get_be32(bytes + AT_VERSION);
	kek->size = get_be16(bytes + AT_SIZE);
	memcpy(kek->use, bytes + AT_USE, sizeof(kek->use));
	if (kek->version == 0 || kek->size == 0 || kek->size > KEK_WRAPPED_MAX ||
	    get_be16(bytes + AT_ZERO) != 0 || kek->use[KEK_USE_MAX] != '\0' ||
	    !name_is_valid(kek->use, KEK_USE_MAX) ||
	    !bytes_are_zero(kek->use + strlen(kek->use), sizeof(kek->use) - strlen(kek->use)))
		return "its header is damaged";
	if (n != DEK_BLOB_FIXED + kek->size + TAIL_SIZE)
		return n < DEK_BLOB_FIXED + kek->size + TAIL_SIZE ? "it is cut short"
								  : "it is too long";
	memcpy(kek->blob, bytes + DEK_BLOB_FIXED, kek->size);
	blob.sealed = DEK_BLOB_FIXED + kek->size;
	*ret_blob = blob;
	return NULL;
}

/* Key ‖ nonce of one blob. */
static int derive(struct dek_scratch *scratch, const uint8_t *kek, const uint8_t *salt)
{
	const struct hkdf_input input = {.key = kek,
					 .key_size = KEK_SIZE,
					 .salt = salt,
					 .salt_size = DEK_SALT_SIZE,
					 .info = (const uint8_t *)INFO,
					 .info_size = sizeof(INFO)};

	return hkdf(HKDF_SHA256, &input, scratch->derived, sizeof(scratch->derived));
}

#define ADDITIONAL_MAX (DEK_BLOB_MAX + 2 + ID_TEXT_MAX + 2 + DEK_CONTEXT_MAX)

static size_t put_text(uint8_t *to, const char *text)
{
	size_t n = strlen(text);

	put_be16(to, (uint16_t)n);
	memcpy(to + 2, text, n);
	return 2 + n;
}

/* What the tag covers besides the DEK. */
static int additional(const uint8_t *header, size_t n, const char *workspace, const char *context,
		      uint8_t to[static ADDITIONAL_MAX], size_t *ret_n)
{
	if (strlen(workspace) > ID_TEXT_MAX || strlen(context) > DEK_CONTEXT_MAX)
		return -ENAMETOOLONG;
	memcpy(to, header, n);
	n += put_text(to + n, workspace);
	*ret_n = n + put_text(to + n, context);
	return 0;
}

static void put_header(const struct kek_wrapped *wrapped, uint8_t *blob)
{
	memcpy(blob, MAGIC, MAGIC_SIZE);
	memcpy(blob + AT_ID, wrapped->id, KEK_ID_SIZE);
	put_be32(blob + AT_VERSION, wrapped->version);
	put_be16(blob + AT_SIZE, (uint16_t)wrapped->size);
	put_be16(blob + AT_ZERO, 0);
	memcpy(blob + AT_USE, wrapped->use, sizeof(wrapped->use));
	memcpy(blob + DEK_BLOB_FIXED, wrapped->blob, wrapped->size);
}

int dek_seal(struct dek_scratch *scratch, const uint8_t kek[static KEK_SIZE],
	     const struct kek_wrapped *wrapped, const char *workspace, const char *context,
	     uint8_t *ret_blob, size_t *ret_n)
{
	size_t sealed = DEK_BLOB_FIXED + wrapped->size, n;
	uint8_t aad[ADDITIONAL_MAX];
	int r;

	put_header(wrapped, ret_blob);
	if (RAND_bytes(ret_blob + AT_SALT, DEK_SALT_SIZE) != 1)
		return -EIO;
	r = additional(ret_blob, sealed, workspace, context, aad, &n);
	if (r == 0)
		r = derive(scratch, kek, ret_blob + AT_SALT);
	if (r == 0)
		r = aead_seal(scratch->derived, scratch->derived + AEAD_KEY_SIZE, aad, n,
			      scratch->dek, DEK_SIZE, ret_blob + sealed);
	bytes_wipe(scratch->derived, sizeof(scratch->derived));
	*ret_n = sealed + TAIL_SIZE;
	return r;
}

int dek_open(struct dek_scratch *scratch, const uint8_t kek[static KEK_SIZE],
	     const struct dek_blob *blob, const char *workspace, const char *context)
{
	uint8_t aad[ADDITIONAL_MAX];
	size_t n;
	int r;

	r = additional(blob->bytes, blob->sealed, workspace, context, aad, &n);
	if (r == 0)
		r = derive(scratch, kek, blob->bytes + AT_SALT);
	if (r == 0)
		r = aead_open(scratch->derived, scratch->derived + AEAD_KEY_SIZE, aad, n,
			      blob->bytes + blob->sealed, DEK_SIZE, scratch->dek);
	bytes_wipe(scratch->derived, sizeof(scratch->derived));
	if (r < 0)
		bytes_wipe(scratch, sizeof(*scratch));
	return r;
}

int kek_id(struct kek_id_input *plain, uint8_t ret_id[static KEK_ID_SIZE])
{
	uint8_t hash[HASH_SIZE];
	int r;

	memset(plain->domain, 0, sizeof(plain->domain));
	memcpy(plain->domain, KEK_ID_DOMAIN, sizeof(KEK_ID_DOMAIN));
	r = sha256(plain, sizeof(*plain), hash);
	if (r == 0)
		memcpy(ret_id, hash, KEK_ID_SIZE);
	return r;
}
