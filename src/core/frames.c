/* SPDX-License-Identifier: Apache-2.0 */
/* Fixed-size frames over local sockets: the sizes as tables, the check of a header. */
#include "core/frames.h"

#include <string.h>

#include "base/cleanup.h"

/* Entry TYPE of a table of sizes; 0 for a type that is not in it. */
static size_t size_of(const uint32_t *sizes, size_t n, unsigned type)
{
	return type < n ? sizes[type] : 0;
}

size_t keeper_request_size(uint16_t type)
{
	static const uint32_t sizes[KEEPER_FRAME__MAX] = {
		[KEEPER_HELLO] = sizeof(struct keeper_plain),
		[KEEPER_STATE_GET] = sizeof(struct keeper_plain),
		[KEEPER_STATE_PUT] = sizeof(struct keeper_state),
		[KEEPER_BOOT_KEY] = sizeof(struct keeper_plain),
		[KEEPER_IDENTITY] = sizeof(struct keeper_plain),
		[KEEPER_MAP_ADD] = sizeof(struct keeper_map),
		[KEEPER_MAP_REMOVE] = sizeof(struct keeper_map),
		[KEEPER_DEADLINE] = sizeof(struct keeper_deadline),
		[KEEPER_ERASE_BOOT_KEY] = sizeof(struct keeper_plain),
		[KEEPER_SHRED] = sizeof(struct keeper_shred),
		[KEEPER_RECEIPT_SENT] = sizeof(struct keeper_receipt_sent),
		[KEEPER_END] = sizeof(struct keeper_end),
		[KEEPER_ENDING] = sizeof(struct keeper_ending),
		[KEEPER_STATUS] = sizeof(struct keeper_plain),
	};

	return size_of(sizes, ELEMENTSOF(sizes), type);
}

size_t keeper_reply_size(uint16_t type)
{
	static const uint32_t sizes[KEEPER_FRAME__MAX] = {
		[KEEPER_HELLO] = sizeof(struct keeper_hello),
		[KEEPER_STATE_GET] = sizeof(struct keeper_state),
		[KEEPER_STATE_PUT] = sizeof(struct keeper_plain),
		[KEEPER_BOOT_KEY] = sizeof(struct keeper_plain),
		[KEEPER_IDENTITY] = sizeof(struct keeper_plain),
		[KEEPER_MAP_ADD] = sizeof(struct keeper_plain),
		[KEEPER_MAP_REMOVE] = sizeof(struct keeper_plain),
		[KEEPER_DEADLINE] = sizeof(struct keeper_plain),
		[KEEPER_ERASE_BOOT_KEY] = sizeof(struct keeper_plain),
		[KEEPER_SHRED] = sizeof(struct keeper_plain),
		[KEEPER_SHRED_REPORT] = sizeof(struct keeper_report),
		[KEEPER_END] = sizeof(struct keeper_plain),
		[KEEPER_ENDING] = sizeof(struct keeper_ending),
		[KEEPER_STATUS] = sizeof(struct keeper_status),
	};

	return size_of(sizes, ELEMENTSOF(sizes), type);
}

size_t watchdog_frame_size(uint16_t type)
{
	static const uint32_t sizes[WATCHDOG_FRAME__MAX] = {
		[WATCHDOG_REQUEST] = sizeof(struct watchdog_message),
		[WATCHDOG_RESPONSE] = sizeof(struct watchdog_message),
		[WATCHDOG_EVENT] = sizeof(struct watchdog_event),
	};

	return size_of(sizes, ELEMENTSOF(sizes), type);
}

size_t control_request_size(uint16_t type)
{
	static const uint32_t sizes[CONTROL_FRAME__MAX] = {
		[CONTROL_STATUS] = sizeof(struct control_plain),
		[CONTROL_WAIT] = sizeof(struct control_plain),
		[CONTROL_SHRED] = sizeof(struct control_shred),
		[CONTROL_ENDING] = sizeof(struct control_plain),
		[CONTROL_ADD] = sizeof(struct control_change),
		[CONTROL_GROW] = sizeof(struct control_change),
		[CONTROL_SWAP_RESIZE] = sizeof(struct control_change),
	};

	return size_of(sizes, ELEMENTSOF(sizes), type);
}

size_t control_reply_size(uint16_t type)
{
	static const uint32_t sizes[CONTROL_FRAME__MAX] = {
		[CONTROL_STATUS] = sizeof(struct control_status),
		[CONTROL_WAIT] = sizeof(struct control_status),
		[CONTROL_SHRED] = sizeof(struct control_plain),
		[CONTROL_ENDING] = sizeof(struct control_plain),
		[CONTROL_ADD] = sizeof(struct control_changed),
		[CONTROL_GROW] = sizeof(struct control_changed),
		[CONTROL_SWAP_RESIZE] = sizeof(struct control_changed),
	};

	return size_of(sizes, ELEMENTSOF(sizes), type);
}

const char *route_path(enum route route)
{
	static const char *const paths[ROUTE__MAX] = {
		[ROUTE_BOOT] = "/v1/boot",	 [ROUTE_LEASE] = "/v1/lease",
		[ROUTE_RECEIPT] = "/v1/receipt", [ROUTE_SIGNING_KEYS] = "/v1/signing-keys",
		[ROUTE_ENDING] = "/v1/ending",	 [ROUTE_BOUND_BOOT] = "/v1/bound-boot",
	};

	return route < ROUTE__MAX ? paths[route] : NULL;
}

size_t route_body_size(enum route route)
{
	static const uint32_t sizes[ROUTE__MAX] = {
		[ROUTE_BOOT] = BOOT_BODY_SIZE,	      [ROUTE_LEASE] = LEASE_REQUEST_SIZE,
		[ROUTE_RECEIPT] = RECEIPT_SIZE,	      [ROUTE_ENDING] = ENDING_SIZE,
		[ROUTE_BOUND_BOOT] = BOUND_BODY_SIZE,
	};

	return size_of(sizes, ELEMENTSOF(sizes), route);
}

void frame_init(struct frame_header *header, uint32_t magic, uint16_t type, uint32_t size)
{
	*header = (struct frame_header){.magic = magic, .type = type, .size = size};
}

bool frame_is_valid(const void *bytes, size_t len, uint32_t magic)
{
	struct frame_header header;

	if (len < sizeof(header))
		return false;
	memcpy(&header, bytes, sizeof(header));
	return header.magic == magic && header.zero == 0 && header.size == len;
}
