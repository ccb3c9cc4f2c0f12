/* SPDX-License-Identifier: Apache-2.0 */
/* A storage node of a test program's manager: its credentials, and what it asks for. */
#pragma once

#include "manager_world.h"

#include <openssl/pem.h>

#include "manager/deks.h"
#include "manager/pki_cert.h"

struct node {
	const char *workspace, *name;
	char certificate[96], key[96];
};

static inline void save_pem(const char *path, EVP_PKEY *key, X509 *certificate)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	if (key)
		assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
	else
		assert_int_equal(PEM_write_X509(file, certificate), 1);
	fclose(file);
}

/* With a key pair of its own, that nobody knows yet. */
static inline void node_make(struct node *node, const char *workspace, const char *name,
			     char hex[static 2 * HASH_SIZE + 1])
{
	const struct pki_subject subject = {.kind = PKI_NODE, .common_name = name};
	uint8_t *der = NULL, hash[HASH_SIZE];
	X509 *certificate;
	EVP_PKEY *key;
	int n;

	*node = (struct node){.workspace = workspace, .name = name};
	snprintf(node->certificate, sizeof(node->certificate), "%s/%s.pem", top, name);
	snprintf(node->key, sizeof(node->key), "%s/%s.key", top, name);
	assert_int_equal(pki_key_new(&key), 0);
	/* Its dates count for nothing. */
	assert_int_equal(pki_certify(&subject, key, NULL, key, 86400, &certificate), 0);
	save_pem(node->certificate, NULL, certificate);
	save_pem(node->key, key, NULL);
	n = i2d_PUBKEY(key, &der);
	assert_true(n > 0);
	assert_int_equal(sha256(der, (size_t)n, hash), 0);
	hex_encode(hash, sizeof(hash), hex);
	OPENSSL_free(der);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

static inline void node_announce(const struct node *node, const char *hex)
{
	char body[512];

	snprintf(body, sizeof(body), "{\"workspace\":\"%s\",\"node\":\"%s\",\"public_key\":\"%s\"}",
		 node->workspace, node->name, hex);
	key_admin("POST", "/v1/storage-nodes", body, 204);
}

static inline void node_enrol(struct node *node, const char *workspace, const char *name)
{
	char hex[2 * HASH_SIZE + 1];

	node_make(node, workspace, name, hex);
	node_announce(node, hex);
}

/* Takes over BODY. The answer's JSON is the caller's. */
static inline json_t *call_any(const struct node *node, const char *path, json_t *body,
			       long *ret_status)
{
	static struct answer answer;
	char *text = json_dumps(body, JSON_COMPACT);
	CURL *curl = handle_for(storage_url, path, &answer);

	curl_easy_setopt(curl, CURLOPT_SSLCERT, node->certificate);
	curl_easy_setopt(curl, CURLOPT_SSLKEY, node->key);
	curl_easy_setopt(curl, CURLOPT_POST, 1L);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(text));
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text);
	perform(curl, &answer);
	free(text);
	json_decref(body);
	*ret_status = answer.status;
	return json_loadb((char *)answer.body, answer.size, JSON_REJECT_DUPLICATES, NULL);
}

static inline json_t *call(const struct node *node, const char *path, json_t *body, long expected)
{
	long status;
	json_t *answer = call_any(node, path, body, &status);

	if (status != expected)
		print_error("%s: %ld %s\n", path, status,
			    json_string_value(json_object_get(answer, "message")));
	assert_int_equal(status, expected);
	return answer;
}

static inline void call_refused(const struct node *node, const char *path, json_t *body,
				long status, const char *code)
{
	json_t *answer = call(node, path, body, status);

	assert_string_equal(json_string_value(json_object_get(answer, "error")), code);
	json_decref(answer);
}

struct dek {
	char blob[2 * DEK_BLOB_MAX + 1], text[2 * DEK_SIZE + 1];
	json_int_t ttl_ms;
	bool rewrap;
};

static inline json_t *with_context(json_t *item, const char *context)
{
	if (context)
		json_object_set_new(item, "context", json_string(context));
	return item;
}

static inline json_t *one_blob(const char *blob, const char *context)
{
	return json_pack("{s:[o]}", "items",
			 with_context(json_pack("{s:s}", "blob", blob), context));
}

static inline json_t *one_use(const char *use, const char *context)
{
	return json_pack("{s:s, s:[o]}", "use", use, "items", with_context(json_object(), context));
}

static inline json_t *first_item(json_t *answer)
{
	json_t *items = json_object_get(answer, "items");

	assert_int_equal(json_array_size(items), 1);
	return json_array_get(items, 0);
}

static inline const char *text_of(json_t *object, const char *member)
{
	const char *text = json_string_value(json_object_get(object, member));

	assert_non_null(text);
	return text;
}

static inline struct dek generate(const struct node *node, const char *use, const char *context)
{
	json_t *answer = call(node, "/v1/deks/generate", one_use(use, context), 200);
	struct dek dek = {.ttl_ms = json_integer_value(json_object_get(answer, "ttl_ms"))};

	snprintf(dek.text, sizeof(dek.text), "%s", text_of(first_item(answer), "dek"));
	snprintf(dek.blob, sizeof(dek.blob), "%s", text_of(first_item(answer), "blob"));
	assert_int_equal(strlen(dek.text), 2 * DEK_SIZE);
	json_decref(answer);
	return dek;
}

static inline struct dek unwrap(const struct node *node, const char *blob, const char *context)
{
	json_t *answer = call(node, "/v1/deks/unwrap", one_blob(blob, context), 200);
	struct dek dek = {.ttl_ms = json_integer_value(json_object_get(answer, "ttl_ms"))};

	snprintf(dek.text, sizeof(dek.text), "%s", text_of(first_item(answer), "dek"));
	dek.rewrap = json_is_true(json_object_get(first_item(answer), "rewrap"));
	json_decref(answer);
	return dek;
}

static inline struct dek rewrap(const struct node *node, const struct dek *old, const char *context)
{
	json_t *answer = call(node, "/v1/deks/rewrap", one_blob(old->blob, context), 200);
	struct dek dek = *old;

	assert_null(json_object_get(first_item(answer), "dek"));
	snprintf(dek.blob, sizeof(dek.blob), "%s", text_of(first_item(answer), "blob"));
	json_decref(answer);
	return dek;
}

static inline void assert_refused(const struct node *node, const char *path, const char *blob,
				  const char *context, const char *code, const char *words)
{
	json_t *answer = call(node, path, one_blob(blob, context), 200);
	json_t *item = first_item(answer);

	assert_string_equal(text_of(item, "error"), code);
	assert_non_null(strstr(text_of(item, "message"), words));
	assert_null(json_object_get(item, "dek"));
	assert_null(json_object_get(item, "blob"));
	json_decref(answer);
}

static inline uint64_t metric(const char *name)
{
	static struct answer answer;
	CURL *curl = handle_for(admin_url, "/v1/metrics", &answer);
	char text[256];
	const char *at;

	snprintf(text, sizeof(text), "%s/identities/operator/cert.pem", state_dir);
	curl_easy_setopt(curl, CURLOPT_SSLCERT, text);
	snprintf(text, sizeof(text), "%s/identities/operator/key.pem", state_dir);
	curl_easy_setopt(curl, CURLOPT_SSLKEY, text);
	perform(curl, &answer);
	assert_int_equal(answer.status, 200);
	answer.body[answer.size] = '\0';
	snprintf(text, sizeof(text), "\nemberlock_%s_total ", name);
	at = strstr((char *)answer.body, text);
	assert_non_null(at);
	return strtoull(at + strlen(text), NULL, 10);
}
