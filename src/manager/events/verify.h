/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a message is an event of a source: pure, but for OpenSSL and the JSON library.
 *
 *	SNS        RSA over the message, by a certificate of the topic's region
 *	Event Grid a key that only the subscription knows
 *	Pub/Sub    an OpenID Connect token in Authorization:
 *
 * What an event says is not looked at: it is a reason to ask the KMS, never an answer of it. */
#pragma once

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "manager/events/source.h"

#define EVENT_KEYS_MAX	8
#define EVENT_REPLY_MAX 256
#define EVENT_OLD_S	900 /* older events are of no use: many probes have been since */
#define EVENT_EARLY_S	300 /* how far a sender's clock may be ahead */

/* Public keys that the cloud signs with, as fetched: few, each by its name. */
struct event_keys {
	size_t n;
	struct event_key {
		char name[512]; /* SNS: the certificate's URL; Pub/Sub: "kid" */
		EVP_PKEY *key;
		int64_t until_s; /* seconds since 1970 */
	} keys[EVENT_KEYS_MAX];
};
void event_keys_done(struct event_keys *keys);

/* One certificate in PEM, fetched from URL, beside the others; the oldest gives way. -EBADMSG, with none
 * added: no certificate, out of date at NOW_S, not for SNS, no RSA key of 2048 bits. */
int event_keys_add_sns(struct event_keys *keys, const char *url, const char *pem, size_t n,
		       int64_t now_s);
/* A JSON object of certificates in PEM by "kid", in place of all others. -EBADMSG: no such object. Those
 * that are not good are left out. */
int event_keys_set_google(struct event_keys *keys, const char *json, size_t n, int64_t now_s);

struct event_message {
	const char *authorization; /* the header; "" none */
	const char *key;	   /* header or query; "" none */
	const char *body;
	size_t n;
};

enum event_verdict {
	EVENT_REFUSED,	  /* not of this source; .reason */
	EVENT_MALFORMED,  /* not of the form; .reason */
	EVENT_KEY_WANTED, /* cannot be told without what .url holds */
	EVENT_OLD,	  /* of this source, and too late or too early */
	EVENT_TO_CONFIRM, /* of this source: the subscription is confirmed by a GET of .url */
	EVENT_TO_ANSWER,  /* of this source: the subscription is confirmed by .reply */
	EVENT_NOTHING,	  /* of this source, and nothing follows */
	EVENT_GOOD,	  /* of this source: probe */
};

struct event_result {
	enum event_verdict verdict;
	const char *reason;	     /* static */
	char url[1024];		     /* begins with source->keys_base, always */
	char reply[EVENT_REPLY_MAX]; /* JSON */
	uint8_t id[HASH_SIZE];	     /* of the message: the same for one that is sent again */
};

void event_verify(const struct event_source *source, const struct event_keys *keys,
		  const struct event_message *message, int64_t now_s,
		  struct event_result *ret_result);

/* --- the clouds' parts --- */
void event_verify_sns(const struct event_source *source, const struct event_keys *keys,
		      const struct event_message *message, int64_t now_s,
		      struct event_result *result);
void event_verify_grid(const struct event_source *source, const struct event_keys *keys,
		       const struct event_message *message, int64_t now_s,
		       struct event_result *result);
void event_verify_pubsub(const struct event_source *source, const struct event_keys *keys,
			 const struct event_message *message, int64_t now_s,
			 struct event_result *result);

/* NULL: not there, or no longer good. */
EVP_PKEY *event_keys_find(const struct event_keys *keys, const char *name, int64_t now_s);
/* RSA PKCS#1 v1.5 with SHA-256 over the N texts, one after the other. */
struct event_text {
	const char *text;
	size_t n;
};
bool event_signature_is_good(EVP_PKEY *key, const struct event_text *texts, size_t n,
			     const uint8_t *signature, size_t signature_size);
/* Seconds since 1970 of "2026-11-25T09:30:00.000Z"; -EINVAL. */
int event_time(const char *text, int64_t *ret_s);
bool event_time_is_near(int64_t at_s, int64_t now_s);
void event_refuse(struct event_result *result, enum event_verdict verdict, const char *reason);
