/* SPDX-License-Identifier: Apache-2.0 */
/* Hears from the manager at once when the DEKs at hand must go: while there are any, a thread keeps one
 * request waiting there. What it does not hear, the end of the DEKs' time does. */
#pragma once

#include "storage/cache.h"

struct watch;

/* 0, or as ask_new(), with ERROR. CACHE must outlive it. */
int watch_new(const char *directory, struct cache *cache, struct watch **ret_watch, char *error);
struct watch *watch_free(struct watch *watch);

/* There are DEKs at hand. */
void watch_kick(struct watch *watch);
