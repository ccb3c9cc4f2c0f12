/* SPDX-License-Identifier: Apache-2.0 */
/* src/disks/gate.c: one goes ahead, the others behind it; and none waits for ever. */
#include <poll.h>
#include <unistd.h>

#include "disks/gate.h"
#include "disks/volume.h"
#include "unit.h"

static bool is_open(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1 && p.revents == POLLIN;
}

static void one_goes_ahead(void **state)
{
	int fd = -1;

	assert_int_equal(volume_gate_new(&fd), 0);
	assert_true(is_open(fd));
	gate_pass(fd);
	assert_false(is_open(fd));
	gate_open(fd);
	for (int i = 0; i < 100; i++) {
		gate_pass(fd);
		assert_true(is_open(fd));
	}
	close(fd);
}

/* The one ahead was killed. */
static void nobody_waits_for_ever(void **state)
{
	int fd = -1;

	assert_int_equal(volume_gate_new(&fd), 0);
	gate_pass(fd);
	gate_pass(fd);
	assert_false(is_open(fd));
	gate_open(fd);
	assert_true(is_open(fd));
	close(fd);
}

static void no_gate(void **state)
{
	gate_pass(-1);
	gate_open(-1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_goes_ahead),
		cmocka_unit_test(nobody_waits_for_ever),
		cmocka_unit_test(no_gate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
