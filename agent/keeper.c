/* SPDX-License-Identifier: Apache-2.0 */
/* emberlock-keeper: holds the boot key, the deadline, the list of maps, the shred and the switch. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "keeper_start.h"

static const char *arg_config;
static bool arg_initramfs;

static void print_help(void)
{
	puts("Usage: emberlock-keeper [OPTION]...\n"
	     "\n"
	     "Holds the keys of this boot in locked memory, and destroys them when it must.\n"
	     "\n"
	     "  --config FILE  read FILE instead of /etc/emberlock/keeper.conf\n"
	     "  --initramfs    go on in the background once keys are held\n"
	     "  --help         show this text\n"
	     "  --version      show the version\n"
	     "\n"
	     "See emberlock-keeper(8).");
}

/* 0: go on; 1: done; negative errno: wrong usage. */
static int parse_options(int argc, char *argv[])
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"initramfs", no_argument, NULL, 'i'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'v'},
		{NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (c) {
		case 'c':
			arg_config = optarg;
			break;
		case 'i':
			arg_initramfs = true;
			break;
		case 'h':
			print_help();
			return 1;
		case 'v':
			puts("emberlock-keeper " EMBERLOCK_VERSION);
			return 1;
		default:
			return -EINVAL;
		}
	}
	if (optind < argc) {
		log_error("'%s': emberlock-keeper takes no arguments", argv[optind]);
		return -EINVAL;
	}
	return 0;
}

static int load_config_file(const char *path, struct keeper_config *ret_config)
{
	char text[16384];
	struct config_error error;
	ssize_t n;
	int r;

	n = file_read(AT_FDCWD, path, text, sizeof(text));
	if (n < 0)
		return (int)n;
	r = keeper_config_parse(text, (size_t)n, ret_config, &error);
	if (r < 0)
		log_error("%s:%u: %s", path, error.line, error.text);
	return r;
}

static int load_config(struct keeper_config *ret_config)
{
	static const char *const paths[] = {
		"/etc/emberlock/keeper.conf",
		"/run/emberlock/conf/keeper.conf",
		"/usr/lib/emberlock/keeper.conf",
	};
	int r;

	if (arg_config) {
		r = load_config_file(arg_config, ret_config);
		return r < 0 ? log_errno(r, "cannot use the configuration '%s'", arg_config) : 0;
	}
	for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
		r = load_config_file(paths[i], ret_config);
		if (r != -ENOENT)
			return r < 0 ? log_errno(r, "cannot use the configuration '%s'", paths[i])
				     : 0;
	}
	keeper_config_init(ret_config);
	return 0;
}

/* systemd's shutdown spares root's processes whose name begins with an '@'. */
static void rename_self(char *argv0)
{
	static const char name[] = "@emberlock-keeper";
	size_t room = strlen(argv0);

	memset(argv0, 0, room);
	memcpy(argv0, name, room < sizeof(name) - 1 ? room : sizeof(name) - 1);
}

/* Last of all, so that a start that fails does not end in a reset. Without a power switch there is
 * none: it would be one. */
static void start_watchdog(struct keeper *keeper)
{
	const struct keeper_config *config = &keeper->config;
	int r;

	if (!keeper->power.armed || strcmp(config->watchdog, "none") == 0)
		return;
	r = watchdog_open(&keeper->watchdog, config->watchdog, config->watchdog_ms,
			  clock_boottime_ns());
	if (r < 0)
		log_warning("Watchdog=%s: there is no watchdog below the keeper: %s",
			    config->watchdog, strerror(-r));
	else if (keeper->watchdog.timeout_ms / 1000 != config->watchdog_ms / 1000)
		log_warning("WatchdogSec=: %s keeps a time of its own, %ju s", config->watchdog,
			    (uintmax_t)(keeper->watchdog.timeout_ms / 1000));
}

static int start(struct keeper *keeper)
{
	int r;

	keeper_init(keeper, clock_boottime_ns());
	r = load_config(&keeper->config);
	if (r < 0)
		return r;
	if (getuid() != 0)
		return log_errno(-EPERM, "emberlock-keeper must run as root");
	r = start_harden();
	if (r == 0 && arg_initramfs)
		r = start_confine();
	if (r < 0)
		return r;
	r = keeper_listen(keeper);
	if (r == -EBUSY)
		return log_errno(r, "another keeper runs: " KEEPER_SOCKET);
	if (r < 0)
		return log_errno(r, "cannot listen at " KEEPER_SOCKET);
	r = start_open(keeper);
	if (r < 0)
		return r;
	r = start_twin(keeper);
	if (r < 0)
		return r;
	r = start_threads(keeper, PROCESS_PRIMARY);
	if (r < 0)
		return log_errno(r, "cannot start threads");
	start_watchdog(keeper);
	atomic_store(&keeper->shared->started, 1);
	return 0;
}

/* 0: keys are held; 1: by the keeper of the initramfs; or negative errno. */
static int begin(struct keeper *keeper, char *argv0, int *ret_ready_fd)
{
	/* Without a keeper nothing else can tell why. */
	_cleanup_close_ int kmsg = open("/dev/kmsg", O_WRONLY | O_CLOEXEC | O_NOCTTY);
	int r;

	log_copy_errors(kmsg);
	/* Only a unit can take over a keeper that is there already. */
	r = arg_initramfs	      ? start_detached(ret_ready_fd)
	    : getenv("NOTIFY_SOCKET") ? keeper_adopt()
				      : 0;
	if (r == 0) {
		rename_self(argv0);
		r = start(keeper);
	}
	log_copy_errors(-1);
	return r;
}

int main(int argc, char *argv[])
{
	static struct keeper keeper;
	int r, ready_fd = -1;

	r = parse_options(argc, argv);
	if (r != 0)
		return r < 0 ? 2 : 0;
	r = begin(&keeper, argv[0], &ready_fd);
	if (r != 0)
		return r < 0 ? 1 : 0;

	log_notice("keys are held%s%s; power is %s",
		   keeper.boot_key.secret_memory ? " secretly" : "",
		   keeper.watchdog.fd >= 0 ? ", a watchdog stands below" : "",
		   keeper.power.armed ? "armed" : "not armed (" POWER_ARMED_WORD ")");
	if (ready_fd >= 0)
		start_detached_ready(ready_fd);
	r = notify("READY=1\nSTATUS=Keys are held.");
	if (r < 0)
		log_errno(r, "cannot tell $NOTIFY_SOCKET that the keeper is ready");
	for (;;)
		keeper_turn(&keeper);
}
