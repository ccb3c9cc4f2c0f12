/* SPDX-License-Identifier: Apache-2.0 */
/* Who we are to Google: a service account's key, or the metadata server's account. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "manager/kms/google/google.h"
#include "manager/kms/jwt.h"

#define METADATA      "http://metadata.google.internal"
#define TOKEN_URL     "https://oauth2.googleapis.com/token"
#define SCOPE	      "https://www.googleapis.com/auth/cloudkms"
#define ASSERTION_S   600
#define ASSERTION_MAX 4096

const char *google_missing(const struct credentials *c)
{
	if (strcmp(c->method, "metadata") == 0)
		return NULL;
	if (strcmp(c->method, "service-account") == 0)
		return c->service_account_file[0] ? NULL : "service_account_file";
	return "method";
}

static void fetch_metadata(struct kms_call *call, struct kms_outcome *ret)
{
	const char *base = call->credentials.metadata_endpoint;

	kms_call_auth(call, "GET", true,
		      "%s/computeMetadata/v1/instance/service-accounts/default/token",
		      base[0] ? base : METADATA);
	call->auth.headers[0] = "Metadata-Flavor: Google";
	if (kms_call_ask_identity(call, &google_dialect, KMS_TOKEN, false, ret))
		kms_call_take_bearer(call, ret);
}

static int sign(const json_t *account, char *token, size_t size)
{
	const char *email = kms_json_text(account, "client_email");
	const char *pem = kms_json_text(account, "private_key");
	json_int_t now = (json_int_t)clock_realtime_s();
	_cleanup_json_ json_t *header = json_pack("{s:s, s:s, s:s}", "alg", "RS256", "typ", "JWT",
						  "kid", kms_json_text(account, "private_key_id"));
	/* The audience is Google's own, wherever the request is sent. */
	_cleanup_json_ json_t *claims =
		json_pack("{s:s, s:s, s:s, s:I, s:I}", "iss", email, "scope", SCOPE, "aud",
			  TOKEN_URL, "iat", now, "exp", now + ASSERTION_S);

	if (!email[0] || !header || !claims)
		return -EBADMSG;
	return jwt_sign_rs256(header, claims, pem, strlen(pem), token, size);
}

static int add_assertion(struct kms_call *call, char error[static 256])
{
	_cleanup_json_ json_t *account = NULL;
	const char *name = call->credentials.service_account_file;
	char token[ASSERTION_MAX];
	size_t n;
	int r;

	r = credentials_file(call->key, name, call->file, sizeof(call->file), &n, error);
	if (r < 0)
		return r;
	account = kms_json(call->file, n);
	r = sign(account, token, sizeof(token));
	if (r < 0) {
		snprintf(error, 256,
			 "credentials/%.64s: no service account key with client_email and "
			 "private_key",
			 name);
		return r;
	}
	r = kms_http_add_form(&call->auth, "grant_type",
			      "urn:ietf:params:oauth:grant-type:jwt-bearer");
	r = r ? r : kms_http_add_form(&call->auth, "assertion", token);
	bytes_wipe(token, sizeof(token));
	return r;
}

static void fetch_account(struct kms_call *call, struct kms_outcome *ret)
{
	const char *base = call->credentials.token_endpoint;
	char error[256] = "the request for a token is too large";

	if (base[0])
		kms_call_auth(call, "POST", false, "%s/token", base);
	else
		kms_call_auth(call, "POST", false, TOKEN_URL);
	call->auth.headers[0] = "Content-Type: application/x-www-form-urlencoded";
	if (add_assertion(call, error) < 0)
		kms_outcome_set(ret, KMS_IDENTITY, true, "%s", error);
	else if (kms_call_ask_identity(call, &google_dialect, KMS_TOKEN, false, ret))
		kms_call_take_bearer(call, ret);
}

void google_fetch(struct kms_call *call, struct kms_outcome *ret_outcome)
{
	const char *missing = google_missing(&call->credentials);

	if (missing)
		kms_outcome_set(ret_outcome, KMS_IDENTITY, true, "credentials: member '%s'",
				missing);
	else if (strcmp(call->credentials.method, "metadata") == 0)
		fetch_metadata(call, ret_outcome);
	else
		fetch_account(call, ret_outcome);
}
