/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: each type has its size, no other has one; headers are checked. */
#include <string.h>

#include "base/cleanup.h"
#include "core/frames.h"
#include "core/state.h"
#include "unit.h"

static void keeper_sizes(void **state)
{
	assert_int_equal(keeper_request_size(KEEPER_HELLO), sizeof(struct keeper_plain));
	assert_int_equal(keeper_reply_size(KEEPER_HELLO), sizeof(struct keeper_hello));
	assert_int_equal(keeper_request_size(KEEPER_STATE_PUT), sizeof(struct keeper_state));
	assert_int_equal(keeper_reply_size(KEEPER_STATE_GET), sizeof(struct keeper_state));
	assert_int_equal(keeper_request_size(KEEPER_MAP_ADD), sizeof(struct keeper_map));
	assert_int_equal(keeper_request_size(KEEPER_DEADLINE), sizeof(struct keeper_deadline));
	assert_int_equal(keeper_request_size(KEEPER_SHRED), sizeof(struct keeper_shred));
	assert_int_equal(keeper_reply_size(KEEPER_STATUS), sizeof(struct keeper_status));
	/* Unasked, and never asked for. */
	assert_int_equal(keeper_request_size(KEEPER_SHRED_REPORT), 0);
	assert_int_equal(keeper_reply_size(KEEPER_SHRED_REPORT), sizeof(struct keeper_report));
	assert_int_equal(keeper_reply_size(KEEPER_RECEIPT_SENT), 0);
}

static void every_type_is_known_and_no_other(void **state)
{
	static const struct {
		size_t (*size)(uint16_t type);
		uint16_t end, without;
	} tables[] = {
		{keeper_request_size, KEEPER_FRAME__MAX, KEEPER_SHRED_REPORT},
		{keeper_reply_size, KEEPER_FRAME__MAX, KEEPER_RECEIPT_SENT},
		{watchdog_frame_size, WATCHDOG_FRAME__MAX, 0},
		{control_request_size, CONTROL_FRAME__MAX, 0},
		{control_reply_size, CONTROL_FRAME__MAX, 0},
	};

	for (size_t i = 0; i < ELEMENTSOF(tables); i++) {
		assert_int_equal(tables[i].size(0), 0);
		for (uint16_t type = 1; type < tables[i].end; type++)
			if (type != tables[i].without)
				assert_true(tables[i].size(type) >= sizeof(struct frame_header));
		for (unsigned type = tables[i].end; type <= UINT16_MAX; type++)
			assert_int_equal(tables[i].size((uint16_t)type), 0);
	}
}

/* A running keeper meets the agent of a later package: what changes a size here raises KEEPER_PROTOCOL. */
static void the_keepers_protocol_has_these_sizes(void **state)
{
	size_t requests = 0, replies = 0;

	for (uint16_t type = 1; type < KEEPER_FRAME__MAX; type++) {
		requests += keeper_request_size(type);
		replies += keeper_reply_size(type);
	}
	assert_int_equal(KEEPER_PROTOCOL, 1);
	assert_int_equal(KEEPER_FRAME__MAX, 16);
	assert_int_equal(requests, 17024);
	assert_int_equal(replies, 19608);
	assert_int_equal(sizeof(struct agent_state), 8600);
}

static void routes(void **state)
{
	assert_string_equal(route_path(ROUTE_BOOT), "/v1/boot");
	assert_string_equal(route_path(ROUTE_LEASE), "/v1/lease");
	assert_string_equal(route_path(ROUTE_RECEIPT), "/v1/receipt");
	assert_string_equal(route_path(ROUTE_SIGNING_KEYS), "/v1/signing-keys");
	assert_string_equal(route_path(ROUTE_ENDING), "/v1/ending");
	assert_string_equal(route_path(ROUTE_BOUND_BOOT), "/v1/bound-boot");
	assert_null(route_path(0));
	assert_null(route_path(ROUTE__MAX));
	assert_int_equal(route_body_size(ROUTE_BOOT), BOOT_BODY_SIZE);
	assert_int_equal(route_body_size(ROUTE_LEASE), LEASE_REQUEST_SIZE);
	assert_int_equal(route_body_size(ROUTE_RECEIPT), RECEIPT_SIZE);
	assert_int_equal(route_body_size(ROUTE_SIGNING_KEYS), 0);
	assert_int_equal(route_body_size(ROUTE_ENDING), ENDING_SIZE);
	assert_int_equal(route_body_size(ROUTE_BOUND_BOOT), BOUND_BODY_SIZE);
	assert_int_equal(route_body_size(ROUTE__MAX), 0);
	for (int route = 1; route < ROUTE__MAX; route++)
		assert_true(route_body_size(route) <= BODY_MAX);
}

static void headers(void **state)
{
	struct keeper_deadline frame = {};
	uint8_t shifted[sizeof(frame) + 1];

	frame_init(&frame.header, FRAME_MAGIC_KEEPER, KEEPER_DEADLINE, sizeof(frame));
	assert_true(frame_is_valid(&frame, sizeof(frame), FRAME_MAGIC_KEEPER));
	memcpy(shifted + 1, &frame, sizeof(frame));
	assert_true(frame_is_valid(shifted + 1, sizeof(frame), FRAME_MAGIC_KEEPER));
	assert_false(frame_is_valid(&frame, sizeof(frame), FRAME_MAGIC_CONTROL));
	for (size_t len = 0; len < sizeof(frame); len++)
		assert_false(frame_is_valid(&frame, len, FRAME_MAGIC_KEEPER));
	frame.header.size--;
	assert_false(frame_is_valid(&frame, sizeof(frame), FRAME_MAGIC_KEEPER));
	frame.header.size++;
	frame.header.zero = 1;
	assert_false(frame_is_valid(&frame, sizeof(frame), FRAME_MAGIC_KEEPER));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeper_sizes),
		cmocka_unit_test(every_type_is_known_and_no_other),
		cmocka_unit_test(the_keepers_protocol_has_these_sizes),
		cmocka_unit_test(routes),
		cmocka_unit_test(headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
