/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of identity providers, kept in locked memory until they end. */
#include "manager/kms/tokens.h"

#include <pthread.h>
#include <string.h>

#include "base/cleanup.h"
#include "manager/kms/kms.h"

#define KEPT_MAX 1024 /* 9 MiB; one a credentials file, and one a role */

struct kept {
	uint8_t id[32];
	struct kms_token token;
};

/* The process's, as its connections are: every worker asks with the same identities. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct kept *table[KEPT_MAX];

void token_set_life(struct kms_token *token, uint64_t start_ms, uint64_t ttl_s)
{
	uint64_t ttl_ms = (ttl_s < 86400 ? ttl_s : 86400) * 1000;
	uint64_t ahead_ms = ttl_ms / 2 < TOKEN_AHEAD_MS ? ttl_ms / 2 : TOKEN_AHEAD_MS;

	token->ends_ms = start_ms + ttl_ms;
	token->fresh_ms = token->ends_ms - ahead_ms;
}

/* With the lock held: the slot of ID, or NULL. */
static struct kept **find(const uint8_t *id)
{
	for (size_t i = 0; i < KEPT_MAX; i++)
		if (table[i] && memcmp(table[i]->id, id, sizeof(table[i]->id)) == 0)
			return &table[i];
	return NULL;
}

static void drop(struct kept **slot)
{
	*slot = locked_free(*slot, sizeof(**slot));
}

bool tokens_get(const uint8_t id[static 32], uint64_t now_ms, struct kms_token *ret_token)
{
	struct kept **slot;
	bool found = false;

	pthread_mutex_lock(&lock);
	slot = find(id);
	if (slot && (*slot)->token.ends_ms <= now_ms)
		drop(slot);
	else if (slot) {
		*ret_token = (*slot)->token;
		found = true;
	}
	pthread_mutex_unlock(&lock);
	return found;
}

static struct kept **slot_for(const uint8_t *id)
{
	struct kept **slot = find(id), **first = &table[0];

	if (slot)
		return slot;
	for (size_t i = 0; i < KEPT_MAX; i++) {
		if (!table[i])
			return &table[i];
		if (table[i]->token.ends_ms < (*first)->token.ends_ms)
			first = &table[i];
	}
	return first;
}

void tokens_put(const uint8_t id[static 32], const struct kms_token *token)
{
	struct kept **slot;
	void *memory;

	pthread_mutex_lock(&lock);
	slot = slot_for(id);
	/* Where memory cannot be locked the token is asked for again. */
	if (!*slot && locked_new(sizeof(**slot), &memory) == 0)
		*slot = memory;
	if (*slot) {
		memcpy((*slot)->id, id, sizeof((*slot)->id));
		(*slot)->token = *token;
	}
	pthread_mutex_unlock(&lock);
}

void tokens_drop(const uint8_t id[static 32])
{
	struct kept **slot;

	pthread_mutex_lock(&lock);
	slot = find(id);
	if (slot)
		drop(slot);
	pthread_mutex_unlock(&lock);
}
