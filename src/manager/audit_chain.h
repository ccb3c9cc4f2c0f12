/* SPDX-License-Identifier: Apache-2.0 */
/* The audit log as a chain of hashes, and what it looks like outside. Pure, but for OpenSSL.
 *
 *	content hash = SHA-256("emberlock v1 audit content" NUL ‖ content)
 *	hash         = SHA-256("emberlock v1 audit record" NUL ‖ number (8) ‖ previous hash (32) ‖
 *	               content hash (32))
 *
 * Numbers count from 1; before the first record the hash is zero. The content is the text of one
 * JSON object, hashed as it stands: nobody has to make it again. One record is one line, each
 * character of which is fixed by the record:
 *
 *	{"number":1,"previous":"HEX","hash":"HEX","content":{...}}
 *	{"number":2,"previous":"HEX","hash":"HEX","content_hash":"HEX"}      somebody else's
 *
 * emberlock-audit(7) describes both. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/limits.h"

#define AUDIT_CONTENT_MAX 16384
/* Of a line with its newline. */
#define AUDIT_LINE_MAX (AUDIT_CONTENT_MAX + 256)

/* The member of a content that holds a root-signed set of signing keys in hex. */
#define AUDIT_SIGNING_KEYS "signing_keys"

/* Whom a record is about, which decides who may read it. */
struct audit_about {
	int64_t workspace; /* 0: none; AUDIT_PUBLIC */
	int64_t key;	   /* a key configuration; 0: none */
};
#define AUDIT_PUBLIC (-1) /* every workspace may read it */

/* Where a chain stands: the last record's number and hash. Zero: before the first. */
struct audit_head {
	uint64_t number;
	uint8_t hash[HASH_SIZE];
};

struct audit_record {
	uint64_t number;
	uint8_t previous[HASH_SIZE], hash[HASH_SIZE];
	const char *content; /* a view, without NUL; NULL: withheld */
	size_t content_size;
	uint8_t content_hash
		[HASH_SIZE]; /* by audit_line_read() only where the content is withheld */
};

int audit_content_hash(const char *content, size_t n, uint8_t ret_hash[static HASH_SIZE]);

/* Moves HEAD on by a record of CONTENT_HASH. 0 or -EIO. */
int audit_head_add(struct audit_head *head, const uint8_t content_hash[static HASH_SIZE]);

/* Moves HEAD on by RECORD where that follows it and is what was hashed: 0; -EBADMSG with what is
 * wrong, static, in *RET_WHY; -EIO. */
int audit_head_follow(struct audit_head *head, const struct audit_record *record,
		      const char **ret_why);

/* LINE is N bytes of anything, without the newline. 0 or -EBADMSG; the record points into LINE. */
int audit_line_read(const char *line, size_t n, struct audit_record *ret_record);

/* RECORD with its newline into LINE, without NUL; by its hash alone where its content is NULL.
 * Returns the length. */
size_t audit_line_write(const struct audit_record *record, char line[static AUDIT_LINE_MAX]);
