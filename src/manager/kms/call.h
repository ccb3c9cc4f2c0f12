/* SPDX-License-Identifier: Apache-2.0 */
/* What the providers that speak HTTPS share: one call is credentials, token, request, reply.
 *
 *	kms_call_new ─▶ provider fills .http ─▶ kms_call_ask ─▶ provider reads .http.reply
 *	                                          │  ▲
 *	                       token, cached ◀────┘  └──── once more with a new token, where
 *	                       dialect->fetch              the one from the cache was refused
 */
#pragma once

#include <jansson.h>

#include "manager/kms/codec.h"
#include "manager/kms/credentials.h"
#include "manager/kms/http.h"
#include "manager/kms/kms.h"
#include "manager/kms/tokens.h"

#define KMS_AAD_MAX    1024
#define KMS_BEARER_MAX (sizeof(((struct kms_token *)NULL)->bearer) + 64)

struct kms_call {
	const struct kms_key *key;
	struct credentials credentials;
	struct kms_token token, old, own; /* own: before a customer's role is assumed */
	struct kms_http http;		  /* to the KMS */
	struct kms_http auth;		  /* to the identity provider */
	char header[KMS_BEARER_MAX];
	char file[CREDENTIALS_FILE_MAX];      /* of credentials_file() */
	char text[BASE64_SIZE(KMS_BLOB_MAX)]; /* the provider's */
	char aad[BASE64_SIZE(KMS_AAD_MAX)];   /* the provider's */
	uint8_t secret[1024];		      /* the provider's */
	enum kms_class described;
};

struct kms_dialect {
	/* A new token into CALL->token, asked for through CALL->auth; anything but KMS_OK ends the
	 * call. */
	void (*fetch)(struct kms_call *call, struct kms_outcome *ret_outcome);
	/* Puts CALL->token on CALL->http. */
	void (*authorise)(struct kms_call *call);
	void (*classify)(const struct kms_reply *reply, struct kms_outcome *ret_outcome);
};

/* The parts of a provider's classify(), each for one kind of reply. */
struct kms_classifier {
	const char *identity_name; /* who is asked for tokens, as records name it */
	/* Other than 200: of the identity provider, of the KMS. */
	void (*identity)(const struct kms_reply *reply, struct kms_outcome *ret_outcome);
	void (*error)(const struct kms_reply *reply, struct kms_outcome *ret_outcome);
	/* 200 to KMS_DESCRIBE. */
	void (*state)(const struct kms_reply *reply, struct kms_outcome *ret_outcome);
	/* The right that each request needs, as the cloud's policies name it. */
	const char *rights[KMS_OP__MAX];
	const char *
		absent; /* of codes that say there is no such key: no right is missing; NULL none */
};
/* Hands REPLY to its part. No answer at all, and any other 200, mean the same in each cloud. */
void kms_classify(const struct kms_classifier *classifier, const struct kms_reply *reply,
		  struct kms_outcome *ret_outcome);

/* In locked memory, with the credentials read; NULL with the outcome. */
struct kms_call *kms_call_new(const struct kms_key *key, struct kms_outcome *ret_outcome);
void kms_call_free(struct kms_call **call);

/* Sends CALL->http, classified as OP with the first-success rule. */
void kms_call_ask(struct kms_call *call, const struct kms_dialect *dialect, enum kms_op op,
		  struct kms_outcome *ret_outcome);

/* Sends CALL->auth and classifies the answer as OP. True where it is KMS_OK. */
bool kms_call_ask_identity(struct kms_call *call, const struct kms_dialect *dialect, enum kms_op op,
			   bool identity_answers, struct kms_outcome *ret_outcome);

/* Clears CALL->auth and begins a request there. */
void kms_call_auth(struct kms_call *call, const char *method, bool metadata, const char *format,
		   ...) __attribute__((format(printf, 4, 5)));

/* {access_token, expires_in} of CALL->auth's reply into CALL->token. */
void kms_call_take_bearer(struct kms_call *call, struct kms_outcome *ret_outcome);

/* "Authorization: Bearer …" in CALL->header, on CALL->http. */
void kms_call_bearer(struct kms_call *call);

/* --- JSON of replies: duplicate keys rejected --- */
/* The object; NULL where it is none. The caller's. */
json_t *kms_json(const char *text, size_t n);
static inline void cleanup_json(json_t **json)
{
	json_decref(*json);
}
#define _cleanup_json_ __attribute__((cleanup(cleanup_json)))
/* The text at PATH, member names with '.' between; "" where there is none. */
const char *kms_json_text(const json_t *json, const char *path);
/* Decodes the base64 text NAME of JSON; -EBADMSG. */
int kms_json_bytes(const json_t *json, const char *name, uint8_t *bytes, size_t max, size_t *ret_n);

/* The length-prefixed form of key id and context that is authenticated with a blob, where the
 * provider takes one text of bytes; -EMSGSIZE. */
int kms_context_bytes(const struct kms_key *key, const struct kms_context *context, uint8_t *bytes,
		      size_t max, size_t *ret_n);
