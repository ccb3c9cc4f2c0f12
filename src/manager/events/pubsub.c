/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that Google Pub/Sub pushes, with an OpenID Connect token of its service account.
 *
 * Token: RFC 7519, RS256. The keys are Google's certificates, by "kid"; they change every few days. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "keys/sign.h"
#include "manager/events/verify.h"
#include "manager/kms/call.h"
#include "manager/kms/codec.h"

#define PART_MAX      2048
#define SIGNATURE_MAX 1024
#define SKEW_S	      60
#define CERTIFICATES  "oauth2/v1/certs"

struct id_token {
	const char *text;
	size_t signed_size; /* header and claims, with the point between */
	json_t *header, *claims;
	uint8_t signature[SIGNATURE_MAX];
	size_t signature_size;
};

static void free_token(struct id_token *token)
{
	json_decref(token->header);
	json_decref(token->claims);
}

static json_t *read_part(const char *text, size_t n)
{
	char part[PART_MAX];
	size_t size;

	if (base64_decode(BASE64_URL, text, n, part, sizeof(part), &size) < 0)
		return NULL;
	return kms_json(part, size);
}

/* "Bearer HEADER.CLAIMS.SIGNATURE" */
static int read_token(const char *authorization, struct id_token *token)
{
	const char *claims, *signature;

	if (strncmp(authorization, "Bearer ", 7) != 0)
		return -EBADMSG;
	token->text = authorization + 7;
	claims = strchr(token->text, '.');
	signature = claims ? strchr(claims + 1, '.') : NULL;
	if (!signature)
		return -EBADMSG;
	token->signed_size = (size_t)(signature - token->text);
	token->header = read_part(token->text, (size_t)(claims - token->text));
	token->claims = read_part(claims + 1, (size_t)(signature - claims - 1));
	if (!token->header || !token->claims)
		return -EBADMSG;
	return base64_decode(BASE64_URL, signature + 1, strlen(signature + 1), token->signature,
			     sizeof(token->signature), &token->signature_size);
}

/* NULL where the claims are for us, and of now. */
static const char *refusal(const struct event_source *source, const struct id_token *token,
			   int64_t now_s)
{
	const char *issuer = kms_json_text(token->claims, "iss");
	const json_t *expires = json_object_get(token->claims, "exp");
	const json_t *issued = json_object_get(token->claims, "iat");

	/* No "none", no HMAC by a public key, nothing critical that is not understood. */
	if (strcmp(kms_json_text(token->header, "alg"), "RS256") != 0 ||
	    json_object_get(token->header, "crit"))
		return "the token's algorithm must be RS256";
	if (strcmp(issuer, "https://accounts.google.com") != 0 &&
	    strcmp(issuer, "accounts.google.com") != 0)
		return "the token is of another issuer";
	if (strcmp(kms_json_text(token->claims, "aud"), source->audience) != 0)
		return "the token is for another audience";
	if (strcmp(kms_json_text(token->claims, "email"), source->email) != 0 ||
	    !json_is_true(json_object_get(token->claims, "email_verified")))
		return "the token is of another account";
	if (!json_is_integer(expires) || !json_is_integer(issued) ||
	    now_s >= json_integer_value(expires) + SKEW_S ||
	    now_s < json_integer_value(issued) - SKEW_S)
		return "the token is out of date";
	return NULL;
}

static void judge_body(const struct event_source *source, const struct event_message *message,
		       int64_t now_s, struct event_result *result)
{
	_cleanup_json_ json_t *json = kms_json(message->body, message->n);
	const char *id = kms_json_text(json, "message.messageId");
	int64_t at_s;

	if (!id[0] || event_time(kms_json_text(json, "message.publishTime"), &at_s) < 0 ||
	    sha256(id, strlen(id), result->id) < 0)
		event_refuse(result, EVENT_MALFORMED, "no message of Pub/Sub");
	else if (strcmp(kms_json_text(json, "subscription"), source->subscription) != 0)
		event_refuse(result, EVENT_REFUSED, "of another subscription");
	else
		result->verdict = event_time_is_near(at_s, now_s) ? EVENT_GOOD : EVENT_OLD;
}

void event_verify_pubsub(const struct event_source *source, const struct event_keys *keys,
			 const struct event_message *message, int64_t now_s,
			 struct event_result *result)
{
	_cleanup_(free_token) struct id_token token = {0};
	const char *reason, *kid;
	EVP_PKEY *key;

	if (read_token(message->authorization, &token) < 0) {
		event_refuse(result, EVENT_REFUSED, "no token in Authorization");
		return;
	}
	reason = refusal(source, &token, now_s);
	if (reason) {
		event_refuse(result, EVENT_REFUSED, reason);
		return;
	}
	kid = kms_json_text(token.header, "kid");
	key = event_keys_find(keys, kid, now_s);
	if (!key) {
		result->verdict = EVENT_KEY_WANTED;
		snprintf(result->url, sizeof(result->url), "%s" CERTIFICATES, source->keys_base);
		return;
	}
	if (event_signature_is_good(key, &(struct event_text){token.text, token.signed_size}, 1,
				    token.signature, token.signature_size))
		judge_body(source, message, now_s, result);
	else
		event_refuse(result, EVENT_REFUSED, "the token's signature is wrong");
}
