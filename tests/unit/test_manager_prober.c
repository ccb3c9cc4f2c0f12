/* SPDX-License-Identifier: Apache-2.0 */
/* What answers of a KMS are evidence of, without a KMS: prober, seats and store in this process. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manager/leases.h"
#include "manager/metrics.h"
#include "manager/prober.h"

static char directory[] = "/tmp/emberlock-prober-XXXXXX";
static struct metrics metrics;
static struct manager manager = {.metrics = &metrics};

static int set_up(void **state)
{
	char path[64];

	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/manager.db", directory);
	if (sd_event_new(&manager.event) < 0 || store_open(path, &manager.store) < 0 ||
	    leases_new(&manager, &manager.leases) < 0)
		return -1;
	return prober_new(&manager, &manager.prober);
}

static int tear_down(void **state)
{
	char command[64];

	prober_free(manager.prober);
	leases_free(manager.leases);
	store_free(manager.store);
	sd_event_unref(manager.event);
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command);
}

static int64_t add_key(const char *name)
{
	struct store_key key;

	store_key_defaults(&key);
	strcpy(key.name, name);
	strcpy(key.kms.provider, "file");
	strcpy(key.kms.key_id, name);
	assert_int_equal(store_key_insert(manager.store, &key), 0);
	return key.id;
}

static void bind_to(int64_t workspace, int64_t key)
{
	const struct store_workspace bound = {
		.id = workspace, .key = key, .kek = {1}, .kek_size = 1, .kek_check = {2}};

	assert_int_equal(store_workspace_bind(manager.store, &bound), 0);
}

static void observe(int64_t workspace, int64_t key, uint64_t start_ms)
{
	const struct prober_answer answer = {
		.workspace = workspace,
		.key = key,
		.start_ms = start_ms,
		.outcome = {.class = KMS_OK},
	};

	prober_observe(manager.prober, &answer);
}

static void test_late_answer_of_another_key(void **state)
{
	int64_t workspace, before = add_key("before"), after = add_key("after");
	enum cmk_state cmk;

	assert_int_equal(store_workspace_insert(manager.store, "w", &workspace), 0);
	bind_to(workspace, before);
	observe(workspace, before, 100);
	assert_int_equal(prober_evidence(manager.prober, workspace, before, &cmk), 100);
	assert_int_equal(cmk, CMK_HEALTHY);
	assert_int_equal(prober_evidence(manager.prober, workspace, after, &cmk), 0);
	assert_int_equal(cmk, CMK_UNKNOWN);
	bind_to(workspace, after);
	observe(workspace, after, 200);
	assert_int_equal(prober_evidence(manager.prober, workspace, after, &cmk), 200);
	/* Asked under the old key, answered after the change. */
	observe(workspace, before, 150);
	assert_int_equal(prober_evidence(manager.prober, workspace, after, &cmk), 200);
	assert_int_equal(cmk, CMK_HEALTHY);
	/* An older success takes nothing back. */
	observe(workspace, after, 180);
	assert_int_equal(prober_evidence(manager.prober, workspace, after, &cmk), 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_late_answer_of_another_key),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
