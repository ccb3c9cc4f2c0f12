/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's requests, and what time, the agent's absence and a stuck twin make it do. */
#include "unit.h"

#include "base/parse.h"
#include "shred_keeper.h"

static struct keeper_state reply; /* the largest */

/* Sends FRAME as the test's end of the connection, and has the keeper take it. */
static int send_frame(uint16_t type, void *frame, uint32_t size)
{
	frame_init(frame, FRAME_MAGIC_KEEPER, type, size);
	memcpy(keeper->frame.bytes, frame, size);
	return keeper_request(keeper, &keeper->connections[0], size);
}

/* The status of the reply, which is then in REPLY, and its descriptor in *RET_FD. */
static int receive(uint16_t type, int *ret_fd)
{
	ssize_t n = datagram_receive(agent_fd, &reply, sizeof(reply), ret_fd);

	assert_int_equal(n, keeper_reply_size(type));
	assert_true(frame_is_valid(&reply, (size_t)n, FRAME_MAGIC_KEEPER));
	assert_int_equal(reply.header.type, type);
	return reply.header.status;
}

static int ask(uint16_t type, void *frame, uint32_t size)
{
	assert_int_equal(send_frame(type, frame, size), 0);
	return receive(type, NULL);
}

static int ask_plain(uint16_t type)
{
	struct keeper_plain plain;

	return ask(type, &plain, sizeof(plain));
}

static void assert_silence(void)
{
	assert_int_equal(datagram_receive(agent_fd, &reply, sizeof(reply), NULL), -EAGAIN);
}

static void malformed_frames_end_the_connection(void **state)
{
	static const struct {
		struct frame_header header;
		size_t size;
	} cases[] = {
		{{FRAME_MAGIC_KEEPER, KEEPER_STATUS, 0, 16, 0}, 15},
		{{FRAME_MAGIC_KEEPER, KEEPER_STATUS, 0, 16, 0}, 0},
		{{FRAME_MAGIC_KEEPER, KEEPER_STATUS, 0, 16, 0}, 17},
		{{FRAME_MAGIC_KEEPER, KEEPER_STATUS, 0, 24, 0}, 24},
		{{FRAME_MAGIC_CONTROL, KEEPER_STATUS, 0, 16, 0}, 16},
		{{FRAME_MAGIC_KEEPER, KEEPER_STATUS, 1, 16, 0}, 16},
		{{FRAME_MAGIC_KEEPER, KEEPER_STATUS, 0, 16, -1}, 16},
		{{FRAME_MAGIC_KEEPER, KEEPER_SHRED_REPORT, 0, sizeof(struct keeper_report), 0},
		 sizeof(struct keeper_report)},
		{{FRAME_MAGIC_KEEPER, 0, 0, 16, 0}, 16},
		{{FRAME_MAGIC_KEEPER, KEEPER_FRAME__MAX, 0, 16, 0}, 16},
		{{FRAME_MAGIC_KEEPER, UINT16_MAX, 0, 16, 0}, 16},
		{{FRAME_MAGIC_KEEPER, KEEPER_SHRED, 0, 16, 0}, 16},
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		memset(keeper->frame.bytes, 0, sizeof(keeper->frame));
		keeper->frame.header = cases[i].header;
		assert_int_equal(keeper_request(keeper, &keeper->connections[0], cases[i].size),
				 -EBADMSG);
	}
	assert_silence();
	assert_int_equal(ask_plain(KEEPER_STATUS), 0); /* the control */
}

static void hello_makes_the_agent(void **state)
{
	struct keeper_hello hello;
	struct twin_message message;
	int fd;

	assert_int_equal(ask_plain(KEEPER_BOOT_KEY), -EPERM);
	assert_int_equal(ask_plain(KEEPER_HELLO), 0);
	memcpy(&hello, &reply, sizeof(hello));
	assert_string_equal(hello.version, EMBERLOCK_VERSION);
	assert_int_equal(hello.agents, 1);
	assert_int_equal(hello.boot_key_held, 1);
	assert_int_equal(hello.power_armed, 1);
	assert_int_equal(hello.watchdog_armed, 0);
	assert_int_equal(keeper->steps.agent_fd, keeper->connections[0].fd);
	/* The twin has the connection too. */
	assert_int_equal(datagram_receive(twin_fd, &message, sizeof(message), &fd),
			 sizeof(message));
	assert_int_equal(message.type, TWIN_AGENT);
	assert_true(fd >= 0);
	close(fd);

	assert_int_equal(ask_plain(KEEPER_HELLO), -EPERM);
	keeper->connections[1] = keeper->connections[0];
	keeper->connections[0].role = ROLE_PEER;
	assert_int_equal(ask_plain(KEEPER_HELLO), -EBUSY);
	assert_int_equal(keeper->agents, 1);
}

static void state_page_is_kept_for_the_agent_alone(void **state)
{
	struct keeper_state page;

	say_hello();
	assert_int_equal(ask_plain(KEEPER_STATE_GET), -ENODATA);
	memset(&page, 0x5c, sizeof(page));
	assert_int_equal(ask(KEEPER_STATE_PUT, &page, sizeof(page)), 0);
	assert_int_equal(ask_plain(KEEPER_STATE_GET), 0);
	assert_memory_equal(reply.bytes, page.bytes, sizeof(page.bytes));

	keeper->connections[0].role = ROLE_PEER;
	assert_int_equal(ask_plain(KEEPER_STATE_GET), -EPERM);
	assert_true(bytes_are_zero(reply.bytes, sizeof(reply.bytes)));
}

static void boot_key_is_handed_out_until_erased(void **state)
{
	struct keeper_plain plain;
	uint8_t key[BOOT_KEY_SIZE];
	int fd;

	say_hello();
	assert_int_equal(send_frame(KEEPER_BOOT_KEY, &plain, sizeof(plain)), 0);
	assert_int_equal(receive(KEEPER_BOOT_KEY, &fd), 0);
	assert_int_equal(pread(fd, key, sizeof(key), 0), sizeof(key));
	assert_memory_equal(key, keeper->boot_key.bytes, sizeof(key));
	assert_int_equal(ask_plain(KEEPER_ERASE_BOOT_KEY), 0);
	assert_int_equal(pread(fd, key, sizeof(key), 0), sizeof(key));
	assert_true(bytes_are_zero(key, sizeof(key)));
	close(fd);

	assert_int_equal(send_frame(KEEPER_BOOT_KEY, &plain, sizeof(plain)), 0);
	assert_int_equal(receive(KEEPER_BOOT_KEY, &fd), -ENOKEY);
	assert_int_equal(fd, -1);
	assert_int_equal(send_frame(KEEPER_IDENTITY, &plain, sizeof(plain)), 0);
	assert_int_equal(receive(KEEPER_IDENTITY, &fd), 0);
	assert_true(fd >= 0);
	close(fd);
}

static struct keeper_map a_map(const char *name)
{
	struct keeper_map map = {.length_sectors = 2048};

	assert_int_equal(copy_text(map.name, sizeof(map.name), name), 0);
	assert_int_equal(copy_text(map.volume, sizeof(map.volume), "data"), 0);
	return map;
}

static void assert_twin_is_asked(uint32_t slot)
{
	struct twin_message message;

	assert_int_equal(datagram_receive(twin_fd, &message, sizeof(message), NULL),
			 sizeof(message));
	assert_int_equal(message.type, TWIN_MAP);
	assert_int_equal(message.slot, slot);
}

static void map_counts_once_both_have_a_thread(void **state)
{
	struct keeper_map map = a_map("emberlock-data-s0");

	say_hello();
	assert_int_equal(send_frame(KEEPER_MAP_ADD, &map, sizeof(map)), 0);
	assert_silence();
	assert_int_equal(shared_map_count(keeper->shared), 0);
	assert_twin_is_asked(0);
	keeper_map_done(keeper, 0, 0);
	assert_int_equal(receive(KEEPER_MAP_ADD, NULL), 0);
	assert_int_equal(shared_map_count(keeper->shared), 1);
	keeper_map_done(keeper, 0, 0); /* twice says nothing */
	assert_silence();
	assert_int_equal(ask(KEEPER_MAP_ADD, &map, sizeof(map)), -EEXIST);

	map = a_map("emberlock-data-s1");
	assert_int_equal(send_frame(KEEPER_MAP_ADD, &map, sizeof(map)), 0);
	keeper_map_done(keeper, 1, -ENOMEM);
	assert_int_equal(receive(KEEPER_MAP_ADD, NULL), -ENOMEM);
	assert_int_equal(shared_map_count(keeper->shared), 1);

	assert_int_equal(ask(KEEPER_MAP_REMOVE, &map, sizeof(map)), -ENOENT);
	map = a_map("emberlock-data-s0");
	assert_int_equal(ask(KEEPER_MAP_REMOVE, &map, sizeof(map)), 0);
	assert_int_equal(shared_map_count(keeper->shared), 0);
}

static void map_that_comes_after_a_shred_began_is_refused(void **state)
{
	struct keeper_map map = a_map("emberlock-data-s0");

	say_hello();
	assert_int_equal(send_frame(KEEPER_MAP_ADD, &map, sizeof(map)), 0);
	keeper_shred(keeper, REASON_REVOKED, clock_boottime_ns());
	keeper_map_done(keeper, 0, 0);
	assert_int_equal(receive(KEEPER_MAP_ADD, NULL), -EBUSY);
	assert_int_equal(shared_map_count(keeper->shared), 0);
}

/* The twin dies instead of answering: the agent must be free to sign the receipt. */
static void map_that_waits_for_a_dead_twin_is_refused(void **state)
{
	struct keeper_map map = a_map("emberlock-data-s0");
	struct keeper_receipt_sent sent = {.kind = RECEIPT_CLOSING};

	say_hello();
	assert_int_equal(send_frame(KEEPER_MAP_ADD, &map, sizeof(map)), 0);
	close(alive_fd);
	keeper_turn(keeper);
	assert_int_equal(receive(KEEPER_MAP_ADD, NULL), -EBUSY);
	assert_int_equal(shared_map_count(keeper->shared), 0);
	run_until(SHRED_RECEIPT);
	receive_report(RECEIPT_KEYS);
	run_until(SHRED_RECEIPT);
	receive_report(RECEIPT_CLOSING);

	frame_init(&sent.header, FRAME_MAGIC_KEEPER, KEEPER_RECEIPT_SENT, sizeof(sent));
	assert_int_equal(datagram_send(agent_fd, &sent, sizeof(sent), -1), 0);
	keeper_turn(keeper);
	assert_true(keeper->steps.receipt_sent);
}

/* What the agent says then is for the twin, which has the connection too. */
static void agent_is_left_to_a_twin_that_shreds(void **state)
{
	struct keeper_plain plain;

	say_hello();
	atomic_store(&keeper->shared->owner, PROCESS_TWIN);
	frame_init(&plain.header, FRAME_MAGIC_KEEPER, KEEPER_STATUS, sizeof(plain));
	assert_int_equal(datagram_send(agent_fd, &plain, sizeof(plain), -1), 0);
	keeper->beat_ns = 0; /* no turn waits */
	keeper_turn(keeper);
	assert_silence();
	assert_int_equal(datagram_receive(keeper->connections[0].fd, &plain, sizeof(plain), NULL),
			 sizeof(plain));
}

static void bad_maps_are_refused(void **state)
{
	struct keeper_map map;

	say_hello();
	map = a_map("");
	assert_int_equal(ask(KEEPER_MAP_ADD, &map, sizeof(map)), -EINVAL);
	map = a_map("a/b");
	assert_int_equal(ask(KEEPER_MAP_ADD, &map, sizeof(map)), -EINVAL);
	map = a_map("a");
	map.length_sectors = 0;
	assert_int_equal(ask(KEEPER_MAP_ADD, &map, sizeof(map)), -EINVAL);
	map = a_map("a");
	memset(map.name, 'a', sizeof(map.name)); /* no end */
	assert_int_equal(ask(KEEPER_MAP_ADD, &map, sizeof(map)), -EINVAL);
	assert_int_equal(ask(KEEPER_MAP_REMOVE, &map, sizeof(map)), -EINVAL);
	map = a_map("a");
	memset(map.volume, 'a', sizeof(map.volume));
	assert_int_equal(ask(KEEPER_MAP_ADD, &map, sizeof(map)), -EINVAL);
	for (unsigned i = 0; i < SEGMENTS_MAX; i++)
		atomic_store(&keeper->shared->maps[i].used, 1);
	map = a_map("a");
	assert_int_equal(ask(KEEPER_MAP_ADD, &map, sizeof(map)), -ENOSPC);
}

static int set_deadline(uint64_t deadline_ns, uint32_t expiry)
{
	struct keeper_deadline deadline = {.deadline_ns = deadline_ns, .expiry = expiry};

	return ask(KEEPER_DEADLINE, &deadline, sizeof(deadline));
}

static void deadlines_that_make_no_sense_are_refused(void **state)
{
	uint64_t now_ns = clock_boottime_ns(), hour_ns = 3600 * NSEC_PER_SEC;

	say_hello();
	assert_int_equal(set_deadline(now_ns + hour_ns, 0), -EINVAL);
	assert_int_equal(set_deadline(now_ns + hour_ns, EXPIRY__MAX), -EINVAL);
	assert_int_equal(set_deadline(now_ns + 26 * hour_ns, EXPIRY_SHRED), -ERANGE);
	assert_int_equal(set_deadline(now_ns + 26 * hour_ns, EXPIRY_WARN), -ERANGE);
	assert_int_equal(set_deadline(LEASE_NEVER, EXPIRY_SHRED), 0);
	assert_int_equal(keeper->shared->end_ns, LEASE_NEVER);
	assert_int_equal(set_deadline(now_ns + 24 * hour_ns, EXPIRY_SHRED), 0);
	assert_int_equal(keeper->shared->end_ns, now_ns + 24 * hour_ns);
	assert_int_equal(set_deadline(LEASE_NEVER, EXPIRY_SHRED), -ERANGE);
	assert_int_equal(keeper->shared->end_ns, now_ns + 24 * hour_ns);
	assert_int_equal(set_deadline(LEASE_NEVER, EXPIRY_WARN), 0);
	assert_int_equal(keeper->shared->end_ns, LEASE_NEVER);
}

static void deadline_shreds(void **state)
{
	uint64_t deadline_ns = clock_boottime_ns() + 3600 * NSEC_PER_SEC;

	say_hello();
	assert_int_equal(set_deadline(deadline_ns, EXPIRY_SHRED), 0);
	keeper->beat_ns = LEASE_NEVER;
	assert_int_equal(keeper_next(keeper), deadline_ns);
	keeper_run(keeper, deadline_ns - 1);
	assert_int_equal(keeper_phase(keeper), PHASE_HOLDING);
	keeper->watchdog = (struct watchdog){.fd = WATCHDOG_FD, .timeout_ms = 30000};
	keeper->beat_ns = deadline_ns;
	keeper_run(keeper, deadline_ns);
	assert_int_equal(keeper_phase(keeper), PHASE_SHREDDING);
	assert_int_equal(keeper->shared->reason, REASON_LEASE);
	assert_int_equal(watchdog_pets, 0);
	run_until(SHRED_RECEIPT);
	receive_report(RECEIPT_KEYS);
	run_until_at(SHRED_RECEIPT, deadline_ns);
	receive_report(RECEIPT_CLOSING);
	assert_int_equal(set_deadline(deadline_ns + 1, EXPIRY_SHRED), -EBUSY);
}

static void warning_is_one_line(void **state)
{
	uint64_t deadline_ns = clock_boottime_ns() + NSEC_PER_SEC;

	say_hello();
	for (int i = 0; i < 2; i++) {
		assert_int_equal(set_deadline(deadline_ns, EXPIRY_WARN), 0);
		keeper_run(keeper, deadline_ns - 1);
		assert_console(NULL);
		keeper_run(keeper, deadline_ns);
		assert_console("the lease has run out");
		keeper_run(keeper, deadline_ns + NSEC_PER_SEC);
		assert_console(NULL);
		assert_int_equal(keeper_phase(keeper), PHASE_HOLDING);
	}
}

static void agent_gone_too_long_shreds(void **state)
{
	uint64_t end_ns = keeper->agent_gone_ns + 60 * NSEC_PER_SEC;

	keeper_run(keeper, end_ns); /* nothing is held */
	assert_int_equal(keeper_phase(keeper), PHASE_HOLDING);
	add_map("one", 0);
	say_hello();
	keeper_run(keeper, end_ns);
	assert_int_equal(keeper_phase(keeper), PHASE_HOLDING);
	keeper->connections[0].role = ROLE_PEER;
	keeper_run(keeper, end_ns - 1);
	assert_int_equal(keeper_phase(keeper), PHASE_HOLDING);
	keeper->beat_ns = LEASE_NEVER;
	assert_int_equal(keeper_next(keeper), end_ns);
	keeper_run(keeper, end_ns);
	assert_int_equal(keeper->shared->reason, REASON_FAULT);
	assert_console("fault: the agent has been gone too long");
}

static void connect_again(void)
{
	close(agent_fd);
	keeper_turn(keeper);
	assert_null(keeper_agent(keeper));
	pair(&keeper->connections[0].fd, &agent_fd);
	keeper->connections[0].role = ROLE_PEER;
	keeper->connections[0].since_ns = clock_boottime_ns();
	assert_int_equal(ask_plain(KEEPER_HELLO), 0);
}

static void only_work_ends_the_absence_of_the_agent(void **state)
{
	struct keeper_state page = {0};
	uint64_t gone_ns = keeper->agent_gone_ns, now_ns = clock_boottime_ns();

	add_map("one", 0);
	keeper->connections[0].since_ns = now_ns;
	assert_int_equal(ask_plain(KEEPER_HELLO), 0);
	for (int i = 0; i < 3; i++)
		connect_again(); /* crashes before it has worked */
	assert_int_equal(keeper->agent_gone_ns, gone_ns);

	assert_int_equal(ask(KEEPER_STATE_PUT, &page, sizeof(page)), 0);
	connect_again();
	assert_true(keeper->agent_gone_ns > gone_ns);
	gone_ns = keeper->agent_gone_ns;
	assert_int_equal(set_deadline(now_ns + 26 * 3600 * NSEC_PER_SEC, EXPIRY_SHRED), -ERANGE);
	connect_again();
	assert_int_equal(keeper->agent_gone_ns, gone_ns);
	assert_int_equal(set_deadline(now_ns + 3600 * NSEC_PER_SEC, EXPIRY_SHRED), 0);
	connect_again();
	assert_true(keeper->agent_gone_ns > gone_ns);

	gone_ns = keeper->agent_gone_ns;
	keeper->connections[0].since_ns -= AGENT_STAYS_NS; /* nothing to put, but it stayed */
	connect_again();
	assert_true(keeper->agent_gone_ns > gone_ns);

	keeper->agent_gone_ns -= 60 * NSEC_PER_SEC; /* of crashes at the start */
	close(agent_fd);
	keeper_turn(keeper);
	assert_int_equal(keeper->shared->reason, REASON_FAULT);
	assert_console("fault: the agent has been gone too long");
}

static void requests_to_shred_and_to_end(void **state)
{
	struct keeper_shred shred = {.reason = REASON_REVOKED, .dry_run = 1};
	struct keeper_end end = {.verb = 0};
	static const uint32_t bad[] = {REASON_NONE, REASON__MAX, UINT32_MAX};

	assert_int_equal(ask(KEEPER_END, &end, sizeof(end)), -EINVAL);
	say_hello();
	assert_int_equal(ask(KEEPER_SHRED, &shred, sizeof(shred)), 0);
	shred.dry_run = 0;
	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		shred.reason = bad[i];
		assert_int_equal(ask(KEEPER_SHRED, &shred, sizeof(shred)), -EINVAL);
	}
	assert_int_equal(keeper_phase(keeper), PHASE_HOLDING);
	shred.reason = REASON_CLONE;
	assert_int_equal(send_frame(KEEPER_SHRED, &shred, sizeof(shred)), 0);
	assert_silence();
	assert_int_equal(keeper->shared->reason, REASON_CLONE);
	assert_int_equal(ask(KEEPER_SHRED, &shred, sizeof(shred)), -EBUSY);
	run_until(SHRED_RECEIPT);
	receive_report(RECEIPT_KEYS);
}

static void end_does_its_verb(enum end_verb verb, const int *asked)
{
	struct keeper_end end = {.verb = verb};

	add_map("one", 0);
	assert_int_equal(ask(KEEPER_END, &end, sizeof(end)), 0);
	run_until(SHRED_POWER);
	assert_int_equal(*asked, 1);
	assert_int_equal(power_asked.offs + power_asked.reboots + power_asked.kexecs, 1);
	assert_console("emberlock: off: end (code 19)\n");
}

static void end_powers_off(void **state)
{
	end_does_its_verb(END_POWEROFF, &power_asked.offs);
}

static void end_reboots(void **state)
{
	end_does_its_verb(END_REBOOT, &power_asked.reboots);
}

static void end_starts_a_kernel(void **state)
{
	end_does_its_verb(END_KEXEC, &power_asked.kexecs);
}

/* RAM that holds a key is never left to another kernel. */
static void end_with_a_key_left_powers_off(enum end_verb verb)
{
	struct keeper_end end = {.verb = verb};

	add_map("hopeless", 0);
	assert_int_equal(ask(KEEPER_END, &end, sizeof(end)), 0);
	run_until(SHRED_POWER);
	assert_int_equal(power_asked.offs, 1);
	assert_int_equal(power_asked.reboots + power_asked.kexecs, 0);
	assert_console("a key could not be wiped: power off instead of ");
}

static void reboot_with_a_key_left_powers_off(void **state)
{
	end_with_a_key_left_powers_off(END_REBOOT);
}

static void kexec_with_a_key_left_powers_off(void **state)
{
	end_with_a_key_left_powers_off(END_KEXEC);
}

static struct keeper_ending announce(enum end_verb verb)
{
	struct keeper_ending ending = {.verb = verb};

	assert_int_equal(ask(KEEPER_ENDING, &ending, sizeof(ending)), 0);
	memcpy(&ending, &reply, sizeof(ending));
	return ending;
}

/* The first announcement sets the time, which none after it moves; the newest verb counts. */
static void announced_end_comes_by_itself(void **state)
{
	uint64_t before_ns = clock_boottime_ns();
	struct keeper_ending first, second;

	first = announce(END_POWEROFF);
	assert_in_range(first.began_ns, before_ns, clock_boottime_ns());
	assert_int_equal(first.end_ns - first.began_ns, 90000000000);
	second = announce(END_REBOOT);
	assert_int_equal(second.began_ns, first.began_ns);
	assert_int_equal(second.end_ns, first.end_ns);
	assert_int_equal(keeper_phase(keeper), PHASE_HOLDING);
	assert_true(both_secrets_are(true, true));

	keeper->beat_ns = LEASE_NEVER;
	assert_int_equal(keeper_next(keeper), first.end_ns);
	keeper_run(keeper, first.end_ns - 1);
	assert_int_equal(keeper_phase(keeper), PHASE_HOLDING);
	keeper_run(keeper, first.end_ns);
	assert_int_equal(keeper->shared->reason, REASON_END);
	run_until(SHRED_POWER);
	assert_int_equal(power_asked.reboots, 1);
	assert_console("the orderly end takes too long (EndSec=)");
}

static void bad_announcements_are_refused(void **state)
{
	const struct keeper_ending bad[] = {
		{.verb = 0},
		{.verb = END_VERB__MAX},
		{.verb = UINT32_MAX},
		{.verb = END_REBOOT, .began_ns = 1},
		{.verb = END_REBOOT, .end_ns = 1},
	};

	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		struct keeper_ending ending = bad[i];

		assert_int_equal(ask(KEEPER_ENDING, &ending, sizeof(ending)), -EINVAL);
	}
	assert_int_equal(shared_due(keeper->shared), LEASE_NEVER);
}

/* What must not turn a reboot into a power-off: an agent that was killed with all others, and a lease
 * that nobody can renew any more. */
static void announced_end_keeps_its_verb(void **state)
{
	struct keeper_ending ending;
	struct keeper_deadline deadline = {.expiry = EXPIRY_SHRED};

	add_map("one", 0);
	ending = announce(END_REBOOT);
	say_hello();
	deadline.deadline_ns = ending.end_ns - 1000;
	assert_int_equal(ask(KEEPER_DEADLINE, &deadline, sizeof(deadline)), 0);
	keeper->connections[0].role = ROLE_PEER;
	keeper->steps.agent_fd = -1;
	keeper->agent_gone_ns = ending.began_ns - 60000000000;
	keeper_run(keeper, ending.began_ns);
	assert_int_equal(keeper_phase(keeper), PHASE_HOLDING);
	keeper_run(keeper, deadline.deadline_ns);
	assert_int_equal(keeper->shared->reason, REASON_LEASE);
	run_until(SHRED_POWER);
	assert_int_equal(power_asked.reboots, 1);
}

static void closing_receipt_counts(void **state)
{
	struct keeper_receipt_sent sent = {.kind = RECEIPT_KEYS};

	say_hello();
	keeper_shred(keeper, REASON_REVOKED, clock_boottime_ns());
	assert_int_equal(send_frame(KEEPER_RECEIPT_SENT, &sent, sizeof(sent)), 0);
	assert_false(keeper->steps.receipt_sent);
	sent.kind = RECEIPT_CLOSING;
	assert_int_equal(send_frame(KEEPER_RECEIPT_SENT, &sent, sizeof(sent)), 0);
	assert_true(keeper->steps.receipt_sent);
	assert_silence();
}

static void stuck_twin_shreds_and_ends_petting(void **state)
{
	uint64_t now_ns = keeper->beat_ns;
	int pets;

	keeper->watchdog = (struct watchdog){.fd = WATCHDOG_FD, .timeout_ms = 30000};
	for (int i = 0; i < 30; i++, now_ns += BEAT_NS) {
		atomic_fetch_add(&keeper->shared->beats[PROCESS_TWIN], 1);
		keeper_run(keeper, now_ns);
	}
	assert_int_equal(keeper->shared->beats[PROCESS_PRIMARY], 30);
	assert_in_range(watchdog_pets, 3, 5);
	for (int i = 0; i < PEER_MISSED_MAX; i++, now_ns += BEAT_NS) {
		assert_int_equal(keeper_phase(keeper), PHASE_HOLDING);
		keeper_run(keeper, now_ns);
	}
	assert_int_equal(keeper->shared->reason, REASON_FAULT);
	assert_console("fault: the keeper's twin is stuck");
	pets = watchdog_pets;
	for (int i = 0; i < 60; i++, now_ns += BEAT_NS) {
		atomic_fetch_add(&keeper->shared->beats[PROCESS_TWIN], 1);
		keeper_run(keeper, now_ns);
	}
	assert_int_equal(watchdog_pets, pets);
}

/* By the loop itself. */
static void loop_hears_agent_and_twin(void **state)
{
	struct keeper_plain plain;

	frame_init(&plain.header, FRAME_MAGIC_KEEPER, KEEPER_HELLO, sizeof(plain));
	assert_int_equal(datagram_send(agent_fd, &plain, sizeof(plain), -1), 0);
	keeper_turn(keeper);
	assert_int_equal(receive(KEEPER_HELLO, NULL), 0);
	close(agent_fd);
	keeper_turn(keeper);
	assert_null(keeper_agent(keeper));
	assert_int_equal(keeper->steps.agent_fd, -1);

	add_map("one", 0);
	close(alive_fd);
	keeper_turn(keeper);
	assert_int_equal(keeper->shared->reason, REASON_FAULT);
	assert_console("fault: the keeper's twin died");
	run_until(SHRED_POWER);
	assert_int_equal(power_asked.offs, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(malformed_frames_end_the_connection, new_keeper),
		cmocka_unit_test_setup(hello_makes_the_agent, new_keeper),
		cmocka_unit_test_setup(state_page_is_kept_for_the_agent_alone, new_keeper),
		cmocka_unit_test_setup(boot_key_is_handed_out_until_erased, new_keeper),
		cmocka_unit_test_setup(map_counts_once_both_have_a_thread, new_keeper),
		cmocka_unit_test_setup(map_that_comes_after_a_shred_began_is_refused, new_keeper),
		cmocka_unit_test_setup(map_that_waits_for_a_dead_twin_is_refused, new_keeper),
		cmocka_unit_test_setup(agent_is_left_to_a_twin_that_shreds, new_keeper),
		cmocka_unit_test_setup(bad_maps_are_refused, new_keeper),
		cmocka_unit_test_setup(deadlines_that_make_no_sense_are_refused, new_keeper),
		cmocka_unit_test_setup(deadline_shreds, new_keeper),
		cmocka_unit_test_setup(warning_is_one_line, new_keeper),
		cmocka_unit_test_setup(agent_gone_too_long_shreds, new_keeper),
		cmocka_unit_test_setup(only_work_ends_the_absence_of_the_agent, new_keeper),
		cmocka_unit_test_setup(requests_to_shred_and_to_end, new_keeper),
		cmocka_unit_test_setup(end_powers_off, new_keeper),
		cmocka_unit_test_setup(end_reboots, new_keeper),
		cmocka_unit_test_setup(end_starts_a_kernel, new_keeper),
		cmocka_unit_test_setup(reboot_with_a_key_left_powers_off, new_keeper),
		cmocka_unit_test_setup(kexec_with_a_key_left_powers_off, new_keeper),
		cmocka_unit_test_setup(announced_end_comes_by_itself, new_keeper),
		cmocka_unit_test_setup(bad_announcements_are_refused, new_keeper),
		cmocka_unit_test_setup(announced_end_keeps_its_verb, new_keeper),
		cmocka_unit_test_setup(closing_receipt_counts, new_keeper),
		cmocka_unit_test_setup(stuck_twin_shreds_and_ends_petting, new_keeper),
		cmocka_unit_test_setup(loop_hears_agent_and_twin, new_keeper),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
