/* SPDX-License-Identifier: Apache-2.0 */
/* The decoder of boot reports: what it takes is encoded to the same bytes. */
#include "core/message.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	uint8_t again[BOOT_REPORT_SIZE];
	struct boot_report record;

	if (boot_report_decode(bytes, size, &record) < 0)
		return 0;
	must(size == BOOT_REPORT_SIZE);
	boot_report_encode(&record, again);
	must(memcmp(bytes, again, BOOT_REPORT_SIZE) == 0);
	return 0;
}
