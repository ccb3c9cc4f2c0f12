/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at the disks, in a child: one that does not answer must not keep the agent from its lease.
 *
 * One look at a time; what it found lies in memory that both share. Where it does not end, volumes whose
 * time is over fail, and the others wait for its end. */
#include <errno.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "agent.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "disks/find.h"
#include "disks/volume.h"

/* A look takes some milliseconds a disk. */
#define LOOK_LIMIT_NS (10 * NSEC_PER_SEC)

struct look_found {
	int r;
	bool unfinished;
	size_t n;
	struct disk_facts disks[DISKS_MAX];
};

/* --- in the child */

/* Nothing of the agent's stays open: see worker_run(). Nor does its key stay in a process that may outlast
 * the agent's own use of it. */
__attribute__((noreturn)) static void child_run(struct agent *a, uint32_t n, pid_t parent)
{
	struct look_found *found = a->carry.look.found;
	sigset_t none;

	sigemptyset(&none);
	volume_worker_begin();
	if (close_range(3, ~0u, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ||
	    sigprocmask(SIG_SETMASK, &none, NULL) < 0 || getppid() != parent || process_lock() < 0)
		_exit(EXIT_FAILURE);
	a->vm_key = signing_key_free(a->vm_key);
	found->r = disks_find(a->carry.round_configs, n, found->disks, DISKS_MAX, &found->n,
			      &found->unfinished);
	_exit(EXIT_SUCCESS);
}

/* --- what a look brings */

/* A disk that the worker of a volume is about to open, or is stuck with, does not look used yet.
 * That of a volume which is ready does. */
static void mark_taken(struct agent *a, struct disk_facts *disk)
{
	const struct agent_carry *c = &a->carry;

	for (uint32_t i = 0; i < a->state.n_volumes; i++) {
		if (a->state.volumes[i].state == VOLUME_READY ||
		    c->plan.volumes[i].refusal != PLAN_OK || !plan_has_disk(a, i, disk) ||
		    (disk->in_use && !disk->ours))
			continue;
		disk->in_use = true;
		disk->ours = false;
		snprintf(disk->used_by, sizeof(disk->used_by), "volume %s",
			 a->state.volumes[i].name);
	}
}

static void waiting_fail(struct agent *a, uint32_t index, const char *why)
{
	char reason[256];

	snprintf(reason, sizeof(reason), "volume %s: %s", a->state.volumes[index].name, why);
	volume_failed(a, index, reason);
}

static uint32_t waiting_collect(struct agent *a)
{
	struct agent_carry *c = &a->carry;
	uint32_t n = 0;

	for (uint32_t i = 0; i < a->state.n_volumes; i++) {
		if (c->works[i].kind == WORK_WAIT && c->configs[i].segment_bytes == 0)
			waiting_fail(a, i, "its file is gone from volumes.d");
		if (c->works[i].kind != WORK_WAIT)
			continue;
		c->works[i].looked_for = true;
		c->round_configs[n] = c->configs[i];
		c->round_index[n++] = i;
	}
	return n;
}

/* Decides on the volumes of the round by the N disks that were found. */
static int round_decide(struct agent *a, size_t n, bool unfinished)
{
	struct agent_carry *c = &a->carry;
	int r;

	for (size_t i = 0; i < n; i++)
		mark_taken(a, &c->round_disks[i]);
	r = plan_make(&c->round, c->round_configs, c->n_round, c->round_disks, n);
	for (uint32_t i = 0; r >= 0 && i < c->n_round; i++) {
		const struct agent_work *work = &c->works[c->round_index[i]];

		/* It may have failed meanwhile, and its file have been read anew. */
		if (work->kind == WORK_WAIT && work->looked_for)
			plan_decide(a, c->round_index[i], &c->round.volumes[i], unfinished);
	}
	return r;
}

bool workers_run(const struct agent *a)
{
	for (uint32_t i = 0; i < a->state.n_volumes; i++) {
		enum work_kind kind = a->carry.works[i].kind;

		if (kind == WORK_MAP || kind == WORK_UNDO || kind == WORK_CLEAN ||
		    kind == WORK_GROW || kind == WORK_UNGROW || kind == WORK_UNPLUG)
			return true;
	}
	return false;
}

/* Those whose time is over, or ALL that wait. */
static void waiting_give_up(struct agent *a, bool all, const char *why)
{
	uint64_t now_ns = clock_boottime_ns();

	for (uint32_t i = 0; i < a->state.n_volumes; i++)
		if (a->carry.works[i].kind == WORK_WAIT &&
		    (all || a->carry.works[i].wait_until_ns <= now_ns))
			waiting_fail(a, i, why);
}

static void look_failed(struct agent *a, int r)
{
	char why[128];

	snprintf(why, sizeof(why), "disks cannot be listed: %s",
		 r == -E2BIG ? "volume files ask for too many" : strerror(-r));
	waiting_give_up(a, true, why);
}

static void look_ended(struct agent *a, int r, size_t n, bool unfinished)
{
	if (a->shred.begun)
		return;
	if (a->carry.look_stale)
		a->carry.look_due = true;
	else if (r == 0)
		r = round_decide(a, n, unfinished);
	if (r < 0)
		look_failed(a, r);
	plan_continue(a);
}

static void look_stuck(struct agent *a)
{
	if (a->shred.begun)
		return;
	waiting_give_up(a, false, "a disk that may be its own does not answer (DeviceTimeoutSec=)");
	plan_continue(a);
}

/* --- a look */

static int on_child_end(sd_event_source *s, const siginfo_t *si, void *userdata)
{
	struct agent *a = userdata;
	struct agent_look *look = &a->carry.look;
	const struct look_found *found = look->found;
	int r = si->si_code == CLD_EXITED && si->si_status == EXIT_SUCCESS ? found->r : -EIO;

	look->child = sd_event_source_disable_unref(look->child);
	agent_timer(a, &look->timer, LEASE_NEVER, NULL);
	look->pid = 0;
	if (r >= 0 && found->n > DISKS_MAX)
		r = -EIO;
	if (r >= 0)
		memcpy(a->carry.round_disks, found->disks, found->n * sizeof(found->disks[0]));
	look_ended(a, r, found->n, found->unfinished);
	return 0;
}

static int on_limit(sd_event_source *s, uint64_t usec, void *userdata)
{
	log_warning("a disk does not answer: volumes that wait for theirs go on to do so");
	look_stuck(userdata);
	return 0;
}

static int found_new(struct look_found **ret_found)
{
	void *memory = mmap(NULL, sizeof(struct look_found), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return -errno;
	*ret_found = memory;
	return 0;
}

static int watch(struct agent *a)
{
	struct agent_look *look = &a->carry.look;
	int r = sd_event_add_child(a->event, &look->child, look->pid, WEXITED, on_child_end, a);

	if (r < 0) /* takes the child with it */
		agent_exit(a, log_errno(r, "look at the disks"));
	else
		agent_timer(a, &look->timer, look->limit_ns, on_limit);
	return r;
}

static int look_start(struct agent *a, uint32_t n)
{
	struct agent_look *look = &a->carry.look;
	pid_t parent = getpid();
	int r = look->found ? 0 : found_new(&look->found);

	if (r < 0)
		return r;
	look->limit_ns = clock_boottime_ns() + LOOK_LIMIT_NS;
	look->pid = fork();
	if (look->pid == 0)
		child_run(a, n, parent);
	if (look->pid < 0) {
		look->pid = 0;
		return -errno;
	}
	return watch(a);
}

bool look_runs(const struct agent *a)
{
	return a->carry.look.pid != 0;
}

bool look_is_stuck(const struct agent *a)
{
	return look_runs(a) && clock_boottime_ns() >= a->carry.look.limit_ns;
}

/* To look at a disk is to claim it for a moment, which a worker that needs it then would take for
 * somebody else's use: the look waits until the workers have ended. */
int look_begin(sd_event_source *s, void *userdata)
{
	struct agent *a = userdata;
	struct agent_carry *c = &a->carry;
	int r = 0;

	c->look_due = workers_run(a) || look_runs(a);
	if (look_is_stuck(a))
		look_stuck(a);
	if (c->look_due || a->shred.begun)
		return 0;
	c->look_stale = false;
	c->n_round = waiting_collect(a);
	if (c->n_round > 0)
		r = look_start(a, c->n_round);
	if (r < 0)
		look_failed(a, r);
	plan_continue(a);
	plan_unread(a);
	return 0;
}
