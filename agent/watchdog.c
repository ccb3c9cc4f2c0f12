/* SPDX-License-Identifier: Apache-2.0 */
/* emberlock-watchdog: all of the VM's network. Carries sealed messages between agent and manager;
 * decides nothing. */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/log.h"
#include "client/client.h"
#include "core/config.h"
#include "core/frames.h"
#include "core/retry.h"

#define CA_SIZE_MAX 65536
#define THREAD_STACK                                                                               \
	(256 * 1024) /* libcurl's resolver thread; locked, so not the default 8 MiB   \
				   */
#define POLL_MAX_MS 60000

struct watchdog {
	struct client *client;
	int signals;
	int agent;	     /* connection to the agent, or -1 */
	struct retry retry;  /* of connecting to the agent */
	uint64_t connect_ns; /* when to try next */
	bool connected;	     /* the manager answered last time */
	bool stop;
	char last_error[128]; /* what was logged last, to log once */
	struct watchdog_message message;
	struct client_answer answer;
};

static void agent_lost(struct watchdog *w, const char *why)
{
	uint32_t random = 0;

	if (w->agent >= 0)
		log_info("agent: connection ended: %s", why);
	client_cancel_all(w->client);
	cleanup_close(&w->agent);
	w->agent = -1;
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		random = 0;
	w->connect_ns = clock_boottime_ns() + retry_failed(&w->retry, random) * NSEC_PER_MSEC;
}

static void agent_connect(struct watchdog *w)
{
	const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = WATCHDOG_SOCKET};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		log_debug("agent: %s: %s", WATCHDOG_SOCKET, strerror(errno));
		agent_lost(w, "");
		return;
	}
	w->agent = TAKE_FD(fd);
	retry_succeeded(&w->retry);
	w->connected = false;
	log_info("agent: connected");
}

static void agent_send(struct watchdog *w, const void *frame, size_t n)
{
	int r = w->agent < 0 ? 0 : datagram_send(w->agent, frame, n, -1);

	if (r < 0)
		agent_lost(w, strerror(-r));
}

static void agent_event(struct watchdog *w, enum watchdog_event_kind kind, const char *text)
{
	struct watchdog_event event = {.kind = kind};

	frame_init(&event.header, FRAME_MAGIC_WATCHDOG, WATCHDOG_EVENT, sizeof(event));
	snprintf(event.text, sizeof(event.text), "%s", text);
	agent_send(w, &event, sizeof(event));
}

/* Logs and tells the agent when the way to the manager opens or closes; once each. */
static void manager_note(struct watchdog *w)
{
	const struct client_answer *a = &w->answer;
	bool connected = a->error == 0;

	if (connected && !w->connected) {
		log_info("manager: connected");
		w->last_error[0] = '\0';
		agent_event(w, WATCHDOG_CONNECTED, "");
	} else if (!connected && (w->connected || strcmp(w->last_error, a->error_text) != 0)) {
		log_warning("manager: %s", a->error_text);
		snprintf(w->last_error, sizeof(w->last_error), "%s", a->error_text);
		agent_event(w, WATCHDOG_DISCONNECTED, a->error_text);
	}
	w->connected = connected;
}

static void answers_forward(struct watchdog *w)
{
	while (client_next(w->client, &w->answer) > 0) {
		struct watchdog_message *m = &w->message;

		manager_note(w);
		*m = (struct watchdog_message){
			.number = w->answer.number,
			.route = (uint16_t)w->answer.route,
			.http_status = w->answer.http_status,
			.length = (uint32_t)w->answer.length,
			.retry_after_ms = w->answer.retry_after_ms,
		};
		frame_init(&m->header, FRAME_MAGIC_WATCHDOG, WATCHDOG_RESPONSE, sizeof(*m));
		m->header.status = w->answer.error;
		memcpy(m->body, w->answer.body, w->answer.length);
		agent_send(w, m, sizeof(*m));
	}
}

static void request_accept(struct watchdog *w)
{
	struct watchdog_message *m = &w->message;
	ssize_t n = datagram_receive(w->agent, m, sizeof(*m), NULL);
	int r;

	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		agent_lost(w, n == 0 ? "closed by the agent" : strerror((int)-n));
		return;
	}
	if (n != sizeof(*m) || !frame_is_valid(m, (size_t)n, FRAME_MAGIC_WATCHDOG) ||
	    m->header.type != WATCHDOG_REQUEST || m->length > sizeof(m->body)) {
		agent_lost(w, "a frame that is not a request");
		return;
	}
	r = client_send(w->client, m->route, m->number, m->body, m->length);
	if (r < 0)
		agent_lost(w, "a request that is not of the protocol");
}

/* How long the loop may wait for an event. */
static int wait_ms(const struct watchdog *w)
{
	uint64_t now = clock_boottime_ns(), left;

	if (w->agent >= 0)
		return POLL_MAX_MS;
	left = w->connect_ns > now ? (w->connect_ns - now + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC : 0;
	return left > POLL_MAX_MS ? POLL_MAX_MS : (int)left;
}

static int loop(struct watchdog *w)
{
	while (!w->stop) {
		struct pollfd fds[2] = {{.fd = w->signals}, {.fd = w->agent}};
		int r;

		if (w->agent < 0 && clock_boottime_ns() >= w->connect_ns)
			agent_connect(w);
		fds[1].fd = w->agent;
		r = client_poll(w->client, fds, w->agent < 0 ? 1 : 2, wait_ms(w));
		if (r < 0)
			return log_errno(r, "network loop");
		if (fds[0].revents)
			w->stop = true;
		if (w->agent >= 0 && fds[1].revents)
			request_accept(w);
		answers_forward(w);
	}
	return 0;
}

static ssize_t credential_read(const char *name, char *text, size_t size)
{
	const char *directory = getenv("CREDENTIALS_DIRECTORY");
	char path[512];
	ssize_t n;

	if (!directory)
		return log_errno(-ENOENT, "credential %s: $CREDENTIALS_DIRECTORY is not set", name);
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	n = file_read(-1, path, text, size);
	return n < 0 ? log_errno((int)n, "credential %s", name) : n;
}

static int client_open(struct client **ret_client)
{
	static char text[CA_SIZE_MAX];
	struct manager_credential manager;
	struct config_error error;
	ssize_t n = credential_read("emberlock.manager", text, sizeof(text));
	int r;

	if (n < 0)
		return (int)n;
	r = manager_credential_parse(text, (size_t)n, &manager, &error);
	if (r < 0)
		return log_errno(r, "credential emberlock.manager: line %u: %s", error.line,
				 error.text);
	n = credential_read("emberlock.ca", text, sizeof(text));
	if (n < 0)
		return (int)n;
	r = client_new(manager.url, text, (size_t)n, ret_client);
	return r < 0 ? log_errno(r, "credential emberlock.manager: URL=%s", manager.url) : 0;
}

static int signals_open(void)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

/* Everything is locked: one arena, small stacks. */
static int memory_limit(void)
{
	pthread_attr_t attributes;

	mallopt(M_ARENA_MAX, 1);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, THREAD_STACK);
	pthread_setattr_default_np(&attributes);
	pthread_attr_destroy(&attributes);
	return process_lock();
}

static int run(void)
{
	static struct watchdog w = {
		.agent = -1,
		.retry = {.first_ms = 100, .max_ms = 5000},
	};
	int r = memory_limit();

	if (r < 0)
		return log_errno(r, "cannot lock memory (LimitMEMLOCK= of the unit)");
	w.signals = signals_open();
	if (w.signals < 0)
		return log_errno(w.signals, "signals");
	r = client_open(&w.client);
	if (r < 0)
		return r;
	sd_notify(0, "READY=1");
	r = loop(&w);
	sd_notify(0, "STOPPING=1");
	client_free(w.client);
	cleanup_close(&w.agent);
	cleanup_close(&w.signals);
	return r;
}

static void help(void)
{
	printf("emberlock-watchdog [--help] [--version]\n\n"
	       "Carries sealed messages between emberlock-agent (%s)\n"
	       "and the manager named in the credential emberlock.manager, whose certificate must "
	       "be\n"
	       "signed by a CA of the credential emberlock.ca. Started by "
	       "emberlock-watchdog.service.\n"
	       "See emberlock-watchdog(8).\n",
	       WATCHDOG_SOCKET);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{0},
	};
	int c = getopt_long(argc, argv, "", options, NULL);

	if (c == 'h')
		help();
	else if (c == 'V')
		puts("emberlock-watchdog " EMBERLOCK_VERSION);
	else if (c != -1 || optind < argc)
		return fprintf(stderr, "emberlock-watchdog: unexpected argument; see --help\n"), 2;
	else
		return run() < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	return EXIT_SUCCESS;
}
