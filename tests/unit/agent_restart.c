/* SPDX-License-Identifier: Apache-2.0 */
/* An agent killed at every step of carrying out its plan, and the next one at every step of its own:
 * keeper, disks and kernel are a struct in shared memory, whose every change is a step. Links
 * agent_plan.c, agent_volumes.c, agent_bind.c and agent_text.c; workers are real processes. What must hold is
 * said at the top of agent_volumes.c. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "base/lock.h"
#include "base/log.h"
#include "disks/config.h"
#include "disks/find.h"
#include "disks/segment.h"
#include "disks/volume.h"
#include "keys/hygiene.h"

#define VOLUMES	 2
#define SEGMENTS 2
#define GROWN	 3 /* segments of the first volume when it has grown */
#define MIB	 (1ull << 20)

enum victim { NOBODY, AGENT, WORKER };

static struct world {
	/* The keeper. */
	bool page_put;
	struct agent_state page;
	bool listed[VOLUMES][GROWN];
	/* The kernel. */
	bool segment[VOLUMES][GROWN], upper[VOLUMES], ready[VOLUMES];
	bool has_third; /* the map of the first volume has its third segment */
	/* The test. */
	bool gone, hot_plug; /* the disk of the first volume is gone; it may come and go */
	bool stays;	     /* its second segment cannot be removed, whatever its disk is */
	bool replaced;	     /* another disk is there for it */
	bool grows; /* the first volume's disk is larger now, and the agent is asked to grow it */
	unsigned fs_grown;	     /* how many segments' worth its file system has */
	uint64_t instances[VOLUMES]; /* a bit each that a key was derived of */
	bool binds;	/* the first volume has Bind=yes, and the manager admits what is reported */
	bool initramfs; /* the agent is that of the initramfs, and maps the first volume */
	enum victim victim;
	unsigned kill_at;
	atomic_uint steps;
	char wrong[128];
} * world;

static pid_t agent_pid;

static void must(bool holds, const char *what)
{
	if (!holds)
		(void)snprintf(world->wrong, sizeof(world->wrong), "%s", what);
}

/* Before and after each change: the instants at which somebody may be killed. A worker goes with its
 * agent, as in life. */
static void step(void)
{
	bool in_worker = getpid() != agent_pid;

	if (world->victim == NOBODY || (world->victim == WORKER && !in_worker) ||
	    atomic_fetch_add(&world->steps, 1) + 1 != world->kill_at)
		return;
	kill(world->victim == WORKER ? getpid() : agent_pid, SIGKILL);
	sleep(5);
	must(false, "a worker outlives its agent");
	_exit(EXIT_FAILURE);
}

static void change(bool *what, bool to)
{
	step();
	*what = to;
	step();
}

static unsigned index_of(const char *name)
{
	return (unsigned)(name[0] - 'a');
}

static bool anything_exists(unsigned v)
{
	return world->segment[v][0] || world->segment[v][1] || world->segment[v][2] ||
	       world->upper[v] || world->ready[v];
}

/* --- keeper */

int keeper_save(struct agent *a)
{
	step();
	memcpy(&world->page, &a->state, sizeof(world->page));
	change(&world->page_put, true);
	return 0;
}

int keeper_map_add(struct agent *a, const char *volume, uint32_t segment, uint64_t sectors)
{
	bool *listed = &world->listed[index_of(volume)][segment];

	if (*listed)
		return -EEXIST;
	change(listed, true);
	return 0;
}

int keeper_map_remove(struct agent *a, const char *volume, uint32_t segment)
{
	bool *listed = &world->listed[index_of(volume)][segment];

	must(!world->segment[index_of(volume)][segment], "a map left the list while it lived");
	if (!*listed)
		return -ENOENT;
	change(listed, false);
	return 0;
}

int keeper_boot_key(struct agent *a, int *ret_fd)
{
	*ret_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return *ret_fd < 0 ? -errno : 0;
}

/* --- disks and kernel */

int disks_find(const struct volume_config *configs, size_t n_configs, struct disk_facts *facts,
	       size_t max, size_t *ret_n, bool *ret_unfinished)
{
	for (unsigned v = 0; v < VOLUMES; v++) {
		facts[v] = (struct disk_facts){.bytes = SEGMENTS * 16 * MIB, .minor = v + 1};
		(void)snprintf(facts[v].path, sizeof(facts[v].path), "/nonexistent/%c", 'a' + v);
		(void)snprintf(facts[v].serial, sizeof(facts[v].serial), "%c", 'a' + v);
		facts[v].in_use = anything_exists(v) && !(v == 0 && world->replaced);
	}
	*ret_n = VOLUMES;
	if (world->gone)
		memmove(&facts[0], &facts[1], --*ret_n * sizeof(facts[0]));
	*ret_unfinished = false;
	return 0;
}

int disk_describe(unsigned major, unsigned minor, struct disk_facts *ret_facts)
{
	unsigned n = world->grows && minor == 1 ? GROWN : SEGMENTS;

	if (world->gone && minor == 1)
		return -ENODEV;
	*ret_facts = (struct disk_facts){.bytes = n * 16 * MIB, .minor = minor};
	return 0;
}

/* Each segment behind the one before, as it was planned. */
int segments_look(const char *volume, uint32_t n, struct plan_segment *segments,
		  unsigned majors[static VOLUME_DISKS_MAX],
		  unsigned minors[static VOLUME_DISKS_MAX], uint32_t *ret_n_disks)
{
	unsigned v = index_of(volume);

	for (uint32_t i = 0; i < n; i++) {
		if (!world->segment[v][i])
			return -ENXIO;
		segments[i] = (struct plan_segment){.offset_sectors = i * 16 * MIB / SECTOR_SIZE,
						    .length_sectors = 16 * MIB / SECTOR_SIZE};
	}
	majors[0] = 0;
	minors[0] = v + 1;
	*ret_n_disks = 1;
	return 0;
}

int volume_gate_new(int *ret_fd)
{
	*ret_fd = -1;
	return 0;
}

int volume_map(const struct volume_job *job, char reason[static 256], bool *ret_left,
	       uint32_t ret_ms[static VOLUME_STEP__MAX])
{
	unsigned v = index_of(job->config->name);
	const struct state_volume *volume = &world->page.volumes[v];

	must(!anything_exists(v), "mapped over what was left");
	must(volume->state == VOLUME_MAPPING && volume->instance == job->instance &&
		     volume->n_segments == job->n_segments,
	     "a key is derived that the page does not know of");
	must(!(world->instances[v] & 1ull << job->instance), "an instance is used twice");
	must(!job->config->bind || (job->has_share && world->page.lease.state == LEASE_ADMITTED &&
				    job->share.encapsulated[0] == world->page.share[40]),
	     "mapped before the page has admission and share");
	world->instances[v] |= 1ull << job->instance;
	for (unsigned i = 0; i < job->n_segments; i++) {
		must(world->listed[v][i], "a map is made that the keeper does not know of");
		change(&world->segment[v][i], true);
	}
	change(&world->upper[v], true);
	change(&world->ready[v], true);
	*ret_left = false;
	return 0;
}

int volume_unmap(const char *name, unsigned n_segments)
{
	unsigned v = index_of(name);

	must(world->page.volumes[v].state == VOLUME_MAPPING,
	     "undone, and the page does not say so");
	/* It may be in use. */
	must(world->victim == WORKER || !world->upper[v] || !world->ready[v],
	     "a whole volume is undone");
	change(&world->upper[v], false);
	change(&world->ready[v], false);
	for (unsigned i = n_segments; i-- > 0;)
		change(&world->segment[v][i], false);
	return 0;
}

int volume_ready_again(const char *volume)
{
	return world->ready[index_of(volume)] && world->upper[index_of(volume)] ? 0 : -ENOENT;
}

int volume_grow(const struct volume_job *job, char reason[static 256], bool *ret_left)
{
	const struct state_volume *volume = &world->page.volumes[0];

	must(index_of(job->config->name) == 0 && world->upper[0] && world->ready[0],
	     "what is grown is not ready");
	if (job->n_mapped < job->n_segments) {
		must(!world->segment[0][2] && !world->has_third, "grown over what was left");
		must(volume->grow_to == GROWN && job->n_mapped == SEGMENTS &&
			     job->n_segments == GROWN && volume->instance == job->instance,
		     "a key is derived that the page does not know of");
		must(!(world->instances[0] & 1ull << job->instance), "an instance is used twice");
		world->instances[0] |= 1ull << job->instance;
		must(world->listed[0][2], "a map is made that the keeper does not know of");
		change(&world->segment[0][2], true);
		change(&world->has_third, true);
	}
	step();
	world->fs_grown = GROWN;
	step();
	*ret_left = false;
	return 0;
}

int volume_growth_look(const char *volume, uint32_t *ret_n)
{
	*ret_n = world->has_third ? GROWN : SEGMENTS;
	return 0;
}

int volume_growth_undo(const char *volume, uint32_t first, uint32_t n)
{
	must(first == SEGMENTS && n == GROWN && !world->has_third,
	     "a segment is undone that the volume has");
	change(&world->segment[0][2], false);
	return 0;
}

int volume_unplug(const char *name, unsigned n_segments)
{
	must(index_of(name) == 0 && world->gone, "cleaned up, and its disk is there");
	change(&world->ready[0], false);
	for (unsigned i = n_segments; i-- > 0;)
		if (i != 1 || !world->stays)
			change(&world->segment[0][i], false);
	change(&world->upper[0], false);
	return world->stays ? -EBUSY : 0;
}

int segment_look(const char *volume, uint32_t number, struct segment_table *ret_look,
		 uint64_t *ret_length_sectors)
{
	return world->segment[index_of(volume)][number] ? 0 : -ENXIO;
}

void volume_worker_begin(void)
{
}

int volume_swap_resize(const struct volume_job *job, char reason[static 256])
{
	abort();
}

/* --- the rest of the agent, and libraries */

void control_changed(struct agent *a, uint32_t index, int r, const char *text)
{
	if (!a->carry.settled)
		return;
	must(r == 0, text);
	sd_event_exit(a->event, 0);
}

int configs_load(const char *root, struct agent_config *ret_agent, struct volume_config *volumes,
		 size_t max, size_t *ret_n, char error[static 256])
{
	abort();
}

bool lease_is_admitted(const struct agent *a)
{
	return a->state.lease.state == LEASE_ADMITTED;
}

void report_boot_key_done(struct agent *a)
{
	must(!bind_waits(a), "the boot key goes before a bound volume is made");
}

void control_notify(struct agent *a)
{
	must(a->carry.bound, "somebody is told before all is made");
	sd_event_exit(a->event, 0);
}

/* What the manager does, where it has not: the report first, then token and share at once. */
static void admit(struct agent *a)
{
	struct boot_report report = {
		.workspace = "w",
		.vm = "v",
		.n_volumes = VOLUMES,
		.bound = bind_volumes(a),
		.volumes = {{"a", VOLUME_RAW, VOLUME_PLANNED}, {"b", VOLUME_RAW, VOLUME_READY}},
	};
	const struct bind_share share = {.encapsulated = {7}};

	must(report.bound == 1, "not the first volume alone is bound");
	if (!a->state.reported) {
		must(!anything_exists(0) && world->ready[1], "reported too early or too late");
		boot_report_encode(&report, a->state.report);
		a->state.reported = 1;
		keeper_save(a);
	}
	if (a->state.lease.state == LEASE_STARTING) {
		bind_share_encode(&share, a->state.share);
		a->state.lease.state = LEASE_ADMITTED;
		keeper_save(a);
		bind_begin(a);
	}
}

void report_make(struct agent *a)
{
	const struct control_change request = {.volume = "a"};
	char text[256];

	if (world->binds)
		admit(a);
	else if (world->grows && a->state.volumes[0].n_segments < GROWN)
		must(change_begin(a, CONTROL_GROW, &request, text) == 0, text);
	else
		sd_event_exit(a->event, 0);
}

void initramfs_done(struct agent *a)
{
	must(world->initramfs, "the real root's agent ends as the initramfs' does");
	sd_event_exit(a->event, 0);
}

void initramfs_check(struct agent *a, uint32_t index)
{
}

void agent_exit(struct agent *a, int r)
{
	must(false, "the agent gave up");
	sd_event_exit(a->event, r);
}

void agent_timer(struct agent *a, sd_event_source **source, uint64_t at_ns,
		 sd_event_time_handler_t handler)
{
	/* Every disk is there: nothing is waited for. */
}

int sha256(const void *bytes, size_t n, uint8_t ret_hash[static HASH_SIZE])
{
	memset(ret_hash, 0, HASH_SIZE);
	return 0;
}

struct signing_key *signing_key_free(struct signing_key *key)
{
	must(getpid() != agent_pid, "the agent loses its key");
	return NULL;
}

int process_lock(void)
{
	return 0;
}

void registers_scrub(void)
{
}

/* --- the test */

static __attribute__((noreturn)) void agent_run(void)
{
	static struct agent a;
	sigset_t set;
	int r;

	agent_pid = getpid();
	(void)alarm(60);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	r = sigprocmask(SIG_BLOCK, &set, NULL) < 0 ? -errno : sd_event_new(&a.event);
	a.console = a.carry.boot_key_fd = -1;
	a.initramfs_root = world->initramfs ? "/root" : NULL;
	a.config.keep_boot_key = true;
	a.n_volumes = world->initramfs ? 1 : VOLUMES;
	for (unsigned v = 0; v < VOLUMES; v++) {
		a.volumes[v] = (struct volume_config){.use = VOLUME_RAW,
						      .required = true,
						      .segment_bytes = 16 * MIB,
						      .size_max = UINT64_MAX,
						      .n_disks = 1,
						      .hot_plug = v == 0 && world->hot_plug,
						      .bind = v == 0 && world->binds};
		a.volumes[v].name[0] = a.volumes[v].match[MATCH_SERIAL][0] = (char)('a' + v);
	}
	if (world->page_put)
		memcpy(&a.state, &world->page, sizeof(a.state));
	r = r < 0 ? r : plan_start(&a);
	r = r < 0 ? r : sd_event_loop(a.event);
	_exit(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

/* One agent, and all its workers' end, in which VICTIM is killed at step KILL_AT. Whether it came to
 * its end. */
static bool agent_lives(enum victim victim, unsigned kill_at)
{
	int status, agent_status = -1;
	pid_t agent, pid;

	world->victim = victim;
	world->kill_at = kill_at;
	atomic_store(&world->steps, 0);
	agent = fork();
	assert_true(agent >= 0);
	if (agent == 0)
		agent_run();
	while ((pid = wait(&status)) > 0)
		if (pid == agent)
			agent_status = status;
	assert_string_equal(world->wrong, "");
	if (WIFSIGNALED(agent_status)) {
		assert_int_equal(WTERMSIG(agent_status), SIGKILL);
		return false;
	}
	assert_int_equal(agent_status, 0);
	return true;
}

static void all_is_ready(void)
{
	for (unsigned v = 0; v < VOLUMES; v++) {
		assert_int_equal(world->page.volumes[v].state, VOLUME_READY);
		assert_true(world->upper[v] && world->ready[v]);
		for (unsigned i = 0; i < SEGMENTS; i++)
			assert_true(world->segment[v][i] && world->listed[v][i]);
	}
}

static void begin(void)
{
	memset(world, 0, sizeof(*world));
}

static void an_agent_killed_at_any_step(void **state)
{
	unsigned n = 0;

	for (;; n++) {
		begin();
		if (agent_lives(AGENT, n + 1))
			break;
		assert_true(agent_lives(NOBODY, 0));
		all_is_ready();
	}
	all_is_ready();
	/* Two volumes: the page, two announcements, two segments, the map, the file, the page. */
	assert_true(n >= 2 * 2 * 8);
}

/* In turn at the odd and at the even steps, to halve the time. */
static void the_next_one_killed_too(void **state)
{
	unsigned first = 1, second;

	for (bool ended = false; !ended; first++)
		for (second = 1 + first % 2;; second += 2) {
			bool next_ended;

			begin();
			ended = agent_lives(AGENT, first);
			if (ended)
				break;
			next_ended = agent_lives(AGENT, second);
			if (!next_ended)
				assert_true(agent_lives(NOBODY, 0));
			all_is_ready();
			if (next_ended)
				break;
		}
}

/* Its volume fails and leaves nothing; the other one comes. */
static void a_worker_killed_at_any_step(void **state)
{
	unsigned n = 0;

	for (;; n++) {
		unsigned failed = 0;

		begin();
		assert_true(agent_lives(WORKER, n + 1));
		for (unsigned v = 0; v < VOLUMES; v++) {
			if (world->page.volumes[v].state == VOLUME_READY)
				continue;
			failed++;
			assert_int_equal(world->page.volumes[v].state, VOLUME_FAILED);
			assert_non_null(strstr(world->page.volumes[v].reason, "worker was killed"));
			assert_false(anything_exists(v));
			assert_false(world->listed[v][0] || world->listed[v][1]);
		}
		if (failed == 0)
			break;
		assert_int_equal(failed, 1);
	}
	assert_int_equal(n, 2 * 2 * 4);
}

/* The volume of the initramfs is taken as it is, the others come; once. */
static void a_page_of_the_initramfs(void **state)
{
	bool ended = false;

	for (unsigned n = 1; !ended; n++) {
		begin();
		world->initramfs = true;
		assert_true(agent_lives(NOBODY, 0));
		assert_int_equal(world->page.n_volumes, 1);
		assert_false(world->page.complete);
		world->initramfs = false;
		ended = agent_lives(AGENT, n);
		if (!ended)
			assert_true(agent_lives(NOBODY, 0));
		assert_int_equal(world->page.n_volumes, VOLUMES);
		assert_true(world->page.complete);
		all_is_ready();
		assert_int_equal(world->instances[0], 1 << 1);
	}
}

/* Mapped when the page has admission and share, whoever brought them there; once. */
static void an_agent_killed_in_a_bound_boot(void **state)
{
	bool ended = false;

	for (unsigned n = 1; !ended; n++) {
		begin();
		world->binds = true;
		ended = agent_lives(AGENT, n);
		if (!ended)
			assert_true(agent_lives(NOBODY, 0));
		all_is_ready();
		/* Two volumes as ever, the report, and the token. */
		assert_true(!ended || n > 2 * (2 * 8 + 2));
	}
}

static void has_grown(void)
{
	assert_int_equal(world->page.volumes[0].n_segments, GROWN);
	assert_int_equal(world->page.volumes[0].grow_to, 0);
	assert_int_equal(world->page.volumes[0].bytes, GROWN * 16 * MIB);
	assert_true(world->has_third && world->segment[0][2] && world->listed[0][2]);
	assert_int_equal(world->fs_grown, GROWN);
	all_is_ready();
}

static void begin_grown(void)
{
	begin();
	assert_true(agent_lives(NOBODY, 0));
	world->grows = true;
}

/* The next agent keeps what the volume's map has, undoes the rest, and grows it then. */
static void an_agent_killed_while_it_grows(void **state)
{
	unsigned n = 0;

	for (;; n++) {
		begin_grown();
		if (agent_lives(AGENT, n + 1))
			break;
		assert_true(agent_lives(NOBODY, 0));
		has_grown();
	}
	has_grown();
	/* The page, the announcement, the segment, the map, the file system, the page. */
	assert_true(n >= 2 * 6);
}

static void the_next_one_killed_while_it_recovers(void **state)
{
	for (unsigned first = 1;; first++)
		for (unsigned second = 1;; second++) {
			bool ended;

			begin_grown();
			if (agent_lives(AGENT, first))
				return;
			ended = agent_lives(AGENT, second);
			if (!ended)
				assert_true(agent_lives(NOBODY, 0));
			has_grown();
			if (ended)
				break;
		}
}

/* Whatever it came to, its keys are gone in the end, and the keeper knows its maps no more. */
static void a_disk_that_went(void **state)
{
	for (unsigned hot_plug = 0; hot_plug < 2; hot_plug++)
		for (unsigned n = 1;; n++) {
			bool ended;

			begin();
			assert_true(agent_lives(NOBODY, 0));
			world->gone = true;
			world->hot_plug = hot_plug;
			ended = agent_lives(AGENT, n);
			if (!ended)
				assert_true(agent_lives(NOBODY, 0));
			assert_false(anything_exists(0));
			assert_false(world->listed[0][0] || world->listed[0][1]);
			assert_int_equal(world->page.volumes[0].state,
					 hot_plug ? VOLUME_PLANNED : VOLUME_FAILED);
			assert_int_equal(world->page.volumes[1].state, VOLUME_READY);
			if (ended)
				break;
		}
}

/* A segment of the disk that went could not be removed, and has its key: the keeper knows it still when
 * the volume is tried on another disk. */
static void another_disk_while_a_map_is_left(void **state)
{
	bool ended = false;

	for (unsigned n = 1; !ended; n++) {
		begin();
		world->hot_plug = world->stays = true;
		assert_true(agent_lives(NOBODY, 0));
		world->gone = true;
		assert_true(agent_lives(NOBODY, 0));
		assert_int_equal(world->page.volumes[0].state, VOLUME_FAILED);
		world->gone = false;
		world->replaced = true;
		ended = agent_lives(AGENT, n);
		if (!ended)
			assert_true(agent_lives(NOBODY, 0));
		assert_int_equal(world->segment[0][1], world->listed[0][1]);
	}
	assert_true(world->listed[0][1]);
	assert_int_equal(world->page.volumes[0].state, VOLUME_FAILED);
	assert_false(world->listed[0][0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_agent_killed_at_any_step),
		cmocka_unit_test(the_next_one_killed_too),
		cmocka_unit_test(a_worker_killed_at_any_step),
		cmocka_unit_test(a_page_of_the_initramfs),
		cmocka_unit_test(an_agent_killed_in_a_bound_boot),
		cmocka_unit_test(an_agent_killed_while_it_grows),
		cmocka_unit_test(the_next_one_killed_while_it_recovers),
		cmocka_unit_test(a_disk_that_went),
		cmocka_unit_test(another_disk_while_a_map_is_left),
	};

	log_set_level(LOG_LEVEL_ERROR);
	world = mmap(NULL, sizeof(*world), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	/* A worker of a killed agent is waited for here: systemd starts no agent beside it either. */
	if (world == MAP_FAILED || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return EXIT_FAILURE;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
