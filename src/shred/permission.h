/* SPDX-License-Identifier: Apache-2.0 */
/* Who may ask the keeper for what, and when: one table, one check. Pure. */
#pragma once

#include <stdint.h>

enum keeper_role {
	ROLE_PEER = 1 << 0,  /* root of our user namespace */
	ROLE_AGENT = 1 << 1, /* the one of them that said HELLO */
};

enum keeper_phase {
	PHASE_HOLDING = 1 << 0,	  /* keys are held */
	PHASE_SHREDDING = 1 << 1, /* a shred has begun, by either process */
	PHASE_WIPED = 1 << 2,	  /* it is over, and the machine is on, since power is not armed */
};

/* 0; -EPERM where ROLE may never ask for TYPE, -EBUSY where it may not in PHASE. */
int permission_check(uint16_t type, enum keeper_role role, enum keeper_phase phase);
