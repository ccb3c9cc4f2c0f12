/* SPDX-License-Identifier: Apache-2.0 */
/* Who the manager is to a cloud: a JSON file of its credentials directory. */
#include "manager/kms/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/parse.h"
#include "manager/json.h"

#define NAME_LENGTH_MAX (sizeof(((struct kms_key *)NULL)->credentials) - 1)

/* The members that name files are part of the digest by what these hold. */
struct reading {
	char text[CREDENTIALS_FILE_MAX];
	char other[CREDENTIALS_FILE_MAX];
};

int credentials_check(const struct kms_key *key, char error[static 256])
{
	if (key->directory[0]) {
		snprintf(error, 256, "directory: of the file provider alone");
		return -EINVAL;
	}
	if (!name_is_valid(key->credentials, sizeof(key->credentials) - 1)) {
		snprintf(error, 256,
			 "credentials: must name a file of the manager's credentials directory");
		return -EINVAL;
	}
	return 0;
}

/* Others must not be able to read it; a symlink is the owner's of the directory. */
static int read_private(const char *path, char *text, size_t size, size_t *ret_n)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_mode & S_IRWXO)
		return -EACCES;
	if (st.st_size <= 0 || (size_t)st.st_size >= size)
		return -E2BIG;
	*ret_n = (size_t)st.st_size;
	text[*ret_n] = '\0';
	return fd_read_full(fd, text, *ret_n);
}

int credentials_file_of(const char *directory, const char *name, char *text, size_t size,
			size_t *ret_n, char error[static 256])
{
	const char *base = strrchr(directory, '/');
	char path[PATH_MAX];
	int r;

	base = base ? base + 1 : directory;
	if (!name_is_valid(name, NAME_LENGTH_MAX) ||
	    (size_t)snprintf(path, sizeof(path), "%s/%s", directory, name) >= sizeof(path)) {
		snprintf(error, 256, "%.16s: %.64s is no name of a file", base, name);
		return -EBADMSG;
	}
	r = read_private(path, text, size, ret_n);
	if (r < 0)
		snprintf(error, 256, "%.16s/%.64s: %s", base, name,
			 r == -EACCES  ? "must not be readable by others"
			 : r == -E2BIG ? "empty or too large"
				       : strerror(-r));
	return r;
}

int credentials_file(const struct kms_key *key, const char *name, char *text, size_t size,
		     size_t *ret_n, char error[static 256])
{
	return credentials_file_of(key->credentials_dir, name, text, size, ret_n, error);
}

static int parse(const char *text, size_t n, struct credentials *c, char error[static 256])
{
#define TEXT(member)                                                                               \
	{                                                                                          \
#member, JSON_MEMBER_TEXT, c->member, sizeof(c->member), true                      \
	}
#define NAME(member)                                                                               \
	{                                                                                          \
#member, JSON_MEMBER_NAME, c->member, sizeof(c->member), true                      \
	}
	const struct json_member members[] = {
		{"provider", JSON_MEMBER_NAME, c->provider, sizeof(c->provider)},
		{"method", JSON_MEMBER_NAME, c->method, sizeof(c->method)},
		TEXT(access_key_id),
		TEXT(secret_access_key),
		TEXT(session_token),
		TEXT(role_arn),
		NAME(region),
		NAME(tenant_id),
		NAME(client_id),
		TEXT(client_secret),
		NAME(token_file),
		NAME(certificate_file),
		NAME(private_key_file),
		NAME(service_account_file),
		NAME(ca_file),
		TEXT(endpoint),
		TEXT(token_endpoint),
		TEXT(metadata_endpoint),
	};

	return json_read_object(text, n, members, ELEMENTSOF(members), error);
}

bool endpoint_is_valid(const char *url)
{
	static const char scheme[] = "https://";
	const char *host = url + strlen(scheme);

	return !url[0] || (strncmp(url, scheme, strlen(scheme)) == 0 && *host &&
			   strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
					"0123456789.-:[]") == strlen(host));
}

/* Plain HTTP never leaves the machine or its link. */
static bool metadata_is_valid(const char *url)
{
	static const char *const hosts[] = {"http://127.0.0.1", "http://169.254.169.254",
					    "http://[fd00:ec2::254]",
					    "http://metadata.google.internal"};

	if (!url[0])
		return true;
	for (size_t i = 0; i < ELEMENTSOF(hosts); i++) {
		const char *rest = url + strlen(hosts[i]);

		if (strncmp(url, hosts[i], strlen(hosts[i])) == 0 &&
		    (!*rest ||
		     (*rest == ':' && strspn(rest + 1, "0123456789") == strlen(rest + 1))))
			return true;
	}
	return false;
}

static int check_endpoints(const struct credentials *c, char error[static 256])
{
	const char *bad = !endpoint_is_valid(c->endpoint)	     ? "endpoint"
			  : !endpoint_is_valid(c->token_endpoint)    ? "token_endpoint"
			  : !metadata_is_valid(c->metadata_endpoint) ? "metadata_endpoint"
								     : NULL;

	if (!bad)
		return 0;
	snprintf(error, 256, "member '%s' must be %s", bad,
		 bad[0] == 'm' ? "http:// and the cloud's metadata service"
			       : "https://HOST or https://HOST:PORT");
	return -EBADMSG;
}

static void free_digest(EVP_MD_CTX **context)
{
	EVP_MD_CTX_free(*context);
}

/* Texts with their NULs, so that none runs into the next. */
static int digest_texts(EVP_MD_CTX *context, const char *const *texts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (EVP_DigestUpdate(context, texts[i], strlen(texts[i]) + 1) != 1)
			return -EIO;
	return 0;
}

/* Who asks, and where: what a first success was of. No secret is in it. */
static int set_by(const struct kms_key *key, struct credentials *c)
{
	_cleanup_(free_digest) EVP_MD_CTX *context = EVP_MD_CTX_new();
	const char *const texts[] = {
		key->provider,	  key->key_id,	       key->role_arn,
		key->external_id, key->tenant_id,      c->method,
		c->access_key_id, c->role_arn,	       c->tenant_id,
		c->client_id,	  c->endpoint,	       c->token_endpoint,
		c->token_file,	  c->certificate_file, c->service_account_file};

	if (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1 ||
	    digest_texts(context, texts, ELEMENTSOF(texts)) < 0 ||
	    EVP_DigestFinal_ex(context, c->by, NULL) != 1)
		return -EIO;
	return 0;
}

/* Tokens are cached under it: a new secret is a new token. */
static int set_digest(const struct kms_key *key, struct credentials *c, struct reading *reading,
		      size_t n, char error[static 256])
{
	_cleanup_(free_digest) EVP_MD_CTX *context = EVP_MD_CTX_new();
	const char *const names[] = {c->certificate_file, c->private_key_file,
				     c->service_account_file, c->ca_file};
	int r;

	if (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1 ||
	    EVP_DigestUpdate(context, c->by, sizeof(c->by)) != 1 ||
	    EVP_DigestUpdate(context, reading->text, n) != 1)
		return -EIO;
	for (size_t i = 0; i < ELEMENTSOF(names); i++) {
		if (!names[i][0])
			continue;
		r = credentials_file(key, names[i], reading->other, sizeof(reading->other), &n,
				     error);
		if (r < 0)
			return r;
		if (EVP_DigestUpdate(context, reading->other, n) != 1)
			return -EIO;
	}
	return EVP_DigestFinal_ex(context, c->digest, NULL) == 1 ? 0 : -EIO;
}

static int read_all(const struct kms_key *key, struct credentials *c, struct reading *reading,
		    char error[static 256])
{
	char why[256];
	size_t n;
	int r;

	r = credentials_file(key, key->credentials, reading->text, sizeof(reading->text), &n,
			     error);
	if (r < 0)
		return r;
	r = parse(reading->text, n, c, why);
	if (r == 0)
		r = check_endpoints(c, why);
	if (r == 0 && strcmp(c->provider, key->provider) != 0) {
		snprintf(why, sizeof(why), "member 'provider' is not that of the key");
		r = -EBADMSG;
	}
	if (r < 0) {
		snprintf(error, 256, "credentials/%.64s: %.160s", key->credentials, why);
		return r;
	}
	if (c->ca_file[0])
		snprintf(c->ca_path, sizeof(c->ca_path), "%s/%s", key->credentials_dir, c->ca_file);
	r = set_by(key, c);
	return r < 0 ? r : set_digest(key, c, reading, n, error);
}

int credentials_read(const struct kms_key *key, struct credentials *credentials,
		     char error[static 256])
{
	struct reading *reading;
	void *memory;
	int r;

	bytes_wipe(credentials, sizeof(*credentials));
	snprintf(error, 256, "credentials/%.64s: cannot be read", key->credentials);
	r = locked_new(sizeof(*reading), &memory);
	if (r < 0)
		return r;
	reading = memory;
	r = read_all(key, credentials, reading, error);
	if (r < 0)
		bytes_wipe(credentials, sizeof(*credentials));
	locked_free(reading, sizeof(*reading));
	return r;
}
