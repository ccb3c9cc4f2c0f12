/* SPDX-License-Identifier: Apache-2.0 */
/* Worker processes: one forked process maps, changes or undoes one volume, and says in a pipe what came
 * of it. It dies with its agent (PR_SET_PDEATHSIG). */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/log.h"
#include "disks/volume.h"
#include "keys/hygiene.h"

/* Making a file system takes a second or so; a disk that stalls must not stall the boot's report. */
#define WORKER_LIMIT_NS (120 * NSEC_PER_SEC)
#define SWAP_LIMIT_NS	(1800 * NSEC_PER_SEC)

/* --- in the worker */

/* The lowest of the KEPT descriptors from FIRST on; ~0u: none. */
static unsigned kept_next(const int kept[], size_t n, unsigned first)
{
	unsigned next = ~0u;

	for (size_t i = 0; i < n; i++)
		if (kept[i] >= 0 && (unsigned)kept[i] >= first && (unsigned)kept[i] < next)
			next = (unsigned)kept[i];
	return next;
}

/* Leaves nothing of the agent's open: above all not its connection to the keeper, which must end
 * when the agent does. */
static void close_others(const int kept[], size_t n)
{
	unsigned first = 3, next;

	while ((next = kept_next(kept, n, first)) != ~0u) {
		if (next > first)
			close_range(first, next - 1, 0);
		first = next + 1;
	}
	close_range(first, ~0u, 0);
}

static int worker_settle(pid_t parent)
{
	sigset_t none;

	sigemptyset(&none);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || sigprocmask(SIG_SETMASK, &none, NULL) < 0)
		return -errno;
	if (getppid() != parent)
		_exit(EXIT_FAILURE); /* the agent ended before it could take us with it */
	return process_lock();
}

static int work_do(const struct volume_job *job, enum work_kind kind, struct work_said *said)
{
	switch (kind) {
	case WORK_MAP:
		return volume_map(job, said->reason, &said->left, said->ms);
	case WORK_GROW:
		return volume_grow(job, said->reason, &said->left);
	case WORK_UNGROW:
		return volume_growth_undo(job->config->name, job->n_mapped, job->n_segments);
	case WORK_SWAP:
		return volume_swap_resize(job, said->reason);
	case WORK_UNPLUG:
		return volume_unplug(job->config->name, job->n_segments);
	default:
		return volume_unmap(job->config->name, job->n_segments);
	}
}

__attribute__((noreturn)) static void worker_run(const struct volume_job *job, enum work_kind kind,
						 int result_fd, pid_t parent)
{
	const int kept[] = {result_fd, job->boot_key_fd, job->gate_fd};
	struct work_said said = {0};

	volume_worker_begin();
	close_others(kept, ELEMENTSOF(kept));
	said.r = worker_settle(parent);
	if (said.r < 0)
		snprintf(said.reason, sizeof(said.reason), "volume %s: worker: %s",
			 job->config->name, strerror(-said.r));
	else
		said.r = work_do(job, kind, &said);
	registers_scrub();
	_exit(fd_write_full(result_fd, &said, sizeof(said)) < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

/* --- in the agent */

static void work_end(struct agent_work *work, enum work_kind next)
{
	work->child = sd_event_source_disable_unref(work->child);
	work->limit = sd_event_source_disable_unref(work->limit);
	cleanup_close(&work->result_fd);
	work->result_fd = -1;
	work->pid = 0;
	work->kind = next;
}

static int on_worker_end(sd_event_source *s, const siginfo_t *si, void *userdata)
{
	struct agent_work *work = userdata;
	enum work_kind kind = work->kind;
	struct work_result result = {.status = si->si_status};

	result.reported = work->result_fd >= 0 &&
			  fd_read_full(work->result_fd, &result.said, sizeof(result.said)) == 0;
	result.said.reason[sizeof(result.said.reason) - 1] = '\0';
	work_end(work, WORK_NONE);
	if (!work->agent->shred.begun)
		volume_worked(work->agent, work->index, kind, &result);
	return 0;
}

/* A worker that waits for a stalled disk cannot be killed either; its maps stay in the keeper's
 * list until it has ended and they have been undone. That is tried once. */
static int on_worker_limit(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct agent_work *work = userdata;
	struct agent *a = work->agent;
	char reason[128];

	sd_event_source_send_child_signal(work->child, SIGKILL, NULL, 0);
	if (work->kind == WORK_SWEEP || (work->kind >= WORK_GROW && work->kind <= WORK_UNPLUG))
		return 0;
	snprintf(reason, sizeof(reason), "volume %s: not made within %ju s",
		 a->state.volumes[work->index].name, (uintmax_t)(WORKER_LIMIT_NS / NSEC_PER_SEC));
	volume_failed(a, work->index, reason);
	work->kind = WORK_ABANDON;
	plan_continue(a);
	return 0;
}

static void worker_watch(struct agent *a, struct agent_work *work)
{
	/* To read back what was swapped out takes as long as it takes. */
	uint64_t limit_ns = work->kind == WORK_SWAP ? SWAP_LIMIT_NS : WORKER_LIMIT_NS;
	int r = sd_event_add_child(a->event, &work->child, work->pid, WEXITED, on_worker_end, work);

	r = r < 0 ? r
		  : sd_event_add_time(a->event, &work->limit, CLOCK_BOOTTIME,
				      (clock_boottime_ns() + limit_ns) / 1000, 0, on_worker_limit,
				      work);
	if (r < 0) /* takes the worker with it; the next agent undoes what it left */
		agent_exit(a, log_errno(r, "worker"));
}

int worker_fork(struct agent *a, uint32_t index, const struct volume_job *job, enum work_kind kind)
{
	struct agent_work *work = &a->carry.works[index];
	pid_t parent = getpid();
	int fds[2], r;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	work->pid = fork();
	if (work->pid == 0) {
		a->vm_key = signing_key_free(a->vm_key);
		worker_run(job, kind, fds[1], parent);
	}
	r = work->pid < 0 ? -errno : 0;
	close(fds[1]);
	if (r < 0) {
		close(fds[0]);
		return r;
	}
	work->kind = kind;
	work->result_fd = fds[0];
	worker_watch(a, work);
	return 0;
}

void volumes_abort(struct agent *a)
{
	for (uint32_t i = 0; i < a->state.n_volumes; i++)
		if (a->carry.works[i].child)
			sd_event_source_send_child_signal(a->carry.works[i].child, SIGKILL, NULL,
							  0);
}
