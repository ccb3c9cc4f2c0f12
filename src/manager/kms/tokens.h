/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of identity providers, kept in locked memory until they end. Thread-safe. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Refreshed so long before it ends, or half its life before, whichever is less. */
#define TOKEN_AHEAD_MS (5 * 60 * 1000)

struct kms_token {
	char user[128];	   /* aws: the access key */
	char secret[256];  /* aws */
	char bearer[8192]; /* the bearer token; aws: the session token */
	uint64_t fresh_ms; /* CLOCK_BOOTTIME until which no other is wanted */
	uint64_t ends_ms;  /* CLOCK_BOOTTIME; a token that never ends is not kept here */
};

/* A life of TTL_S from START_MS. */
void token_set_life(struct kms_token *token, uint64_t start_ms, uint64_t ttl_s);

/* The token kept under ID that has not ended at NOW_MS; false: none. */
bool tokens_get(const uint8_t id[static 32], uint64_t now_ms, struct kms_token *ret_token);
/* Replaces the one under ID; the one that ends first where the table is full. */
void tokens_put(const uint8_t id[static 32], const struct kms_token *token);
/* It was refused. */
void tokens_drop(const uint8_t id[static 32]);
