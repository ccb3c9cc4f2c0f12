/* SPDX-License-Identifier: Apache-2.0 */
/* Who may ask the keeper for what, and when: one table, one check. */
#include "shred/permission.h"

#include <errno.h>

#include "base/cleanup.h"
#include "core/frames.h"

#define ANYONE	(ROLE_PEER | ROLE_AGENT)
#define ANYTIME (PHASE_HOLDING | PHASE_SHREDDING | PHASE_WIPED)

struct permission {
	unsigned roles, phases;
};

int permission_check(uint16_t type, enum keeper_role role, enum keeper_phase phase)
{
	static const struct permission permissions[KEEPER_FRAME__MAX] = {
		[KEEPER_HELLO] = {ROLE_PEER, PHASE_HOLDING},
		[KEEPER_STATE_GET] = {ROLE_AGENT, PHASE_HOLDING | PHASE_SHREDDING},
		[KEEPER_STATE_PUT] = {ROLE_AGENT, PHASE_HOLDING | PHASE_SHREDDING},
		[KEEPER_BOOT_KEY] = {ROLE_AGENT, PHASE_HOLDING},
		[KEEPER_IDENTITY] = {ROLE_AGENT, PHASE_HOLDING | PHASE_SHREDDING},
		[KEEPER_MAP_ADD] = {ROLE_AGENT, PHASE_HOLDING},
		[KEEPER_MAP_REMOVE] = {ROLE_AGENT, PHASE_HOLDING},
		[KEEPER_DEADLINE] = {ROLE_AGENT, PHASE_HOLDING},
		[KEEPER_ERASE_BOOT_KEY] = {ROLE_AGENT, PHASE_HOLDING},
		[KEEPER_SHRED] = {ROLE_AGENT, PHASE_HOLDING},
		[KEEPER_RECEIPT_SENT] = {ROLE_AGENT, PHASE_SHREDDING},
		[KEEPER_END] = {ANYONE, PHASE_HOLDING},
		[KEEPER_ENDING] = {ANYONE, PHASE_HOLDING},
		[KEEPER_STATUS] = {ANYONE, ANYTIME},
	};

	if (type >= ELEMENTSOF(permissions) || !(permissions[type].roles & role))
		return -EPERM;
	return permissions[type].phases & phase ? 0 : -EBUSY;
}
