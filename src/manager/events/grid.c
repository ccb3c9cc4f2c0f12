/* SPDX-License-Identifier: Apache-2.0 */
/* Events of Azure Event Grid, in its own schema, with a key that the subscription sends. */
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "keys/sign.h"
#include "manager/events/verify.h"
#include "manager/kms/call.h"

#define EVENTS_MAX 64
#define VALIDATION "Microsoft.EventGrid.SubscriptionValidationEvent"

static void free_digest(EVP_MD_CTX **context)
{
	EVP_MD_CTX_free(*context);
}

/* By their hashes: the time it takes says nothing about the key. */
static bool same(const char *given, const char *wanted)
{
	uint8_t a[HASH_SIZE], b[HASH_SIZE];

	return wanted[0] && sha256(given, strlen(given), a) == 0 &&
	       sha256(wanted, strlen(wanted), b) == 0 && CRYPTO_memcmp(a, b, HASH_SIZE) == 0;
}

/* The ids of all, each after its length. */
static bool hash_ids(const json_t *events, uint8_t ret_id[static HASH_SIZE])
{
	_cleanup_(free_digest) EVP_MD_CTX *context = EVP_MD_CTX_new();
	const json_t *event;
	size_t i;

	if (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1)
		return false;
	json_array_foreach((json_t *)events, i, event)
	{
		const char *id = kms_json_text(event, "id");

		if (EVP_DigestUpdate(context, id, strlen(id) + 1) != 1)
			return false;
	}
	return EVP_DigestFinal_ex(context, ret_id, NULL) == 1;
}

/* {"validationResponse": CODE}: Azure asks whether the subscription is wanted. */
static void answer(const json_t *event, struct event_result *result)
{
	const char *code = kms_json_text(event, "data.validationCode");

	if (!code[0] || strlen(code) > 128 ||
	    strspn(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") !=
		    strlen(code)) {
		event_refuse(result, EVENT_MALFORMED, "no validation code");
		return;
	}
	result->verdict = EVENT_TO_ANSWER;
	snprintf(result->reply, sizeof(result->reply), "{\"validationResponse\":\"%s\"}", code);
}

static void judge(const struct event_source *source, const json_t *events, int64_t now_s,
		  struct event_result *result)
{
	const json_t *event;
	size_t i;

	result->verdict = EVENT_OLD;
	json_array_foreach((json_t *)events, i, event)
	{
		int64_t at_s;

		if (!kms_json_text(event, "id")[0] ||
		    event_time(kms_json_text(event, "eventTime"), &at_s) < 0) {
			event_refuse(result, EVENT_MALFORMED, "no event of Event Grid");
			return;
		}
		if (strcasecmp(kms_json_text(event, "topic"), source->topic) != 0) {
			event_refuse(result, EVENT_REFUSED, "of another topic");
			return;
		}
		if (strcmp(kms_json_text(event, "eventType"), VALIDATION) == 0) {
			answer(event, result);
			return;
		}
		if (event_time_is_near(at_s, now_s))
			result->verdict = EVENT_GOOD;
	}
}

void event_verify_grid(const struct event_source *source, const struct event_keys *keys,
		       const struct event_message *message, int64_t now_s,
		       struct event_result *result)
{
	_cleanup_json_ json_t *events = NULL;
	bool known = same(message->key, source->key);

	/* Both, whatever the first says. */
	known |= same(message->key, source->next_key);
	if (!known) {
		event_refuse(result, EVENT_REFUSED, "the key is wrong");
		return;
	}
	events = json_loadb(message->body, message->n, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_array(events) || json_array_size(events) == 0 ||
	    json_array_size(events) > EVENTS_MAX || !hash_ids(events, result->id)) {
		event_refuse(result, EVENT_MALFORMED, "no events of Event Grid");
		return;
	}
	judge(source, events, now_s, result);
}
