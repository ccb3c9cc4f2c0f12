/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of emberlockctl. What a peer may ask is a table; one that is slow or wrong is closed,
 * and none makes the loop wait. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"

#define CONTROL_GROUP	"emberlock"
#define LOGGED_A_MINUTE 10
#define FRAMES_A_SECOND 50

static void peer_close(struct control_peer *peer)
{
	peer->io = sd_event_source_disable_unref(peer->io);
	cleanup_close(&peer->fd);
	peer->fd = -1;
	peer->waiting = 0;
	peer->change = 0;
}

static void reply(struct control_peer *peer, void *frame, uint16_t type, int status)
{
	struct frame_header *header = frame;
	int r;

	frame_init(header, FRAME_MAGIC_CONTROL, type, (uint32_t)control_reply_size(type));
	header->status = status;
	r = datagram_send(peer->fd, frame, control_reply_size(type), -1);
	if (r < 0)
		peer_close(peer);
}

static void reply_status(struct control_peer *peer, uint16_t type)
{
	struct control_status *status = &peer->agent->control.status;

	peer->waiting = 0;
	status_fill(peer->agent, status);
	reply(peer, status, type, 0);
}

static void on_status(struct control_peer *peer, const void *frame)
{
	reply_status(peer, CONTROL_STATUS);
}

static void on_wait(struct control_peer *peer, const void *frame)
{
	peer->waiting = CONTROL_WAIT;
	if (status_is_final(peer->agent))
		reply_status(peer, CONTROL_WAIT);
}

static void reply_ending(struct control_peer *peer)
{
	struct control_plain plain = {0};

	peer->waiting = 0;
	reply(peer, &plain, CONTROL_ENDING, 0);
}

static void on_ending(struct control_peer *peer, const void *frame)
{
	peer->waiting = CONTROL_ENDING;
	if (ending_is_over(peer->agent))
		reply_ending(peer);
}

static void on_shred(struct control_peer *peer, const void *frame)
{
	struct agent *a = peer->agent;
	struct control_plain plain = {0};
	struct control_shred request;
	int r = 0;

	memcpy(&request, frame, sizeof(request));
	if (request.dry_run) {
		r = keeper_shred_dry_run(a);
	} else {
		log_warning("shred asked for by root, process %d", peer->pid);
		lease_event(a, LEASE_EVENT_OPERATOR, NULL, NULL);
	}
	reply(peer, &plain, CONTROL_SHRED, r);
}

static void reply_changed(struct control_peer *peer, uint16_t type, int r, const char *text)
{
	struct control_changed changed = {.result = r};

	if (r >= 0) {
		const struct state_volume *volume = &peer->agent->state.volumes[peer->change_index];

		changed.n_segments = volume->n_segments;
		changed.bytes = volume->bytes;
	}
	text_escape(changed.text, sizeof(changed.text), text, strlen(text));
	reply(peer, &changed, type, 0);
}

static void on_change(struct control_peer *peer, const void *frame)
{
	struct control_change request;
	uint16_t type = ((const struct frame_header *)frame)->type;
	char text[256] = "";
	int r;

	memcpy(&request, frame, sizeof(request));
	request.volume[sizeof(request.volume) - 1] = '\0';
	if (peer->change) {
		peer_close(peer);
		return;
	}
	r = change_begin(peer->agent, type, &request, text);
	if (r < 0) {
		reply_changed(peer, type, r, text);
		return;
	}
	peer->change = type;
	peer->change_index = (uint32_t)r;
	/* Its disk may never come. */
	if (type == CONTROL_ADD && peer->agent->carry.configs[r].hot_plug)
		control_changed(peer->agent, (uint32_t)r, 0, "");
}

void control_changed(struct agent *a, uint32_t index, int r, const char *text)
{
	for (size_t i = 0; i < CONTROL_PEERS_MAX; i++) {
		struct control_peer *peer = &a->control.peers[i];
		uint16_t type = peer->change;

		if (peer->fd < 0 || !type || peer->change_index != index)
			continue;
		peer->change = 0;
		reply_changed(peer, type, r, text);
	}
}

static const struct {
	bool privileged; /* root of the initial user namespace only */
	void (*run)(struct control_peer *peer, const void *frame);
} verbs[CONTROL_FRAME__MAX] = {
	[CONTROL_STATUS] = {false, on_status},	   [CONTROL_WAIT] = {false, on_wait},
	[CONTROL_SHRED] = {true, on_shred},	   [CONTROL_ENDING] = {true, on_ending},
	[CONTROL_ADD] = {true, on_change},	   [CONTROL_GROW] = {true, on_change},
	[CONTROL_SWAP_RESIZE] = {true, on_change},
};

static void frame_take(struct control_peer *peer, const struct frame_header *header)
{
	struct agent *a = peer->agent;
	struct frame_header refusal;

	if (verbs[header->type].privileged && !peer->privileged) {
		if (rate_allow(&a->control.refusals, LOGGED_A_MINUTE, clock_boottime_ns()))
			log_warning("control: process %d refused: needs root of the initial user "
				    "namespace",
				    peer->pid);
		frame_init(&refusal, FRAME_MAGIC_CONTROL, header->type, sizeof(refusal));
		refusal.status = -EPERM;
		if (datagram_send(peer->fd, &refusal, sizeof(refusal), -1) < 0)
			peer_close(peer);
		return;
	}
	verbs[header->type].run(peer, header);
}

static int on_frame(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	struct control_peer *peer = userdata;
	union {
		struct frame_header header;
		struct control_plain plain;
		struct control_shred shred;
		struct control_change change;
	} in;
	ssize_t n = datagram_receive(fd, &in, sizeof(in), NULL);

	if (n == -EAGAIN)
		return 0;
	if (n <= 0 || !frame_is_valid(&in, (size_t)n, FRAME_MAGIC_CONTROL) ||
	    (size_t)n != control_request_size(in.header.type))
		peer_close(peer);
	else
		frame_take(peer, &in.header);
	return 0;
}

/* A place for one more: a free one, or for root that of a peer which is not. */
static struct control_peer *place_find(struct agent *a, bool privileged)
{
	struct control_peer *peers = a->control.peers;

	for (size_t i = 0; i < CONTROL_PEERS_MAX; i++)
		if (peers[i].fd < 0)
			return &peers[i];
	for (size_t i = 0; privileged && i < CONTROL_PEERS_MAX; i++) {
		if (peers[i].privileged)
			continue;
		peer_close(&peers[i]);
		return &peers[i];
	}
	return NULL;
}

static int watch(struct control_peer *peer, int fd)
{
	int r = sd_event_add_io(peer->agent->event, &peer->io, fd, EPOLLIN, on_frame, peer);

	r = r < 0 ? r : sd_event_source_set_priority(peer->io, PRIORITY_PEER);
	return r < 0 ? r : sd_event_source_set_ratelimit(peer->io, 1000000, FRAMES_A_SECOND);
}

static int on_connection(sd_event_source *s, int listener, uint32_t revents, void *userdata)
{
	struct agent *a = userdata;
	struct control_peer *peer;
	_cleanup_close_ int fd = -1;
	bool privileged;
	pid_t pid;
	uid_t uid;

	if (socket_accept(listener, &fd, &uid, &pid) < 0)
		return 0;
	privileged = uid == 0 && peer_in_our_user_namespace(pid);
	peer = place_find(a, privileged);
	if (!peer) {
		if (rate_allow(&a->control.refusals, LOGGED_A_MINUTE, clock_boottime_ns()))
			log_warning("control: process %d refused: %d are connected", pid,
				    CONTROL_PEERS_MAX);
		return 0;
	}
	*peer = (struct control_peer){
		.agent = a,
		.fd = -1,
		.pid = pid,
		.privileged = privileged,
	};
	if (watch(peer, fd) < 0) {
		peer_close(peer);
		return 0;
	}
	peer->fd = TAKE_FD(fd);
	return 0;
}

int control_open(struct agent *a)
{
	struct agent_control *c = &a->control;
	int fd, r = socket_listen(CONTROL_SOCKET, CONTROL_GROUP, &fd);

	if (r < 0)
		return r;
	r = sd_event_add_io(a->event, &c->listener, fd, EPOLLIN, on_connection, a);
	if (r < 0) {
		close(fd);
		return r;
	}
	sd_event_source_set_io_fd_own(c->listener, 1);
	sd_event_source_set_priority(c->listener, PRIORITY_PEER);
	return sd_event_source_set_ratelimit(c->listener, 1000000, 100);
}

void control_notify(struct agent *a)
{
	bool is_final = status_is_final(a), is_over = ending_is_over(a);

	for (size_t i = 0; i < CONTROL_PEERS_MAX; i++) {
		struct control_peer *peer = &a->control.peers[i];

		if (peer->waiting == CONTROL_WAIT && is_final)
			reply_status(peer, CONTROL_WAIT);
		else if (peer->waiting == CONTROL_ENDING && is_over)
			reply_ending(peer);
	}
}

void control_done(struct agent *a)
{
	a->control.listener = sd_event_source_disable_unref(a->control.listener);
	for (size_t i = 0; i < CONTROL_PEERS_MAX; i++)
		peer_close(&a->control.peers[i]);
}
