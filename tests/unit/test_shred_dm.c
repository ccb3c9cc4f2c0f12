/* SPDX-License-Identifier: Apache-2.0 */
/* What the keeper's device-mapper ioctls hold, and what it makes of the answers. */
#include "unit.h"

#include <sys/sysmacros.h>

#include "shred/dm.h"
#include "shred_dm.h"

#define NAME "emberlock-data-s0"

static struct dm_buffer buffer;

static int reset(void **state)
{
	atomic_store(&dm_n_calls, 0);
	memset(dm_calls, 0, sizeof(dm_calls));
	memset(&buffer, 0xee, sizeof(buffer)); /* nothing is left of the call before */
	return 0;
}

static void assert_head(unsigned i, unsigned long number, uint32_t flags, size_t payload)
{
	const struct dm_ioctl *head = dm_head(i);
	char name[DM_NAME_LEN] = NAME, none[DM_UUID_LEN] = "";

	assert_int_equal(dm_calls[i].number, number);
	assert_int_equal(head->version[0], 4);
	assert_int_equal(head->version[1], 0);
	assert_int_equal(head->version[2], 0);
	assert_int_equal(head->flags, flags);
	assert_int_equal(head->data_start, sizeof(*head));
	assert_int_equal(head->data_size, sizeof(*head) + payload);
	assert_int_equal(head->event_nr, 0);
	assert_int_equal(head->dev, 0);
	assert_memory_equal(head->name, name, sizeof(name));
	assert_memory_equal(head->uuid, none, sizeof(none));
}

static void suspend(void **state)
{
	assert_int_equal(dm_suspend(DM_FD, &buffer, NAME), 0);
	assert_int_equal(dm_n_calls, 1);
	assert_head(0, DM_DEV_SUSPEND, DM_SUSPEND_FLAG | DM_NOFLUSH_FLAG | DM_SKIP_LOCKFS_FLAG, 0);
}

static void key_wipe(void **state)
{
	const struct dm_target_msg *message = dm_payload(0);

	assert_int_equal(dm_key_wipe(DM_FD, &buffer, NAME), 0);
	assert_int_equal(dm_n_calls, 1);
	assert_head(0, DM_TARGET_MSG, 0, sizeof(*message) + sizeof("key wipe"));
	assert_int_equal(message->sector, 0);
	assert_memory_equal(message->message, "key wipe", sizeof("key wipe"));
}

static void swap_to_error(void **state)
{
	const struct dm_target_spec *target = dm_payload(0);

	assert_int_equal(dm_swap_to_error(DM_FD, &buffer, NAME, 0x123456789ull), 0);
	assert_int_equal(dm_n_calls, 2);
	assert_head(0, DM_TABLE_LOAD, 0, sizeof(*target) + 8);
	assert_int_equal(dm_head(0)->target_count, 1);
	assert_int_equal(target->sector_start, 0);
	assert_int_equal(target->length, 0x123456789ull);
	assert_string_equal(target->target_type, "error");
	assert_int_equal(*(const char *)(target + 1), 0); /* no parameters */
	assert_head(1, DM_DEV_SUSPEND, DM_NOFLUSH_FLAG | DM_SKIP_LOCKFS_FLAG, 0);
}

static void longest_name_fits(void **state)
{
	char name[DM_NAME_MAX + 1];

	memset(name, 'n', DM_NAME_MAX);
	name[DM_NAME_MAX] = 0;
	assert_int_equal(dm_suspend(DM_FD, &buffer, name), 0);
	assert_string_equal(dm_head(0)->name, name);
}

/* Goes on, with the same request, whatever the kernel wrote into the buffer. */
static void stop_does_not_end_a_suspend(void **state)
{
	atomic_store(&dm_interrupt_once, true);
	assert_int_equal(dm_suspend(DM_FD, &buffer, NAME), 0);
	assert_int_equal(dm_n_calls, 2);
	assert_memory_equal(&dm_calls[0], &dm_calls[1], sizeof(dm_calls[0]));
}

static void destroys_by_suspend_and_wipe(void **state)
{
	assert_int_equal(dm_destroy_key(DM_FD, &buffer, NAME, 8), 0);
	assert_int_equal(dm_n_calls, 2);
	assert_true(dm_is_suspend(dm_calls[0].number, dm_head(0)));
	assert_int_equal(dm_calls[1].number, DM_TARGET_MSG);
}

static void destroys_by_swap_where_wipe_is_refused(void **state)
{
	assert_int_equal(dm_destroy_key(DM_FD, &buffer, "linear", 8), 0);
	assert_int_equal(dm_n_calls, 4);
	assert_int_equal(dm_calls[2].number, DM_TABLE_LOAD);
	assert_int_equal(dm_calls[3].number, DM_DEV_SUSPEND);
}

/* Its table, with the key, is loaded and not live yet: nobody takes the message. */
static void destroys_by_swap_where_no_table_is_live(void **state)
{
	assert_int_equal(dm_key_wipe(DM_FD, &buffer, "tableless"), -ENOMSG);
	atomic_store(&dm_n_calls, 0);
	assert_int_equal(dm_destroy_key(DM_FD, &buffer, "tableless", 8), 0);
	assert_int_equal(dm_n_calls, 4);
	assert_int_equal(dm_calls[2].number, DM_TABLE_LOAD);
	assert_int_equal(dm_calls[3].number, DM_DEV_SUSPEND);
}

static void says_what_it_cannot_destroy(void **state)
{
	assert_int_equal(dm_destroy_key(DM_FD, &buffer, "absent", 8), -ENXIO);
	assert_int_equal(dm_n_calls, 1);
	assert_int_equal(dm_destroy_key(DM_FD, &buffer, "hopeless", 8), -EINVAL);
}

static void check_takes_no_map_for_an_answer(void **state)
{
	assert_int_equal(dm_check(DM_FD, &buffer), 0);
	assert_int_equal(dm_n_calls, 2);
	for (unsigned i = 0; i < dm_n_calls; i++)
		assert_string_equal(dm_head(i)->name, "");
	assert_true(dm_is_suspend(dm_calls[0].number, dm_head(0)));
	assert_int_equal(dm_calls[1].number, DM_TARGET_MSG);
}

static void check_finds_a_refusal(void **state)
{
	dm_nameless = EACCES;
	assert_int_equal(dm_check(DM_FD, &buffer), -EACCES);
	dm_nameless = ENXIO;
}

static void looks_at_the_target_alone(void **state)
{
	assert_false(dm_holds_no_key(DM_FD, &buffer, NAME));
	assert_head(0, DM_TABLE_STATUS, DM_NOFLUSH_FLAG, sizeof(buffer) - sizeof(struct dm_ioctl));
	assert_int_equal(dm_swap_to_error(DM_FD, &buffer, NAME, 8), 0);
	assert_true(dm_holds_no_key(DM_FD, &buffer, NAME));
	assert_true(dm_holds_no_key(DM_FD, &buffer, "absent"));
	assert_int_equal(dm_swap_to_error(DM_FD, &buffer, "inactive", 8), 0);
	assert_false(dm_holds_no_key(DM_FD, &buffer, "inactive"));
	assert_false(dm_holds_no_key(-1, &buffer, NAME));
}

static void open_is_told_by_the_device(void **state)
{
	dm_open_device = 0x2345fd06; /* minor in the bits 0 to 7 and 20 to 31 */
	dm_open_count = 1;
	assert_true(dm_is_open(DM_FD, &buffer, makedev(0x5fd, 0x23406)));
	assert_int_equal(dm_calls[0].number, DM_DEV_STATUS);
	assert_int_equal(dm_head(0)->data_size, sizeof(struct dm_ioctl));
	dm_open_count = 0;
	assert_false(dm_is_open(DM_FD, &buffer, makedev(0x5fd, 0x23406)));
	/* One that is not there, and one that cannot be asked about. */
	assert_false(dm_is_open(DM_FD, &buffer, makedev(253, 7)));
	assert_true(dm_is_open(-1, &buffer, makedev(253, 7)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(open_is_told_by_the_device, reset),
		cmocka_unit_test_setup(looks_at_the_target_alone, reset),
		cmocka_unit_test_setup(suspend, reset),
		cmocka_unit_test_setup(key_wipe, reset),
		cmocka_unit_test_setup(swap_to_error, reset),
		cmocka_unit_test_setup(longest_name_fits, reset),
		cmocka_unit_test_setup(stop_does_not_end_a_suspend, reset),
		cmocka_unit_test_setup(destroys_by_suspend_and_wipe, reset),
		cmocka_unit_test_setup(destroys_by_swap_where_wipe_is_refused, reset),
		cmocka_unit_test_setup(destroys_by_swap_where_no_table_is_live, reset),
		cmocka_unit_test_setup(says_what_it_cannot_destroy, reset),
		cmocka_unit_test_setup(check_takes_no_map_for_an_answer, reset),
		cmocka_unit_test_setup(check_finds_a_refusal, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
