/* SPDX-License-Identifier: Apache-2.0 */
/* Who we are to AWS.
 *
 *	static ──────────────────┐
 *	instance: IMDSv2 ────────┼─▶ our own identity ─▶ AssumeRole with ExternalId, where the key
 *	web-identity: STS ───────┘                       names a role ─▶ the customer's
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/parse.h"
#include "manager/kms/aws/aws.h"

#define METADATA     "http://169.254.169.254"
#define STS_VERSION  "2011-06-15"
#define SESSION_NAME "emberlock-manager"
/* The least that STS grants, so that a role which the customer takes away is gone soon. */
#define ROLE_TTL_S 900

const char *aws_missing(const struct credentials *c)
{
	if (strcmp(c->method, "static") == 0)
		return !c->access_key_id[0]	  ? "access_key_id"
		       : !c->secret_access_key[0] ? "secret_access_key"
						  : NULL;
	if (strcmp(c->method, "web-identity") == 0)
		return !c->role_arn[0] ? "role_arn" : !c->token_file[0] ? "token_file" : NULL;
	return strcmp(c->method, "instance") == 0 ? NULL : "method";
}

int aws_xml_text(const char *xml, const char *name, char *text, size_t size)
{
	char open[64], close[64];
	const char *start, *end;

	if ((size_t)snprintf(open, sizeof(open), "<%s>", name) >= sizeof(open))
		return -EBADMSG;
	snprintf(close, sizeof(close), "</%s>", name);
	start = strstr(xml, open);
	if (!start || strstr(start + 1, open))
		return -EBADMSG;
	start += strlen(open);
	end = strstr(start, close);
	if (!end || (size_t)(end - start) >= size || strcspn(start, "<&") != (size_t)(end - start))
		return -EBADMSG;
	memcpy(text, start, (size_t)(end - start));
	text[end - start] = '\0';
	return 0;
}

static void no_credentials(struct kms_outcome *ret, const char *who)
{
	kms_outcome_set(ret, KMS_IDENTITY, true, "%s: the reply holds no credentials", who);
}

/* Lives are differences of the server's own times: our clock has no say. */
static uint64_t ttl_of(const char *expiration, int64_t date_s)
{
	struct tm tm = {0};
	const char *rest = strptime(expiration, "%Y-%m-%dT%H:%M:%S", &tm);
	int64_t end = rest ? (int64_t)timegm(&tm) : 0;

	if (!rest || (*rest != 'Z' && *rest != '.'))
		return 0;
	if (date_s == 0)
		date_s = (int64_t)clock_realtime_s();
	return end > date_s ? (uint64_t)(end - date_s) : 0;
}

static bool take(struct kms_call *call, const char *user, const char *secret, const char *session,
		 const char *expiration)
{
	uint64_t ttl = ttl_of(expiration, call->auth.date_s);

	if (!user[0] || !secret[0] || !session[0] || ttl == 0 ||
	    copy_text(call->token.user, sizeof(call->token.user), user) < 0 ||
	    copy_text(call->token.secret, sizeof(call->token.secret), secret) < 0 ||
	    copy_text(call->token.bearer, sizeof(call->token.bearer), session) < 0)
		return false;
	token_set_life(&call->token, clock_boottime_ns() / NSEC_PER_MSEC, ttl);
	return true;
}

/* --- IMDSv2 --- */

static bool role_name_is_valid(const char *name)
{
	size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
				"+=,.@_-");

	return n > 0 && n <= 64 && name[n] == '\0';
}

static void take_metadata(struct kms_call *call, struct kms_outcome *ret)
{
	_cleanup_json_ json_t *json = kms_json(call->auth.reply, call->auth.reply_size);

	if (strcmp(kms_json_text(json, "Code"), "Success") != 0 ||
	    !take(call, kms_json_text(json, "AccessKeyId"), kms_json_text(json, "SecretAccessKey"),
		  kms_json_text(json, "Token"), kms_json_text(json, "Expiration")))
		no_credentials(ret, "IMDS");
}

static void fetch_instance(struct kms_call *call, struct kms_outcome *ret)
{
	static const char roles[] = "/latest/meta-data/iam/security-credentials/";
	const char *base = call->credentials.metadata_endpoint;
	char role[128];

	base = base[0] ? base : METADATA;
	kms_call_auth(call, "PUT", true, "%s/latest/api/token", base);
	call->auth.headers[0] = "X-aws-ec2-metadata-token-ttl-seconds: 60";
	if (!kms_call_ask_identity(call, &aws_dialect, KMS_TOKEN, false, ret))
		return;
	if (strcspn(call->auth.reply, "\r\n ") != call->auth.reply_size) {
		no_credentials(ret, "IMDS");
		return;
	}
	snprintf(call->header, sizeof(call->header), "X-aws-ec2-metadata-token: %.1024s",
		 call->auth.reply);
	kms_call_auth(call, "GET", true, "%s%s", base, roles);
	call->auth.headers[0] = call->header;
	if (!kms_call_ask_identity(call, &aws_dialect, KMS_TOKEN, false, ret))
		return;
	snprintf(role, sizeof(role), "%.100s", call->auth.reply);
	role[strcspn(role, "\r\n")] = '\0';
	if (!role_name_is_valid(role)) {
		kms_outcome_set(ret, KMS_IDENTITY, true, "IMDS: the instance has no role");
		return;
	}
	kms_call_auth(call, "GET", true, "%s%s%s", base, roles, role);
	call->auth.headers[0] = call->header;
	if (kms_call_ask_identity(call, &aws_dialect, KMS_TOKEN, false, ret))
		take_metadata(call, ret);
}

/* --- STS --- */

static void begin_sts(struct kms_call *call, const char *action)
{
	const struct credentials *c = &call->credentials;
	struct aws_arn arn = {0};
	const char *region;

	(void)aws_arn_parse(call->key->key_id, &arn);
	region = c->region[0] ? c->region : arn.region;
	if (c->token_endpoint[0])
		kms_call_auth(call, "POST", false, "%s/", c->token_endpoint);
	else
		kms_call_auth(call, "POST", false, "https://sts.%s.amazonaws.com%s/", region,
			      strcmp(arn.partition, "aws-cn") == 0 ? ".cn" : "");
	call->auth.headers[0] = "Content-Type: application/x-www-form-urlencoded; charset=utf-8";
	(void)kms_http_add(&call->auth, "Action=%s&Version=" STS_VERSION, action);
}

/* By our own identity; SIGNER outlives the request. */
static void sign_sts(struct kms_call *call, char signer[static 96])
{
	const struct kms_token *own = &call->own;
	struct aws_arn arn = {0};

	(void)aws_arn_parse(call->key->key_id, &arn);
	snprintf(signer, 96, "aws:amz:%s:sts",
		 call->credentials.region[0] ? call->credentials.region : arn.region);
	call->auth.sigv4 = signer;
	call->auth.user = own->user;
	call->auth.password = own->secret;
	if (own->bearer[0]) {
		snprintf(call->header, sizeof(call->header), "X-Amz-Security-Token: %s",
			 own->bearer);
		call->auth.headers[1] = call->header;
	}
}

static void take_sts(struct kms_call *call, struct kms_outcome *ret)
{
	const char *xml = call->auth.reply;
	char expiration[64] = "";
	struct kms_token *token = &call->token;

	if (aws_xml_text(xml, "AccessKeyId", token->user, sizeof(token->user)) < 0 ||
	    aws_xml_text(xml, "SecretAccessKey", token->secret, sizeof(token->secret)) < 0 ||
	    aws_xml_text(xml, "SessionToken", token->bearer, sizeof(token->bearer)) < 0 ||
	    aws_xml_text(xml, "Expiration", expiration, sizeof(expiration)) < 0 ||
	    ttl_of(expiration, call->auth.date_s) == 0) {
		no_credentials(ret, "STS");
		return;
	}
	token_set_life(token, clock_boottime_ns() / NSEC_PER_MSEC,
		       ttl_of(expiration, call->auth.date_s));
}

static void fetch_web_identity(struct kms_call *call, struct kms_outcome *ret)
{
	const struct credentials *c = &call->credentials;
	char error[256];
	size_t n;
	int r;

	if (credentials_file(call->key, c->token_file, call->file, sizeof(call->file), &n, error) <
	    0) {
		kms_outcome_set(ret, KMS_IDENTITY, true, "%s", error);
		return;
	}
	call->file[strcspn(call->file, "\r\n")] = '\0';
	begin_sts(call, "AssumeRoleWithWebIdentity");
	r = kms_http_add_form(&call->auth, "RoleArn", c->role_arn);
	r = r ? r : kms_http_add_form(&call->auth, "RoleSessionName", SESSION_NAME);
	r = r ? r : kms_http_add_form(&call->auth, "WebIdentityToken", call->file);
	if (r < 0)
		kms_outcome_set(ret, KMS_IDENTITY, true, "token_file: too large");
	else if (kms_call_ask_identity(call, &aws_dialect, KMS_TOKEN, false, ret))
		take_sts(call, ret);
}

/* Whether STS still knows us: a role refused to somebody it does not know is no customer's word. */
static bool identity_answers(struct kms_call *call)
{
	struct kms_outcome outcome;
	char signer[96];

	begin_sts(call, "GetCallerIdentity");
	sign_sts(call, signer);
	return kms_call_ask_identity(call, &aws_dialect, KMS_TOKEN, false, &outcome);
}

static int begin_assume(struct kms_call *call)
{
	int r;

	begin_sts(call, "AssumeRole");
	r = kms_http_add_form(&call->auth, "RoleArn", call->key->role_arn);
	r = r ? r : kms_http_add_form(&call->auth, "RoleSessionName", SESSION_NAME);
	r = r ? r : kms_http_add_form(&call->auth, "ExternalId", call->key->external_id);
	return r ? r : kms_http_add(&call->auth, "&DurationSeconds=%d", ROLE_TTL_S);
}

static void assume(struct kms_call *call, struct kms_outcome *ret)
{
	char signer[96];

	if (begin_assume(call) < 0) {
		kms_outcome_set(ret, KMS_MISCONFIGURED, true, "role_arn, external_id: too long");
		return;
	}
	sign_sts(call, signer);
	if (kms_call_ask_identity(call, &aws_dialect, KMS_ASSUME, false, ret)) {
		take_sts(call, ret);
		return;
	}
	if (call->auth.status != 403 || !identity_answers(call) || begin_assume(call) < 0)
		return;
	sign_sts(call, signer);
	if (kms_call_ask_identity(call, &aws_dialect, KMS_ASSUME, true, ret))
		take_sts(call, ret);
}

static void fetch_own(struct kms_call *call, struct kms_outcome *ret)
{
	const struct credentials *c = &call->credentials;

	if (strcmp(c->method, "instance") == 0) {
		fetch_instance(call, ret);
	} else if (strcmp(c->method, "web-identity") == 0) {
		fetch_web_identity(call, ret);
	} else {
		copy_text(call->token.user, sizeof(call->token.user), c->access_key_id);
		copy_text(call->token.secret, sizeof(call->token.secret), c->secret_access_key);
		copy_text(call->token.bearer, sizeof(call->token.bearer), c->session_token);
		ret->class = KMS_OK;
	}
}

void aws_fetch(struct kms_call *call, struct kms_outcome *ret_outcome)
{
	const char *missing = aws_missing(&call->credentials);

	if (missing) {
		kms_outcome_set(ret_outcome, KMS_IDENTITY, true, "credentials: member '%s'",
				missing);
		return;
	}
	fetch_own(call, ret_outcome);
	if (ret_outcome->class != KMS_OK || !call->key->role_arn[0])
		return;
	call->own = call->token;
	bytes_wipe(&call->token, sizeof(call->token));
	assume(call, ret_outcome);
}
