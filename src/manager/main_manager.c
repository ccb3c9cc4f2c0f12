/* SPDX-License-Identifier: Apache-2.0 */
/* emberlock-manager: reads its options, makes what a first start needs, runs the loop. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "manager/admin_routes.h"
#include "manager/json.h"
#include "manager/manager.h"
#include "manager/pki.h"

#define SANS_MAX     64
#define DAY_US	     (24ull * 3600 * 1000000)
#define DAY_SLACK_US (60ull * 1000000)

static const char *arg_state = "/var/lib/emberlock";
static const char *arg_listen = "127.0.0.1:8443";
static const char *arg_admin_listen = "127.0.0.1:8444";
static const char *arg_storage_listen;
static const char *arg_events_listen;
static const char *arg_advertise, *arg_storage_advertise;
static const char *arg_sans[SANS_MAX];
static size_t arg_n_sans;

static int help(void)
{
	printf("emberlock-manager [OPTION...]\n\n"
	       "Watches customer-managed keys and signs leases of VMs.\n\n"
	       "  --state DIR                 where everything is kept (default %s)\n"
	       "  --listen ADDRESS:PORT       for VMs (default %s)\n"
	       "  --admin-listen ADDRESS:PORT for the admin API (default %s)\n"
	       "  --storage-listen ADDRESS:PORT for storage nodes (default: not served)\n"
	       "  --events-listen ADDRESS:PORT for events of clouds (default: not served)\n"
	       "  --advertise URL             what VMs are told (default https:// and --listen)\n"
	       "  --storage-advertise URL     what storage nodes are told (default https:// and\n"
	       "                              --storage-listen)\n"
	       "  --san NAME-OR-ADDRESS       of the server's certificate; may be given often\n"
	       "  --help, --version\n",
	       arg_state, arg_listen, arg_admin_listen);
	return 0;
}

static bool is_wildcard(const char *address)
{
	return strncmp(address, "0.0.0.0:", 8) == 0 || strncmp(address, "[::]:", 5) == 0;
}

/* 1 go on, 0 done, -EINVAL. */
static int parse_arguments(int argc, char **argv)
{
	enum {
		OPTION_STATE = 256,
		OPTION_LISTEN,
		OPTION_ADMIN,
		OPTION_STORAGE,
		OPTION_EVENTS,
		OPTION_URL,
		OPTION_STORAGE_URL,
		OPTION_SAN,
		OPTION_VERSION
	};
	static const struct option options[] = {
		{"state", required_argument, NULL, OPTION_STATE},
		{"listen", required_argument, NULL, OPTION_LISTEN},
		{"admin-listen", required_argument, NULL, OPTION_ADMIN},
		{"storage-listen", required_argument, NULL, OPTION_STORAGE},
		{"events-listen", required_argument, NULL, OPTION_EVENTS},
		{"advertise", required_argument, NULL, OPTION_URL},
		{"storage-advertise", required_argument, NULL, OPTION_STORAGE_URL},
		{"san", required_argument, NULL, OPTION_SAN},
		{"version", no_argument, NULL, OPTION_VERSION},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
		switch (c) {
		case 'h':
			return help();
		case OPTION_VERSION:
			puts("emberlock-manager " EMBERLOCK_VERSION);
			return 0;
		case OPTION_STATE:
			arg_state = optarg;
			break;
		case OPTION_LISTEN:
			arg_listen = optarg;
			break;
		case OPTION_ADMIN:
			arg_admin_listen = optarg;
			break;
		case OPTION_STORAGE:
			arg_storage_listen = optarg;
			break;
		case OPTION_EVENTS:
			arg_events_listen = optarg;
			break;
		case OPTION_URL:
			arg_advertise = optarg;
			break;
		case OPTION_STORAGE_URL:
			arg_storage_advertise = optarg;
			break;
		case OPTION_SAN:
			if (arg_n_sans == SANS_MAX)
				return log_errno(-E2BIG, "--san");
			arg_sans[arg_n_sans++] = optarg;
			break;
		default:
			return -EINVAL;
		}
	}
	if (optind < argc)
		return log_errno(-EINVAL, "%s", argv[optind]);
	if (is_wildcard(arg_listen) && !arg_advertise) {
		log_error("--listen %s: VMs cannot be told that address; --advertise says what "
			  "they are told",
			  arg_listen);
		return -EINVAL;
	}
	if (arg_storage_listen && is_wildcard(arg_storage_listen) && !arg_storage_advertise) {
		log_error("--storage-listen %s: storage nodes cannot be told that address; "
			  "--storage-advertise says what they are told",
			  arg_storage_listen);
		return -EINVAL;
	}
	return 1;
}

/* Where ADDRESS is reached from this machine: nobody connects to a wildcard. */
static void url_of(const char *address, char url[static 128])
{
	if (is_wildcard(address))
		snprintf(url, 128, "https://%s%s", *address == '[' ? "[::1]" : "127.0.0.1",
			 strrchr(address, ':'));
	else
		snprintf(url, 128, "https://%s", address);
}

/* 1 where the server's certificate is new. */
static int ensure_pki(void)
{
	char admin_url[128], url[128], storage_url[128], error[256];
	struct pki_options options = {
		.state_dir = arg_state,
		.sans = arg_sans,
		.n_sans = arg_n_sans,
		.admin_url = admin_url,
		.manager_url = arg_advertise ? arg_advertise : url,
	};
	int r;

	url_of(arg_admin_listen, admin_url);
	url_of(arg_listen, url);
	if (arg_storage_listen) {
		url_of(arg_storage_listen, storage_url);
		options.storage_url = arg_storage_advertise ? arg_storage_advertise : storage_url;
	}
	r = pki_ensure(&options, (int64_t)clock_realtime_s(), error);
	if (r < 0)
		log_error("%s", error);
	return r;
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	sd_notify(0, "STOPPING=1");
	return sd_event_exit(sd_event_source_get_event(source), 0);
}

/* Certificates are renewed while the manager runs. */
static int on_day(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct manager *manager = userdata;

	if (ensure_pki() > 0 && manager_reload_tls(manager) == 0)
		log_notice("the server's certificate was renewed");
	sd_event_source_set_time(source, usec + DAY_US);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int add_sources(sd_event *event, struct manager *manager)
{
	uint64_t now;
	int r;

	r = sd_event_add_signal(event, NULL, SIGTERM, on_signal, NULL);
	if (r >= 0)
		r = sd_event_add_signal(event, NULL, SIGINT, on_signal, NULL);
	if (r >= 0)
		r = sd_event_now(event, CLOCK_BOOTTIME, &now);
	if (r >= 0)
		r = sd_event_add_time(event, NULL, CLOCK_BOOTTIME, now + DAY_US, DAY_SLACK_US,
				      on_day, manager);
	return r < 0 ? r : 0;
}

/* A connection is a descriptor, and the default is 1,024. */
static void raise_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* Signing keys and KEKs pass through this process: no core file, no debugger of the same user. */
static int forbid_dumps(void)
{
	if (prctl(PR_SET_DUMPABLE, 0) < 0)
		return log_errno(-errno, "cannot forbid core dumps");
	return 0;
}

static void block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static void cleanup_event(sd_event **event)
{
	sd_event_unref(*event);
}

static void cleanup_manager(struct manager **manager)
{
	manager_free(*manager);
}

static void say_ready(const struct manager *manager)
{
	char vm[64], admin[64], storage[64], events[64];

	manager_address(manager, LISTENER_VM, vm);
	manager_address(manager, LISTENER_ADMIN, admin);
	manager_address(manager, LISTENER_STORAGE, storage);
	manager_address(manager, LISTENER_EVENTS, events);
	printf("ready: VMs on https://%s, administration on https://%s, %s%s%s%s%s%sstate in %s\n",
	       vm, admin, *storage ? "storage nodes on https://" : "", storage,
	       *storage ? ", " : "", *events ? "events on https://" : "", events,
	       *events ? ", " : "", arg_state);
	fflush(stdout);
	sd_notifyf(0, "READY=1\nSTATUS=VMs on %s, administration on %s", vm, admin);
}

static int run(void)
{
	_cleanup_(cleanup_event) sd_event *event = NULL;
	_cleanup_(cleanup_manager) struct manager *manager = NULL;
	const struct manager_options options = {
		.state = arg_state,
		.listen = arg_listen,
		.admin_listen = arg_admin_listen,
		.storage_listen = arg_storage_listen,
		.events_listen = arg_events_listen,
		.admin_routes = admin_routes,
		.n_admin_routes = admin_routes_n,
	};
	int r;

	if (mkdir(arg_state, 0700) < 0 && errno != EEXIST)
		return log_errno(-errno, "%s", arg_state);
	r = ensure_pki();
	if (r < 0)
		return r;
	r = sd_event_default(&event);
	if (r < 0)
		return log_errno(r, "event loop");
	r = manager_new(event, &options, &manager);
	if (r == 0)
		r = add_sources(event, manager);
	if (r < 0)
		return log_errno(r, "cannot start");
	say_ready(manager);
	r = sd_event_loop(event);
	return r < 0 ? log_errno(r, "event loop") : 0;
}

int main(int argc, char **argv)
{
	int r;

	json_wipe_freed();
	umask(077);
	block_signals();
	raise_files();
	r = parse_arguments(argc, argv);
	if (r < 0)
		return 2;
	if (r == 0)
		return EXIT_SUCCESS;
	return forbid_dumps() < 0 || run() < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
