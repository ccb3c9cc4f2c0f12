/* SPDX-License-Identifier: Apache-2.0 */
/* Key configurations between the admin API and the store. */
#include "manager/admin_key_shape.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "manager/admin_routes.h"
#include "manager/kms/aws/aws.h"
#include "manager/manager.h"

/* In the order of enum key_use. */
static const char *const use_cases[] = {"MANAGED_SERVICES", "STORAGE"};

/* --- in --- */

/* What becomes the key id once all of it is read. */
struct parts {
	char region[32];
	char vault_uri[128], key_name[128];
};

static int refuse(struct http_request *request, const struct store_key *key, const char *why)
{
	http_reply_error(request, 400, "settings", "key %s: %s", key->name, why);
	return -EINVAL;
}

static int finish_aws(struct store_key *key, const struct parts *parts, const char **ret_why)
{
	struct aws_arn arn;

	*ret_why = "aws_key_info: member 'key_region' is not that of 'key_arn'";
	if (parts->region[0] && aws_arn_parse(key->kms.key_id, &arn) == 0 &&
	    strcmp(arn.region, parts->region) != 0)
		return -EINVAL;
	return 0;
}

static int finish_azure(struct store_key *key, const struct parts *parts, const char **ret_why)
{
	size_t n = strlen(parts->vault_uri);
	int len;

	*ret_why = "azure_key_info: members 'key_vault_uri' and 'key_name' are too long";
	/* The cloud shows its URIs with a '/' at the end. */
	if (n > 0 && parts->vault_uri[n - 1] == '/')
		n--;
	len = snprintf(key->kms.key_id, sizeof(key->kms.key_id), "%.*s/keys/%s", (int)n,
		       parts->vault_uri, parts->key_name);
	return len < 0 || (size_t)len >= sizeof(key->kms.key_id) ? -EINVAL : 0;
}

/* Which of the *_key_info there is, and what it makes of KEY. */
struct shape {
	const char *provider;
	struct json_inner *info;
	int (*finish)(struct store_key *key, const struct parts *parts, const char **ret_why);
};

static int take_shape(struct http_request *request, const struct shape *shapes, size_t n,
		      const struct parts *parts, struct store_key *key)
{
	const struct shape *given = NULL;
	const char *why;

	for (size_t i = 0; i < n; i++) {
		if (!shapes[i].info->given)
			continue;
		if (given)
			return refuse(request, key,
				      "two members '*_key_info': a configuration is of one CMK");
		given = &shapes[i];
	}
	if (!given)
		return refuse(request, key,
			      "one of the members 'aws_key_info', 'azure_key_info', "
			      "'gcp_key_info', 'file_key_info' is needed");
	copy_text(key->kms.provider, sizeof(key->kms.provider), given->provider);
	if (given->finish && given->finish(key, parts, &why) < 0)
		return refuse(request, key, why);
	return 0;
}

/* The durations, each with its member of KEY. */
struct durations {
	uint64_t poll, lease, margin, staleness, probe;
};

static void put_durations(const struct durations *durations, struct store_key *key)
{
	key->poll_ms = (uint32_t)durations->poll;
	key->lease_ms = (uint32_t)durations->lease;
	key->margin_ms = (uint32_t)durations->margin;
	key->max_staleness_ms = (uint32_t)durations->staleness;
	key->probe_ms = (uint32_t)durations->probe;
}

static int read_expiry(struct http_request *request, const char *text, enum expiry *ret_expiry)
{
	if (strcmp(text, "shred") == 0) {
		*ret_expiry = EXPIRY_SHRED;
	} else if (strcmp(text, "warn") == 0) {
		*ret_expiry = EXPIRY_WARN;
	} else {
		http_reply_error(request, 400, "settings",
				 "the body: member 'expiry' must be shred or warn");
		return -EINVAL;
	}
	return 0;
}

static int read_body(struct http_request *request, struct store_key *key)
{
	struct kms_key *kms = &key->kms;
	struct durations durations = {key->poll_ms, key->lease_ms, key->margin_ms,
				      key->max_staleness_ms, key->probe_ms};
	struct parts parts = {0};
	struct json_words uses = {use_cases, ELEMENTSOF(use_cases),
				  KEY_USE_MANAGED_SERVICES | KEY_USE_STORAGE};
	bool volumes = true;
	char expiry[8] = "shred";
	const struct json_member aws[] = {
		{"key_arn", JSON_MEMBER_TEXT, kms->key_id, sizeof(kms->key_id)},
		{"key_alias", JSON_MEMBER_TEXT, key->alias, sizeof(key->alias), true},
		{"key_region", JSON_MEMBER_NAME, parts.region, sizeof(parts.region), true},
		{"reuse_key_for_cluster_volumes", JSON_MEMBER_BOOL, &volumes, 0, true},
		{"role_arn", JSON_MEMBER_TEXT, kms->role_arn, sizeof(kms->role_arn), true},
		{"external_id", JSON_MEMBER_TEXT, kms->external_id, sizeof(kms->external_id), true},
	};
	const struct json_member azure[] = {
		{"key_vault_uri", JSON_MEMBER_TEXT, parts.vault_uri, sizeof(parts.vault_uri)},
		{"key_name", JSON_MEMBER_NAME, parts.key_name, sizeof(parts.key_name)},
		{"tenant_id", JSON_MEMBER_NAME, kms->tenant_id, sizeof(kms->tenant_id), true},
	};
	const struct json_member gcp[] = {
		{"kms_key_id", JSON_MEMBER_TEXT, kms->key_id, sizeof(kms->key_id)},
	};
	const struct json_member file[] = {
		{"key_id", JSON_MEMBER_NAME, kms->key_id, sizeof(kms->key_id)},
		{"directory", JSON_MEMBER_TEXT, kms->directory, sizeof(kms->directory)},
	};
	struct json_inner infos[] = {
		{aws, ELEMENTSOF(aws)},
		{azure, ELEMENTSOF(azure)},
		{gcp, ELEMENTSOF(gcp)},
		{file, ELEMENTSOF(file)},
	};
	const struct shape shapes[] = {
		{"aws", &infos[0], finish_aws},
		{"azure", &infos[1], finish_azure},
		{"google", &infos[2]},
		{"file", &infos[3]},
	};
	const struct json_member members[] = {
		{"name", JSON_MEMBER_NAME, key->name, sizeof(key->name)},
		{"aws_key_info", JSON_MEMBER_OBJECT, &infos[0], 0, true},
		{"azure_key_info", JSON_MEMBER_OBJECT, &infos[1], 0, true},
		{"gcp_key_info", JSON_MEMBER_OBJECT, &infos[2], 0, true},
		{"file_key_info", JSON_MEMBER_OBJECT, &infos[3], 0, true},
		{"use_cases", JSON_MEMBER_WORDS, &uses, 0, true},
		{"credentials", JSON_MEMBER_NAME, kms->credentials, sizeof(kms->credentials), true},
		{"poll_ms", JSON_MEMBER_UNSIGNED, &durations.poll, 0, true},
		{"lease_ms", JSON_MEMBER_UNSIGNED, &durations.lease, 0, true},
		{"margin_ms", JSON_MEMBER_UNSIGNED, &durations.margin, 0, true},
		{"max_staleness_ms", JSON_MEMBER_UNSIGNED, &durations.staleness, 0, true},
		{"probe_ms", JSON_MEMBER_UNSIGNED, &durations.probe, 0, true},
		{"expiry", JSON_MEMBER_TEXT, expiry, sizeof(expiry), true},
		{"confirm_boot", JSON_MEMBER_BOOL, &key->confirm_boot, 0, true},
	};
	int r;

	r = admin_read_body(request, members, ELEMENTSOF(members));
	if (r < 0)
		return r;
	put_durations(&durations, key);
	key->uses = uses.set | (volumes ? KEY_USE_CLUSTER_VOLUMES : 0);
	r = read_expiry(request, expiry, &key->expiry);
	if (r < 0)
		return r;
	return take_shape(request, shapes, ELEMENTSOF(shapes), &parts, key);
}

int admin_key_read(struct http_request *request, struct store_key *ret_key)
{
	char error[256];
	int r;

	store_key_defaults(ret_key);
	r = read_body(request, ret_key);
	if (r < 0)
		return r;
	store_credentials_dir(request->manager->store, &ret_key->kms);
	r = store_key_check(ret_key, error);
	return r < 0 ? refuse(request, ret_key, error) : 0;
}

/* --- out --- */

/* NULL, which json_pack's s* leaves out, where it was not said. */
static const char *said(const char *text)
{
	return *text ? text : NULL;
}

static json_t *aws_info(const struct store_key *key)
{
	struct aws_arn arn = {0};

	(void)aws_arn_parse(key->kms.key_id, &arn);
	return json_pack("{s:s, s:s, s:b, s:s*, s:s*, s:s*}", "key_arn", key->kms.key_id,
			 "key_region", arn.region, "reuse_key_for_cluster_volumes",
			 (key->uses & KEY_USE_CLUSTER_VOLUMES) != 0, "key_alias", said(key->alias),
			 "role_arn", said(key->kms.role_arn), "external_id",
			 said(key->kms.external_id));
}

static json_t *azure_info(const struct store_key *key)
{
	const char *key_id = key->kms.key_id, *keys = strstr(key_id, "/keys/");

	if (!keys)
		return NULL;
	return json_pack("{s:s%, s:s, s:s*}", "key_vault_uri", key_id, (size_t)(keys - key_id),
			 "key_name", keys + strlen("/keys/"), "tenant_id",
			 said(key->kms.tenant_id));
}

static json_t *gcp_info(const struct store_key *key)
{
	return json_pack("{s:s}", "kms_key_id", key->kms.key_id);
}

static json_t *file_info(const struct store_key *key)
{
	return json_pack("{s:s, s:s}", "key_id", key->kms.key_id, "directory", key->kms.directory);
}

static json_t *info_of(const struct store_key *key, const char **ret_member)
{
	static const struct {
		const char *provider, *member;
		json_t *(*info)(const struct store_key *key);
	} shapes[] = {
		{"aws", "aws_key_info", aws_info},
		{"azure", "azure_key_info", azure_info},
		{"google", "gcp_key_info", gcp_info},
		{"file", "file_key_info", file_info},
	};

	for (size_t i = 0; i < ELEMENTSOF(shapes); i++) {
		if (strcmp(shapes[i].provider, key->kms.provider) != 0)
			continue;
		*ret_member = shapes[i].member;
		return shapes[i].info(key);
	}
	return NULL;
}

static json_t *uses_array(const struct store_key *key)
{
	json_t *array = json_array();

	for (size_t i = 0; i < ELEMENTSOF(use_cases); i++)
		if (key->uses & 1u << i)
			json_array_append_new(array, json_string(use_cases[i]));
	return array;
}

json_t *admin_key_shape(const struct store_key *key)
{
	const char *member = "";
	json_t *info = info_of(key, &member);

	if (!info)
		return NULL;
	return json_pack("{s:s, s:o, s:o, s:s*, s:I, s:I, s:I, s:I, s:I, s:s, s:b}", "name",
			 key->name, member, info, "use_cases", uses_array(key), "credentials",
			 said(key->kms.credentials), "poll_ms", (json_int_t)key->poll_ms,
			 "lease_ms", (json_int_t)key->lease_ms, "margin_ms",
			 (json_int_t)key->margin_ms, "max_staleness_ms",
			 (json_int_t)key->max_staleness_ms, "probe_ms", (json_int_t)key->probe_ms,
			 "expiry", key->expiry == EXPIRY_WARN ? "warn" : "shred", "confirm_boot",
			 key->confirm_boot);
}
