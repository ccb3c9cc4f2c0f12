/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the kernel command line arms the power switch. */
#include <string.h>

#include "shred/power.h"

bool power_is_armed_by(const char *cmdline)
{
	static const char space[] = " \t\n";
	const size_t length = strlen(POWER_ARMED_WORD);

	for (const char *word = cmdline + strspn(cmdline, space); *word;
	     word += strspn(word, space)) {
		size_t n = strcspn(word, space);

		if (n == length && memcmp(word, POWER_ARMED_WORD, n) == 0)
			return true;
		word += n;
	}
	return false;
}
