/* SPDX-License-Identifier: Apache-2.0 */
/* The key files of the embedded KMS: DIRECTORY/KEYID.json, {"key":64 hex digits,"state":"enabled"}.
 * Written by `emberlock-admin file-kms`, as a customer would in a KMS; read by the provider at each
 * operation. */
#pragma once

#include <stdint.h>

#define KEYFILE_KEY_SIZE 32 /* AES-256 */
#define KEYFILE_ID_MAX	 63

enum keyfile_state {
	KEYFILE_ENABLED,
	KEYFILE_DISABLED,
	KEYFILE_PENDING_DELETION,
	KEYFILE_STATE__MAX
};
/* "enabled", "disabled", "pending-deletion". */
const char *keyfile_state_name(enum keyfile_state state);

struct keyfile {
	uint8_t key[KEYFILE_KEY_SIZE]; /* secret: wipe it */
	enum keyfile_state state;
};

/* All: 0 or negative errno, -EINVAL where KEY_ID is no valid name. Writes replace the file in one
 * step and are on the disk when they return. */

/* -ENOENT where there is no such key, -EBADMSG where the file is not of the form. *ret_keyfile is
 * wiped on error. */
int keyfile_read(const char *directory, const char *key_id, struct keyfile *ret_keyfile);

/* A new enabled key from OpenSSL's private generator; makes DIRECTORY (0700) where it is missing.
 * -EEXIST where the key is already there. */
int keyfile_create(const char *directory, const char *key_id);

int keyfile_set_state(const char *directory, const char *key_id, enum keyfile_state state);

/* For good: the key is gone. */
int keyfile_delete(const char *directory, const char *key_id);
