/* SPDX-License-Identifier: Apache-2.0 */
/* The key hierarchy: CMK wraps KEK. */
#include "manager/envelope.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "keys/bind.h"
#include "keys/sign.h"

#define KEK_CHECK_DOMAIN "emberlock v1 kek check"

/* Plaintexts of one call, in one locked piece. */
struct plain {
	uint8_t made[KEK_SIZE];
	uint8_t hashed[sizeof(KEK_CHECK_DOMAIN) + KEK_SIZE];
	uint8_t unwrapped[KMS_PLAIN_MAX];
	struct kek_id_input identified;
};

static void outcome(struct kms_outcome *ret, enum kms_class class, const char *code)
{
	kms_outcome_set(ret, class, false, "%s", code);
}

/* NULL with the outcome set. */
static struct plain *plain_new(struct kms_outcome *ret_outcome)
{
	void *memory;
	int r = locked_new(sizeof(struct plain), &memory);

	if (r < 0) {
		outcome(ret_outcome, KMS_UNAVAILABLE, "cannot lock memory (LimitMEMLOCK=)");
		return NULL;
	}
	return memory;
}

static const struct kms_provider *provider_of(const struct kms_key *key, struct kms_outcome *ret)
{
	const struct kms_provider *provider = kms_provider_find(key->provider);

	if (!provider)
		outcome(ret, KMS_MISCONFIGURED, "no such provider");
	return provider;
}

static struct kms_context kek_context(const char *workspace)
{
	return (struct kms_context){
		.n = 2,
		.pairs = {{"purpose", "emberlock-kek"}, {"workspace", workspace}},
	};
}

static int kek_check(struct plain *plain, const uint8_t *kek, uint8_t ret_check[static HASH_SIZE])
{
	memcpy(plain->hashed, KEK_CHECK_DOMAIN, sizeof(KEK_CHECK_DOMAIN));
	memcpy(plain->hashed + sizeof(KEK_CHECK_DOMAIN), kek, KEK_SIZE);
	return sha256(plain->hashed, sizeof(plain->hashed), ret_check);
}

/* Leaves the KEK in PLAIN->unwrapped. */
static void unwrap(struct plain *plain, const struct kms_key *key, const char *workspace,
		   const struct envelope_kek *kek, struct kms_outcome *ret)
{
	const struct kms_provider *provider = provider_of(key, ret);
	const struct kms_context context = kek_context(workspace);
	uint8_t check[HASH_SIZE];
	size_t n;

	if (!provider)
		return;
	provider->unwrap(key, &context, kek->blob, kek->size, plain->unwrapped, &n, ret);
	if (ret->class != KMS_OK)
		return;
	if (n != KEK_SIZE || kek_check(plain, plain->unwrapped, check) < 0 ||
	    !bytes_equal(check, kek->check, HASH_SIZE))
		outcome(ret, KMS_CORRUPT, "the unwrapped key is not the workspace's");
}

void envelope_unwrap(const struct kms_key *key, const char *workspace,
		     const struct envelope_kek *kek, struct kms_outcome *ret_outcome)
{
	struct plain *plain = plain_new(ret_outcome);

	if (!plain)
		return;
	unwrap(plain, key, workspace, kek, ret_outcome);
	locked_free(plain, sizeof(*plain));
}

/* Wraps PLAIN->made and unwraps it again. */
static void round_trip(struct plain *plain, const struct kms_key *key,
		       const struct kms_context *context, uint8_t *blob, size_t *ret_n,
		       struct envelope_requests *ret_requests, struct kms_outcome *ret)
{
	const struct kms_provider *provider = provider_of(key, ret);
	size_t n;

	if (!provider)
		return;
	*ret = (struct kms_outcome){0};
	provider->wrap(key, context, plain->made, KEK_SIZE, blob, ret_n, ret);
	if (ret->class != KMS_OK)
		return;
	memcpy(ret_requests->encrypt, ret->request_id, sizeof(ret->request_id));
	*ret = (struct kms_outcome){0};
	provider->unwrap(key, context, blob, *ret_n, plain->unwrapped, &n, ret);
	if (ret->class != KMS_OK)
		return;
	memcpy(ret_requests->decrypt, ret->request_id, sizeof(ret->request_id));
	if (n != KEK_SIZE || !bytes_equal(plain->made, plain->unwrapped, KEK_SIZE))
		outcome(ret, KMS_CORRUPT, "what was unwrapped is not what was wrapped");
}

static bool fresh(struct plain *plain, struct kms_outcome *ret)
{
	if (RAND_priv_bytes(plain->made, KEK_SIZE) == 1)
		return true;
	outcome(ret, KMS_UNAVAILABLE, "no random bytes");
	return false;
}

void envelope_make(const struct kms_key *key, const char *workspace, const struct kms_key *old_key,
		   const struct envelope_kek *old, struct envelope_kek *ret_kek,
		   struct kms_outcome *ret_outcome)
{
	struct plain *plain = plain_new(ret_outcome);
	const struct kms_context context = kek_context(workspace);
	struct envelope_requests requests;
	bool have;

	if (!plain)
		return;
	if (old_key) {
		unwrap(plain, old_key, workspace, old, ret_outcome);
		have = ret_outcome->class == KMS_OK;
		memcpy(plain->made, plain->unwrapped, KEK_SIZE);
	} else {
		have = fresh(plain, ret_outcome);
	}
	if (have)
		round_trip(plain, key, &context, ret_kek->blob, &ret_kek->size, &requests,
			   ret_outcome);
	if (have && ret_outcome->class == KMS_OK &&
	    kek_check(plain, plain->made, ret_kek->check) < 0)
		outcome(ret_outcome, KMS_UNAVAILABLE, "SHA-256 failed");
	locked_free(plain, sizeof(*plain));
}

/* --- KEKs of DEKs --- */

struct kek_text {
	char id[2 * KEK_ID_SIZE + 1];
	struct kms_context context; /* points into it */
};

static void kek_text(struct kek_text *text, const char *workspace, const struct kek_wrapped *kek)
{
	hex_encode(kek->id, KEK_ID_SIZE, text->id);
	text->context = (struct kms_context){
		.n = 4,
		.pairs = {{"purpose", "emberlock-dek"},
			  {"workspace", workspace},
			  {"use", kek->use},
			  {"kek", text->id}},
	};
}

static bool identify(struct plain *plain, const uint8_t *kek, uint8_t ret_id[static KEK_ID_SIZE])
{
	memcpy(plain->identified.kek, kek, KEK_SIZE);
	return kek_id(&plain->identified, ret_id) == 0;
}

/* Wraps PLAIN->made, which KEK's id is of. */
static void kek_wrap(struct plain *plain, const struct kms_key *key, const char *workspace,
		     struct kek_wrapped *kek, struct kms_outcome *ret)
{
	struct envelope_requests requests;
	uint8_t blob[KMS_BLOB_MAX];
	struct kek_text text;

	kek_text(&text, workspace, kek);
	round_trip(plain, key, &text.context, blob, &kek->size, &requests, ret);
	if (ret->class == KMS_OK && kek->size > KEK_WRAPPED_MAX)
		outcome(ret, KMS_MISCONFIGURED, "the KMS wraps a KEK into more than 2,048 bytes");
	if (ret->class == KMS_OK)
		memcpy(kek->blob, blob, kek->size);
}

/* Leaves the KEK in PLAIN->unwrapped. */
static void kek_unwrap(struct plain *plain, const struct kms_key *key, const char *workspace,
		       const struct kek_wrapped *kek, struct kms_outcome *ret)
{
	const struct kms_provider *provider = provider_of(key, ret);
	uint8_t id[KEK_ID_SIZE];
	struct kek_text text;
	size_t n;

	if (!provider)
		return;
	kek_text(&text, workspace, kek);
	provider->unwrap(key, &text.context, kek->blob, kek->size, plain->unwrapped, &n, ret);
	if (ret->class != KMS_OK)
		return;
	if (n != KEK_SIZE || !identify(plain, plain->unwrapped, id) ||
	    !bytes_equal(id, kek->id, KEK_ID_SIZE))
		outcome(ret, KMS_CORRUPT, "the unwrapped key is not the one of that id");
}

void envelope_kek_make(const struct kms_key *key, const char *workspace, struct kek_wrapped *kek,
		       uint8_t *ret_kek, struct kms_outcome *ret_outcome)
{
	struct plain *plain = plain_new(ret_outcome);

	if (!plain)
		return;
	if (fresh(plain, ret_outcome)) {
		if (identify(plain, plain->made, kek->id))
			kek_wrap(plain, key, workspace, kek, ret_outcome);
		else
			outcome(ret_outcome, KMS_UNAVAILABLE, "SHA-256 failed");
		if (ret_outcome->class == KMS_OK)
			memcpy(ret_kek, plain->made, KEK_SIZE);
	}
	locked_free(plain, sizeof(*plain));
}

void envelope_kek_unwrap(const struct kms_key *key, const char *workspace,
			 const struct kek_wrapped *kek, uint8_t *ret_kek,
			 struct kms_outcome *ret_outcome)
{
	struct plain *plain = plain_new(ret_outcome);

	if (!plain)
		return;
	kek_unwrap(plain, key, workspace, kek, ret_outcome);
	if (ret_outcome->class == KMS_OK)
		memcpy(ret_kek, plain->unwrapped, KEK_SIZE);
	locked_free(plain, sizeof(*plain));
}

void envelope_kek_move(const struct kms_key *key, const char *workspace,
		       const struct kms_key *old_key, struct kek_wrapped *kek,
		       struct kms_outcome *ret_outcome)
{
	struct plain *plain = plain_new(ret_outcome);

	if (!plain)
		return;
	kek_unwrap(plain, old_key, workspace, kek, ret_outcome);
	if (ret_outcome->class == KMS_OK) {
		memcpy(plain->made, plain->unwrapped, KEK_SIZE);
		kek_wrap(plain, key, workspace, kek, ret_outcome);
	}
	locked_free(plain, sizeof(*plain));
}

/* What the KMS gave back, which round_trip() has found to be what was made. */
static void share_seal(const struct plain *plain, const struct envelope_boot *boot,
		       struct bind_share *ret_share, struct kms_outcome *ret)
{
	_Static_assert(KEK_SIZE == BIND_SHARE_SIZE, "a pair is over as many bytes");

	if (bind_seal(boot->bind_key, boot->admission, plain->unwrapped, ret_share) < 0)
		outcome(ret, KMS_UNAVAILABLE, "HPKE failed");
}

void envelope_pair(const struct kms_key *key, const struct envelope_boot *boot,
		   uint8_t blob[static KMS_BLOB_MAX], size_t *ret_n,
		   struct envelope_requests *ret_requests, struct bind_share *ret_share,
		   struct kms_outcome *ret_outcome)
{
	const struct kms_context context = {
		.n = 3,
		.pairs = {{"workspace", boot->workspace}, {"vm", boot->vm}, {"boot", boot->boot}},
	};
	struct plain *plain = plain_new(ret_outcome);

	if (!plain)
		return;
	if (fresh(plain, ret_outcome))
		round_trip(plain, key, &context, blob, ret_n, ret_requests, ret_outcome);
	if (ret_outcome->class == KMS_OK && boot->bind_key)
		share_seal(plain, boot, ret_share, ret_outcome);
	locked_free(plain, sizeof(*plain));
}

void envelope_prove(const struct kms_key *key, const char *name, struct kms_outcome *ret_outcome)
{
	const struct kms_context context = {
		.n = 2,
		.pairs = {{"purpose", "emberlock-check"}, {"key", name}},
	};
	struct plain *plain = plain_new(ret_outcome);
	uint8_t blob[KMS_BLOB_MAX];
	struct envelope_requests requests;
	size_t n;

	if (!plain)
		return;
	if (fresh(plain, ret_outcome))
		round_trip(plain, key, &context, blob, &n, &requests, ret_outcome);
	locked_free(plain, sizeof(*plain));
}
