/* SPDX-License-Identifier: Apache-2.0 */
/* Boots with bound volumes at a real manager: who gets a share, which, how often, and who does not. */
#include "keys/bind.h"
#include "manager_world.h"

/* A VM whose report says that its volume is bound, and what it offers. */
struct bound_vm {
	struct vm vm;
	uint8_t boot_key[BOOT_KEY_SIZE];
	uint8_t body[BOUND_BODY_SIZE];
};

static void offer_sign(const struct signing_key *by, const uint8_t admission[static HASH_SIZE],
		       const uint8_t key[static BIND_KEY_SIZE], uint8_t *bytes)
{
	struct bind_offer offer = {};

	memcpy(offer.admission, admission, HASH_SIZE);
	memcpy(offer.key, key, BIND_KEY_SIZE);
	assert_int_equal(bind_offer_sign(by, &offer, bytes), 0);
}

static void offer_of(const struct bound_vm *b, uint8_t *bytes)
{
	uint8_t key[BIND_KEY_SIZE];

	assert_int_equal(bind_public(b->boot_key, b->vm.boot_id, key), 0);
	offer_sign(b->vm.boot_key, b->vm.admission, key, bytes);
}

static void body_make(struct bound_vm *b)
{
	memcpy(b->body, b->vm.report, BOOT_REPORT_SIZE);
	vm_request(&b->vm, b->body + BOOT_REPORT_SIZE);
	offer_of(b, b->body + BOOT_BODY_SIZE);
}

static void bound_boot(struct bound_vm *b)
{
	struct boot_report report;

	vm_boot(&b->vm);
	assert_int_equal(boot_report_decode(b->vm.report, BOOT_REPORT_SIZE, &report), 0);
	report.bound = 1;
	report.volumes[0].state = VOLUME_PLANNED;
	assert_int_equal(boot_report_sign(b->vm.key, b->vm.boot_key, &report, b->vm.report), 0);
	assert_int_equal(sha256(b->vm.report, BOOT_REPORT_SIZE, b->vm.admission), 0);
	for (size_t i = 0; i < BOOT_KEY_SIZE; i += BOOT_ID_SIZE)
		memcpy(b->boot_key + i, b->vm.boot_id, BOOT_ID_SIZE);
	body_make(b);
}

static void bound_enrol(struct bound_vm *b, const char *workspace, const char *name)
{
	vm_enrol(&b->vm, workspace, name);
	bound_boot(b);
}

static void bound_post(const struct bound_vm *b, struct answer *answer)
{
	post("/v1/bound-boot", b->body, sizeof(b->body), answer);
}

/* The answer admits, with a share that is signed, and sealed for this boot alone. */
static void take_share(struct bound_vm *b, const struct answer *answer,
		       uint8_t share[static BIND_SHARE_SIZE])
{
	struct answer token = {.status = answer->status, .size = TOKEN_SIZE};
	uint8_t other[BOOT_KEY_SIZE], nothing[BIND_SHARE_SIZE];
	struct bind_share record;

	assert_int_equal(answer->status, 200);
	assert_int_equal(answer->size, BOUND_ANSWER_SIZE);
	memcpy(token.body, answer->body, TOKEN_SIZE);
	vm_take(&b->vm, &token, VERDICT_ADMIT, REASON_NONE);
	assert_int_equal(bind_share_verify(answer->body + TOKEN_SIZE, BIND_SHARE_RECORD_SIZE,
					   &trusted, &record),
			 0);
	assert_memory_equal(record.admission, b->vm.admission, HASH_SIZE);
	assert_int_equal(bind_open(b->boot_key, b->vm.boot_id, &record, share), 0);
	assert_false(bytes_are_zero(share, BIND_SHARE_SIZE));
	memcpy(other, b->boot_key, sizeof(other));
	other[BOOT_KEY_SIZE - 1] ^= 1;
	assert_int_equal(bind_open(other, b->vm.boot_id, &record, nothing), -EBADMSG);
}

static void test_share_with_the_admission(void **state)
{
	static struct answer answer, again;
	uint8_t share[BIND_SHARE_SIZE];
	static struct bound_vm b;
	json_t *row;

	bound_enrol(&b, "w", "share");
	bound_post(&b, &answer);
	take_share(&b, &answer, share);
	/* Its answer was lost, and the manager killed: the same bytes. */
	bound_post(&b, &again);
	assert_int_equal(again.size, answer.size);
	assert_memory_equal(again.body, answer.body, answer.size);
	manager_kill();
	manager_start();
	bound_post(&b, &again);
	assert_int_equal(again.status, 200);
	assert_memory_equal(again.body, answer.body, answer.size);
	row = fleet_of(&b.vm);
	assert_true(json_is_true(
		json_object_get(json_array_get(json_object_get(row, "volumes"), 0), "bound")));
	json_decref(row);
	/* Later leases bring none. */
	new_challenge(&b.vm);
	vm_renew(&b.vm);
	vm_done(&b.vm);
}

static void test_a_share_a_boot(void **state)
{
	static struct answer answer;
	uint8_t first[BIND_SHARE_SIZE], second[BIND_SHARE_SIZE];
	static struct bound_vm b, old;

	bound_enrol(&b, "w", "again");
	bound_post(&b, &answer);
	take_share(&b, &answer, first);
	old = b;
	old.vm.key = NULL;
	b.vm.boot_key = NULL;
	bound_boot(&b);
	bound_post(&b, &answer);
	take_share(&b, &answer, second);
	assert_memory_not_equal(first, second, BIND_SHARE_SIZE);
	/* The old one is superseded: a verdict, and no share any more. */
	bound_post(&old, &answer);
	assert_int_equal(answer.size, TOKEN_SIZE);
	vm_take(&old.vm, &answer, VERDICT_SHRED, REASON_SUPERSEDED);
	vm_done(&old.vm);
	vm_done(&b.vm);
}

/* A store from before the boot knows neither report nor share, and makes another; the VM, which has not
 * begun to use one, takes it. */
static void test_manager_rolled_back(void **state)
{
	static struct answer answer;
	uint8_t first[BIND_SHARE_SIZE], second[BIND_SHARE_SIZE];
	static struct bound_vm b;
	char command[256];

	bound_enrol(&b, "w", "rolled");
	manager_stop();
	snprintf(command, sizeof(command), "cp -a %s %s.saved", state_dir, state_dir);
	assert_int_equal(system(command), 0);
	manager_start();
	bound_post(&b, &answer);
	take_share(&b, &answer, first);
	manager_stop();
	snprintf(command, sizeof(command), "rm -rf %s && mv %s.saved %s", state_dir, state_dir,
		 state_dir);
	assert_int_equal(system(command), 0);
	manager_start();
	b.vm.highest = (struct sequence){0};
	bound_post(&b, &answer);
	take_share(&b, &answer, second);
	assert_memory_not_equal(first, second, BIND_SHARE_SIZE);
	vm_done(&b.vm);
}

static void is_refused(const char *path, const void *body, size_t n, long status)
{
	static struct answer answer;

	post(path, body, n, &answer);
	assert_int_equal(answer.status, status);
}

static void test_refused(void **state)
{
	static const uint8_t small_order[BIND_KEY_SIZE] = {1}, key[BIND_KEY_SIZE] = {9};
	static struct bound_vm b, other;
	static struct answer answer;
	uint8_t *offer = b.body + BOOT_BODY_SIZE, longer[BOUND_BODY_SIZE + 1] = {0};
	uint8_t share[BIND_SHARE_SIZE];

	bound_enrol(&b, "w", "refused");
	bound_enrol(&other, "w", "other");
	/* Not of the form, or one part without the other. */
	memcpy(longer, b.body, BOUND_BODY_SIZE);
	is_refused("/v1/bound-boot", b.body, BOUND_BODY_SIZE - 1, 400);
	is_refused("/v1/bound-boot", longer, sizeof(longer), 413);
	is_refused("/v1/bound-boot", b.body, BOOT_BODY_SIZE, 400);
	is_refused("/v1/boot", b.body, BOOT_BODY_SIZE, 400);
	/* Signed by the VM's key, by another boot, for another admission, or changed. */
	offer_sign(b.vm.key, b.vm.admission, key, offer);
	is_refused("/v1/bound-boot", b.body, BOUND_BODY_SIZE, 401);
	offer_sign(other.vm.boot_key, b.vm.admission, key, offer);
	is_refused("/v1/bound-boot", b.body, BOUND_BODY_SIZE, 401);
	memcpy(offer, other.body + BOOT_BODY_SIZE, BIND_OFFER_SIZE);
	is_refused("/v1/bound-boot", b.body, BOUND_BODY_SIZE, 401);
	offer_sign(b.vm.boot_key, other.vm.admission, key, offer);
	is_refused("/v1/bound-boot", b.body, BOUND_BODY_SIZE, 401);
	offer_of(&b, offer);
	offer[40] ^= 1;
	is_refused("/v1/bound-boot", b.body, BOUND_BODY_SIZE, 401);
	/* A key that would make every secret known. */
	offer_sign(b.vm.boot_key, b.vm.admission, small_order, offer);
	is_refused("/v1/bound-boot", b.body, BOUND_BODY_SIZE, 400);
	/* None of it has left a boot. */
	assert_null(fleet_of(&b.vm));
	offer_of(&b, offer);
	bound_post(&b, &answer);
	take_share(&b, &answer, share);
	/* Once a key is offered, it stays. */
	offer_sign(b.vm.boot_key, b.vm.admission, key, offer);
	is_refused("/v1/bound-boot", b.body, BOUND_BODY_SIZE, 409);
	vm_done(&b.vm);
	vm_done(&other.vm);
}

/* An offer with a report that has nothing bound. */
static void test_not_asked_for(void **state)
{
	static struct bound_vm b;
	static struct answer answer;

	vm_enrol(&b.vm, "w", "unasked");
	b.boot_key[0] = 1;
	body_make(&b);
	is_refused("/v1/bound-boot", b.body, BOUND_BODY_SIZE, 400);
	vm_post_boot(&b.vm, &answer);
	assert_int_equal(answer.size, TOKEN_SIZE);
	vm_take(&b.vm, &answer, VERDICT_ADMIT, REASON_NONE);
	vm_done(&b.vm);
}

/* The customer takes the CMK away before the report comes: no share, and the verdict alone. */
static void test_revoked(void **state)
{
	static struct bound_vm b;
	static struct answer answer;

	make_key("gone", QUICK);
	make_workspace("g", "gone");
	bound_enrol(&b, "g", "first");
	assert_int_equal(keyfile_set_state(key_dir, "gone", KEYFILE_DISABLED), 0);
	bound_post(&b, &answer);
	assert_int_equal(answer.size, TOKEN_SIZE);
	vm_take(&b.vm, &answer, VERDICT_SHRED, REASON_REVOKED);
	vm_done(&b.vm);
}

static int tests(void)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(test_share_with_the_admission),
		cmocka_unit_test(test_a_share_a_boot),
		cmocka_unit_test(test_manager_rolled_back),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_not_asked_for),
		cmocka_unit_test(test_revoked),
	};

	return cmocka_run_group_tests(all, set_up, tear_down);
}

int main(int argc, char **argv)
{
	return world_main(argc, argv, tests);
}
