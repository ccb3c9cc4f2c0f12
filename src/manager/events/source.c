/* SPDX-License-Identifier: Apache-2.0 */
/* Who may send events about a key configuration: a JSON file of the manager's events directory. */
#include "manager/events/source.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "keys/sign.h"
#include "manager/json.h"
#include "manager/kms/credentials.h"

#define KEY_MIN 32

static int parse(const char *text, size_t n, struct event_source *s, char error[static 256])
{
	const struct json_member members[] = {
		{"provider", JSON_MEMBER_NAME, s->provider, sizeof(s->provider)},
		{"topic_arn", JSON_MEMBER_TEXT, s->topic_arn, sizeof(s->topic_arn), true},
		{"topic", JSON_MEMBER_TEXT, s->topic, sizeof(s->topic), true},
		{"key", JSON_MEMBER_NAME, s->key, sizeof(s->key), true},
		{"next_key", JSON_MEMBER_NAME, s->next_key, sizeof(s->next_key), true},
		{"audience", JSON_MEMBER_TEXT, s->audience, sizeof(s->audience), true},
		{"email", JSON_MEMBER_TEXT, s->email, sizeof(s->email), true},
		{"subscription", JSON_MEMBER_TEXT, s->subscription, sizeof(s->subscription), true},
		{"endpoint", JSON_MEMBER_TEXT, s->endpoint, sizeof(s->endpoint), true},
		{"ca_file", JSON_MEMBER_NAME, s->ca_file, sizeof(s->ca_file), true},
	};

	return json_read_object(text, n, members, ELEMENTSOF(members), error);
}

static bool is_of(const char *text, size_t n, const char *characters)
{
	return n > 0 && strspn(text, characters) >= n;
}

/* arn:PARTITION:sns:REGION:ACCOUNT:NAME gives the one host that SNS may name. */
static int set_sns(struct event_source *s, char error[static 256])
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
	const char *partition = s->topic_arn + 4, *service, *region, *end;
	bool china;

	service = strncmp(s->topic_arn, "arn:", 4) == 0 ? strchr(partition, ':') : NULL;
	region = service && strncmp(service, ":sns:", 5) == 0 ? service + 5 : NULL;
	end = region ? strchr(region, ':') : NULL;
	if (!end || !is_of(region, (size_t)(end - region), plain) || end - region > 32) {
		snprintf(error, 256, "member 'topic_arn' must be the ARN of an SNS topic");
		return -EBADMSG;
	}
	china = strncmp(partition, "aws-cn:", 7) == 0;
	snprintf(s->keys_base, sizeof(s->keys_base), "https://sns.%.*s.amazonaws.com%s/",
		 (int)(end - region), region, china ? ".cn" : "");
	return 0;
}

static int set_event_grid(struct event_source *s, char error[static 256])
{
	const char *bad = !s->topic[0]					    ? "topic"
			  : strlen(s->key) < KEY_MIN			    ? "key"
			  : s->next_key[0] && strlen(s->next_key) < KEY_MIN ? "next_key"
									    : NULL;

	if (!bad)
		return 0;
	snprintf(error, 256, "member '%s' must be %s", bad,
		 bad[0] == 't' ? "the resource that the events are about"
			       : "32 to 127 characters of [A-Za-z0-9._-]");
	return -EBADMSG;
}

static int set_pubsub(struct event_source *s, char error[static 256])
{
	const char *missing = !s->audience[0]	    ? "audience"
			      : !s->email[0]	    ? "email"
			      : !s->subscription[0] ? "subscription"
						    : NULL;

	if (missing) {
		snprintf(error, 256, "member '%s' is missing", missing);
		return -EBADMSG;
	}
	strcpy(s->keys_base, "https://www.googleapis.com/");
	return 0;
}

static int check(struct event_source *s, char error[static 256])
{
	static const struct {
		const char *provider;
		int (*set)(struct event_source *source, char error[static 256]);
	} clouds[] = {{"aws", set_sns}, {"azure", set_event_grid}, {"google", set_pubsub}};
	int r = -EBADMSG;

	snprintf(error, 256, "member 'provider' must be aws, azure or google");
	for (size_t i = 0; i < ELEMENTSOF(clouds); i++) {
		if (strcmp(clouds[i].provider, s->provider) == 0)
			r = clouds[i].set(s, error);
	}
	if (r == 0 && !endpoint_is_valid(s->endpoint)) {
		snprintf(error, 256, "member 'endpoint' must be https://HOST or https://HOST:PORT");
		r = -EBADMSG;
	}
	if (r == 0 && s->endpoint[0])
		snprintf(s->keys_base, sizeof(s->keys_base), "%s/", s->endpoint);
	return r;
}

int event_source_read(const char *directory, const char *name, struct event_source *source,
		      char error[static 256])
{
	char text[CREDENTIALS_FILE_MAX], why[256];
	size_t n = 0;
	int r;

	*source = (struct event_source){0};
	r = credentials_file_of(directory, name, text, sizeof(text), &n, error);
	if (r < 0)
		return r;
	r = parse(text, n, source, why);
	if (r == 0)
		r = check(source, why);
	if (r == 0)
		r = sha256(text, n, source->digest);
	bytes_wipe(text, sizeof(text));
	if (r == -EBADMSG)
		snprintf(error, 256, "events/%.64s: %.160s", name, why);
	if (r == 0 && source->ca_file[0])
		snprintf(source->ca_path, sizeof(source->ca_path), "%s/%s", directory,
			 source->ca_file);
	return r;
}
