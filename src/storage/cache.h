/* SPDX-License-Identifier: Apache-2.0 */
/* DEKs at hand: in locked memory, each until its time is over. A thread drops it then. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "storage/emberlock-storage.h"

struct cache;

/* 0, -EINVAL for no or too many, or negative errno, a memory lock's included. */
int cache_new(unsigned max, struct cache **ret_cache);
/* Wipes all; NULL is harmless. Returns NULL. */
struct cache *cache_free(struct cache *cache);

/* Keeps the DEK in HEX (64 digits) until UNTIL_NS of CLOCK_BOOTTIME; the one that ends first gives way.
 * -EBADMSG where they are no digits, -ENOMEM, -EKEYEXPIRED where that time is over. */
int cache_put(struct cache *cache, const struct emberlock_dek_blob *blob, const char *context,
	      const char *hex, uint64_t until_ns);

/* Whether it is at hand. */
bool cache_has(struct cache *cache, const struct emberlock_dek_blob *blob, const char *context);
/* Runs FUNCTION with it, *ret_r takes its result; false where it is not at hand. */
bool cache_use(struct cache *cache, const struct emberlock_dek_blob *blob, const char *context,
	       emberlock_dek_function function, void *userdata, int *ret_r);

void cache_drop(struct cache *cache);
unsigned cache_count(struct cache *cache);
