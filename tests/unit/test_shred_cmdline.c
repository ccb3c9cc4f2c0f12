/* SPDX-License-Identifier: Apache-2.0 */
/* What arms the power switch: one whole word of the kernel command line, and nothing like it. */
#include "unit.h"

#include "shred/power.h"

static void only_the_word_itself(void **state)
{
	static const struct {
		const char *cmdline;
		bool armed;
	} cases[] = {
		{"", false},
		{"   \n", false},
		{"emberlock.power=armed", true},
		{"emberlock.power=armed\n", true},
		{"root=/dev/vda ro\temberlock.power=armed quiet\n", true},
		{"quiet emberlock.power=armed", true},
		{"emberlock.power", false},
		{"emberlock.power=", false},
		{"emberlock.power=arme", false},
		{"emberlock.power=armedx", false},
		{"xemberlock.power=armed", false},
		{"x=emberlock.power=armed", false},
		{"emberlock.power=ARMED", false},
		{"emberlock.power=no", false},
		{"emberlock.power= armed", false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(power_is_armed_by(cases[i].cmdline), cases[i].armed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_word_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
