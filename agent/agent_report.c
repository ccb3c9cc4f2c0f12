/* SPDX-License-Identifier: Apache-2.0 */
/* When every volume is settled: self-test, signed boot report, first challenge.
 *
 * The report and the first challenge reach the page in one write, before either is sent: an agent
 * killed before it makes them again, and the manager has seen nothing; one killed after it goes on
 * with the same report, and so the same admission. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <systemd/sd-daemon.h>

#include "agent.h"
#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "disks/selftest.h"
#include "keys/hygiene.h"

#define STATUS_SIZE_MAX 8192
#define LEASE_MAX_MS	(24 * 3600 * 1000ull) /* the keeper takes no deadline beyond 25 hours */

/* Whether process PID holds locked memory (VmLck of proc(5)'s status). */
static bool memory_is_locked(int pid)
{
	char path[64], text[STATUS_SIZE_MAX], *at;
	unsigned long kib = 0;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	n = file_read(-1, path, text, sizeof(text) - 1);
	if (n < 0)
		return false;
	text[n] = '\0';
	at = strstr(text, "\nVmLck:");
	return at && sscanf(at, "\nVmLck: %lu kB", &kib) == 1 && kib > 0;
}

static void note(struct agent *a, enum self_test_bit bit, bool passed)
{
	*(passed ? &a->state.self_test_passed : &a->state.self_test_failed) |= (uint32_t)bit;
}

static void self_test(struct agent *a)
{
	const struct keeper_hello *hello = &a->keeper.hello;
	struct keeper_status status = {0};
	bool keeper = keeper_status_get(a, &status) == 0;

	disks_self_test(&a->config, a->carry.configs, a->state.n_volumes,
			&a->state.self_test_passed, &a->state.self_test_failed);
	note(a, SELF_TEST_MEMORY_LOCKED,
	     keeper && memory_is_locked(getpid()) && memory_is_locked(status.keeper_pid) &&
		     memory_is_locked(status.twin_pid));
	note(a, SELF_TEST_SECRET_MEMORY, hello->secret_memory);
	note(a, SELF_TEST_NO_CORE, prctl(PR_GET_DUMPABLE) == 0);
	note(a, SELF_TEST_WATCHDOG, hello->watchdog_armed);
	note(a, SELF_TEST_POWER_ARMED, hello->power_armed);
	if (!bytes_are_zero(a->state.initramfs_config, sizeof(a->state.initramfs_config)))
		note(a, SELF_TEST_INITRAMFS, initramfs_agrees(a));
	if (a->state.self_test_failed)
		log_warning("self-test: failed bits 0x%x, passed 0x%x", a->state.self_test_failed,
			    a->state.self_test_passed);
}

static void report_fill(const struct agent *a, struct boot_report *report)
{
	struct utsname kernel;

	*report = (struct boot_report){
		.self_test_passed = a->state.self_test_passed,
		.self_test_failed = a->state.self_test_failed,
		.version = EMBERLOCK_VERSION,
		.n_volumes = a->state.n_volumes,
		.bound = bind_volumes(a),
	};
	memcpy(report->workspace, a->workspace, sizeof(report->workspace));
	memcpy(report->vm, a->vm, sizeof(report->vm));
	memcpy(report->boot_id, a->keeper.hello.boot_id, sizeof(report->boot_id));
	memcpy(report->plan_hash, a->carry.hash, sizeof(report->plan_hash));
	memcpy(report->failure, a->failure, sizeof(report->failure));
	if (uname(&kernel) == 0)
		text_escape(report->kernel, sizeof(report->kernel), kernel.release,
			    sizeof(kernel.release));
	for (uint32_t i = 0; i < a->state.n_volumes; i++) {
		const struct state_volume *from = &a->state.volumes[i];
		struct report_volume *to = &report->volumes[i];

		memcpy(to->name, from->name, sizeof(to->name));
		to->use = from->use;
		to->state = from->state;
		to->n_segments = (uint16_t)from->n_segments;
		to->bytes = from->bytes;
	}
}

static int report_sign(struct agent *a)
{
	_cleanup_signing_key_ struct signing_key *boot_key = NULL;
	struct boot_report report;
	int r = identity_key(a, &boot_key);

	if (r < 0)
		return r;
	report_fill(a, &report);
	r = boot_report_sign(a->vm_key, boot_key, &report, a->state.report);
	registers_scrub();
	return r;
}

/* Starts the lease machine; without a report it can only wait for OnAdmissionTimeout=. */
static void lease_begin(struct agent *a)
{
	struct lease_limits limits = {
		.max_ttl_ms = a->config.max_lease_ms < LEASE_MAX_MS ? a->config.max_lease_ms
								    : LEASE_MAX_MS,
		.forbid_warn = a->config.forbid_warn,
		.poweroff_on_admission_timeout = a->config.admission_poweroff,
		.admission_timeout_ns = a->config.admission_timeout_ms * NSEC_PER_MSEC,
	};
	uint8_t admission[HASH_SIZE] = {0};

	if (!a->state.reported && a->state.lease.number > 0)
		return; /* an agent before has begun to wait */
	if (a->state.reported && sha256(a->state.report, sizeof(a->state.report), admission) < 0) {
		agent_exit(a, log_errno(-EIO, "admission"));
		return;
	}
	lease_init(&a->state.lease, &limits, admission);
	lease_event(a, LEASE_EVENT_START, NULL, NULL);
}

void report_boot_key_done(struct agent *a)
{
	int r;

	cleanup_close(&a->carry.boot_key_fd);
	a->carry.boot_key_fd = -1;
	if (a->config.keep_boot_key || bind_waits(a))
		return;
	r = keeper_erase_boot_key(a);
	if (r < 0 && r != -ENOKEY) {
		agent_fail(a, "the boot key cannot be erased (KeepBootKey=no): %s", strerror(-r));
		return;
	}
	a->state.boot_key_erased = 1;
	log_info("boot key erased (KeepBootKey=no)");
}

void report_make(struct agent *a)
{
	int r;

	sd_notify(0, "READY=1");
	report_boot_key_done(a);
	if (a->state.reported || a->state.lease.state != LEASE_STARTING) {
		control_notify(a);
		return;
	}
	self_test(a);
	if (a->vm_key) {
		r = report_sign(a);
		if (r < 0)
			agent_fail(a, "the boot report cannot be signed: %s", strerror(-r));
		a->state.reported = r == 0;
		a->vm_key = signing_key_free(a->vm_key);
	}
	lease_begin(a);
	control_notify(a);
}
