/* SPDX-License-Identifier: Apache-2.0 */
/* The KMS pair of an admission: a real unwrap of the workspace's KEK, then 32 fresh bytes encrypted
 * and decrypted under {workspace, VM, boot}. */
#pragma once

#include "manager/manager.h"

/* Starts it; its end is stored, told to the prober, then to leases_paired(). -EAGAIN where too much
 * waits for the KMS. */
int pairing_start(struct manager *manager, const struct store_boot *boot,
		  const struct store_workspace *workspace, const struct store_key *key);
