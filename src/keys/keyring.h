/* SPDX-License-Identifier: Apache-2.0 */
/* Disk keys on their way through the kernel's keyrings. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define KEYRING_PREFIX	    "emberlock:"
#define KEYRING_DESCRIPTION 160 /* bytes, enough for the prefix and a dm name */

/* Adds a "logon" key (which no program can read back) with the description "emberlock:NAME" and N
 * bytes of payload to the calling thread's keyring: no other process can find it. 0 or negative
 * errno. */
int keyring_add(const char *name, const uint8_t *payload, size_t n, int32_t *ret_serial);

/* Revokes the key and unlinks it from the thread's keyring: its payload is freed after an RCU grace
 * period. Both are tried; the first error is returned. */
int keyring_remove(int32_t serial);
