/* SPDX-License-Identifier: Apache-2.0 */
/* What is an event of a source, and what is not: messages signed here, then changed in one thing each. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manager/events/verify.h"
#include "manager/kms/codec.h"

#define NOW   1795000000 /* 2026-11-18T11:06:40Z */
#define TIME  "2026-11-18T11:06:40.123Z"
#define OLD   "2026-11-18T10:51:39.999Z"
#define EARLY "2026-11-18T11:11:41Z"
#define TOPIC "arn:aws:sns:eu-central-1:111122223333:cmk"
#define HOST  "https://sns.eu-central-1.amazonaws.com/"
#define PEM   HOST "SimpleNotificationService-0123abcd.pem"
#define VAULT "/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/v"
#define KEY   "key-canary-of-32-characters-or-more"
#define EMAIL "push@p-1.iam.gserviceaccount.com"
#define AUD   "https://events.example/v1/events/acme"
#define SUB   "projects/p-1/subscriptions/cmk"

static EVP_PKEY *ours, *other, *small;
static char directory[] = "/tmp/emberlock-events-XXXXXX";
static struct event_source aws, azure, google;
static struct event_keys keys;

/* --- fixtures --- */

/* PEM of a certificate of KEY for NAME that is good from NOW + FROM to NOW + TO; the caller's. */
static char *certificate(EVP_PKEY *key, const char *name, long from, long to)
{
	X509 *x509 = X509_new();
	BIO *bio = BIO_new(BIO_s_mem());
	char *text, *pem;
	long n;

	ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
	ASN1_TIME_set(X509_getm_notBefore(x509), NOW + from);
	ASN1_TIME_set(X509_getm_notAfter(x509), NOW + to);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_ASC,
				   (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(x509, X509_get_subject_name(x509));
	X509_set_pubkey(x509, key);
	assert_true(X509_sign(x509, key, EVP_sha256()) > 0);
	assert_int_equal(PEM_write_bio_X509(bio, x509), 1);
	n = BIO_get_mem_data(bio, &text);
	pem = strndup(text, (size_t)n);
	BIO_free(bio);
	X509_free(x509);
	return pem;
}

/* Signs TEXT by KEY into base64 text of KIND. */
static void sign(EVP_PKEY *key, const EVP_MD *digest, enum base64_kind kind, const char *text,
		 char to[static 1024])
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	uint8_t signature[512];
	size_t n = sizeof(signature);

	assert_int_equal(EVP_DigestSignInit(context, NULL, digest, NULL, key), 1);
	assert_int_equal(
		EVP_DigestSign(context, signature, &n, (const uint8_t *)text, strlen(text)), 1);
	EVP_MD_CTX_free(context);
	base64_encode(kind, signature, n, to);
}

static void write_file(const char *name, const char *text, mode_t mode)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

/* ERROR_HAS NULL: it is good. */
static void reads(const char *text, struct event_source *source, const char *error_has)
{
	char error[256] = "";
	int r;

	write_file("s", text, 0600);
	r = event_source_read(directory, "s", source, error);
	if (!error_has && r < 0)
		print_error("%s\n", error);
	assert_int_equal(r, error_has ? -EBADMSG : 0);
	if (error_has && !strstr(error, error_has))
		print_error("%s: %s\n", text, error);
	assert_true(!error_has || strstr(error, error_has));
	assert_null(strstr(error, KEY));
}

static int set_up(void **state)
{
	char *pem;

	ours = EVP_RSA_gen(2048);
	other = EVP_RSA_gen(2048);
	small = EVP_RSA_gen(1024);
	if (!ours || !other || !small || !mkdtemp(directory))
		return -1;
	reads("{\"provider\":\"aws\",\"topic_arn\":\"" TOPIC "\"}", &aws, NULL);
	reads("{\"provider\":\"azure\",\"topic\":\"" VAULT "\",\"key\":\"" KEY
	      "\",\"next_key\":\"next-" KEY "\"}",
	      &azure, NULL);
	reads("{\"provider\":\"google\",\"audience\":\"" AUD "\",\"email\":\"" EMAIL
	      "\",\"subscription\":\"" SUB "\"}",
	      &google, NULL);
	pem = certificate(ours, "sns.amazonaws.com", -10, 100000);
	assert_int_equal(event_keys_add_sns(&keys, PEM, pem, strlen(pem), NOW), 0);
	free(pem);
	return 0;
}

static int tear_down(void **state)
{
	char command[64];

	EVP_PKEY_free(ours);
	EVP_PKEY_free(other);
	EVP_PKEY_free(small);
	event_keys_done(&keys);
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command);
}

static struct event_result judge(const struct event_source *source, const struct event_keys *known,
				 const char *authorization, const char *key, const char *body,
				 int64_t now_s)
{
	const struct event_message message = {authorization, key, body, strlen(body)};
	struct event_result result;

	event_verify(source, known, &message, now_s, &result);
	return result;
}

/* --- sources --- */

static void test_sources(void **state)
{
	struct event_source source;
	char error[256];

	assert_string_equal(aws.keys_base, HOST);
	assert_string_equal(google.keys_base, "https://www.googleapis.com/");
	reads("{\"provider\":\"aws\",\"topic_arn\":\"arn:aws-cn:sns:cn-north-1:1:t\"}", &source,
	      NULL);
	assert_string_equal(source.keys_base, "https://sns.cn-north-1.amazonaws.com.cn/");
	reads("{\"provider\":\"aws\",\"topic_arn\":\"" TOPIC
	      "\",\"endpoint\":\"https://localhost:9\",\"ca_file\":\"ca.pem\"}",
	      &source, NULL);
	assert_string_equal(source.keys_base, "https://localhost:9/");
	assert_string_equal(strrchr(source.ca_path, '/'), "/ca.pem");
	reads("{\"provider\":\"aws\"}", &source, "topic_arn");
	reads("{\"provider\":\"aws\",\"topic_arn\":\"arn:aws:sqs:eu-central-1:1:t\"}", &source,
	      "topic_arn");
	reads("{\"provider\":\"aws\",\"topic_arn\":\"arn:aws:sns:evil.example/:1:t\"}", &source,
	      "topic_arn");
	reads("{\"provider\":\"aws\",\"topic_arn\":\"" TOPIC "\",\"endpoint\":\"http://h\"}",
	      &source, "endpoint");
	reads("{\"provider\":\"azure\",\"topic\":\"" VAULT "\",\"key\":\"short\"}", &source,
	      "'key'");
	reads("{\"provider\":\"azure\",\"key\":\"" KEY "\"}", &source, "topic");
	reads("{\"provider\":\"azure\",\"topic\":\"t\",\"key\":\"" KEY "\",\"next_key\":\"n\"}",
	      &source, "next_key");
	reads("{\"provider\":\"google\",\"audience\":\"a\",\"email\":\"e\"}", &source,
	      "subscription");
	reads("{\"provider\":\"file\"}", &source, "provider");
	reads("{\"provider\":\"aws\",\"colour\":\"red\"}", &source, "colour");
	write_file("open", "{\"provider\":\"aws\"}", 0604);
	assert_int_equal(event_source_read(directory, "open", &source, error), -EACCES);
	assert_non_null(strstr(error, "readable by others"));
	assert_int_equal(event_source_read(directory, "none", &source, error), -ENOENT);
	assert_int_equal(event_source_read(directory, "../s", &source, error), -EBADMSG);
}

/* --- SNS --- */

static const char *text_of(const json_t *json, const char *name)
{
	return json_string_value(json_object_get(json, name));
}

/* The text that SNS signs, of MESSAGE. */
static void sns_text(const json_t *message, char text[static 4096])
{
	static const char *const notification[] = {"Message",  "MessageId", "Subject", "Timestamp",
						   "TopicArn", "Type",	    NULL};
	static const char *const confirmation[] = {"Message",	"MessageId", "SubscribeURL",
						   "Timestamp", "Token",     "TopicArn",
						   "Type",	NULL};
	const char *const *names =
		strcmp(text_of(message, "Type"), "Notification") == 0 ? notification : confirmation;
	size_t n = 0;

	for (text[0] = '\0'; *names; names++) {
		if (text_of(message, *names))
			n += (size_t)snprintf(text + n, 4096 - n, "%s\n%s\n", *names,
					      text_of(message, *names));
	}
}

static json_t *sns_message(const char *type, const char *subject)
{
	json_t *message =
		json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s*}", "Type", type, "MessageId",
			  "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "TopicArn", TOPIC, "Message",
			  "{\"detail\":{\"eventName\":\"DisableKey\"}}\nand more", "Timestamp",
			  TIME, "SignatureVersion", "2", "SigningCertURL", PEM, "Subject", subject);

	if (strcmp(type, "Notification") != 0) {
		json_object_set_new(message, "Token", json_string("2336412f37"));
		json_object_set_new(message, "SubscribeURL",
				    json_string(HOST "?Action=ConfirmSubscription&TopicArn=" TOPIC
						     "&Token=2336412f37"));
	}
	return message;
}

static void sns_sign(json_t *message, EVP_PKEY *key, const EVP_MD *digest)
{
	char text[4096], signature[1024];

	sns_text(message, text);
	sign(key, digest, BASE64, text, signature);
	json_object_set_new(message, "Signature", json_string(signature));
}

/* Takes over MESSAGE. */
static struct event_result sns_judge(json_t *message, int64_t now_s)
{
	char *body = json_dumps(message, 0);
	struct event_result result = judge(&aws, &keys, "", "", body, now_s);

	free(body);
	json_decref(message);
	return result;
}

static json_t *sns_good(const char *type)
{
	json_t *message = sns_message(type, NULL);

	sns_sign(message, ours, EVP_sha256());
	return message;
}

/* A good notification with member NAME changed to VALUE: before the signature, where RESIGNED. */
static struct event_result sns_changed(const char *name, const char *value, bool resigned)
{
	json_t *message = sns_good("Notification");

	json_object_set_new(message, name, json_string(value));
	if (resigned)
		sns_sign(message, ours, EVP_sha256());
	return sns_judge(message, NOW);
}

static void test_sns_good(void **state)
{
	struct event_result first, second;
	json_t *message;

	first = sns_judge(sns_good("Notification"), NOW);
	assert_int_equal(first.verdict, EVENT_GOOD);
	message = sns_message("Notification", "a subject");
	sns_sign(message, ours, EVP_sha256());
	second = sns_judge(message, NOW);
	assert_int_equal(second.verdict, EVENT_GOOD);
	assert_memory_equal(first.id, second.id, HASH_SIZE);
	second = sns_changed("MessageId", "another", true);
	assert_int_equal(second.verdict, EVENT_GOOD);
	assert_memory_not_equal(first.id, second.id, HASH_SIZE);
	first = sns_judge(sns_good("SubscriptionConfirmation"), NOW);
	assert_int_equal(first.verdict, EVENT_TO_CONFIRM);
	assert_string_equal(first.url,
			    HOST "?Action=ConfirmSubscription&TopicArn=" TOPIC "&Token=2336412f37");
	assert_int_equal(sns_judge(sns_good("UnsubscribeConfirmation"), NOW).verdict,
			 EVENT_NOTHING);
}

static void test_sns_forged(void **state)
{
	static const char *const names[] = {"Message", "MessageId", "Subject"};
	json_t *message;

	/* Each signed member counts. */
	for (size_t i = 0; i < 3; i++) {
		struct event_result result = sns_changed(names[i], "changed", false);

		assert_int_equal(result.verdict, EVENT_REFUSED);
		assert_string_equal(result.reason, "the signature is wrong");
	}
	assert_int_equal(sns_changed("Timestamp", "2026-11-18T11:06:41Z", false).verdict,
			 EVENT_REFUSED);
	/* Another's signature, another digest, none. */
	message = sns_good("Notification");
	sns_sign(message, other, EVP_sha256());
	assert_int_equal(sns_judge(message, NOW).verdict, EVENT_REFUSED);
	message = sns_good("Notification");
	sns_sign(message, ours, EVP_sha1());
	assert_int_equal(sns_judge(message, NOW).verdict, EVENT_REFUSED);
	assert_int_equal(sns_changed("Signature", "", false).verdict, EVENT_REFUSED);
	assert_int_equal(sns_changed("Signature", "AAAA", false).verdict, EVENT_REFUSED);
	/* Version 1 is SHA-1. */
	assert_int_equal(sns_changed("SignatureVersion", "1", true).verdict, EVENT_REFUSED);
	/* A confirmation is no notification. */
	message = sns_good("SubscriptionConfirmation");
	json_object_set_new(message, "Type", json_string("Notification"));
	assert_int_equal(sns_judge(message, NOW).verdict, EVENT_REFUSED);
	/* What is signed is lines: nobody moves the lines of one member into another. */
	assert_int_equal(sns_changed("MessageId", "a\nb", true).verdict, EVENT_MALFORMED);
	message = sns_good("Notification");
	json_object_del(message, "Message");
	sns_sign(message, ours, EVP_sha256());
	assert_int_equal(sns_judge(message, NOW).verdict, EVENT_REFUSED);
}

static void test_sns_of_others(void **state)
{
	struct event_result result =
		sns_changed("TopicArn", "arn:aws:sns:eu-central-1:111122223333:other", true);

	assert_int_equal(result.verdict, EVENT_REFUSED);
	assert_string_equal(result.reason, "of another topic");
	assert_int_equal(sns_changed("Type", "Other", true).verdict, EVENT_MALFORMED);
}

static void test_sns_times(void **state)
{
	static const struct {
		const char *time;
		enum event_verdict verdict;
	} table[] = {
		{TIME, EVENT_GOOD},
		{"2026-11-18T11:06:40Z", EVENT_GOOD},
		{"2026-11-18T11:06:40.1+00:00", EVENT_GOOD},
		{"2026-11-18T10:51:40Z", EVENT_GOOD},
		{OLD, EVENT_OLD},
		{"2026-11-18T11:11:40Z", EVENT_GOOD},
		{EARLY, EVENT_OLD},
		{"1960-01-01T00:00:00Z", EVENT_MALFORMED},
		{"2026-11-18T11:06:40", EVENT_MALFORMED},
		{"2026-11-18T11:06:40.Z", EVENT_MALFORMED},
		{"2026-11-18T11:06:40+01:00", EVENT_MALFORMED},
		{" 2026-11-18T11:06:40Z", EVENT_MALFORMED},
		{"2026-11-18 11:06:40Z", EVENT_MALFORMED},
		{"", EVENT_MALFORMED},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct event_result result = sns_changed("Timestamp", table[i].time, true);

		if (result.verdict != table[i].verdict)
			print_error("%s\n", table[i].time);
		assert_int_equal(result.verdict, table[i].verdict);
	}
}

/* No message makes the manager ask anybody but SNS. */
static void test_sns_places(void **state)
{
	static const char *const bad[] = {
		"http://sns.eu-central-1.amazonaws.com/a.pem",
		"https://sns.eu-west-1.amazonaws.com/a.pem",
		"https://sns.eu-central-1.amazonaws.com.evil.example/a.pem",
		"https://sns.eu-central-1.amazonaws.com@evil.example/a.pem",
		"https://sns.eu-central-1.amazonaws.com:444/a.pem",
		"https://evil.example/sns.eu-central-1.amazonaws.com/a.pem",
		"https://169.254.169.254/a.pem",
		"file:///etc/ssl/a.pem",
		"HTTPS://sns.eu-central-1.amazonaws.com/a.pem",
		HOST "a.pem?x=.pem",
		HOST "a.pem#.pem",
		HOST "../a.pem",
		HOST "b/a.pem",
		HOST "%2e%2e.pem",
		HOST ".pem",
		HOST "a.der",
		HOST,
		"",
	};
	static const char *const bad_confirmations[] = {
		"https://evil.example/?Action=ConfirmSubscription&Token=1",
		HOST "?Action=Publish&Token=1",
		HOST "x?Action=ConfirmSubscription&Token=1",
		HOST "?Action=ConfirmSubscription&Token=1 HTTP/1.1",
		HOST "?Action=ConfirmSubscription&Token=1\r\nHost: evil.example",
		HOST "?Action=ConfirmSubscription&",
	};
	struct event_result result;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		result = sns_changed("SigningCertURL", bad[i], true);
		if (result.verdict != EVENT_REFUSED)
			print_error("%s\n", bad[i]);
		assert_int_equal(result.verdict, EVENT_REFUSED);
		assert_string_equal(result.url, "");
	}
	/* Even where SNS itself has signed it. */
	for (size_t i = 0; i < sizeof(bad_confirmations) / sizeof(bad_confirmations[0]); i++) {
		json_t *message = sns_good("SubscriptionConfirmation");

		json_object_set_new(message, "SubscribeURL", json_string(bad_confirmations[i]));
		sns_sign(message, ours, EVP_sha256());
		result = sns_judge(message, NOW);
		if (result.verdict != EVENT_REFUSED)
			print_error("%s\n", bad_confirmations[i]);
		assert_int_equal(result.verdict, EVENT_REFUSED);
		assert_string_equal(result.url, "");
	}
	/* One that is not known yet is fetched there, and is not trusted before. */
	result = sns_changed("SigningCertURL", HOST "next.pem", true);
	assert_int_equal(result.verdict, EVENT_KEY_WANTED);
	assert_string_equal(result.url, HOST "next.pem");
	/* A day later it is fetched again. */
	assert_int_equal(sns_judge(sns_good("Notification"), NOW + 86400).verdict,
			 EVENT_KEY_WANTED);
}

static void test_sns_certificates(void **state)
{
	const struct {
		EVP_PKEY *key;
		const char *name;
		long from, to;
		int r;
	} table[] = {
		{ours, "sns.amazonaws.com", -1, 1, 0},
		{ours, "sns.eu-central-1.amazonaws.com", -1, 1, 0},
		{ours, "sns-signing.eu-central-1.amazonaws.com", -1, 1, 0},
		{ours, "s3.amazonaws.com", -1, 1, -EBADMSG},
		{ours, "sns.amazonaws.com.evil.example", -1, 1, -EBADMSG},
		{ours, "sns.amazonaws.com", -2, -1, -EBADMSG},
		{ours, "sns.amazonaws.com", 1, 2, -EBADMSG},
		{small, "sns.amazonaws.com", -1, 1, -EBADMSG},
	};
	struct event_keys some = {0};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char *pem = certificate(table[i].key, table[i].name, table[i].from, table[i].to);
		int r = event_keys_add_sns(&some, PEM, pem, strlen(pem), NOW);

		free(pem);
		if (r != table[i].r)
			print_error("%zu: %s\n", i, table[i].name);
		assert_int_equal(r, table[i].r);
	}
	assert_int_equal(some.n, 1);
	assert_int_equal(event_keys_add_sns(&some, PEM, "<html>", 6, NOW), -EBADMSG);
	/* However many, few are kept. */
	for (int i = 0; i < 3 * EVENT_KEYS_MAX; i++) {
		char *pem = certificate(ours, "sns.amazonaws.com", -100, 1000), url[64];

		snprintf(url, sizeof(url), HOST "%d.pem", i);
		assert_int_equal(event_keys_add_sns(&some, url, pem, strlen(pem), NOW + i), 0);
		assert_non_null(event_keys_find(&some, url, NOW + i));
		free(pem);
	}
	assert_int_equal(some.n, EVENT_KEYS_MAX);
	event_keys_done(&some);
}

/* --- Event Grid --- */

static json_t *grid_event(const char *id, const char *type, const char *topic, const char *time)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:{s:s}, s:s}", "id", id, "topic", topic,
			 "subject", "k", "eventType", type, "eventTime", time, "data",
			 "validationCode", "512D38B6-C7B8-40C8", "dataVersion", "1");
}

#define GRID_TYPE "Microsoft.KeyVault.KeyNewVersionCreated"

/* Takes over EVENT, and judges it alone. */
static struct event_result grid_judge(const char *key, json_t *event)
{
	json_t *events = json_pack("[o]", event);
	char *body = json_dumps(events, 0);
	struct event_result result = judge(&azure, &keys, "", key, body, NOW);

	free(body);
	json_decref(events);
	return result;
}

static void test_grid(void **state)
{
	static const char validation[] = "Microsoft.EventGrid.SubscriptionValidationEvent";
	struct event_result first, second;

	first = grid_judge(KEY, grid_event("1", GRID_TYPE, VAULT, TIME));
	assert_int_equal(first.verdict, EVENT_GOOD);
	second = grid_judge("next-" KEY, grid_event("1", GRID_TYPE, VAULT, TIME));
	assert_int_equal(second.verdict, EVENT_GOOD);
	assert_memory_equal(first.id, second.id, HASH_SIZE);
	second = grid_judge(KEY, grid_event("2", GRID_TYPE, VAULT, TIME));
	assert_memory_not_equal(first.id, second.id, HASH_SIZE);
	assert_int_equal(grid_judge(KEY, grid_event("1", GRID_TYPE, VAULT, OLD)).verdict,
			 EVENT_OLD);
	assert_int_equal(grid_judge(KEY, grid_event("1", GRID_TYPE, VAULT "2", TIME)).verdict,
			 EVENT_REFUSED);
	first = grid_judge(KEY, grid_event("1", validation, VAULT, TIME));
	assert_int_equal(first.verdict, EVENT_TO_ANSWER);
	assert_string_equal(first.reply, "{\"validationResponse\":\"512D38B6-C7B8-40C8\"}");
	/* Nothing without the key: neither an event nor an answer to who asks. */
	for (size_t i = 0; i < 4; i++) {
		static const char *const bad[] = {"", "key", KEY "x", "next"};

		assert_int_equal(
			grid_judge(bad[i], grid_event("1", GRID_TYPE, VAULT, TIME)).verdict,
			EVENT_REFUSED);
		assert_int_equal(
			grid_judge(bad[i], grid_event("1", validation, VAULT, TIME)).verdict,
			EVENT_REFUSED);
	}
	for (size_t i = 0; i < 6; i++) {
		static const char *const bad[] = {"",	 "{}",	 "[]",
						  "[1]", "[{}]", "[{\"id\":\"1\"}]"};

		assert_int_equal(judge(&azure, &keys, "", KEY, bad[i], NOW).verdict,
				 EVENT_MALFORMED);
	}
}

/* --- Pub/Sub --- */

static const char pubsub_body[] =
	"{\"message\":{\"attributes\":{},\"data\":\"e30=\",\"messageId\":"
	"\"2070443601311540\",\"publishTime\":\"" TIME "\"},\"subscription\":\"" SUB "\"}";

static void set_google_keys(struct event_keys *to, EVP_PKEY *key, const char *kid)
{
	char *pem = certificate(key, "federated-signon", -10, 100000), *text;
	json_t *object = json_pack("{s:s}", kid, pem);

	text = json_dumps(object, 0);
	assert_int_equal(event_keys_set_google(to, text, strlen(text), NOW), 0);
	free(text);
	free(pem);
	json_decref(object);
}

/* "Bearer" and the token of these two by KEY. Takes them over. */
static void token(json_t *header, json_t *claims, EVP_PKEY *key, char text[static 4096])
{
	char *parts[2] = {json_dumps(header, 0), json_dumps(claims, 0)}, signature[1024];
	size_t n = (size_t)sprintf(text, "Bearer ");

	n += base64_encode(BASE64_URL, parts[0], strlen(parts[0]), text + n);
	text[n++] = '.';
	n += base64_encode(BASE64_URL, parts[1], strlen(parts[1]), text + n);
	sign(key, EVP_sha256(), BASE64_URL, text + 7, signature);
	sprintf(text + n, ".%s", signature);
	free(parts[0]);
	free(parts[1]);
	json_decref(header);
	json_decref(claims);
}

static json_t *good_header(void)
{
	return json_pack("{s:s, s:s, s:s}", "alg", "RS256", "kid", "kid-1", "typ", "JWT");
}

static json_t *good_claims(void)
{
	return json_pack("{s:s, s:s, s:s, s:b, s:I, s:I}", "iss", "https://accounts.google.com",
			 "aud", AUD, "email", EMAIL, "email_verified", 1, "iat",
			 (json_int_t)NOW - 10, "exp", (json_int_t)NOW + 3590);
}

static struct event_result pubsub(const struct event_keys *known, json_t *header, json_t *claims,
				  EVP_PKEY *key, const char *body)
{
	char text[4096];

	token(header, claims, key, text);
	return judge(&google, known, text, "", body, NOW);
}

static void test_pubsub(void **state)
{
	struct event_keys known = {0};
	struct event_result result;

	result = pubsub(&known, good_header(), good_claims(), ours, pubsub_body);
	assert_int_equal(result.verdict, EVENT_KEY_WANTED);
	assert_string_equal(result.url, "https://www.googleapis.com/oauth2/v1/certs");
	set_google_keys(&known, ours, "kid-1");
	result = pubsub(&known, good_header(), good_claims(), ours, pubsub_body);
	assert_int_equal(result.verdict, EVENT_GOOD);
	result = pubsub(&known, good_header(), good_claims(), other, pubsub_body);
	assert_int_equal(result.verdict, EVENT_REFUSED);
	assert_string_equal(result.reason, "the token's signature is wrong");
	/* Rotated: the old key is gone with the next answer. */
	set_google_keys(&known, other, "kid-2");
	result = pubsub(&known, good_header(), good_claims(), ours, pubsub_body);
	assert_int_equal(result.verdict, EVENT_KEY_WANTED);
	/* An answer that is none changes nothing. */
	assert_int_equal(event_keys_set_google(&known, "[]", 2, NOW), -EBADMSG);
	assert_non_null(event_keys_find(&known, "kid-2", NOW));
	assert_null(event_keys_find(&known, "kid-2", NOW + 3600));
	event_keys_done(&known);
}

static void test_pubsub_claims(void **state)
{
	const struct {
		const char *name;
		json_t *value; /* NULL: absent */
		enum event_verdict verdict;
	} table[] = {
		{"iss", json_string("accounts.google.com"), EVENT_GOOD},
		{"iss", json_string("https://accounts.google.com.evil.example"), EVENT_REFUSED},
		{"iss", NULL, EVENT_REFUSED},
		{"aud", json_string("https://events.example/v1/events/other"), EVENT_REFUSED},
		{"aud", json_pack("[s]", AUD), EVENT_REFUSED},
		{"aud", NULL, EVENT_REFUSED},
		{"email", json_string("other@p-1.iam.gserviceaccount.com"), EVENT_REFUSED},
		{"email", NULL, EVENT_REFUSED},
		{"email_verified", json_false(), EVENT_REFUSED},
		{"email_verified", json_string("true"), EVENT_REFUSED},
		{"email_verified", NULL, EVENT_REFUSED},
		{"exp", json_integer(NOW - 59), EVENT_GOOD},
		{"exp", json_integer(NOW - 60), EVENT_REFUSED},
		{"exp", json_string("1895000000"), EVENT_REFUSED},
		{"exp", NULL, EVENT_REFUSED},
		{"iat", json_integer(NOW + 60), EVENT_GOOD},
		{"iat", json_integer(NOW + 61), EVENT_REFUSED},
		{"iat", NULL, EVENT_REFUSED},
	};
	struct event_keys known = {0};

	set_google_keys(&known, ours, "kid-1");
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		json_t *claims = good_claims();
		struct event_result result;

		if (table[i].value)
			json_object_set_new(claims, table[i].name, table[i].value);
		else
			json_object_del(claims, table[i].name);
		result = pubsub(&known, good_header(), claims, ours, pubsub_body);
		if (result.verdict != table[i].verdict)
			print_error("%zu: %s\n", i, table[i].name);
		assert_int_equal(result.verdict, table[i].verdict);
	}
	event_keys_done(&known);
}

static void test_pubsub_forged(void **state)
{
	static const char *const algorithms[] = {"none", "HS256", "RS512", "rs256", ""};
	static const char *const bad[] = {
		"",	      "Bearer ",   "Bearer a.b",	 "Bearer a.b.c",
		"Basic eDp5", "Bearer ..", "Bearer e30.e30.AAAA"};
	struct event_keys known = {0};
	char text[4096];
	json_t *header;

	set_google_keys(&known, ours, "kid-1");
	for (size_t i = 0; i < sizeof(algorithms) / sizeof(algorithms[0]); i++) {
		header = good_header();
		json_object_set_new(header, "alg", json_string(algorithms[i]));
		assert_int_equal(pubsub(&known, header, good_claims(), ours, pubsub_body).verdict,
				 EVENT_REFUSED);
	}
	header = good_header();
	json_object_set_new(header, "crit", json_pack("[s]", "exp"));
	assert_int_equal(pubsub(&known, header, good_claims(), ours, pubsub_body).verdict,
			 EVENT_REFUSED);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(judge(&google, &known, bad[i], "", pubsub_body, NOW).verdict,
				 EVENT_REFUSED);
	/* One letter of the claims. */
	token(good_header(), good_claims(), ours, text);
	strchr(text, '.')[10] ^= 1;
	assert_int_equal(judge(&google, &known, text, "", pubsub_body, NOW).verdict, EVENT_REFUSED);
	event_keys_done(&known);
}

static void test_pubsub_bodies(void **state)
{
	static const struct {
		const char *body;
		enum event_verdict verdict;
	} table[] = {
		{"{\"message\":{\"messageId\":\"1\",\"publishTime\":\"" TIME
		 "\"},\"subscription\":\"projects/p-1/subscriptions/other\"}",
		 EVENT_REFUSED},
		{"{\"message\":{\"messageId\":\"1\",\"publishTime\":\"" OLD
		 "\"},\"subscription\":\"" SUB "\"}",
		 EVENT_OLD},
		{"{\"message\":{\"messageId\":\"1\",\"publishTime\":\"" EARLY
		 "\"},\"subscription\":\"" SUB "\"}",
		 EVENT_OLD},
		{"{\"message\":{\"publishTime\":\"" TIME "\"},\"subscription\":\"" SUB "\"}",
		 EVENT_MALFORMED},
		{"{\"message\":{\"messageId\":\"1\"},\"subscription\":\"" SUB "\"}",
		 EVENT_MALFORMED},
		{"[]", EVENT_MALFORMED},
		{"", EVENT_MALFORMED},
	};
	struct event_keys known = {0};

	set_google_keys(&known, ours, "kid-1");
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_int_equal(
			pubsub(&known, good_header(), good_claims(), ours, table[i].body).verdict,
			table[i].verdict);
	event_keys_done(&known);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sources),		 cmocka_unit_test(test_sns_good),
		cmocka_unit_test(test_sns_forged),	 cmocka_unit_test(test_sns_of_others),
		cmocka_unit_test(test_sns_times),	 cmocka_unit_test(test_sns_places),
		cmocka_unit_test(test_sns_certificates), cmocka_unit_test(test_grid),
		cmocka_unit_test(test_pubsub),		 cmocka_unit_test(test_pubsub_claims),
		cmocka_unit_test(test_pubsub_forged),	 cmocka_unit_test(test_pubsub_bodies),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
