/* SPDX-License-Identifier: Apache-2.0 */
/* Names of enums, codes of reasons, the order of sequences. */
#include <string.h>

#include "base/cleanup.h"
#include "core/lease.h"
#include "core/message.h"
#include "core/plan.h"
#include "unit.h"

#define NAMER(function)                                                                            \
	static const char *function##_of(unsigned value)                                           \
	{                                                                                          \
		return function(value);                                                            \
	}
NAMER(reason_name)
NAMER(verdict_name)
NAMER(cmk_state_name)
NAMER(end_verb_name)
NAMER(volume_use_name)
NAMER(volume_state_name)
NAMER(lease_state_name)
NAMER(lease_rejection_name)
NAMER(plan_refusal_name)

/* Each value in range has a name of its own; none out of range reads past a table. */
static void each_has_its_own(void **state)
{
	static const struct {
		const char *(*name)(unsigned value);
		unsigned first, end;
	} enums[] = {
		{reason_name_of, 0, REASON__MAX},
		{verdict_name_of, 1, VERDICT__MAX},
		{cmk_state_name_of, 1, CMK__MAX},
		{end_verb_name_of, 1, END_VERB__MAX},
		{volume_use_name_of, 1, VOLUME_USE__MAX},
		{volume_state_name_of, 0, VOLUME_STATE__MAX},
		{lease_state_name_of, 0, LEASE_STATE__MAX},
		{lease_rejection_name_of, 0, LEASE_REJECT__MAX},
		{plan_refusal_name_of, 0, PLAN_REFUSAL__MAX},
	};

	for (size_t i = 0; i < ELEMENTSOF(enums); i++) {
		for (unsigned a = enums[i].first; a < enums[i].end; a++) {
			assert_non_null(enums[i].name(a));
			assert_string_not_equal(enums[i].name(a), "unknown");
			for (unsigned b = enums[i].first; b < a; b++)
				assert_string_not_equal(enums[i].name(a), enums[i].name(b));
		}
		assert_string_equal(enums[i].name(enums[i].end), "unknown");
		assert_string_equal(enums[i].name(UINT32_MAX), "unknown");
	}
}

static void reasons_are_the_documented_words(void **state)
{
	assert_string_equal(reason_name(REASON_REVOKED), "revoked");
	assert_string_equal(reason_name(REASON_LEASE), "lease");
	assert_string_equal(reason_name(REASON_SUPERSEDED), "superseded");
	assert_string_equal(reason_name(REASON_OPERATOR), "operator");
	assert_string_equal(reason_name(REASON_FAULT), "fault");
	assert_int_equal(reason_code(REASON_REVOKED), 11);
	assert_int_equal(reason_code(REASON_END), 19);
	assert_string_equal(reason_name(REASON_DRILL), "drill");
	assert_int_equal(reason_code(REASON_DRILL), 20);
}

static void sequences(void **state)
{
	const struct sequence low = {1, 9}, high = {2, 1}, higher = {2, 2};

	assert_int_equal(sequence_compare(low, low), 0);
	assert_true(sequence_compare(low, high) < 0);
	assert_true(sequence_compare(high, low) > 0);
	assert_true(sequence_compare(high, higher) < 0);
	assert_true(sequence_compare(higher, high) > 0);
	assert_true(sequence_compare((struct sequence){0, 0}, (struct sequence){0, UINT64_MAX}) <
		    0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_has_its_own),
		cmocka_unit_test(reasons_are_the_documented_words),
		cmocka_unit_test(sequences),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
