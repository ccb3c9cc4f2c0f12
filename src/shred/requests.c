/* SPDX-License-Identifier: Apache-2.0 */
/* What each request does. Whether it may be asked is permission.c's business; here it has been
 * allowed and has the right size. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/parse.h"
#include "core/lease.h"
#include "shred/keeper.h"

/* A handler's way to say that the reply comes later, or never. */
#define NO_REPLY 1

struct request {
	struct connection *from;
	const void *frame;
	void *reply;  /* begins with a header, which is filled in afterwards */
	int reply_fd; /* a descriptor that goes with the reply; stays the keeper's */
	uint64_t now_ns;
};

static int on_hello(struct keeper *keeper, struct request *request)
{
	struct keeper_hello *reply = request->reply;

	if (keeper_agent(keeper))
		return -EBUSY;
	request->from->role = ROLE_AGENT;
	keeper->steps.agent_fd = request->from->fd;
	keeper->agents++;
	/* The first one of the real root, where the keeper is older than that. */
	freezer_open(&keeper->freezer, keeper->proc_fd, keeper->sys_fd);
	(void)twin_send(keeper->peer.channel, TWIN_AGENT, 0, 0, request->from->fd);
	log_info("agent %d is connected, number %u of this boot", (int)request->from->pid,
		 keeper->agents);

	(void)copy_text(reply->version, sizeof(reply->version), EMBERLOCK_VERSION);
	memcpy(reply->boot_id, keeper->boot_id, sizeof(reply->boot_id));
	reply->started_ns = keeper->started_ns;
	reply->agents = keeper->agents;
	reply->secret_memory = keeper->boot_key.secret_memory;
	reply->boot_key_held = atomic_load(&keeper->shared->boot_key_held) != 0;
	reply->power_armed = keeper->power.armed;
	reply->watchdog_armed = keeper->watchdog.fd >= 0;
	return 0;
}

static int on_state_get(struct keeper *keeper, struct request *request)
{
	request->reply = &keeper->state;
	return keeper->state_put ? 0 : -ENODATA;
}

static int on_state_put(struct keeper *keeper, struct request *request)
{
	memcpy(&keeper->state, request->frame, sizeof(keeper->state));
	keeper->state_put = true;
	request->from->works = true;
	return 0;
}

static int on_boot_key(struct keeper *keeper, struct request *request)
{
	if (!atomic_load(&keeper->shared->boot_key_held))
		return -ENOKEY;
	request->reply_fd = keeper->boot_key.fd;
	return 0;
}

static int on_identity(struct keeper *keeper, struct request *request)
{
	request->reply_fd = keeper->identity.fd;
	return 0;
}

/* Whether TEXT ends within its N bytes and is not empty. */
static bool is_text(const char *text, size_t n)
{
	return text[0] != 0 && strnlen(text, n) < n;
}

static int on_map_add(struct keeper *keeper, struct request *request)
{
	const struct keeper_map *map = request->frame;
	unsigned slot;
	int r;

	if (!is_text(map->name, sizeof(map->name)) || !is_text(map->volume, sizeof(map->volume)) ||
	    strchr(map->name, '/') || map->length_sectors == 0 || map->segment > UINT16_MAX)
		return -EINVAL;
	r = shared_map_add(keeper->shared, map->name, map->volume, map->segment,
			   map->length_sectors, &slot);
	if (r < 0)
		return r;
	r = steps_prepare(&keeper->steps, slot);
	if (r < 0)
		return r;
	/* It is registered once the twin has its thread too. */
	r = twin_send(keeper->peer.channel, TWIN_MAP, slot, 0, -1);
	if (r < 0)
		return r;
	atomic_store(&keeper->shared->pending_slot, (int)slot);
	return NO_REPLY;
}

static int on_map_remove(struct keeper *keeper, struct request *request)
{
	const struct keeper_map *map = request->frame;

	if (!is_text(map->name, sizeof(map->name)))
		return -EINVAL;
	return shared_map_remove(keeper->shared, map->name);
}

static int check_deadline(const struct keeper *keeper, const struct keeper_deadline *deadline,
			  uint64_t now_ns)
{
	if (deadline->expiry != EXPIRY_SHRED && deadline->expiry != EXPIRY_WARN)
		return -EINVAL;
	if (deadline->deadline_ns == LEASE_NEVER)
		return deadline->expiry == EXPIRY_WARN || !keeper->deadline_set ? 0 : -ERANGE;
	return deadline->deadline_ns <= now_ns + DEADLINE_FAR_NS ? 0 : -ERANGE;
}

static int on_deadline(struct keeper *keeper, struct request *request)
{
	const struct keeper_deadline *deadline = request->frame;
	int r = check_deadline(keeper, deadline, request->now_ns);

	if (r < 0)
		return r;
	keeper->deadline_ns = deadline->deadline_ns;
	keeper->expiry = (enum expiry)deadline->expiry;
	keeper->deadline_set |= deadline->deadline_ns != LEASE_NEVER;
	keeper->warned = false;
	atomic_store(&keeper->shared->end_ns,
		     keeper->expiry == EXPIRY_SHRED ? keeper->deadline_ns : LEASE_NEVER);
	request->from->works = true;
	return 0;
}

static int on_erase_boot_key(struct keeper *keeper, struct request *request)
{
	secret_wipe(&keeper->boot_key);
	atomic_store(&keeper->shared->boot_key_held, 0);
	return 0;
}

static int on_shred(struct keeper *keeper, struct request *request)
{
	const struct keeper_shred *shred = request->frame;

	if (shred->reason <= REASON_NONE || shred->reason >= REASON__MAX || shred->dry_run > 1)
		return -EINVAL;
	if (shred->dry_run)
		return 0;
	keeper_shred(keeper, (enum reason)shred->reason, request->now_ns);
	return NO_REPLY; /* the report is one: until then the agent need not wake up */
}

static int on_receipt_sent(struct keeper *keeper, struct request *request)
{
	const struct keeper_receipt_sent *sent = request->frame;

	if (sent->kind == RECEIPT_CLOSING)
		keeper->steps.receipt_sent = true;
	return NO_REPLY;
}

static bool is_verb(uint32_t verb)
{
	return verb >= END_POWEROFF && verb < END_VERB__MAX;
}

static int on_end(struct keeper *keeper, struct request *request)
{
	const struct keeper_end *end = request->frame;

	if (!is_verb(end->verb))
		return -EINVAL;
	(void)steps_begin(&keeper->steps, REASON_END, keeper_power_verb((enum end_verb)end->verb),
			  false, request->now_ns);
	return 0;
}

static int on_ending(struct keeper *keeper, struct request *request)
{
	const struct keeper_ending *ending = request->frame;

	if (!is_verb(ending->verb) || ending->began_ns != 0 || ending->end_ns != 0)
		return -EINVAL;
	keeper_ending(keeper, (enum end_verb)ending->verb, request->now_ns);
	keeper_ending_frame(keeper, request->reply);
	return 0;
}

static int on_status(struct keeper *keeper, struct request *request)
{
	struct keeper_status *reply = request->reply;
	struct shared *shared = keeper->shared;
	bool is_twin = keeper->steps.self == PROCESS_TWIN;

	reply->deadline_ns = keeper->deadline_ns;
	reply->expiry = keeper->expiry;
	reply->n_maps = shared_map_count(shared);
	reply->shred_step = keeper->steps.machine.step;
	reply->reason = atomic_load(&shared->reason);
	reply->agent_connected = keeper->steps.agent_fd >= 0;
	reply->twin_alive = is_twin || keeper->peer.pidfd >= 0;
	reply->secret_memory = keeper->boot_key.secret_memory;
	reply->boot_key_held = atomic_load(&shared->boot_key_held) != 0;
	reply->power_armed = keeper->power.armed;
	reply->watchdog_armed = keeper->watchdog.fd >= 0;
	reply->keeper_pid = is_twin ? keeper->peer.pid : getpid();
	reply->twin_pid = is_twin ? getpid() : keeper->peer.pid;
	return 0;
}

static int dispatch(struct keeper *keeper, struct request *request, uint16_t type)
{
	static int (*const handlers[KEEPER_FRAME__MAX])(struct keeper *, struct request *) = {
		[KEEPER_HELLO] = on_hello,
		[KEEPER_STATE_GET] = on_state_get,
		[KEEPER_STATE_PUT] = on_state_put,
		[KEEPER_BOOT_KEY] = on_boot_key,
		[KEEPER_IDENTITY] = on_identity,
		[KEEPER_MAP_ADD] = on_map_add,
		[KEEPER_MAP_REMOVE] = on_map_remove,
		[KEEPER_DEADLINE] = on_deadline,
		[KEEPER_ERASE_BOOT_KEY] = on_erase_boot_key,
		[KEEPER_SHRED] = on_shred,
		[KEEPER_RECEIPT_SENT] = on_receipt_sent,
		[KEEPER_END] = on_end,
		[KEEPER_ENDING] = on_ending,
		[KEEPER_STATUS] = on_status,
	};

	return handlers[type](keeper, request);
}

/* Every reply has its full size, also where the status says that its fields mean nothing. */
static int send_reply(int to, void *reply, uint16_t type, int status, int fd)
{
	uint32_t size = (uint32_t)keeper_reply_size(type);
	struct frame_header *header = reply;

	frame_init(header, FRAME_MAGIC_KEEPER, type, size);
	header->status = status;
	return datagram_send(to, reply, size, fd);
}

int keeper_request(struct keeper *keeper, struct connection *from, size_t size)
{
	const struct frame_header *header = &keeper->frame.header;
	uint16_t type = header->type;
	struct request request = {
		.from = from,
		.frame = keeper->frame.bytes,
		.reply = &keeper->reply,
		.reply_fd = -1,
		.now_ns = clock_boottime_ns(),
	};
	int r;

	if (!frame_is_valid(keeper->frame.bytes, size, FRAME_MAGIC_KEEPER) ||
	    keeper_request_size(type) != size || header->status != 0)
		return -EBADMSG;

	memset(&keeper->reply, 0, sizeof(keeper->reply));
	r = permission_check(type, from->role, keeper_phase(keeper));
	if (r == 0)
		r = dispatch(keeper, &request, type);
	if (r == NO_REPLY || keeper_reply_size(type) == 0)
		return 0;
	if (r < 0) {
		/* The request has been read: its place is large enough for any reply. */
		memset(keeper->frame.bytes, 0, sizeof(keeper->frame));
		request.reply = keeper->frame.bytes;
	}
	return send_reply(from->fd, request.reply, type, r, request.reply_fd);
}

void keeper_map_done(struct keeper *keeper, unsigned slot, int status)
{
	int pending = (int)slot;

	if (!atomic_compare_exchange_strong(&keeper->shared->pending_slot, &pending, -1))
		return;
	/* A shred has asked its maps already: this one must not be made. */
	if (status == 0 && keeper_phase(keeper) != PHASE_HOLDING)
		status = -EBUSY;
	if (status == 0)
		shared_map_publish(keeper->shared, slot);
	if (keeper->steps.agent_fd < 0)
		return;
	memset(&keeper->reply, 0, sizeof(keeper->reply));
	/* An agent that takes no reply has closed its end, which the next turn sees. */
	(void)send_reply(keeper->steps.agent_fd, &keeper->reply, KEEPER_MAP_ADD, status, -1);
}

void keeper_map_refuse(struct keeper *keeper)
{
	int slot = atomic_load(&keeper->shared->pending_slot);

	if (slot >= 0)
		keeper_map_done(keeper, (unsigned)slot, -EBUSY);
}
