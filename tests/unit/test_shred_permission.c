/* SPDX-License-Identifier: Apache-2.0 */
/* Who may ask the keeper for what, and when: every type, role and phase. */
#include "unit.h"

#include <errno.h>

#include "core/frames.h"
#include "shred/permission.h"

#define PHASES 3

/* '+' allowed, 'P' -EPERM, 'B' -EBUSY; for a peer and for the agent: holding, shredding, wiped. */
static const struct {
	uint16_t type;
	const char *peer, *agent;
} expected[] = {
	{0, "PPP", "PPP"},
	{KEEPER_HELLO, "+BB", "PPP"},
	{KEEPER_STATE_GET, "PPP", "++B"},
	{KEEPER_STATE_PUT, "PPP", "++B"},
	{KEEPER_BOOT_KEY, "PPP", "+BB"},
	{KEEPER_IDENTITY, "PPP", "++B"},
	{KEEPER_MAP_ADD, "PPP", "+BB"},
	{KEEPER_MAP_REMOVE, "PPP", "+BB"},
	{KEEPER_DEADLINE, "PPP", "+BB"},
	{KEEPER_ERASE_BOOT_KEY, "PPP", "+BB"},
	{KEEPER_SHRED, "PPP", "+BB"},
	{KEEPER_SHRED_REPORT, "PPP", "PPP"},
	{KEEPER_RECEIPT_SENT, "PPP", "B+B"},
	{KEEPER_END, "+BB", "+BB"},
	{KEEPER_ENDING, "+BB", "+BB"},
	{KEEPER_STATUS, "+++", "+++"},
	{KEEPER_FRAME__MAX, "PPP", "PPP"},
	{UINT16_MAX, "PPP", "PPP"},
};

static char answer(uint16_t type, enum keeper_role role, enum keeper_phase phase)
{
	int r = permission_check(type, role, phase);

	return r == 0 ? '+' : r == -EPERM ? 'P' : r == -EBUSY ? 'B' : '?';
}

static void every_cell(void **state)
{
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		char peer[PHASES + 1] = "", agent[PHASES + 1] = "";

		for (int p = 0; p < PHASES; p++) {
			peer[p] = answer(expected[i].type, ROLE_PEER, (enum keeper_phase)(1 << p));
			agent[p] =
				answer(expected[i].type, ROLE_AGENT, (enum keeper_phase)(1 << p));
		}
		assert_string_equal(peer, expected[i].peer);
		assert_string_equal(agent, expected[i].agent);
	}
}

/* What may be asked has a size, and what has a size may be asked by someone. */
static void table_agrees_with_frames(void **state)
{
	for (uint16_t type = 0; type < KEEPER_FRAME__MAX + 3; type++) {
		bool allowed = permission_check(type, ROLE_PEER | ROLE_AGENT,
						PHASE_HOLDING | PHASE_SHREDDING) == 0;

		assert_int_equal(allowed, keeper_request_size(type) != 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_cell),
		cmocka_unit_test(table_agrees_with_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
