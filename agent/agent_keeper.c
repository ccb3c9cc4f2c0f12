/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's side of the keeper's socket. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/parse.h"

/* The keeper answers from memory, at once. One that does not is no keeper any more, and shreds by
 * its twin or its deadline; this agent then ends and a new one tries. */
#define REPLY_LIMIT_NS (3 * NSEC_PER_SEC)

static int keeper_lost(struct agent *a, int r)
{
	log_errno(r, "keeper: %s", KEEPER_SOCKET);
	keeper_close(a);
	agent_exit(a, r);
	return r;
}

static int wait_for(int fd, short events, uint64_t until_ns)
{
	struct pollfd p = {.fd = fd, .events = events};
	uint64_t now = clock_boottime_ns();
	int r;

	if (now >= until_ns)
		return -ETIMEDOUT;
	r = poll(&p, 1, (int)((until_ns - now) / NSEC_PER_MSEC) + 1);
	if (r < 0)
		return errno == EINTR ? 0 : -errno;
	return 0;
}

static int frame_send(struct agent *a, void *frame, uint16_t type, size_t size, uint64_t until_ns)
{
	int r;

	frame_init(frame, FRAME_MAGIC_KEEPER, type, (uint32_t)size);
	while ((r = datagram_send(a->keeper.fd, frame, size, -1)) == -EAGAIN) {
		r = wait_for(a->keeper.fd, POLLOUT, until_ns);
		if (r < 0)
			return r;
	}
	return r;
}

/* The next frame into keeper.in: 0; -EAGAIN; or the connection is of no more use. */
static int frame_receive(struct agent *a, int *ret_fd)
{
	struct agent_keeper *k = &a->keeper;
	ssize_t n = datagram_receive(k->fd, &k->in, sizeof(k->in), ret_fd);

	if (n == 0)
		return -ECONNRESET;
	if (n < 0)
		return (int)n;
	return frame_is_valid(&k->in, (size_t)n, FRAME_MAGIC_KEEPER) ? 0 : -EPROTO;
}

/* Takes a frame that nobody waits for. 1 where it was one, 0 where it is the reply to the caller's
 * request. The keeper answers in order, so the posted requests' replies come first. */
static int frame_unasked(struct agent *a)
{
	struct agent_keeper *k = &a->keeper;

	if (k->in.header.type == KEEPER_SHRED_REPORT) {
		uint32_t kind = k->in.report.kind;

		if (k->in.header.size != sizeof(k->in.report) || kind < RECEIPT_KEYS ||
		    kind >= RECEIPT_KIND__MAX)
			return -EPROTO;
		k->reports[kind] = k->in.report;
		k->report_waits[kind] = true;
		sd_event_source_set_enabled(k->deferred, SD_EVENT_ONESHOT);
		return 1;
	}
	if (k->in.header.type == KEEPER_ENDING) {
		if (k->in.header.size != sizeof(k->in.ending))
			return -EPROTO;
		k->ending = k->in.ending;
		k->ending_waits = true;
		sd_event_source_set_enabled(k->deferred, SD_EVENT_ONESHOT);
		return 1;
	}
	/* A shred that was refused: one had begun, whose reports come. One that begins by it is
	 * answered by those only. */
	if (k->in.header.type != KEEPER_SHRED || !a->shred.begun) {
		if (k->posted == 0)
			return 0;
		k->posted--;
	}
	if (k->in.header.status < 0)
		log_errno(k->in.header.status, "keeper: request %u", k->in.header.type);
	return 1;
}

static int reply_await(struct agent *a, uint16_t type, size_t size, uint64_t until_ns, int *ret_fd)
{
	struct agent_keeper *k = &a->keeper;

	for (;;) {
		_cleanup_close_ int fd = -1;
		int r = frame_receive(a, &fd);

		if (r == -EAGAIN) {
			r = wait_for(k->fd, POLLIN, until_ns);
			if (r < 0)
				return r;
			continue;
		}
		r = r < 0 ? r : frame_unasked(a);
		if (r < 0)
			return r;
		if (r > 0)
			continue;
		if (k->in.header.type != type)
			return -EPROTO;
		if (k->in.header.status == 0 && k->in.header.size != size)
			return -EPROTO;
		if (ret_fd)
			*ret_fd = TAKE_FD(fd);
		return 0;
	}
}

/* Sends FRAME and waits for the reply, which is then in keeper.in. 0, or the reply's status. */
static int keeper_call(struct agent *a, void *frame, uint16_t type, size_t size, int *ret_fd)
{
	uint64_t until = clock_boottime_ns() + REPLY_LIMIT_NS;
	int r;

	if (a->keeper.fd < 0)
		return -ENOTCONN;
	r = frame_send(a, frame, type, size, until);
	if (r >= 0)
		r = reply_await(a, type, keeper_reply_size(type), until, ret_fd);
	if (r < 0)
		return keeper_lost(a, r);
	r = a->keeper.in.header.status;
	return r > 0 ? -EPROTO : r;
}

static int keeper_call_plain(struct agent *a, uint16_t type, int *ret_fd)
{
	struct keeper_plain frame = {0};

	return keeper_call(a, &frame, type, sizeof(frame), ret_fd);
}

static void keeper_post(struct agent *a, void *frame, uint16_t type, size_t size)
{
	bool replied = keeper_reply_size(type) > 0 && type != KEEPER_SHRED;
	int r;

	if (a->keeper.fd < 0)
		return;
	r = frame_send(a, frame, type, size, clock_boottime_ns() + REPLY_LIMIT_NS);
	if (r < 0)
		keeper_lost(a, r);
	else if (replied)
		a->keeper.posted++;
}

static int on_report(sd_event_source *s, void *userdata)
{
	struct agent *a = userdata;

	for (uint32_t kind = RECEIPT_KEYS; kind < RECEIPT_KIND__MAX; kind++) {
		if (!a->keeper.report_waits[kind])
			continue;
		a->keeper.report_waits[kind] = false;
		receipt_report(a, &a->keeper.reports[kind]);
	}
	if (a->keeper.ending_waits) {
		a->keeper.ending_waits = false;
		ending_begin(a, &a->keeper.ending);
	}
	return 0;
}

static int on_frame(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
	struct agent *a = userdata;
	int r = frame_receive(a, NULL);

	if (r == -EAGAIN)
		return 0;
	r = r < 0 ? r : frame_unasked(a);
	if (r == 0)
		r = -EPROTO; /* a reply to nothing */
	if (r < 0)
		keeper_lost(a, r);
	return 0;
}

static int keeper_connect(struct agent *a)
{
	const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = KEEPER_SOCKET};
	struct agent_keeper *k = &a->keeper;
	int r;

	k->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (k->fd < 0 || connect(k->fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	/* Blocking until here, so that a full backlog is waited for. */
	if (fcntl(k->fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	r = sd_event_add_io(a->event, &k->io, k->fd, EPOLLIN, on_frame, a);
	r = r < 0 ? r : sd_event_source_set_priority(k->io, PRIORITY_KEEPER);
	r = r < 0 ? r : sd_event_add_defer(a->event, &k->deferred, on_report, a);
	r = r < 0 ? r : sd_event_source_set_priority(k->deferred, PRIORITY_KEEPER);
	return r < 0 ? r : sd_event_source_set_enabled(k->deferred, SD_EVENT_OFF);
}

static int state_get(struct agent *a)
{
	int r = keeper_call_plain(a, KEEPER_STATE_GET, NULL);

	if (r == -ENODATA)
		return 0;
	if (r < 0)
		return log_errno(r, "keeper: state page");
	memcpy(&a->state, a->keeper.in.state.bytes, sizeof(a->state));
	if (a->state.magic != AGENT_STATE_MAGIC || a->state.size != sizeof(a->state) ||
	    a->state.n_volumes > VOLUMES_MAX || a->state.lease.state >= LEASE_STATE__MAX)
		return log_errno(-EPROTO, "keeper: the state page is another version's");
	a->continued = true;
	return 0;
}

/* Before anything is asked of the keeper. */
static int protocol_check(void)
{
	char text[16];
	ssize_t n = file_read(AT_FDCWD, KEEPER_PROTOCOL_FILE, text, sizeof(text) - 1);
	uint32_t protocol;

	if (n < 0)
		return log_errno((int)n, "keeper: " KEEPER_PROTOCOL_FILE);
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	if (parse_u32(text, &protocol) < 0 || protocol != KEEPER_PROTOCOL)
		return log_errno(-EPROTO,
				 "keeper: it speaks protocol '%s', this agent %d: only an agent of "
				 "the keeper's can go on with this boot (emberlock-units(7))",
				 text, KEEPER_PROTOCOL);
	return 0;
}

int keeper_open(struct agent *a)
{
	struct agent_keeper *k = &a->keeper;
	int r = protocol_check();

	if (r < 0)
		return r;
	r = keeper_connect(a);
	if (r < 0)
		return log_errno(r, "keeper: %s", KEEPER_SOCKET);
	r = keeper_call_plain(a, KEEPER_HELLO, NULL);
	if (r < 0)
		return log_errno(r, "keeper: not taken as the agent");
	k->hello = k->in.hello;
	k->hello.version[sizeof(k->hello.version) - 1] = '\0';
	r = keeper_call_plain(a, KEEPER_IDENTITY, &k->identity_fd);
	if (r < 0 && r != -ENOKEY) /* erased: the shred is over */
		return log_errno(r, "keeper: boot identity");
	return state_get(a);
}

void keeper_close(struct agent *a)
{
	a->keeper.io = sd_event_source_disable_unref(a->keeper.io);
	a->keeper.deferred = sd_event_source_disable_unref(a->keeper.deferred);
	cleanup_close(&a->keeper.identity_fd);
	cleanup_close(&a->keeper.fd);
	a->keeper.identity_fd = -1;
	a->keeper.fd = -1;
}

int keeper_save(struct agent *a)
{
	struct keeper_state *frame = &a->keeper.out.state;
	int r;

	a->state.magic = AGENT_STATE_MAGIC;
	a->state.size = sizeof(a->state);
	memset(frame, 0, sizeof(*frame));
	memcpy(frame->bytes, &a->state, sizeof(a->state));
	/* The keeper answers between the steps of a shred; receipts do not wait for that. */
	if (a->shred.begun) {
		keeper_post(a, frame, KEEPER_STATE_PUT, sizeof(*frame));
		return 0;
	}
	r = keeper_call(a, frame, KEEPER_STATE_PUT, sizeof(*frame), NULL);
	if (r < 0) {
		log_errno(r, "keeper: state page");
		agent_exit(a, r);
	}
	return r;
}

int keeper_map_add(struct agent *a, const char *volume, uint32_t segment, uint64_t sectors)
{
	struct keeper_map frame = {.segment = segment, .length_sectors = sectors};

	segment_dm_name(frame.name, volume, segment);
	snprintf(frame.volume, sizeof(frame.volume), "%s", volume);
	return keeper_call(a, &frame, KEEPER_MAP_ADD, sizeof(frame), NULL);
}

int keeper_map_remove(struct agent *a, const char *volume, uint32_t segment)
{
	struct keeper_map frame = {.segment = segment};

	segment_dm_name(frame.name, volume, segment);
	snprintf(frame.volume, sizeof(frame.volume), "%s", volume);
	return keeper_call(a, &frame, KEEPER_MAP_REMOVE, sizeof(frame), NULL);
}

int keeper_deadline(struct agent *a, uint64_t deadline_ns, enum expiry expiry)
{
	struct keeper_deadline frame = {.deadline_ns = deadline_ns, .expiry = expiry};

	return keeper_call(a, &frame, KEEPER_DEADLINE, sizeof(frame), NULL);
}

int keeper_boot_key(struct agent *a, int *ret_fd)
{
	int fd = -1;
	int r = keeper_call_plain(a, KEEPER_BOOT_KEY, &fd);

	if (r < 0)
		return r;
	if (fd < 0)
		return -EPROTO;
	*ret_fd = fd;
	return 0;
}

int keeper_erase_boot_key(struct agent *a)
{
	return keeper_call_plain(a, KEEPER_ERASE_BOOT_KEY, NULL);
}

int keeper_status_get(struct agent *a, struct keeper_status *ret_status)
{
	int r = keeper_call_plain(a, KEEPER_STATUS, NULL);

	if (r == 0)
		*ret_status = a->keeper.in.status;
	return r;
}

int keeper_shred_dry_run(struct agent *a)
{
	struct keeper_shred frame = {.reason = REASON_OPERATOR, .dry_run = 1};

	if (a->shred.begun)
		return -EBUSY;
	return keeper_call(a, &frame, KEEPER_SHRED, sizeof(frame), NULL);
}

bool keeper_shred(struct agent *a, enum reason reason)
{
	struct keeper_shred frame = {.reason = reason};

	if (a->shred.begun) /* by the keeper itself: it would be told what it knows */
		return false;
	keeper_post(a, &frame, KEEPER_SHRED, sizeof(frame));
	a->shred.begun = true;
	return a->keeper.fd >= 0;
}

void keeper_receipt_sent(struct agent *a)
{
	struct keeper_receipt_sent frame = {.kind = RECEIPT_CLOSING};

	keeper_post(a, &frame, KEEPER_RECEIPT_SENT, sizeof(frame));
}
