/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of Amazon SNS, signed by signature version 2 (RSA with SHA-256).
 *
 * The message says where its certificate is: only a plain file name on the host of the topic's region is
 * believed, so no message makes the manager ask anybody else. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "keys/sign.h"
#include "manager/events/verify.h"
#include "manager/kms/call.h"

#define SIGNATURE_MAX 1024 /* RSA-8192 */
#define NAMES_MAX     7

/* What is signed, by type of message: each name and each value, every one with a line feed after it. */
static const struct type {
	const char *name;
	enum event_verdict verdict;
	const char *names[NAMES_MAX];
} types[] = {
	{"Notification",
	 EVENT_GOOD,
	 {"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"}},
	{"SubscriptionConfirmation",
	 EVENT_TO_CONFIRM,
	 {"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}},
	{"UnsubscribeConfirmation",
	 EVENT_NOTHING,
	 {"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}},
};

static const struct type *find_type(const char *name)
{
	for (size_t i = 0; i < ELEMENTSOF(types); i++) {
		if (strcmp(types[i].name, name) == 0)
			return &types[i];
	}
	return NULL;
}

/* What follows the one base that is believed; NULL where URL does not begin with that. */
static const char *after_base(const struct event_source *source, const char *url)
{
	size_t n = strlen(source->keys_base);

	return strncmp(url, source->keys_base, n) == 0 ? url + n : NULL;
}

static bool is_certificate(const struct event_source *source, const char *url)
{
	const char *file = after_base(source, url);
	size_t n = file ? strlen(file) : 0;

	return n > 4 && n < 200 && strcmp(file + n - 4, ".pem") == 0 && file[0] != '.' &&
	       strspn(file, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") ==
		       n;
}

static bool is_confirmation(const struct event_source *source, const char *url)
{
	static const char action[] = "?Action=ConfirmSubscription&";
	const char *query = after_base(source, url);
	size_t n = query ? strlen(query) : 0;

	return n < 640 && n > strlen(action) && strncmp(query, action, strlen(action)) == 0 &&
	       strspn(query, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
			     "-_.~:%&=?+") == n;
}

/* With no line feed in it: what is signed is lines. */
static bool is_id(const char *id)
{
	return id[0] && strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				   "0123456789-") == strlen(id);
}

static bool is_signed(const json_t *json, const struct type *type, EVP_PKEY *key)
{
	struct event_text texts[4 * NAMES_MAX];
	uint8_t signature[SIGNATURE_MAX];
	size_t size, n = 0;

	for (size_t i = 0; i < NAMES_MAX && type->names[i]; i++) {
		const json_t *value = json_object_get(json, type->names[i]);

		if (!value && strcmp(type->names[i], "Subject") == 0)
			continue;
		if (!json_is_string(value))
			return false;
		texts[n++] = (struct event_text){type->names[i], strlen(type->names[i])};
		texts[n++] = (struct event_text){"\n", 1};
		texts[n++] =
			(struct event_text){json_string_value(value), json_string_length(value)};
		texts[n++] = (struct event_text){"\n", 1};
	}
	return kms_json_bytes(json, "Signature", signature, sizeof(signature), &size) == 0 &&
	       event_signature_is_good(key, texts, n, signature, size);
}

/* It is SNS's: what follows. */
static void accept(const struct event_source *source, const struct type *type, const json_t *json,
		   int64_t at_s, int64_t now_s, struct event_result *result)
{
	const char *id = kms_json_text(json, "MessageId");
	const char *url = kms_json_text(json, "SubscribeURL");

	if (sha256(id, strlen(id), result->id) < 0) {
		event_refuse(result, EVENT_REFUSED, "out of memory");
		return;
	}
	result->verdict = type->verdict;
	if (!event_time_is_near(at_s, now_s)) {
		result->verdict = EVENT_OLD;
	} else if (type->verdict == EVENT_TO_CONFIRM) {
		if (is_confirmation(source, url))
			snprintf(result->url, sizeof(result->url), "%s", url);
		else
			event_refuse(result, EVENT_REFUSED, "SubscribeURL is not SNS's");
	}
}

void event_verify_sns(const struct event_source *source, const struct event_keys *keys,
		      const struct event_message *message, int64_t now_s,
		      struct event_result *result)
{
	_cleanup_json_ json_t *json = kms_json(message->body, message->n);
	const struct type *type = json ? find_type(kms_json_text(json, "Type")) : NULL;
	const char *url = kms_json_text(json, "SigningCertURL");
	EVP_PKEY *key;
	int64_t at_s;

	if (!type || !is_id(kms_json_text(json, "MessageId")) ||
	    event_time(kms_json_text(json, "Timestamp"), &at_s) < 0) {
		event_refuse(result, EVENT_MALFORMED, "no message of SNS");
		return;
	}
	if (strcmp(kms_json_text(json, "TopicArn"), source->topic_arn) != 0) {
		event_refuse(result, EVENT_REFUSED, "of another topic");
		return;
	}
	if (strcmp(kms_json_text(json, "SignatureVersion"), "2") != 0) {
		event_refuse(result, EVENT_REFUSED, "the topic's SignatureVersion must be 2");
		return;
	}
	if (!is_certificate(source, url)) {
		event_refuse(result, EVENT_REFUSED, "SigningCertURL is not SNS's");
		return;
	}
	key = event_keys_find(keys, url, now_s);
	if (!key) {
		result->verdict = EVENT_KEY_WANTED;
		snprintf(result->url, sizeof(result->url), "%s", url);
		return;
	}
	if (is_signed(json, type, key))
		accept(source, type, json, at_s, now_s, result);
	else
		event_refuse(result, EVENT_REFUSED, "the signature is wrong");
}
