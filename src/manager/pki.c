/* SPDX-License-Identifier: Apache-2.0 */
/* The manager's own certificates as files: what is missing is made, what is old is renewed. */
#include "manager/pki.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "manager/pki_cert.h"

#define PEM_MAX	     8192
#define PKI_SANS_MAX 64

struct pki_pair {
	EVP_PKEY *key;
	X509 *certificate;
};

/* What one run of pki_ensure() works on. */
struct pki_run {
	const struct pki_options *options;
	int64_t now;
	char *error; /* 256 */
};

static const char *const role_names[PKI_ROLE__MAX] = {
	[PKI_ROLE_NONE] = "none",
	[PKI_ROLE_KEY_ADMINISTRATOR] = "key-administrator",
	[PKI_ROLE_OPERATOR] = "operator",
};

static void pki_pair_done(struct pki_pair *pair)
{
	EVP_PKEY_free(pair->key);
	X509_free(pair->certificate);
}

static void free_bio(BIO **p)
{
	BIO_free(*p);
}

const char *pki_role_name(enum pki_role role)
{
	return role_names[role];
}

enum pki_role pki_certificate_role(X509 *certificate)
{
	X509_NAME *subject = X509_get_subject_name(certificate);
	int at = X509_NAME_get_index_by_NID(subject, NID_organizationalUnitName, -1);
	const ASN1_STRING *unit;

	if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_organizationalUnitName, at) >= 0)
		return PKI_ROLE_NONE;
	unit = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
	for (int i = PKI_ROLE_NONE + 1; i < PKI_ROLE__MAX; i++) {
		size_t n = strlen(role_names[i]);

		if ((size_t)ASN1_STRING_length(unit) == n &&
		    memcmp(ASN1_STRING_get0_data(unit), role_names[i], n) == 0)
			return (enum pki_role)i;
	}
	return PKI_ROLE_NONE;
}

static int __attribute__((format(printf, 3, 4)))
refuse(struct pki_run *run, int r, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(run->error, 256, format, list);
	va_end(list);
	return r;
}

static int path_of(struct pki_run *run, const char *name, char path[static PATH_MAX])
{
	if (snprintf(path, PATH_MAX, "%s/%s", run->options->state_dir, name) >= PATH_MAX)
		return refuse(run, -ENAMETOOLONG, "%.128s: the path is too long",
			      run->options->state_dir);
	return 0;
}

static int make_directory(struct pki_run *run, const char *name)
{
	char path[PATH_MAX];
	int r;

	r = path_of(run, name, path);
	if (r < 0)
		return r;
	if (mkdir(path, 0700) < 0 && errno != EEXIST) {
		r = -errno;
		return refuse(run, r, "%.128s: cannot make the directory: %s", path, strerror(-r));
	}
	return 0;
}

/* A key that others can read is no secret: refused as sshd does. */
static int check_private(struct pki_run *run, const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || (st.st_mode & 077))
		return refuse(run, -EPERM, "%.128s: must be a file that only its owner can read",
			      path);
	return 0;
}

/* -ENOENT where there is none. */
static int load_pem(struct pki_run *run, const char *path, char text[static PEM_MAX],
		    size_t *ret_len)
{
	ssize_t n = file_read(AT_FDCWD, path, text, PEM_MAX);

	if (n == -ENOENT)
		return -ENOENT;
	if (n < 0)
		return refuse(run, (int)n, "%.128s: cannot read it: %s", path, strerror((int)-n));
	*ret_len = (size_t)n;
	return 0;
}

static int load_key(struct pki_run *run, const char *name, EVP_PKEY **ret_key)
{
	_cleanup_(free_bio) BIO *bio = NULL;
	char path[PATH_MAX], text[PEM_MAX];
	size_t len = 0;
	int r;

	r = path_of(run, name, path);
	if (r < 0)
		return r;
	r = check_private(run, path);
	if (r < 0)
		return r;
	r = load_pem(run, path, text, &len);
	if (r < 0)
		return r;
	bio = BIO_new_mem_buf(text, (int)len);
	*ret_key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"") : NULL;
	bytes_wipe(text, sizeof(text));
	if (!*ret_key)
		return refuse(run, -EBADMSG, "%.128s: holds no private key", path);
	return 0;
}

static int load_certificate(struct pki_run *run, const char *name, X509 **ret_certificate)
{
	_cleanup_(free_bio) BIO *bio = NULL;
	char path[PATH_MAX], text[PEM_MAX];
	size_t len = 0;
	int r;

	r = path_of(run, name, path);
	if (r < 0)
		return r;
	r = load_pem(run, path, text, &len);
	if (r < 0)
		return r;
	bio = BIO_new_mem_buf(text, (int)len);
	*ret_certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	if (!*ret_certificate)
		return refuse(run, -EBADMSG, "%.128s: holds no certificate", path);
	return 0;
}

static int save(struct pki_run *run, const char *name, BIO *bio, mode_t mode)
{
	char path[PATH_MAX];
	char *bytes;
	long n = BIO_get_mem_data(bio, &bytes);
	int r;

	r = path_of(run, name, path);
	if (r < 0)
		return r;
	r = file_write_atomic(path, bytes, (size_t)n, mode);
	if (r < 0)
		return refuse(run, r, "%.128s: cannot write it: %s", path, strerror(-r));
	return 0;
}

static int save_key(struct pki_run *run, const char *name, EVP_PKEY *key)
{
	_cleanup_(free_bio) BIO *bio = BIO_new(BIO_s_secmem());

	if (!bio || PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
		return refuse(run, -EIO, "%.64s: OpenSSL cannot write the key", name);
	return save(run, name, bio, 0600);
}

static int save_certificate(struct pki_run *run, const char *name, X509 *certificate)
{
	_cleanup_(free_bio) BIO *bio = BIO_new(BIO_s_mem());

	if (!bio || PEM_write_bio_X509(bio, certificate) != 1)
		return refuse(run, -EIO, "%.64s: OpenSSL cannot write the certificate", name);
	return save(run, name, bio, 0644);
}

static int certify(struct pki_run *run, const char *name, const struct pki_subject *subject,
		   struct pki_pair *pair, const struct pki_pair *issuer)
{
	int r;

	X509_free(pair->certificate);
	pair->certificate = NULL;
	r = pki_certify(subject, pair->key, issuer ? issuer->certificate : NULL,
			issuer ? issuer->key : pair->key, run->now, &pair->certificate);
	if (r < 0)
		return refuse(run, r, "%.64s: %s", name,
			      r == -EINVAL ? "a name in it is no host name or IP address"
					   : "OpenSSL cannot make the certificate");
	return save_certificate(run, name, pair->certificate);
}

/* A lost authority is not replaced: everything that trusts it would have to be told. */
static int ensure_authority(struct pki_run *run, const char *certificate, const char *key,
			    const char *common_name, struct pki_pair *pair)
{
	const struct pki_subject subject = {.kind = PKI_AUTHORITY, .common_name = common_name};
	int have_certificate, r;

	have_certificate = load_certificate(run, certificate, &pair->certificate);
	if (have_certificate < 0 && have_certificate != -ENOENT)
		return have_certificate;
	r = load_key(run, key, &pair->key);
	if (r == -ENOENT) {
		if (have_certificate == 0)
			return refuse(run, -ENOKEY, "%.128s/%s is there but %s is not: restore it",
				      run->options->state_dir, certificate, key);
		r = pki_key_new(&pair->key);
		if (r < 0)
			return refuse(run, r, "%s: OpenSSL cannot make a key", key);
		r = save_key(run, key, pair->key);
	}
	if (r < 0)
		return r;
	if (have_certificate == 0 && X509_check_private_key(pair->certificate, pair->key) != 1)
		return refuse(run, -EBADMSG, "%.128s/%s does not belong to %s",
			      run->options->state_dir, certificate, key);
	if (have_certificate == 0 &&
	    pki_certificate_serves(pair->certificate, &subject, pair->key, NULL, run->now))
		return 0;
	return certify(run, certificate, &subject, pair, NULL);
}

/* 1 where it was made anew. */
static int ensure_leaf(struct pki_run *run, const char *certificate, const char *key,
		       const struct pki_subject *subject, const struct pki_pair *issuer)
{
	_cleanup_(pki_pair_done) struct pki_pair pair = {0};
	int r;

	r = load_key(run, key, &pair.key);
	if (r == 0)
		r = load_certificate(run, certificate, &pair.certificate);
	if (r == 0 && pki_certificate_serves(pair.certificate, subject, pair.key,
					     issuer->certificate, run->now))
		return 0;
	if (r < 0 && r != -ENOENT)
		return r;
	EVP_PKEY_free(pair.key);
	pair.key = NULL;
	r = pki_key_new(&pair.key);
	if (r < 0)
		return refuse(run, r, "%s: OpenSSL cannot make a key", key);
	r = save_key(run, key, pair.key);
	if (r < 0)
		return r;
	r = certify(run, certificate, subject, &pair, issuer);
	return r < 0 ? r : 1;
}

static int ensure_server(struct pki_run *run, const struct pki_pair *issuer)
{
	const struct pki_options *options = run->options;
	const char *names[PKI_SANS_MAX] = {"localhost", "127.0.0.1", "::1"};
	struct pki_subject subject = {.kind = PKI_SERVER,
				      .common_name = "Emberlock manager",
				      .names = names,
				      .n_names = 3};

	if (options->n_sans > PKI_SANS_MAX - subject.n_names)
		return refuse(run, -E2BIG, "server.pem: more than %d names",
			      PKI_SANS_MAX - (int)subject.n_names);
	for (size_t i = 0; i < options->n_sans; i++)
		names[subject.n_names++] = options->sans[i];
	return ensure_leaf(run, "server.pem", "server.key", &subject, issuer);
}

static int save_line(struct pki_run *run, const char *directory, const char *file, const char *text)
{
	char name[80], path[PATH_MAX], line[512];
	int n, r;

	snprintf(name, sizeof(name), "%s/%s", directory, file);
	r = path_of(run, name, path);
	if (r < 0)
		return r;
	n = snprintf(line, sizeof(line), "%s\n", text);
	if (n >= (int)sizeof(line))
		return refuse(run, -ENAMETOOLONG, "%s: the URL is too long", name);
	r = file_write_atomic(path, line, (size_t)n, 0644);
	if (r < 0)
		return refuse(run, r, "%.128s: cannot write it: %s", path, strerror(-r));
	return 0;
}

static int ensure_identity(struct pki_run *run, enum pki_role role, const struct pki_pair *admin,
			   const struct pki_pair *server)
{
	const struct pki_subject subject = {.kind = PKI_CLIENT,
					    .common_name = pki_role_name(role),
					    .unit = pki_role_name(role)};
	char directory[64], certificate[80], key[80], ca[80];
	int r;

	snprintf(directory, sizeof(directory), "identities/%s", pki_role_name(role));
	snprintf(certificate, sizeof(certificate), "%s/cert.pem", directory);
	snprintf(key, sizeof(key), "%s/key.pem", directory);
	snprintf(ca, sizeof(ca), "%s/ca.pem", directory);
	r = make_directory(run, directory);
	if (r < 0)
		return r;
	r = ensure_leaf(run, certificate, key, &subject, admin);
	if (r < 0)
		return r;
	r = save_certificate(run, ca, server->certificate);
	if (r < 0)
		return r;
	r = save_line(run, directory, "url", run->options->admin_url);
	if (r < 0)
		return r;
	r = save_line(run, directory, "manager-url", run->options->manager_url);
	if (r < 0 || !run->options->storage_url)
		return r;
	return save_line(run, directory, "storage-url", run->options->storage_url);
}

static int ensure_all(struct pki_run *run)
{
	_cleanup_(pki_pair_done) struct pki_pair server = {0}, admin = {0};
	int renewed, r;

	r = ensure_authority(run, "ca.pem", "ca.key", "Emberlock manager CA", &server);
	if (r < 0)
		return r;
	renewed = ensure_server(run, &server);
	if (renewed < 0)
		return renewed;
	r = ensure_authority(run, "admin-ca.pem", "admin-ca.key", "Emberlock administration CA",
			     &admin);
	if (r < 0)
		return r;
	r = make_directory(run, "identities");
	if (r < 0)
		return r;
	for (int role = PKI_ROLE_NONE + 1; role < PKI_ROLE__MAX; role++) {
		r = ensure_identity(run, (enum pki_role)role, &admin, &server);
		if (r < 0)
			return r;
	}
	return renewed;
}

int pki_ensure(const struct pki_options *options, int64_t now, char error[static 256])
{
	struct pki_run run = {.options = options, .now = now, .error = error};
	int r = ensure_all(&run);

	/* A name that is no address leaves an entry, which a later SSL_get_error() would report. */
	ERR_clear_error();
	return r;
}
