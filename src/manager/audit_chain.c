/* SPDX-License-Identifier: Apache-2.0 */
/* The audit log as a chain of hashes, and what it looks like outside. */
#include "manager/audit_chain.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "keys/sign.h"

#define CONTENT_DOMAIN "emberlock v1 audit content"
#define RECORD_DOMAIN  "emberlock v1 audit record"

int audit_content_hash(const char *content, size_t n, uint8_t ret_hash[static HASH_SIZE])
{
	uint8_t hashed[sizeof(CONTENT_DOMAIN) + AUDIT_CONTENT_MAX];

	if (n > AUDIT_CONTENT_MAX)
		return -EIO;
	memcpy(hashed, CONTENT_DOMAIN, sizeof(CONTENT_DOMAIN));
	memcpy(hashed + sizeof(CONTENT_DOMAIN), content, n);
	return sha256(hashed, sizeof(CONTENT_DOMAIN) + n, ret_hash);
}

int audit_head_add(struct audit_head *head, const uint8_t content_hash[static HASH_SIZE])
{
	uint8_t hashed[sizeof(RECORD_DOMAIN) + 8 + 2 * HASH_SIZE];
	uint8_t *at = hashed + sizeof(RECORD_DOMAIN);
	uint8_t hash[HASH_SIZE];
	int r;

	memcpy(hashed, RECORD_DOMAIN, sizeof(RECORD_DOMAIN));
	put_be64(at, head->number + 1);
	memcpy(at + 8, head->hash, HASH_SIZE);
	memcpy(at + 8 + HASH_SIZE, content_hash, HASH_SIZE);
	r = sha256(hashed, sizeof(hashed), hash);
	if (r < 0)
		return r;
	head->number++;
	memcpy(head->hash, hash, HASH_SIZE);
	return 0;
}

static int broken(const char *why, const char **ret_why)
{
	*ret_why = why;
	return -EBADMSG;
}

int audit_head_follow(struct audit_head *head, const struct audit_record *record,
		      const char **ret_why)
{
	struct audit_head next = *head;
	uint8_t content_hash[HASH_SIZE];
	int r = 0;

	if (record->number != head->number + 1)
		return broken("its number does not follow", ret_why);
	if (!bytes_equal(record->previous, head->hash, HASH_SIZE))
		return broken("it does not follow the record before it", ret_why);
	if (record->content)
		r = audit_content_hash(record->content, record->content_size, content_hash);
	else
		memcpy(content_hash, record->content_hash, HASH_SIZE);
	if (r == 0)
		r = audit_head_add(&next, content_hash);
	if (r < 0)
		return r;
	if (!bytes_equal(record->hash, next.hash, HASH_SIZE))
		return broken("it is not what was hashed", ret_why);
	*head = next;
	return 0;
}

/* --- lines --- */

/* What is left of a line. */
struct rest {
	const char *at;
	size_t n;
};

static bool take_text(struct rest *rest, const char *text)
{
	size_t n = strlen(text);

	if (rest->n < n || memcmp(rest->at, text, n) != 0)
		return false;
	rest->at += n;
	rest->n -= n;
	return true;
}

/* Digits without leading zeros: one text a number. */
static bool take_number(struct rest *rest, uint64_t *ret_number)
{
	uint64_t number = 0;
	size_t n = 0;

	for (; n < rest->n && rest->at[n] >= '0' && rest->at[n] <= '9'; n++) {
		if (number > (UINT64_MAX - 9) / 10)
			return false;
		number = number * 10 + (uint64_t)(rest->at[n] - '0');
	}
	if (n == 0 || rest->at[0] == '0')
		return false;
	rest->at += n;
	rest->n -= n;
	*ret_number = number;
	return true;
}

static bool take_hash(struct rest *rest, uint8_t ret_hash[static HASH_SIZE])
{
	if (rest->n < 2 * HASH_SIZE)
		return false;
	for (size_t i = 0; i < 2 * HASH_SIZE; i++) {
		/* hex_decode() takes capitals as well, which would be a second text of one hash. */
		if (rest->at[i] >= 'A' && rest->at[i] <= 'F')
			return false;
	}
	if (hex_decode(rest->at, 2 * HASH_SIZE, ret_hash, HASH_SIZE) < 0)
		return false;
	rest->at += 2 * HASH_SIZE;
	rest->n -= 2 * HASH_SIZE;
	return true;
}

/* The rest but its last character, from '{' to '}'. */
static bool take_content(struct rest *rest, struct audit_record *record)
{
	if (rest->n < 3 || rest->n - 1 > AUDIT_CONTENT_MAX || rest->at[0] != '{' ||
	    rest->at[rest->n - 2] != '}')
		return false;
	record->content = rest->at;
	record->content_size = rest->n - 1;
	rest->at += rest->n - 1;
	rest->n = 1;
	return true;
}

int audit_line_read(const char *line, size_t n, struct audit_record *ret_record)
{
	struct audit_record record = {0};
	struct rest rest = {line, n};

	if (!take_text(&rest, "{\"number\":") || !take_number(&rest, &record.number) ||
	    !take_text(&rest, ",\"previous\":\"") || !take_hash(&rest, record.previous) ||
	    !take_text(&rest, "\",\"hash\":\"") || !take_hash(&rest, record.hash))
		return -EBADMSG;
	if (take_text(&rest, "\",\"content_hash\":\"")) {
		if (!take_hash(&rest, record.content_hash) || !take_text(&rest, "\""))
			return -EBADMSG;
	} else if (!take_text(&rest, "\",\"content\":") || !take_content(&rest, &record)) {
		return -EBADMSG;
	}
	if (!take_text(&rest, "}") || rest.n > 0)
		return -EBADMSG;
	*ret_record = record;
	return 0;
}

size_t audit_line_write(const struct audit_record *record, char line[static AUDIT_LINE_MAX])
{
	char previous[2 * HASH_SIZE + 1], hash[2 * HASH_SIZE + 1];
	char content_hash[2 * HASH_SIZE + 1];
	int n;

	hex_encode(record->previous, HASH_SIZE, previous);
	hex_encode(record->hash, HASH_SIZE, hash);
	hex_encode(record->content_hash, HASH_SIZE, content_hash);
	n = snprintf(line, AUDIT_LINE_MAX,
		     "{\"number\":%" PRIu64 ",\"previous\":\"%s\",\"hash\":\"%s\",", record->number,
		     previous, hash);
	if (!record->content)
		return (size_t)n +
		       (size_t)sprintf(line + n, "\"content_hash\":\"%s\"}\n", content_hash);
	n += sprintf(line + n, "\"content\":");
	memcpy(line + n, record->content, record->content_size);
	memcpy(line + n + record->content_size, "}\n", 2);
	return (size_t)n + record->content_size + 2;
}
