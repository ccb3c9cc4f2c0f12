/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a message is an event of a source: keys, signatures and times that the clouds share. */
#include "manager/events/verify.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "manager/kms/call.h"

#define RSA_BITS_MIN  2048
#define KEEP_SNS_S    86400
#define KEEP_GOOGLE_S 3600 /* a key that Google withdraws is gone after that */

static void free_bio(BIO **bio)
{
	BIO_free(*bio);
}

static void free_x509(X509 **certificate)
{
	X509_free(*certificate);
}

static void free_digest(EVP_MD_CTX **context)
{
	EVP_MD_CTX_free(*context);
}

/* --- keys --- */

void event_keys_done(struct event_keys *keys)
{
	for (size_t i = 0; i < keys->n; i++)
		EVP_PKEY_free(keys->keys[i].key);
	keys->n = 0;
}

EVP_PKEY *event_keys_find(const struct event_keys *keys, const char *name, int64_t now_s)
{
	for (size_t i = 0; i < keys->n; i++) {
		if (strcmp(keys->keys[i].name, name) == 0)
			return now_s < keys->keys[i].until_s ? keys->keys[i].key : NULL;
	}
	return NULL;
}

static X509 *read_certificate(const char *pem, size_t n)
{
	_cleanup_(free_bio) BIO *bio = n <= INT32_MAX ? BIO_new_mem_buf(pem, (int)n) : NULL;

	return bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
}

/* What SNS's certificates have been called; the host they come from is what is relied on. */
static bool is_for_sns(X509 *certificate)
{
	static const char *const names[] = {"sns.amazonaws.com", "sns.amazonaws.com.cn"};
	char name[256] = "";
	size_t n;

	for (size_t i = 0; i < ELEMENTSOF(names); i++) {
		if (X509_check_host(certificate, names[i], 0, 0, NULL) == 1)
			return true;
	}
	/* sns.REGION, sns-signing.REGION */
	X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name,
				  sizeof(name));
	n = strlen(name);
	return (strncmp(name, "sns.", 4) == 0 || strncmp(name, "sns-signing.", 12) == 0) &&
	       ((n > 14 && strcmp(name + n - 14, ".amazonaws.com") == 0) ||
		(n > 17 && strcmp(name + n - 17, ".amazonaws.com.cn") == 0));
}

/* The key in CERTIFICATE, the caller's; NULL where it is not good at NOW_S. */
static EVP_PKEY *key_of(X509 *certificate, int64_t now_s)
{
	time_t now = (time_t)now_s;
	EVP_PKEY *key;

	if (X509_cmp_time(X509_get0_notBefore(certificate), &now) >= 0 ||
	    X509_cmp_time(X509_get0_notAfter(certificate), &now) <= 0)
		return NULL;
	key = X509_get_pubkey(certificate);
	if (key && EVP_PKEY_is_a(key, "RSA") && EVP_PKEY_get_bits(key) >= RSA_BITS_MIN)
		return key;
	EVP_PKEY_free(key);
	return NULL;
}

/* Takes over KEY. */
static int add(struct event_keys *keys, const char *name, EVP_PKEY *key, int64_t until_s)
{
	size_t at = keys->n;

	if (strlen(name) >= sizeof(keys->keys[0].name)) {
		EVP_PKEY_free(key);
		return -EBADMSG;
	}
	for (size_t i = 0; i < keys->n; i++) {
		if (strcmp(keys->keys[i].name, name) == 0)
			at = i;
	}
	if (at == EVENT_KEYS_MAX) {
		at = 0;
		for (size_t i = 1; i < keys->n; i++) {
			if (keys->keys[i].until_s < keys->keys[at].until_s)
				at = i;
		}
	}
	if (at < keys->n)
		EVP_PKEY_free(keys->keys[at].key);
	else
		keys->n++;
	keys->keys[at] = (struct event_key){.key = key, .until_s = until_s};
	strcpy(keys->keys[at].name, name);
	return 0;
}

int event_keys_add_sns(struct event_keys *keys, const char *url, const char *pem, size_t n,
		       int64_t now_s)
{
	_cleanup_(free_x509) X509 *certificate = read_certificate(pem, n);
	EVP_PKEY *key;

	key = certificate && is_for_sns(certificate) ? key_of(certificate, now_s) : NULL;
	return key ? add(keys, url, key, now_s + KEEP_SNS_S) : -EBADMSG;
}

int event_keys_set_google(struct event_keys *keys, const char *json, size_t n, int64_t now_s)
{
	_cleanup_json_ json_t *object = kms_json(json, n);
	const char *name;
	json_t *value;

	if (!object)
		return -EBADMSG;
	event_keys_done(keys);
	json_object_foreach(object, name, value)
	{
		_cleanup_(free_x509) X509 *certificate = NULL;
		EVP_PKEY *key;

		if (json_is_string(value))
			certificate = read_certificate(json_string_value(value),
						       json_string_length(value));
		key = certificate ? key_of(certificate, now_s) : NULL;
		if (key)
			add(keys, name, key, now_s + KEEP_GOOGLE_S);
	}
	return 0;
}

bool event_signature_is_good(EVP_PKEY *key, const struct event_text *texts, size_t n,
			     const uint8_t *signature, size_t signature_size)
{
	_cleanup_(free_digest) EVP_MD_CTX *context = EVP_MD_CTX_new();

	if (!context || EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) != 1)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (EVP_DigestVerifyUpdate(context, texts[i].text, texts[i].n) != 1)
			return false;
	}
	return EVP_DigestVerifyFinal(context, signature, signature_size) == 1;
}

/* --- times --- */

int event_time(const char *text, int64_t *ret_s)
{
	struct tm tm = {0};
	const char *rest;
	time_t at;

	if (strlen(text) < 20 || text[0] == ' ' || text[0] == '-' || text[0] == '+')
		return -EINVAL;
	rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!rest)
		return -EINVAL;
	if (*rest == '.') {
		size_t n = strspn(rest + 1, "0123456789");

		if (n == 0)
			return -EINVAL;
		rest += n + 1;
	}
	if (strcmp(rest, "Z") != 0 && strcmp(rest, "+00:00") != 0)
		return -EINVAL;
	at = timegm(&tm);
	if (at < 0)
		return -EINVAL;
	*ret_s = at;
	return 0;
}

bool event_time_is_near(int64_t at_s, int64_t now_s)
{
	return at_s >= now_s - EVENT_OLD_S && at_s <= now_s + EVENT_EARLY_S;
}

/* --- the message --- */

void event_refuse(struct event_result *result, enum event_verdict verdict, const char *reason)
{
	result->verdict = verdict;
	result->reason = reason;
}

void event_verify(const struct event_source *source, const struct event_keys *keys,
		  const struct event_message *message, int64_t now_s,
		  struct event_result *ret_result)
{
	static const struct {
		const char *provider;
		void (*verify)(const struct event_source *source, const struct event_keys *keys,
			       const struct event_message *message, int64_t now_s,
			       struct event_result *result);
	} clouds[] = {
		{"aws", event_verify_sns},
		{"azure", event_verify_grid},
		{"google", event_verify_pubsub},
	};

	*ret_result = (struct event_result){.verdict = EVENT_REFUSED, .reason = "no such provider"};
	for (size_t i = 0; i < ELEMENTSOF(clouds); i++) {
		if (strcmp(clouds[i].provider, source->provider) == 0)
			clouds[i].verify(source, keys, message, now_s, ret_result);
	}
}
