/* SPDX-License-Identifier: Apache-2.0 */
/* The key that signs tokens, and the root-signed set that names it. */
#pragma once

#include <stdbool.h>

#include "core/message.h"
#include "manager/audit_checkpoint.h"
#include "manager/store.h"

struct signing;

/* STATE_DIR/signing.key (hex seed, 0600). First start: makes it, and the root key pair in
 * STATE_DIR/offline, whose private half belongs on another machine. 0 or negative errno, logged. */
int signing_open(const char *state_dir, struct store *store, struct signing **ret_signing);
struct signing *signing_free(struct signing *signing);

/* The last sequence issued; the next one. */
struct sequence signing_last(const struct signing *signing);
struct sequence signing_next(struct signing *signing);

/* Signs with the active key; fills key id and issued_at. */
int signing_token(const struct signing *signing, struct token *token,
		  uint8_t ret_bytes[static TOKEN_SIZE]);

/* Signs with the active key; fills key id. */
int signing_share(const struct signing *signing, struct bind_share *share,
		  uint8_t ret_bytes[static BIND_SHARE_RECORD_SIZE]);

/* Signs with the active key; fills key id. */
int signing_checkpoint(const struct signing *signing, struct audit_checkpoint *checkpoint,
		       uint8_t ret_bytes[static AUDIT_CHECKPOINT_SIZE]);

/* Whether the key that signed TOKEN, one of ours, is still in the installed set. */
bool signing_counts(const struct signing *signing, const uint8_t token[static TOKEN_SIZE]);

/* The installed set, as the root key signed it. */
const uint8_t *signing_set(const struct signing *signing);
