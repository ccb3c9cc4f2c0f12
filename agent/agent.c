/* SPDX-License-Identifier: Apache-2.0 */
/* emberlock-agent: plans and maps the volumes of this boot, holds its lease, signs its receipts. */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "disks/volume.h"

#define CONSOLE	       "/dev/console"
#define RETRY_FIRST_MS 500
#define RETRY_MAX_MS   30000

void agent_exit(struct agent *a, int r)
{
	sd_event_exit(a->event, r < 0 ? r : 0);
}

void agent_timer(struct agent *a, sd_event_source **source, uint64_t at_ns,
		 sd_event_time_handler_t handler)
{
	uint64_t usec = at_ns / 1000 + (at_ns % 1000 != 0);
	int r = 0;

	if (at_ns == LEASE_NEVER) {
		if (*source)
			sd_event_source_set_enabled(*source, SD_EVENT_OFF);
		return;
	}
	if (!*source) {
		r = sd_event_add_time(a->event, source, CLOCK_BOOTTIME, usec, 1, handler, a);
		r = r < 0 ? r : sd_event_source_set_priority(*source, PRIORITY_TIMER);
	} else {
		r = sd_event_source_set_time(*source, usec);
		r = r < 0 ? r : sd_event_source_set_enabled(*source, SD_EVENT_ONESHOT);
	}
	if (r < 0)
		agent_exit(a, log_errno(r, "timer"));
}

void agent_random(struct agent *a, void *bytes, size_t n)
{
	if (getrandom(bytes, n, 0) == (ssize_t)n)
		return;
	/* Up to 256 bytes always come (getrandom(2)); without them nothing may go on. */
	log_errno(-errno, "getrandom");
	_exit(EXIT_FAILURE);
}

static int on_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
	sd_notify(0, "STOPPING=1");
	log_notice("stops; the keeper holds the deadline");
	agent_exit(userdata, 0);
	return 0;
}

static int loop_open(struct agent *a)
{
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	r = sd_event_new(&a->event);
	r = r < 0 ? r : sd_event_add_signal(a->event, NULL, SIGTERM, on_signal, a);
	r = r < 0 ? r : sd_event_add_signal(a->event, NULL, SIGINT, on_signal, a);
	return r < 0 ? r : sd_event_set_watchdog(a->event, 1);
}

/* What the boot's report says of it is what counts, once there is one. */
static void failure_restore(struct agent *a)
{
	struct boot_report report;

	if (a->state.reported &&
	    boot_report_decode(a->state.report, sizeof(a->state.report), &report) == 0)
		memcpy(a->failure, report.failure, sizeof(a->failure));
}

static void ready_directory_make(struct agent *a)
{
	if (mkdir(READY_DIRECTORY, 0755) < 0 && errno != EEXIST)
		agent_fail(a, "%s: %s", READY_DIRECTORY, strerror(errno));
}

static void sockets_open(struct agent *a)
{
	int r;

	r = watchdog_open(a);
	if (r < 0)
		agent_fail(a, "%s: %s", WATCHDOG_SOCKET,
			   r == -ENOENT ? "no user or group emberlock-watchdog" : strerror(-r));
	r = control_open(a);
	if (r < 0)
		agent_fail(a, "%s: %s", CONTROL_SOCKET,
			   r == -ENOENT ? "no group emberlock" : strerror(-r));
}

static int start(struct agent *a)
{
	int r = keeper_open(a);

	if (r < 0)
		return r;
	log_info("keeper %s, agent number %u of this boot%s", a->keeper.hello.version,
		 a->keeper.hello.agents, a->continued ? ", continues" : "");
	failure_restore(a);
	config_load(a);
	ready_directory_make(a);
	if (!a->initramfs_root)
		sockets_open(a);
	r = plan_start(a);
	if (r < 0 || a->initramfs_root)
		return r;
	pause_start(a);
	lease_resume(a);
	return 0;
}

static void finish(struct agent *a)
{
	/* Workers end with us; what they leave is on the page. */
	a->vm_key = signing_key_free(a->vm_key);
	a->shred.key = signing_key_free(a->shred.key);
	pause_done(a);
	control_done(a);
	watchdog_done(a);
	keeper_close(a);
	cleanup_close(&a->console);
	sd_event_unref(a->event);
}

static void context_init(struct agent *a)
{
	a->keeper.fd = a->keeper.identity_fd = -1;
	a->carry.boot_key_fd = a->carry.gate_fd = -1;
	a->watchdog.fd = -1;
	a->pauses.rtc = -1;
	for (size_t i = 0; i < CONTROL_PEERS_MAX; i++)
		a->control.peers[i].fd = -1;
	a->requests.retry = (struct retry){.first_ms = RETRY_FIRST_MS, .max_ms = RETRY_MAX_MS};
	a->console = open(CONSOLE, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

static int run(const char *initramfs_root)
{
	static struct agent a;
	int r;

	/* One arena; and no caching of freed memory that is locked anyway. */
	mallopt(M_ARENA_MAX, 1);
	r = process_lock();
	if (r < 0)
		return log_errno(r, "cannot lock memory (LimitMEMLOCK= of the unit)");
	context_init(&a);
	a.initramfs_root = initramfs_root;
	r = loop_open(&a);
	if (r < 0)
		log_errno(r, "loop");
	else
		r = start(&a);
	if (r >= 0)
		r = sd_event_loop(a.event);
	finish(&a);
	return r;
}

static void help(void)
{
	printf("emberlock-agent [--initramfs=ROOT] [--help] [--version]\n\n"
	       "Maps the volumes of /etc/emberlock/volumes.d under keys of this boot, and holds "
	       "its\n"
	       "lease. Started by emberlock-agent.service; needs emberlock-keeper (%s)\n"
	       "and the credential emberlock.vm. It may be stopped and started at any time.\n\n"
	       "  --initramfs=ROOT  map the volume with Use=overlay alone, mount the overlay over "
	       "ROOT,\n"
	       "                    and end; run by the initramfs\n\n"
	       "Exit status: 0 stopped, 1 failed (the keeper is gone, memory cannot be locked),\n"
	       "2 wrong usage. See emberlock-agent(8).\n",
	       KEEPER_SOCKET);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"initramfs", required_argument, NULL, 'i'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{0},
	};
	const char *initramfs_root = NULL;
	int c = getopt_long(argc, argv, "", options, NULL);

	if (c == 'i') {
		initramfs_root = optarg;
		c = getopt_long(argc, argv, "", options, NULL);
	}

	if (c == 'h')
		help();
	else if (c == 'V')
		puts("emberlock-agent " EMBERLOCK_VERSION);
	else if (c != -1 || optind < argc)
		return fprintf(stderr, "emberlock-agent: unexpected argument; see --help\n"), 2;
	else
		return run(initramfs_root) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	return EXIT_SUCCESS;
}
