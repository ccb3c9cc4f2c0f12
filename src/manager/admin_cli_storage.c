/* SPDX-License-Identifier: Apache-2.0 */
/* emberlock-admin storage-node: who may have the keys of a workspace's data. The node's key pair is made
 * here; the manager is told the hash of its public half. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/parse.h"
#include "keys/sign.h"
#include "manager/admin_cli.h"
#include "manager/pki_cert.h"

#define CA_MAX	16384
#define URL_MAX 256

struct enrolment {
	const char *workspace, *node, *directory;
	EVP_PKEY *key;
	X509 *certificate;
	char public_key[2 * HASH_SIZE + 1];
	char url[URL_MAX];
	char ca[CA_MAX];
	size_t ca_size;
};

static const char *const credentials[] = {"key.pem", "cert.pem", "ca.pem", "url"};

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

static int credential_path(const struct enrolment *enrolment, const char *name,
			   char path[static PATH_MAX])
{
	if (snprintf(path, PATH_MAX, "%s/%s", enrolment->directory, name) >= PATH_MAX)
		return admin_refuse(-ENAMETOOLONG, "--output: the path is too long");
	return 0;
}

/* A node's private key is never overwritten: it may be the only copy. */
static int check_output(const struct enrolment *enrolment)
{
	char path[PATH_MAX];
	int r;

	r = admin_make_directory(enrolment->directory);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ELEMENTSOF(credentials); i++) {
		r = credential_path(enrolment, credentials[i], path);
		if (r < 0)
			return r;
		if (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			return admin_refuse(-EEXIST, "--output: %s is there already", path);
	}
	return 0;
}

static int read_url(const struct admin_call *call, struct enrolment *enrolment)
{
	const char *given = admin_value(call, "storage-url");
	char path[PATH_MAX];
	ssize_t n;

	if (given) {
		if (copy_text(enrolment->url, sizeof(enrolment->url), given) < 0)
			return admin_refuse(-EINVAL, "--storage-url: too long");
	} else {
		snprintf(path, sizeof(path), "%s/storage-url", call->identity);
		n = file_read(AT_FDCWD, path, enrolment->url, sizeof(enrolment->url) - 1);
		if (n < 0)
			return admin_refuse((int)n,
					    "--storage-url is not given, and cannot read %s: does "
					    "the manager run with --storage-listen?",
					    path);
		enrolment->url[strcspn(enrolment->url, "\n")] = '\0';
	}
	if (strncmp(enrolment->url, "https://", 8) != 0 || !enrolment->url[8])
		return admin_refuse(-EINVAL, "--storage-url: must be https://HOST:PORT");
	return 0;
}

static int read_ca(const struct admin_call *call, struct enrolment *enrolment)
{
	const char *file = admin_value(call, "ca");
	char path[PATH_MAX];
	ssize_t n;

	if (!file) {
		snprintf(path, sizeof(path), "%s/ca.pem", call->identity);
		file = path;
	}
	n = file_read(AT_FDCWD, file, enrolment->ca, sizeof(enrolment->ca));
	if (n < 0)
		return admin_refuse((int)n, "--ca %s: cannot read it: %s", file, strerror((int)-n));
	if (!memmem(enrolment->ca, (size_t)n, "-----BEGIN CERTIFICATE-----", 27) ||
	    memmem(enrolment->ca, (size_t)n, "PRIVATE KEY", 11))
		return admin_refuse(-EBADMSG, "--ca %s: must hold PEM certificates alone", file);
	enrolment->ca_size = (size_t)n;
	return 0;
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

static int write_file(const struct enrolment *enrolment, const char *name, const void *bytes,
		      size_t n)
{
	char path[PATH_MAX];
	int r;

	r = credential_path(enrolment, name, path);
	if (r < 0)
		return r;
	r = file_write_atomic(path, bytes, n, 0600);
	return r < 0 ? admin_refuse(r, "%s: cannot write it: %s", path, strerror(-r)) : 0;
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
	return write_file(enrolment, name, text, (size_t)n);
}

static int write_credentials(const struct enrolment *enrolment)
{
	char line[URL_MAX + 1];
	int n, r;

	r = write_pem(enrolment, "key.pem", true);
	if (r == 0)
		r = write_pem(enrolment, "cert.pem", false);
	if (r == 0)
		r = write_file(enrolment, "ca.pem", enrolment->ca, enrolment->ca_size);
	n = snprintf(line, sizeof(line), "%s\n", enrolment->url);
	return r < 0 ? r : write_file(enrolment, "url", line, (size_t)n);
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
static int enrol(const struct admin_call *call, struct enrolment *enrolment)
{
	char path[PATH_MAX];
	int r;

	r = write_credentials(enrolment);
	if (r == 0)
		r = announce(call, enrolment);
	if (r == 0)
		return 0;
	for (size_t i = 0; i < ELEMENTSOF(credentials); i++)
		if (credential_path(enrolment, credentials[i], path) == 0)
			unlink(path);
	return r;
}

static int node_enrol(const struct admin_call *call)
{
	_cleanup_(enrolment_done) struct enrolment enrolment = {
		.workspace = call->arguments[0],
		.node = call->arguments[1],
		.directory = admin_value(call, "output"),
	};
	int r;

	for (size_t i = 0; i < ADMIN_ARGUMENTS_MAX; i++)
		if (!name_is_valid(call->arguments[i], ID_TEXT_MAX))
			return admin_refuse(-EINVAL, "%s: '%.64s' is no name: A-Z a-z 0-9 . _ -",
					    call->command->arguments[i], call->arguments[i]);
	r = check_output(&enrolment);
	if (r == 0)
		r = read_url(call, &enrolment);
	if (r == 0)
		r = read_ca(call, &enrolment);
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
		       enrolment.directory);
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
