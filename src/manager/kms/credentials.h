/* SPDX-License-Identifier: Apache-2.0 */
/* Who the manager is to a cloud: a JSON file of its credentials directory.
 *
 * Key configurations name the file; whoever may change them can neither read it nor have it, or any
 * other file, sent anywhere: endpoints are in it as well. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "manager/kms/kms.h"

#define CREDENTIALS_FILE_MAX (16 * 1024)

struct credentials {
	char provider[16];
	char method[32];
	/* aws */
	char access_key_id[128];
	char secret_access_key[256];
	char session_token[4096];
	char role_arn[256]; /* of a web identity */
	char region[64];    /* of STS; default: the key's */
	/* azure */
	char tenant_id[64];
	char client_id[128]; /* also a user-assigned managed identity */
	char client_secret[256];
	/* Names of other files of the directory. */
	char token_file[64], certificate_file[64], private_key_file[64], service_account_file[64];
	char ca_file[64];
	/* In place of the cloud's own. */
	char endpoint[256], token_endpoint[256], metadata_endpoint[256];
	/* Filled in: */
	char ca_path[512];  /* "" the system's */
	uint8_t digest[32]; /* of the file, what it refers to, and the key's own settings */
	uint8_t by[32];	    /* kms_outcome.by */
};

/* The form of KEY's own settings that name credentials: 0, or -EINVAL with ERROR. */
int credentials_check(const struct kms_key *key, char error[static 256]);

/* Reads them; the struct is in locked memory, and wiped on error. -ENOENT, -EACCES where others may
 * read the file, -EBADMSG: ERROR names file and member, never a value. */
int credentials_read(const struct kms_key *key, struct credentials *credentials,
		     char error[static 256]);

/* "" or "https://HOST[:PORT]" and nothing after. */
bool endpoint_is_valid(const char *url);

/* Reads the file NAME of the directory into TEXT with a NUL; *RET_N without it. */
int credentials_file(const struct kms_key *key, const char *name, char *text, size_t size,
		     size_t *ret_n, char error[static 256]);
/* The same for any private directory of the manager. */
int credentials_file_of(const char *directory, const char *name, char *text, size_t size,
			size_t *ret_n, char error[static 256]);
