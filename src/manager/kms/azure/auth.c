/* SPDX-License-Identifier: Apache-2.0 */
/* Who we are to Azure: an application with a secret or a certificate, or a managed identity. */
#include <errno.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "manager/kms/azure/azure.h"
#include "manager/kms/jwt.h"

#define LOGIN	      "https://login.microsoftonline.com"
#define METADATA      "http://169.254.169.254"
#define SCOPE	      "https://vault.azure.net/.default"
#define RESOURCE      "https%3A%2F%2Fvault.azure.net"
#define ASSERTION_S   600
#define ASSERTION_MAX 4096

const char *azure_missing(const struct credentials *c)
{
	if (strcmp(c->method, "managed-identity") == 0)
		return NULL;
	if (!c->client_id[0])
		return "client_id";
	if (strcmp(c->method, "client-secret") == 0)
		return c->client_secret[0] ? NULL : "client_secret";
	if (strcmp(c->method, "assertion") == 0)
		return !c->certificate_file[0]	 ? "certificate_file"
		       : !c->private_key_file[0] ? "private_key_file"
						 : NULL;
	return "method";
}

static void fetch_managed(struct kms_call *call, struct kms_outcome *ret)
{
	const struct credentials *c = &call->credentials;

	kms_call_auth(call, "GET", true,
		      "%s/metadata/identity/oauth2/token?api-version=2018-02-01&resource=%s%s%s",
		      c->metadata_endpoint[0] ? c->metadata_endpoint : METADATA, RESOURCE,
		      c->client_id[0] ? "&client_id=" : "", c->client_id);
	call->auth.headers[0] = "Metadata: true";
	call->auth.retry_missing = true;
	if (kms_call_ask_identity(call, &azure_dialect, KMS_TOKEN, false, ret))
		kms_call_take_bearer(call, ret);
}

/* The customer's tenant where the key names one: an application of many tenants. */
static const char *tenant_of(const struct kms_call *call)
{
	return call->key->tenant_id[0] ? call->key->tenant_id : call->credentials.tenant_id;
}

static int begin(struct kms_call *call)
{
	const struct credentials *c = &call->credentials;
	int r;

	kms_call_auth(call, "POST", false, "%s/%s/oauth2/v2.0/token",
		      c->token_endpoint[0] ? c->token_endpoint : LOGIN, tenant_of(call));
	call->auth.headers[0] = "Content-Type: application/x-www-form-urlencoded";
	r = kms_http_add_form(&call->auth, "grant_type", "client_credentials");
	r = r ? r : kms_http_add_form(&call->auth, "client_id", c->client_id);
	return r ? r : kms_http_add_form(&call->auth, "scope", SCOPE);
}

/* The certificate's thumbprint names the key; a random jti makes each assertion its own. */
static json_t *assertion_header(struct kms_call *call, char error[static 256])
{
	char thumbprint[32];
	size_t n;

	if (credentials_file(call->key, call->credentials.certificate_file, call->file,
			     sizeof(call->file), &n, error) < 0)
		return NULL;
	if (jwt_thumbprint(call->file, n, thumbprint) < 0) {
		snprintf(error, 256, "credentials/%.64s: no certificate in PEM",
			 call->credentials.certificate_file);
		return NULL;
	}
	return json_pack("{s:s, s:s, s:s}", "alg", "RS256", "typ", "JWT", "x5t", thumbprint);
}

static json_t *assertion_claims(const struct kms_call *call)
{
	json_int_t now = (json_int_t)clock_realtime_s();
	uint8_t random[16];
	char jti[2 * sizeof(random) + 1];
	const char *client = call->credentials.client_id;

	if (RAND_bytes(random, sizeof(random)) != 1)
		return NULL;
	hex_encode(random, sizeof(random), jti);
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "aud", call->auth.url, "iss", client,
			 "sub", client, "jti", jti, "nbf", now, "exp", now + ASSERTION_S);
}

static int add_assertion(struct kms_call *call, char error[static 256])
{
	_cleanup_json_ json_t *header = assertion_header(call, error);
	_cleanup_json_ json_t *claims = assertion_claims(call);
	const char *name = call->credentials.private_key_file;
	char token[ASSERTION_MAX];
	size_t n;
	int r;

	if (!header)
		return -EBADMSG;
	if (!claims ||
	    credentials_file(call->key, name, call->file, sizeof(call->file), &n, error) < 0)
		return -EBADMSG;
	r = jwt_sign_rs256(header, claims, call->file, n, token, sizeof(token));
	if (r < 0) {
		snprintf(error, 256, "credentials/%.64s: no RSA key of 2048 bits or more in PEM",
			 name);
		return r;
	}
	r = kms_http_add_form(&call->auth, "client_assertion_type",
			      "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
	r = r ? r : kms_http_add_form(&call->auth, "client_assertion", token);
	bytes_wipe(token, sizeof(token));
	return r;
}

static void fetch_application(struct kms_call *call, struct kms_outcome *ret)
{
	const struct credentials *c = &call->credentials;
	char error[256] = "the request for a token is too large";
	int r = begin(call);

	if (r == 0 && strcmp(c->method, "client-secret") == 0)
		r = kms_http_add_form(&call->auth, "client_secret", c->client_secret);
	else if (r == 0)
		r = add_assertion(call, error);
	if (r < 0)
		kms_outcome_set(ret, KMS_IDENTITY, true, "%s", error);
	else if (kms_call_ask_identity(call, &azure_dialect, KMS_TOKEN, false, ret))
		kms_call_take_bearer(call, ret);
}

void azure_fetch(struct kms_call *call, struct kms_outcome *ret_outcome)
{
	const char *missing = azure_missing(&call->credentials);
	bool managed = strcmp(call->credentials.method, "managed-identity") == 0;

	if (!missing && !managed && !tenant_of(call)[0])
		missing = "tenant_id";
	if (missing)
		kms_outcome_set(ret_outcome, KMS_IDENTITY, true, "credentials: member '%s'",
				missing);
	else if (managed)
		fetch_managed(call, ret_outcome);
	else
		fetch_application(call, ret_outcome);
}
