/* SPDX-License-Identifier: Apache-2.0 */
/* Who may send events about a key configuration: a JSON file of the manager's events directory, which
 * has the key configuration's name. Secrets and places to fetch keys from are in no request's hands. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/limits.h"

struct event_source {
	char provider[16];
	/* aws */
	char topic_arn[256];
	/* azure */
	char topic[512]; /* the resource that events are about */
	char key[128], next_key[128];
	/* google */
	char audience[256], email[256], subscription[256];
	/* In place of the cloud's own host of keys. */
	char endpoint[256];
	char ca_file[64];
	/* Filled in: */
	char ca_path[512];	   /* "" the system's */
	char keys_base[320];	   /* "https://HOST/": where keys come from, and nowhere else */
	uint8_t digest[HASH_SIZE]; /* of the file */
};

/* Reads the file NAME of DIRECTORY. -ENOENT, -EACCES where others may read it, -EBADMSG: ERROR names file
 * and member, never a value. SOURCE holds secrets: the caller wipes it. */
int event_source_read(const char *directory, const char *name, struct event_source *source,
		      char error[static 256]);
