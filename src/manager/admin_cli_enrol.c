/* SPDX-License-Identifier: Apache-2.0 */
/* emberlock-admin vm enrol: makes the VM's key pair here, tells the manager the public half, writes
 * the three credentials. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/parse.h"
#include "core/config.h"
#include "keys/sign.h"
#include "manager/admin_cli.h"

#define VM_TEXT_MAX 2048
#define CA_MAX	    16384

/* All that goes into the credentials; the private key is wiped with it. */
struct enrolment {
	const char *workspace, *vm, *directory;
	uint8_t private_key[IDENTITY_SEED_SIZE];
	uint8_t public_key[PUBLIC_KEY_SIZE];
	uint8_t root_public[PUBLIC_KEY_SIZE];
	uint8_t signing_keys[SIGNING_KEYS_SIZE];
	char url[256];
	char ca[CA_MAX];
	size_t ca_size;
};

static void enrolment_done(struct enrolment *enrolment)
{
	bytes_wipe(enrolment, sizeof(*enrolment));
}

static const char *const credentials[] = {"emberlock.vm", "emberlock.manager", "emberlock.ca"};

static int credential_path(const struct enrolment *enrolment, const char *name,
			   char path[static PATH_MAX])
{
	if (snprintf(path, PATH_MAX, "%s/%s", enrolment->directory, name) >= PATH_MAX)
		return admin_refuse(-ENAMETOOLONG, "--output: the path is too long");
	return 0;
}

/* A VM's private key is never overwritten: it may be the only copy. */
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
	if (access(enrolment->directory, W_OK) < 0)
		return admin_refuse(-errno, "--output: cannot write into %s", enrolment->directory);
	return 0;
}

static const char *file_or(const struct admin_call *call, const char *option, const char *name,
			   char path[static PATH_MAX])
{
	const char *given = admin_value(call, option);

	if (given)
		return given;
	snprintf(path, PATH_MAX, "%s/%s", call->identity, name);
	return path;
}

static int read_url(const struct admin_call *call, struct enrolment *enrolment)
{
	const char *given = admin_value(call, "manager-url");
	char path[PATH_MAX];
	ssize_t n;

	if (given) {
		if (copy_text(enrolment->url, sizeof(enrolment->url), given) < 0)
			return admin_refuse(-EINVAL, "--manager-url: too long");
	} else {
		snprintf(path, sizeof(path), "%s/manager-url", call->identity);
		n = file_read(AT_FDCWD, path, enrolment->url, sizeof(enrolment->url) - 1);
		if (n < 0)
			return admin_refuse((int)n,
					    "--manager-url is not given, and cannot read %s", path);
		enrolment->url[strcspn(enrolment->url, "\n")] = '\0';
	}
	if (strncmp(enrolment->url, "https://", 8) != 0 || !enrolment->url[8])
		return admin_refuse(-EINVAL, "--manager-url: must be https://HOST:PORT");
	return 0;
}

static int read_trust(const struct admin_call *call, struct enrolment *enrolment)
{
	char path[PATH_MAX];
	const char *file = file_or(call, "ca", "ca.pem", path);
	ssize_t n = file_read(AT_FDCWD, file, enrolment->ca, sizeof(enrolment->ca));
	struct signing_keys set;
	int r;

	if (n < 0)
		return admin_refuse((int)n, "--ca %s: cannot read it: %s", file, strerror((int)-n));
	if (!memmem(enrolment->ca, (size_t)n, "-----BEGIN CERTIFICATE-----", 27) ||
	    memmem(enrolment->ca, (size_t)n, "PRIVATE KEY", 11))
		return admin_refuse(-EBADMSG, "--ca %s: must hold PEM certificates alone", file);
	enrolment->ca_size = (size_t)n;
	file = file_or(call, "root-public", "../../offline/root.pub", path);
	r = admin_read_key_file(file, false, enrolment->root_public);
	if (r < 0)
		return r;
	return admin_fetch_signing_keys(call, file, enrolment->root_public, &set,
					enrolment->signing_keys);
}

static int make_key(struct enrolment *enrolment)
{
	_cleanup_signing_key_ struct signing_key *key = NULL;
	int r;

	r = signing_key_generate(enrolment->private_key);
	if (r == 0)
		r = signing_key_new_from_seed(enrolment->private_key, &key);
	if (r < 0)
		return admin_refuse(r, "cannot make the VM's key: %s", strerror(-r));
	signing_key_public(key, enrolment->public_key);
	return 0;
}

/* Tells the manager. What it refuses leaves nothing behind. */
static int announce(const struct admin_call *call, const struct enrolment *enrolment)
{
	char hex[2 * PUBLIC_KEY_SIZE + 1];
	json_t *body;
	int r;

	hex_encode(enrolment->public_key, PUBLIC_KEY_SIZE, hex);
	body = json_pack("{s:s, s:s, s:s}", "workspace", enrolment->workspace, "vm", enrolment->vm,
			 "public_key", hex);
	r = admin_http(call, "POST", "/v1/vms", body, NULL);
	json_decref(body);
	return r;
}

static int write_credential(const struct enrolment *enrolment, const char *name, const char *text,
			    size_t n)
{
	char path[PATH_MAX];
	int r;

	r = credential_path(enrolment, name, path);
	if (r < 0)
		return r;
	r = file_write_atomic(path, text, n, 0600);
	if (r < 0)
		return admin_refuse(r, "%s: cannot write it: %s", path, strerror(-r));
	return 0;
}

static int write_vm_credential(const struct enrolment *enrolment)
{
	char text[VM_TEXT_MAX], key[2 * IDENTITY_SEED_SIZE + 1], root[2 * PUBLIC_KEY_SIZE + 1],
		keys[2 * SIGNING_KEYS_SIZE + 1];
	int n, r;

	hex_encode(enrolment->private_key, IDENTITY_SEED_SIZE, key);
	hex_encode(enrolment->root_public, PUBLIC_KEY_SIZE, root);
	hex_encode(enrolment->signing_keys, SIGNING_KEYS_SIZE, keys);
	n = snprintf(text, sizeof(text),
		     "[VM]\nWorkspace=%s\nVM=%s\nPrivateKey=%s\nRootKey=%s\nSigningKeys=%s\n",
		     enrolment->workspace, enrolment->vm, key, root, keys);
	r = write_credential(enrolment, "emberlock.vm", text, (size_t)n);
	bytes_wipe(key, sizeof(key));
	bytes_wipe(text, sizeof(text));
	return r;
}

static int write_credentials(const struct enrolment *enrolment)
{
	char text[300];
	int n, r;

	r = write_vm_credential(enrolment);
	if (r < 0)
		return r;
	n = snprintf(text, sizeof(text), "[Manager]\nURL=%s\n", enrolment->url);
	r = write_credential(enrolment, "emberlock.manager", text, (size_t)n);
	if (r < 0)
		return r;
	return write_credential(enrolment, "emberlock.ca", enrolment->ca, enrolment->ca_size);
}

/* The key is on the disk before the manager knows of it: a failure leaves no enrolment that nobody
 * can use, and files that are removed again. */
static int enrol(const struct admin_call *call, const struct enrolment *enrolment)
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

int admin_vm_enrol(const struct admin_call *call)
{
	_cleanup_(enrolment_done) struct enrolment enrolment = {
		.workspace = call->arguments[0],
		.vm = call->arguments[1],
		.directory = admin_value(call, "output"),
	};
	int r;

	if (!name_is_valid(enrolment.workspace, ID_TEXT_MAX))
		return admin_refuse(-EINVAL, "WORKSPACE: '%.64s' is no name: A-Z a-z 0-9 . _ -",
				    enrolment.workspace);
	if (!name_is_valid(enrolment.vm, ID_TEXT_MAX))
		return admin_refuse(-EINVAL, "VM: '%.64s' is no name: A-Z a-z 0-9 . _ -",
				    enrolment.vm);
	r = check_output(&enrolment);
	if (r < 0)
		return r;
	r = read_url(call, &enrolment);
	if (r < 0)
		return r;
	r = read_trust(call, &enrolment);
	if (r < 0)
		return r;
	r = make_key(&enrolment);
	if (r < 0)
		return r;
	r = enrol(call, &enrolment);
	if (r < 0)
		return r;
	if (call->json)
		printf("{\"workspace\":\"%s\",\"vm\":\"%s\"}\n", enrolment.workspace, enrolment.vm);
	else
		printf("%s/%s: enrolled; credentials in %s\n", enrolment.workspace, enrolment.vm,
		       enrolment.directory);
	return 0;
}
