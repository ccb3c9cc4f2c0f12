/* SPDX-License-Identifier: Apache-2.0 */
/* Verifies an exported audit log. */
#include "manager/audit_verify.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

static int make_room(struct audit_verifier *verifier)
{
	size_t room = verifier->room ? 2 * verifier->room : 16;
	struct audit_checkpoint *grown;

	if (verifier->n_checkpoints < verifier->room)
		return 0;
	grown = realloc(verifier->checkpoints, room * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	verifier->checkpoints = grown;
	verifier->room = room;
	return 0;
}

void audit_verifier_done(struct audit_verifier *verifier)
{
	free(verifier->checkpoints);
	verifier->checkpoints = NULL;
	verifier->n_checkpoints = verifier->room = 0;
}

int audit_verifier_add_checkpoint(struct audit_verifier *verifier, const char *hex, size_t len)
{
	uint8_t bytes[AUDIT_CHECKPOINT_SIZE];
	int r;

	r = make_room(verifier);
	if (r < 0)
		return r;
	if (hex_decode(hex, len, bytes, sizeof(bytes)) < 0)
		return -EBADMSG;
	r = audit_checkpoint_decode(bytes, sizeof(bytes),
				    &verifier->checkpoints[verifier->n_checkpoints]);
	if (r == 0)
		verifier->n_checkpoints++;
	return r;
}

/* --- keys that may sign checkpoints --- */

/* Each set holds keys of those before it. */
static void add_key(struct audit_verifier *verifier, const uint8_t key[static PUBLIC_KEY_SIZE])
{
	for (size_t i = 0; i < verifier->n_keys; i++)
		if (memcmp(verifier->keys[i], key, PUBLIC_KEY_SIZE) == 0)
			return;
	if (verifier->n_keys < AUDIT_KEYS_MAX)
		memcpy(verifier->keys[verifier->n_keys++], key, PUBLIC_KEY_SIZE);
}

static void add_keys(struct audit_verifier *verifier, const char *hex, size_t len)
{
	uint8_t bytes[SIGNING_KEYS_SIZE];
	struct signing_keys set;

	if (hex_decode(hex, len, bytes, sizeof(bytes)) < 0 ||
	    signing_keys_verify(bytes, sizeof(bytes), verifier->root_public, &set) < 0)
		return;
	for (uint32_t i = 0; i < set.n_keys; i++)
		add_key(verifier, set.keys[i]);
}

/* Sets of signing keys are records too. */
static void learn_keys(struct audit_verifier *verifier, const struct audit_record *record)
{
	json_t *content;
	const json_t *set;

	if (!verifier->have_root || !record->content)
		return;
	content = json_loadb(record->content, record->content_size, JSON_REJECT_DUPLICATES, NULL);
	set = json_object_get(content, AUDIT_SIGNING_KEYS);
	if (json_is_string(set))
		add_keys(verifier, json_string_value(set), json_string_length(set));
	json_decref(content);
}

static bool is_signed(const struct audit_verifier *verifier,
		      const struct audit_checkpoint *checkpoint)
{
	for (size_t i = 0; i < verifier->n_keys; i++) {
		if (signing_key_id(verifier->keys[i]) == checkpoint->key_id &&
		    audit_checkpoint_verify(checkpoint, verifier->keys[i]) == 0)
			return true;
	}
	return false;
}

/* --- records --- */

static int by_number(const void *a, const void *b)
{
	const struct audit_checkpoint *x = a, *y = b;

	return x->head.number < y->head.number ? -1 : x->head.number > y->head.number;
}

static int meet_checkpoints(struct audit_verifier *verifier, char error[static 256])
{
	const struct audit_head *head = &verifier->head;

	for (; verifier->met < verifier->n_checkpoints; verifier->met++) {
		const struct audit_head *next = &verifier->checkpoints[verifier->met].head;

		if (next->number > head->number)
			break;
		if (next->number < head->number)
			continue;
		if (!bytes_equal(next->hash, head->hash, HASH_SIZE)) {
			snprintf(error, 256,
				 "record %" PRIu64
				 ": the checkpoint of this number has another hash: the log was "
				 "written anew",
				 head->number);
			return -EBADMSG;
		}
		verifier->proven = head->number;
	}
	return 0;
}

static int add_line(struct audit_verifier *verifier, const char *line, size_t n,
		    char error[static 256])
{
	struct audit_record record;
	const char *why = "it cannot be hashed";
	int r;

	r = audit_line_read(line, n, &record);
	if (r < 0)
		why = "the line is not of the form";
	else
		r = audit_head_follow(&verifier->head, &record, &why);
	if (r < 0) {
		snprintf(error, 256, "record %" PRIu64 ": %s", verifier->head.number + 1, why);
		return r;
	}
	if (!record.content)
		verifier->withheld++;
	learn_keys(verifier, &record);
	return meet_checkpoints(verifier, error);
}

int audit_verifier_text(struct audit_verifier *verifier, const char *text, size_t n,
			char error[static 256])
{
	if (verifier->met == 0 && verifier->n_checkpoints > 1)
		qsort(verifier->checkpoints, verifier->n_checkpoints,
		      sizeof(*verifier->checkpoints), by_number);
	while (n > 0) {
		const char *end = memchr(text, '\n', n);
		size_t len = end ? (size_t)(end - text) : n;
		int r;

		if (!end) {
			snprintf(error, 256, "record %" PRIu64 ": the line does not end",
				 verifier->head.number + 1);
			return -EBADMSG;
		}
		r = add_line(verifier, text, len, error);
		if (r < 0)
			return r;
		text += len + 1;
		n -= len + 1;
	}
	return 0;
}

int audit_verifier_end(struct audit_verifier *verifier, char error[static 256])
{
	/* The first start of a manager is on record. */
	if (verifier->head.number == 0) {
		snprintf(error, 256, "there is no record in it");
		return -EBADMSG;
	}
	for (size_t i = 0; i < verifier->n_checkpoints; i++) {
		const struct audit_checkpoint *checkpoint = &verifier->checkpoints[i];

		if (checkpoint->head.number > verifier->head.number) {
			snprintf(error, 256,
				 "the log ends with record %" PRIu64
				 ", and there was a record %" PRIu64 ": its end was cut off",
				 verifier->head.number, checkpoint->head.number);
			return -EBADMSG;
		}
		if (verifier->have_root && !is_signed(verifier, checkpoint)) {
			snprintf(error, 256,
				 "the checkpoint of record %" PRIu64
				 ": no signing key that the root key vouches for in this log has "
				 "signed it",
				 checkpoint->head.number);
			return -EBADMSG;
		}
	}
	return 0;
}
