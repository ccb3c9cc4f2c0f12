/* SPDX-License-Identifier: Apache-2.0 */
/* The audit log of the manager: what is on record, written in the transaction of what it records.
 *
 *	handler ─▶ store row ─┐
 *	        └▶ audit_add ─┴─▶ one commit ─▶ reply, and now and then a checkpoint to the journal
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "manager/audit_checkpoint.h"
#include "manager/store.h"

struct http_request;
struct manager;

/* Adds EVENT with MEMBERS, whose reference is taken; NULL: none. Where it cannot be written, the
 * turn's transaction will not be committed: what happened is on record, or it did not happen. */
void audit_add(struct store *store, struct audit_about about, const char *event, json_t *members);
/* The same of a boot, with its VM, admission and boot id before MEMBERS. */
void audit_add_boot(struct store *store, const struct store_boot *boot, const char *event,
		    json_t *members);
/* The same of a KEK of DEKs, with its workspace, the key configuration that has wrapped it, and by which
 * version of the CMK, where that is told. */
void audit_add_kek(struct store *store, const struct store_workspace *workspace,
		   const struct store_key *key, const struct store_kek *kek, const char *event);
/* What an administrator asked for, and what became of it; MESSAGE: why it was refused. */
void audit_add_request(const struct http_request *request, unsigned status, const char *message);

/* A text of a peer's in printable ASCII; the caller's. */
json_t *audit_text(const char *text);

/* --- checkpoints that leave the machine --- */
struct audit_log;

/* In the journal at the start, every so many records, every so many seconds with a new record, and at the
 * end. */
int audit_log_new(struct manager *manager, struct audit_log **ret_log);
struct audit_log *audit_log_free(struct audit_log *log);
/* Of the last record that is written: it may leave the machine only after the commit. -ENOENT where
 * there is none. */
int audit_checkpoint_make(struct manager *manager, uint8_t ret_bytes[static AUDIT_CHECKPOINT_SIZE]);
/* After a commit. */
void audit_log_committed(struct audit_log *log);
