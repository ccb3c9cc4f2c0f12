/* SPDX-License-Identifier: Apache-2.0 */
/* Integers in network byte order, comparison in constant time, wiping, hex. No system call. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void put_be16(uint8_t *p, uint16_t v);
void put_be32(uint8_t *p, uint32_t v);
void put_be64(uint8_t *p, uint64_t v);
uint16_t get_be16(const uint8_t *p);
uint32_t get_be32(const uint8_t *p);
uint64_t get_be64(const uint8_t *p);

/* Whether A and B agree in all N bytes; the time does not depend on where they differ. */
bool bytes_equal(const void *a, const void *b, size_t n);
bool bytes_are_zero(const void *p, size_t n);

/* Overwrites N bytes with zero; never optimised away. */
void bytes_wipe(void *p, size_t n);

/* Writes 2*N lower-case hex digits and a NUL to TEXT (size at least 2*N+1). */
void hex_encode(const void *bytes, size_t n, char *text);

/* Reads exactly N bytes from the 2*N hex digits of TEXT (LEN characters). -EINVAL otherwise; BYTES
 * is then wiped. */
int hex_decode(const char *text, size_t len, void *bytes, size_t n);
