/* SPDX-License-Identifier: Apache-2.0 */
/* emberlock-admin storage-node: who may have the keys of a workspace's data. The node's key pair is made
 * here; the manager is told the hash of its public half. */
#include <errno.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "keys/sign.h"
#include "manager/admin_cli_enrolment.h"
#include "manager/pki_cert.h"

struct enrolment {
	struct admin_enrolment common;
	const char *workspace, *node;
	EVP_PKEY *key;
	X509 *certificate;
	char public_key[2 * HASH_SIZE + 1];
};

static const char *const files[] = {"key.pem", "cert.pem", "ca.pem", "url"};

static void enrolment_done(struct enrolment *enrolment)
{
	EVP_PKEY_free(enrolment->key);
	X509_free(enrolment->certificate);
}

static void free_bio(BIO **bio)
{
	BIO_free(*bio);
}

static void free_json(json_t **p)
{
	json_decref(*p);
}

static int hash_key(struct enrolment *enrolment)
{
	uint8_t *der = NULL, hash[HASH_SIZE];
	int n = i2d_PUBKEY(enrolment->key, &der), r;

	if (n <= 0)
		return -EIO;
	r = sha256(der, (size_t)n, hash);
	OPENSSL_free(der);
	hex_encode(hash, sizeof(hash), enrolment->public_key);
	return r;
}

static int make_key(struct enrolment *enrolment)
{
	const struct pki_subject subject = {
		.kind = PKI_NODE, .common_name = enrolment->node, .unit = "storage-node"};
	int r;

	r = pki_key_new(&enrolment->key);
	if (r == 0)
		r = pki_certify(&subject, enrolment->key, NULL, enrolment->key,
				(int64_t)clock_realtime_s(), &enrolment->certificate);
	if (r == 0)
		r = hash_key(enrolment);
	return r < 0 ? admin_refuse(r, "OpenSSL cannot make the node's key") : 0;
}

static int write_pem(const struct enrolment *enrolment, const char *name, bool key)
{
	_cleanup_(free_bio) BIO *bio = BIO_new(BIO_s_secmem());
	char *text;
	long n;

	if (!bio ||
	    (key ? PEM_write_bio_PKCS8PrivateKey(bio, enrolment->key, NULL, NULL, 0, NULL, NULL)
		 : PEM_write_bio_X509(bio, enrolment->certificate)) != 1)
		return admin_refuse(-EIO, "%s: OpenSSL cannot write it", name);
	n = BIO_get_mem_data(bio, &text);
	return enrolment_write(&enrolment->common, name, text, (size_t)n);
}

static int write_credentials(const struct enrolment *enrolment)
{
	const struct admin_enrolment *common = &enrolment->common;
	char line[ENROLMENT_URL_MAX + 1];
	int n, r;

	r = write_pem(enrolment, "key.pem", true);
	if (r == 0)
		r = write_pem(enrolment, "cert.pem", false);
	if (r == 0)
		r = enrolment_write(common, "ca.pem", common->ca, common->ca_size);
	n = snprintf(line, sizeof(line), "%s\n", common->url);
	return r < 0 ? r : enrolment_write(common, "url", line, (size_t)n);
}

static int announce(const struct admin_call *call, const struct enrolment *enrolment)
{
	_cleanup_(free_json) json_t *body =
		json_pack("{s:s, s:s, s:s}", "workspace", enrolment->workspace, "node",
			  enrolment->node, "public_key", enrolment->public_key);

	return admin_http(call, "POST", "/v1/storage-nodes", body, NULL);
}

/* As `vm enrol`: the key is on the disk before the manager knows of it, and what fails leaves nothing
 * behind. */
static int enrol(const struct admin_call *call, const struct enrolment *enrolment)
{
	int r;

	r = write_credentials(enrolment);
	if (r == 0)
		r = announce(call, enrolment);
	if (r < 0)
		enrolment_undo(&enrolment->common);
	return r;
}

static int node_enrol(const struct admin_call *call)
{
	_cleanup_(enrolment_done) struct enrolment enrolment = {
		.common = {.directory = admin_value(call, "output"),
			   .files = files,
			   .n_files = ELEMENTSOF(files)},
		.workspace = call->arguments[0],
		.node = call->arguments[1],
	};
	int r;

	r = enrolment_check_names(call);
	if (r == 0)
		r = enrolment_check_output(&enrolment.common);
	if (r == 0)
		r = enrolment_read_url(call, "storage-url",
				       ": does the manager run with --storage-listen?",
				       &enrolment.common);
	if (r == 0)
		r = enrolment_read_ca(call, &enrolment.common);
	if (r == 0)
		r = make_key(&enrolment);
	if (r == 0)
		r = enrol(call, &enrolment);
	if (r < 0)
		return r;
	if (call->json)
		printf("{\"workspace\":\"%s\",\"node\":\"%s\"}\n", enrolment.workspace,
		       enrolment.node);
	else
		printf("%s/%s: enrolled; credentials in %s\n", enrolment.workspace, enrolment.node,
		       enrolment.common.directory);
	return 0;
}

static int node_list(const struct admin_call *call)
{
	static const struct admin_column columns[] = {
		{"WORKSPACE", "workspace", ADMIN_COLUMN_TEXT},
		{"NODE", "node", ADMIN_COLUMN_TEXT},
		{"ENROLLED", "enrolled", ADMIN_COLUMN_TIME},
		{"PUBLIC KEY", "public_key", ADMIN_COLUMN_ID},
	};
	_cleanup_(free_json) json_t *answer = NULL;
	int r;

	r = admin_http(call, "GET", "/v1/storage-nodes", NULL, &answer);
	if (r < 0)
		return r;
	admin_print_table(call, answer, columns, ELEMENTSOF(columns));
	return 0;
}

static int node_remove(const struct admin_call *call)
{
	char prefix[256], path[256];
	int r;

	r = admin_path(prefix, "/v1/storage-nodes/", "WORKSPACE", call->arguments[0], "/");
	if (r == 0)
		r = admin_path(path, prefix, "NODE", call->arguments[1], "");
	if (r == 0)
		r = admin_http(call, "DELETE", path, NULL, NULL);
	if (r < 0)
		return r;
	if (call->json)
		printf("{\"workspace\":\"%s\",\"node\":\"%s\"}\n", call->arguments[0],
		       call->arguments[1]);
	else
		printf("%s/%s: removed; it gets no more keys\n", call->arguments[0],
		       call->arguments[1]);
	return 0;
}

/* A row a command. */
/* clang-format off */
const struct admin_command admin_storage_commands[] = {
	{"storage-node", "enrol", {"WORKSPACE", "NODE"},
	 "Make a storage node's credentials, and tell the manager whose they are.", node_enrol, {
		{"output", "DIR", "where key.pem, cert.pem, ca.pem, url go", true},
		{"storage-url", "URL", "where the node finds the manager; default: what it advertises", false},
		{"ca", "FILE", "the node trusts the manager by it; default: the identity's ca.pem", false}}},
	{"storage-node", "list", {NULL}, "List the enrolled storage nodes.", node_list, {{NULL}}},
	{"storage-node", "remove", {"WORKSPACE", "NODE"}, "End a storage node's enrolment.", node_remove,
	 {{NULL}}},
	{NULL},
};
/* clang-format on */
