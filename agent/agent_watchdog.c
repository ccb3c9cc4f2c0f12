/* SPDX-License-Identifier: Apache-2.0 */
/* The connection of emberlock-watchdog: one, of its uid, and trusted with nothing. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"

#define WATCHDOG_USER	"emberlock-watchdog"
#define LOGGED_A_MINUTE 10
#define FRAMES_A_SECOND 200 /* more are looked at in the next second */

static void watchdog_close(struct agent *a, const char *why)
{
	struct agent_watchdog *w = &a->watchdog;

	if (w->fd < 0)
		return;
	w->io = sd_event_source_disable_unref(w->io);
	cleanup_close(&w->fd);
	w->fd = -1;
	log_notice("watchdog: connection ended: %s", why);
	requests_watchdog_lost(a);
	receipt_watchdog_changed(a);
	ending_watchdog_changed(a);
}

static void event_log(struct agent *a, const struct watchdog_event *event)
{
	struct agent_watchdog *w = &a->watchdog;
	char text[sizeof(event->text) + 1];

	if (event->kind == WATCHDOG_CONNECTED || event->kind == WATCHDOG_DISCONNECTED)
		a->requests.manager_connected = event->kind == WATCHDOG_CONNECTED;
	if (!rate_allow(&w->events, LOGGED_A_MINUTE, clock_boottime_ns()))
		return;
	text_escape(text, sizeof(text), event->text, sizeof(event->text));
	log_info("watchdog: %s%s%s",
		 event->kind == WATCHDOG_CONNECTED ? "manager reached" : "manager not reached",
		 text[0] ? ": " : "", text);
}

static void frame_take(struct agent *a)
{
	const struct watchdog_message *message = &a->watchdog.in;
	struct watchdog_event event;

	if (message->header.type == WATCHDOG_EVENT) {
		memcpy(&event, message, sizeof(event));
		event_log(a, &event);
	} else if (message->route == ROUTE_RECEIPT) {
		receipt_response(a, message);
	} else if (message->route == ROUTE_ENDING) {
		ending_response(a, message);
	} else {
		requests_response(a, message);
	}
}

static bool frame_is_ours(const struct watchdog_message *message, size_t n)
{
	return frame_is_valid(message, n, FRAME_MAGIC_WATCHDOG) &&
	       (message->header.type == WATCHDOG_RESPONSE ||
		message->header.type == WATCHDOG_EVENT) &&
	       n == watchdog_frame_size(message->header.type);
}

static int on_frame(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	struct agent *a = userdata;
	struct agent_watchdog *w = &a->watchdog;
	ssize_t n = datagram_receive(fd, &w->in, sizeof(w->in), NULL);

	if (n == -EAGAIN)
		return 0;
	if (n == 0)
		watchdog_close(a, "closed by the watchdog");
	else if (n < 0)
		watchdog_close(a, strerror((int)-n));
	else if (!frame_is_ours(&w->in, (size_t)n))
		watchdog_close(a, "a frame that is none of its");
	else
		frame_take(a);
	return 0;
}

static int watch(struct agent *a, int fd)
{
	struct agent_watchdog *w = &a->watchdog;
	int r = sd_event_add_io(a->event, &w->io, fd, EPOLLIN, on_frame, a);

	r = r < 0 ? r : sd_event_source_set_priority(w->io, PRIORITY_PEER);
	return r < 0 ? r : sd_event_source_set_ratelimit(w->io, 1000000, FRAMES_A_SECOND);
}

static int on_connection(sd_event_source *s, int listener, uint32_t revents, void *userdata)
{
	struct agent *a = userdata;
	struct agent_watchdog *w = &a->watchdog;
	_cleanup_close_ int fd = -1;
	pid_t pid;
	uid_t uid;
	int r = socket_accept(listener, &fd, &uid, &pid);

	if (r < 0)
		return 0;
	if (uid != w->uid || w->fd >= 0) {
		if (rate_allow(&w->refusals, LOGGED_A_MINUTE, clock_boottime_ns()))
			log_warning("watchdog: process %d of uid %u refused: %s", pid, uid,
				    uid != w->uid ? "not " WATCHDOG_USER
						  : "one is connected already");
		return 0;
	}
	r = watch(a, fd);
	if (r < 0) {
		log_errno(r, "watchdog: connection");
		return 0;
	}
	w->fd = TAKE_FD(fd);
	log_info("watchdog: connected, process %d", pid);
	requests_send(a);
	receipt_watchdog_changed(a);
	ending_watchdog_changed(a);
	return 0;
}

int watchdog_open(struct agent *a)
{
	struct agent_watchdog *w = &a->watchdog;
	int fd, r = user_find(WATCHDOG_USER, &w->uid);

	r = r < 0 ? r : socket_listen(WATCHDOG_SOCKET, WATCHDOG_USER, &fd);
	if (r < 0)
		return r;
	r = sd_event_add_io(a->event, &w->listener, fd, EPOLLIN, on_connection, a);
	if (r < 0) {
		close(fd);
		return r;
	}
	sd_event_source_set_io_fd_own(w->listener, 1);
	sd_event_source_set_priority(w->listener, PRIORITY_PEER);
	return sd_event_source_set_ratelimit(w->listener, 1000000, 20);
}

bool watchdog_connected(const struct agent *a)
{
	return a->watchdog.fd >= 0;
}

int watchdog_send(struct agent *a, enum route route, uint32_t number, const void *body, size_t n)
{
	struct watchdog_message *out = &a->watchdog.out;
	int r;

	if (a->watchdog.fd < 0)
		return -ENOTCONN;
	memset(out, 0, sizeof(*out));
	frame_init(&out->header, FRAME_MAGIC_WATCHDOG, WATCHDOG_REQUEST, sizeof(*out));
	out->number = number;
	out->route = (uint16_t)route;
	out->length = (uint32_t)n;
	if (n > 0)
		memcpy(out->body, body, n);
	r = datagram_send(a->watchdog.fd, out, sizeof(*out), -1);
	if (r < 0)
		watchdog_close(a, r == -EAGAIN ? "it does not read" : strerror(-r));
	return r;
}

void watchdog_done(struct agent *a)
{
	a->watchdog.listener = sd_event_source_disable_unref(a->watchdog.listener);
	a->watchdog.io = sd_event_source_disable_unref(a->watchdog.io);
	cleanup_close(&a->watchdog.fd);
	a->watchdog.fd = -1;
}
