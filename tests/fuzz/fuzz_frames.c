/* SPDX-License-Identifier: Apache-2.0 */
/* The check of frames as they come over the three local sockets. */
#include "core/frames.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const uint32_t magics[] = {FRAME_MAGIC_KEEPER, FRAME_MAGIC_WATCHDOG,
					  FRAME_MAGIC_CONTROL};
	struct frame_header header;
	unsigned valid = 0;

	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++)
		if (frame_is_valid(bytes, size, magics[i])) {
			memcpy(&header, bytes, sizeof(header));
			must(header.magic == magics[i] && header.size == size && header.zero == 0);
			must(keeper_request_size(header.type) <= sizeof(struct keeper_state));
			must(keeper_reply_size(header.type) <= sizeof(struct keeper_state));
			must(watchdog_frame_size(header.type) <= sizeof(struct watchdog_message));
			must(control_request_size(header.type) <= sizeof(struct control_change));
			must(control_reply_size(header.type) <= sizeof(struct control_status));
			valid++;
		}
	must(valid <= 1);
	return 0;
}
