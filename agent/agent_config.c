/* SPDX-License-Identifier: Apache-2.0 */
/* Reads configuration and credential; what is wrong there is a failure of the boot, not of us. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "base/bytes.h"
#include "base/io.h"
#include "base/log.h"
#include "disks/config.h"
#include "keys/hygiene.h"

#define CREDENTIAL	    "emberlock.vm"
#define CREDENTIAL_SIZE_MAX 8192

static void volumes_load(struct agent *a)
{
	char error[256] = "";
	int r = configs_load("", &a->config, a->volumes, VOLUMES_MAX, &a->n_volumes, error);

	if (r >= 0)
		return;
	agent_config_init(&a->config);
	a->n_volumes = 0;
	agent_fail(a, "configuration: %s", error[0] ? error : strerror(-r));
}

/* The newest of the sets that the root key signed: the page's, where an agent before accepted one,
 * or the credential's. */
static void signing_keys_load(struct agent *a, const struct vm_credential *credential)
{
	uint8_t page[SIGNING_KEYS_SIZE];
	int r;

	memcpy(page, a->state.signing_keys, sizeof(page));
	r = token_keys_install(a, credential->signing_keys, sizeof(credential->signing_keys));
	if (r < 0) {
		agent_fail(a, "credential %s: SigningKeys= is not signed by RootKey=", CREDENTIAL);
		return;
	}
	if (!bytes_are_zero(page, sizeof(page)))
		token_keys_install(a, page, sizeof(page));
}

static int credential_take(struct agent *a, const struct vm_credential *credential)
{
	int r = signing_key_new_from_seed(credential->private_key, &a->vm_key);

	if (r < 0)
		return r;
	snprintf(a->workspace, sizeof(a->workspace), "%s", credential->workspace);
	snprintf(a->vm, sizeof(a->vm), "%s", credential->vm);
	memcpy(a->root_key, credential->root_key, sizeof(a->root_key));
	a->has_root_key = true;
	signing_keys_load(a, credential);
	return 0;
}

static void credential_parse(struct agent *a, const char *text, size_t n)
{
	struct vm_credential credential;
	struct config_error error;
	int r = vm_credential_parse(text, n, &credential, &error);

	if (r < 0)
		agent_fail(a, "credential %s: line %u: %s", CREDENTIAL, error.line, error.text);
	else
		r = credential_take(a, &credential);
	bytes_wipe(&credential, sizeof(credential));
	if (r == -ENOMEM)
		agent_fail(a, "credential %s: %s", CREDENTIAL, strerror(-r));
}

static void credential_load(struct agent *a)
{
	const char *directory = getenv("CREDENTIALS_DIRECTORY");
	char path[512], text[CREDENTIAL_SIZE_MAX];
	ssize_t n = -ENOENT;

	if (directory) {
		snprintf(path, sizeof(path), "%s/%s", directory, CREDENTIAL);
		n = file_read(-1, path, text, sizeof(text));
	}
	if (n == -ENOENT)
		agent_fail(a, "no credential %s", CREDENTIAL);
	else if (n < 0)
		agent_fail(a, "credential %s: %s", CREDENTIAL, strerror((int)-n));
	else
		credential_parse(a, text, (size_t)n);
	bytes_wipe(text, sizeof(text));
	registers_scrub();
}

/* A new agent whose credential is gone goes on with the set that an agent before had verified; it
 * takes no newer one. */
static void signing_keys_keep(struct agent *a)
{
	struct signing_keys set;

	if (!a->has_root_key &&
	    signing_keys_decode(a->state.signing_keys, sizeof(a->state.signing_keys), &set) == 0)
		a->signing_keys = set;
}

void config_load(struct agent *a)
{
	volumes_load(a);
	if (a->initramfs_root) {
		initramfs_config_filter(a);
		return;
	}
	credential_load(a);
	signing_keys_keep(a);
	/* The VM's key signs the report alone, and that is made once a boot. */
	if (a->state.reported)
		a->vm_key = signing_key_free(a->vm_key);
}
