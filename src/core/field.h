/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of the records in core/message.h that are more than an integer; for its encoders and
 * decoders alone. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/message.h"

#define MAGIC_SIZE 8

/* Whether BYTES are SIZE_WANTED long and begin with MAGIC (8 characters). */
bool field_starts(const uint8_t *bytes, size_t size, size_t size_wanted, const char *magic);

/* Writes the text at SIZE bytes of BYTES, padded with NUL; what does not fit is cut, the last byte
 * is always NUL. */
void field_put_text(uint8_t *bytes, size_t size, const char *text);
/* Copies SIZE bytes to TO and says whether they are printable ASCII, then only NUL, at least one.
 */
bool field_get_text(const uint8_t *bytes, size_t size, char *to);
/* As field_get_text(), for an id: name_is_valid() too. */
bool field_get_name(const uint8_t *bytes, size_t size, char *to);

void field_put_sequence(uint8_t *bytes, struct sequence sequence);
struct sequence field_get_sequence(const uint8_t *bytes);
