/* SPDX-License-Identifier: Apache-2.0 */
/* A keeper without a kernel below it: faked device mapper and power switch, its connections'
 * other ends in the test's hands. A thread cannot be taken back, so each test gets a new one. */
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "core/lease.h"
#include "shred/keeper.h"
#include "shred_dm.h"
#include "shred_power.h"

#define KEEPERS_MAX 40

static struct keeper keepers[KEEPERS_MAX];
static unsigned n_keepers;
static struct keeper *keeper;
static int agent_fd, twin_fd; /* the test's ends */
static int console_fd, freezer_fd;
static char console_lines[1024]; /* what assert_console() has read */
static int alive_fd;		 /* closed, the other process is dead */

static inline void pair(int *ret_keepers, int *ret_tests)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), 0);
	*ret_keepers = fds[0];
	*ret_tests = fds[1];
}

static inline void make_pipe(int *ret_read, int *ret_write)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
	*ret_read = fds[0];
	*ret_write = fds[1];
}

static inline struct secret make_secret(size_t size)
{
	struct secret secret = {.fd = memfd_create("test", MFD_CLOEXEC), .size = size};

	assert_int_equal(ftruncate(secret.fd, 4096), 0);
	secret.bytes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, secret.fd, 0);
	assert_ptr_not_equal(secret.bytes, MAP_FAILED);
	memset(secret.bytes, 0xa5, size);
	return secret;
}

static inline void make_keeper(enum process self)
{
	keeper = &keepers[n_keepers++];
	assert_true(n_keepers < KEEPERS_MAX);
	keeper_init(keeper, clock_boottime_ns());
	keeper->config.agent_gone_ms = 60000;
	keeper->config.end_ms = 90000;
	assert_int_equal(shared_new(&keeper->shared), 0);
	atomic_store(&keeper->shared->started, 1);
	atomic_store(&keeper->shared->boot_key_held, 1);
	keeper->boot_key = make_secret(BOOT_KEY_SIZE);
	keeper->identity = make_secret(IDENTITY_SEED_SIZE);
	keeper->power.armed = true;
	make_pipe(&console_fd, &keeper->console.fd);
	assert_int_equal(console_start(&keeper->console), 0);
	make_pipe(&freezer_fd, &keeper->freezer.fd);
	make_pipe(&keeper->peer.pidfd, &alive_fd);
	pair(&keeper->peer.channel, &twin_fd);

	keeper->steps.self = self;
	keeper->steps.shared = keeper->shared;
	keeper->steps.dm_fd = DM_FD;
	keeper->steps.done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(freezer_start(&keeper->freezer, keeper->steps.done_fd), 0);
	keeper->steps.boot_key = &keeper->boot_key;
	keeper->steps.identity = &keeper->identity;
	keeper->steps.console = &keeper->console;
	keeper->steps.freezer = &keeper->freezer;
	/* Nothing is opened: no test ends a process or takes a mount away. */
	assert_int_equal(plaintext_start(&keeper->plaintext, keeper->steps.done_fd), 0);
	keeper->steps.plaintext = &keeper->plaintext;
	keeper->look.proc_fd = keeper->look.sys_fd = -1;
	keeper->look.dm_fd = DM_FD;
	keeper->look.shared = keeper->shared;
	keeper->look.boot_key = &keeper->boot_key;
	assert_int_equal(look_start(&keeper->look, keeper->steps.done_fd), 0);
	keeper->steps.look = &keeper->look;
	keeper->steps.power = &keeper->power;
}

static inline int new_keeper(void **state)
{
	atomic_store(&dm_n_calls, 0);
	atomic_store(&dm_late_is_there, false);
	atomic_store(&watchdog_pets, 0);
	sem_init(&dm_release, 0, 0);
	sem_init(&dm_stalls, 0, 0);
	memset(&power_asked, 0, sizeof(power_asked));
	make_keeper(PROCESS_PRIMARY);
	pair(&keeper->connections[0].fd, &agent_fd);
	keeper->connections[0].role = ROLE_PEER;
	return 0;
}

static inline int new_twin(void **state)
{
	int keepers_fd;

	new_keeper(state);
	keeper->steps.self = PROCESS_TWIN;
	/* The agent's connection is the primary's, which hands it on. */
	keepers_fd = TAKE_FD(keeper->connections[0].fd);
	assert_int_equal(twin_send(twin_fd, TWIN_AGENT, 0, 0, keepers_fd), 0);
	close(keepers_fd);
	return 0;
}

/* A registered map with its thread. */
static inline unsigned add_map(const char *name, uint32_t segment)
{
	unsigned slot;

	assert_int_equal(shared_map_add(keeper->shared, name, "data", segment, 2048, &slot), 0);
	assert_int_equal(steps_prepare(&keeper->steps, slot), 0);
	shared_map_publish(keeper->shared, slot);
	return slot;
}

static inline void say_hello(void)
{
	keeper->connections[0].role = ROLE_AGENT;
	keeper->steps.agent_fd = keeper->connections[0].fd;
}

/* Lets threads finish and the shred go on until it has reached STEP; at NOW, which stands still, or
 * by the clock where that is 0. */
static inline void run_until_at(enum shred_step step, uint64_t now_ns)
{
	for (int i = 0; i < 1000 && keeper->steps.machine.step != step; i++) {
		struct pollfd poll_fd = {.fd = keeper->steps.done_fd, .events = POLLIN};

		(void)poll(&poll_fd, 1, 10);
		steps_run(&keeper->steps, now_ns ? now_ns : clock_boottime_ns());
	}
	assert_int_equal(keeper->steps.machine.step, step);
}

static inline void run_until(enum shred_step step)
{
	run_until_at(step, 0);
}

static inline void assert_console(const char *text)
{
	assert_true(console_wait(&keeper->console));
	memset(console_lines, 0, sizeof(console_lines));
	(void)!read(console_fd, console_lines, sizeof(console_lines) - 1);
	if (text)
		assert_non_null(strstr(console_lines, text));
	else
		assert_string_equal(console_lines, "");
}

static inline bool both_secrets_are(bool boot_key, bool identity)
{
	return bytes_are_zero(keeper->boot_key.bytes, BOOT_KEY_SIZE) == !boot_key &&
	       bytes_are_zero(keeper->identity.bytes, IDENTITY_SEED_SIZE) == !identity;
}

static inline struct keeper_report receive_report(enum receipt_kind kind)
{
	struct keeper_report report;

	assert_int_equal(datagram_receive(agent_fd, &report, sizeof(report), NULL), sizeof(report));
	assert_true(frame_is_valid(&report, sizeof(report), FRAME_MAGIC_KEEPER));
	assert_int_equal(report.header.type, KEEPER_SHRED_REPORT);
	assert_int_equal(report.kind, kind);
	return report;
}
