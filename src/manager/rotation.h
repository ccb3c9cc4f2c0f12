/* SPDX-License-Identifier: Apache-2.0 */
/* Rotation of CMKs: what a key configuration's CMK has wrapped is wrapped anew, in the background, KEK
 * by KEK or, where its workspaces go to another key configuration, workspace by workspace.
 *
 *	key rotate ─▶ store: generation + 1, or successor ─▶ round ─▶ 3 jobs of the KMS pool at a time
 *	                       ▲ what is left is what the store says       │
 *	                       └────────── one KEK, one transaction ◀──────┘
 *
 * So a manager that starts goes on where the one before stopped. Nothing goes on while the key is
 * revoked or its KMS does not agree. No DEK is touched, and what is unwrapped stays so. */
#pragma once

#include "manager/manager.h"

struct rotation;
/* Goes on with the rotations that are under way. After keks_new(). */
int rotation_new(struct manager *manager, struct rotation **ret_rotation);
/* After the KMS pool is gone. */
struct rotation *rotation_free(struct rotation *rotation);

/* A rotation of KEY began, or what held it up may be over. */
void rotation_wake(struct rotation *rotation, int64_t key);

/* Why the rotation of KEY does not go on now; "" where it does, or there is none. */
const char *rotation_trouble(const struct rotation *rotation, int64_t key);
