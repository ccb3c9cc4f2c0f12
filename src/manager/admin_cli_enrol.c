/* SPDX-License-Identifier: Apache-2.0 */
/* emberlock-admin vm enrol: makes the VM's key pair here, tells the manager the public half, writes
 * the three credentials. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "core/config.h"
#include "keys/sign.h"
#include "manager/admin_cli_enrolment.h"

#define VM_TEXT_MAX 2048

/* All that goes into the credentials; the private key is wiped with it. */
struct enrolment {
	struct admin_enrolment common;
	const char *workspace, *vm;
	uint8_t private_key[IDENTITY_SEED_SIZE];
	uint8_t public_key[PUBLIC_KEY_SIZE];
	uint8_t root_public[PUBLIC_KEY_SIZE];
	uint8_t signing_keys[SIGNING_KEYS_SIZE];
};

static void enrolment_done(struct enrolment *enrolment)
{
	bytes_wipe(enrolment, sizeof(*enrolment));
}

static const char *const files[] = {"emberlock.vm", "emberlock.manager", "emberlock.ca"};

/* The root key's public half, and the set of signing keys that it vouches for. */
static int read_trust(const struct admin_call *call, struct enrolment *enrolment)
{
	const char *file = admin_value(call, "root-public");
	struct signing_keys set;
	char path[PATH_MAX];
	int r;

	if (!file) {
		snprintf(path, sizeof(path), "%s/../../offline/root.pub", call->identity);
		file = path;
	}
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
	r = enrolment_write(&enrolment->common, "emberlock.vm", text, (size_t)n);
	bytes_wipe(key, sizeof(key));
	bytes_wipe(text, sizeof(text));
	return r;
}

static int write_credentials(const struct enrolment *enrolment)
{
	const struct admin_enrolment *common = &enrolment->common;
	char text[300];
	int n, r;

	r = write_vm_credential(enrolment);
	if (r < 0)
		return r;
	n = snprintf(text, sizeof(text), "[Manager]\nURL=%s\n", common->url);
	r = enrolment_write(common, "emberlock.manager", text, (size_t)n);
	if (r < 0)
		return r;
	return enrolment_write(common, "emberlock.ca", common->ca, common->ca_size);
}

/* The key is on the disk before the manager knows of it: a failure leaves no enrolment that nobody
 * can use, and files that are removed again. */
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

int admin_vm_enrol(const struct admin_call *call)
{
	_cleanup_(enrolment_done) struct enrolment enrolment = {
		.common = {.directory = admin_value(call, "output"),
			   .files = files,
			   .n_files = ELEMENTSOF(files)},
		.workspace = call->arguments[0],
		.vm = call->arguments[1],
	};
	int r;

	r = enrolment_check_names(call);
	if (r == 0)
		r = enrolment_check_output(&enrolment.common);
	if (r == 0)
		r = enrolment_read_url(call, "manager-url", "", &enrolment.common);
	if (r == 0)
		r = enrolment_read_ca(call, &enrolment.common);
	if (r == 0)
		r = read_trust(call, &enrolment);
	if (r == 0)
		r = make_key(&enrolment);
	if (r == 0)
		r = enrol(call, &enrolment);
	if (r < 0)
		return r;
	if (call->json)
		printf("{\"workspace\":\"%s\",\"vm\":\"%s\"}\n", enrolment.workspace, enrolment.vm);
	else
		printf("%s/%s: enrolled; credentials in %s\n", enrolment.workspace, enrolment.vm,
		       enrolment.common.directory);
	return 0;
}
