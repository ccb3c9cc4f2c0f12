/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent leaves with the keeper, so that a new agent goes on where the old one stopped. */
#pragma once

#include <stdint.h>

#include "core/frames.h"
#include "core/lease.h"

#define AGENT_STATE_MAGIC 0x454d425354303031ull

struct state_volume {
	char name[VOLUME_NAME_MAX + 1];
	uint32_t state;	   /* enum volume_state. MAPPING in a page that a new agent reads: undo, and
			      map again with a higher instance */
	uint32_t instance; /* of the last attempt; never used twice in a boot */
	uint32_t use, required, n_segments;
	uint32_t
		grow_to; /* READY and not 0: segments from n_segments to here may exist. A new agent
			     looks which of them the volume's map has, and keeps or undoes them */
	uint64_t bytes;
	char disk[64];
	char reason[256];
};

struct agent_state {
	uint64_t magic;
	uint32_t size;	   /* sizeof(struct agent_state) */
	uint32_t reported; /* 1: .report is signed and .lease started */
	uint8_t report[BOOT_REPORT_SIZE];
	struct lease lease;
	uint8_t signing_keys[SIGNING_KEYS_SIZE]; /* the newest set accepted */
	uint8_t last_token[TOKEN_SIZE];	 /* the last accepted, for the receipt's chain; zero before
					  */
	uint8_t last_receipt[HASH_SIZE]; /* SHA-256 of the first receipt once made */
	uint32_t self_test_passed, self_test_failed;
	uint32_t rejected_tokens, boot_key_erased;
	uint8_t initramfs_config
		[HASH_SIZE]; /* of what the initramfs carried; zero: it mapped nothing */
	uint32_t n_volumes;
	uint8_t ending[ENDING_SIZE]; /* the note that this boot ends, as signed; zero before */
	uint32_t complete;	     /* 1: every volume of the real root's configuration is here */
	struct state_volume volumes[VOLUMES_MAX];
	/* As the manager signed it, for volumes with Bind=yes; zero before, and where there are none */
	uint8_t share[BIND_SHARE_RECORD_SIZE];
};
_Static_assert(sizeof(struct agent_state) <= KEEPER_STATE_SIZE, "the state must fit its page");
