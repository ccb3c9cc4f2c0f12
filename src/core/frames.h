/* SPDX-License-Identifier: Apache-2.0 */
/* Fixed-size frames over local SOCK_SEQPACKET sockets. One struct a type, host byte order (both
 * ends are one machine; of one package, but for a keeper that is older, see KEEPER_PROTOCOL); a size or magic that does not fit ends the connection. A
 * reply has the request's type, and its whole size whatever its status. Pure: tables and checks; no
 * I/O.
 *
 *   /run/emberlock/keeper/keeper.sock    0700 root; agent, emberlockctl end (root only)
 *   /run/emberlock/watchdog/agent.sock   root:emberlock-watchdog 0710, socket 0660; one connection,
 *                                        of the watchdog's uid
 *   /run/emberlock/control/agent.sock    root:emberlock 0710, socket 0660; status for the group,
 *                                        shred for root of the initial user namespace
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/lease.h"
#include "core/limits.h"
#include "core/message.h"

#define KEEPER_SOCKET	"/run/emberlock/keeper/keeper.sock"
#define WATCHDOG_SOCKET "/run/emberlock/watchdog/agent.sock"
#define CONTROL_SOCKET	"/run/emberlock/control/agent.sock"
/* Of the keeper that runs: its KEEPER_PROTOCOL in decimal, and a newline. */
#define KEEPER_PROTOCOL_FILE "/run/emberlock/keeper/protocol"
/* What the initramfs carried: the hash of struct initramfs_config, in hex, and a newline. */
#define INITRAMFS_HASH "/run/emberlock/initramfs"

struct frame_header {
	uint32_t magic; /* FRAME_MAGIC_… of the socket */
	uint16_t type;
	uint16_t zero;
	uint32_t size;	/* of the whole frame */
	int32_t status; /* in replies: 0 or negative errno; 0 in requests */
};
#define FRAME_MAGIC_KEEPER   0x454d424bu
#define FRAME_MAGIC_WATCHDOG 0x454d4257u
#define FRAME_MAGIC_CONTROL  0x454d4243u

/* ---- keeper ---- */
/* A keeper outlives every upgrade of the package, until the next boot. One more whenever a frame
 * below or struct agent_state (core/state.h) changes: an agent of another number does not go on with
 * this keeper, and the package (units/debian/agent-preinst.in, which takes the number from this line)
 * does not install it beside one. */
#define KEEPER_PROTOCOL 1

enum keeper_frame {
	KEEPER_HELLO = 1, /* agent → keeper: I am the agent. Reply: keeper_hello. -EBUSY while
			     another is connected. */
	KEEPER_STATE_GET, /* reply: keeper_state; -ENODATA before the first put */
	KEEPER_STATE_PUT, /* keeper_state; whole or not at all */
	KEEPER_BOOT_KEY, /* reply with the descriptor of the boot key (BOOT_KEY_SIZE bytes at offset
			    0; map MAP_SHARED); -ENOKEY once erased */
	KEEPER_IDENTITY, /* reply with the descriptor of the boot identity seed */
	KEEPER_MAP_ADD, /* keeper_map: before the map is made; -EEXIST, -ENOSPC. A name not there at
			   a shred is SEGMENT_ABSENT */
	KEEPER_MAP_REMOVE, /* keeper_map (name only): after the map is gone; -ENOENT */
	KEEPER_DEADLINE,   /* keeper_deadline */
	KEEPER_ERASE_BOOT_KEY,
	KEEPER_SHRED, /* keeper_shred; no reply to one that begins but its reports; -EBUSY where one
			 has begun */
	KEEPER_SHRED_REPORT, /* keeper → agent, unasked: keeper_report */
	KEEPER_RECEIPT_SENT, /* agent → keeper: keeper_receipt_sent; no reply */
	KEEPER_END,	     /* keeper_end: orderly end; from any root peer */
	KEEPER_ENDING, /* keeper_ending: the machine has begun to stop, and ends in bounded time.
				Reply: keeper_ending; from any root peer. And keeper → agent, unasked:
				the same, whoever has said so */
	KEEPER_STATUS, /* reply: keeper_status; from any root peer */
	KEEPER_FRAME__MAX
};

struct keeper_plain {
	struct frame_header header;
}; /* frames without more */

struct keeper_hello {
	struct frame_header header;
	char version[32];
	uint8_t boot_id[BOOT_ID_SIZE];
	uint64_t started_ns;   /* of the keeper */
	uint32_t agents;       /* connections of agents so far, this one included */
	uint8_t secret_memory; /* memfd_secret, or a plain locked memfd */
	uint8_t boot_key_held;
	uint8_t power_armed;
	uint8_t watchdog_armed;
};

#define KEEPER_STATE_SIZE 16384
struct keeper_state {
	struct frame_header header;
	uint8_t bytes[KEEPER_STATE_SIZE]; /* the agent's; opaque to the keeper */
};

struct keeper_map {
	struct frame_header header;
	char name[DM_NAME_MAX + 1]; /* dm name of a segment's dm-crypt map */
	char volume[VOLUME_NAME_MAX + 1];
	uint32_t segment;
	uint64_t length_sectors; /* for the error table */
};

struct keeper_deadline {
	struct frame_header header;
	uint64_t deadline_ns; /* CLOCK_BOOTTIME; LEASE_NEVER: none */
	uint32_t expiry;      /* enum expiry: what the keeper does then */
	uint32_t zero;
};

struct keeper_shred {
	struct frame_header header;
	uint32_t reason;  /* enum reason */
	uint32_t dry_run; /* 1: only reply */
};

/* After step 1 (kind RECEIPT_KEYS) and after step 4 (RECEIPT_CLOSING): what the receipt says. */
struct keeper_report {
	struct frame_header header;
	uint32_t kind, reason;
	uint64_t start_ns, keys_gone_ns, blocked_io_ns, plaintext_ns;
	uint32_t self_test_passed, self_test_failed; /* what step 3 has looked at */
	uint32_t n_segments, zero;
	struct receipt_segment segments[SEGMENTS_MAX]; /* in the order of their wiping */
};

struct keeper_receipt_sent {
	struct frame_header header;
	uint32_t kind, zero;
};

struct keeper_end {
	struct frame_header header;
	uint32_t verb, zero; /* enum end_verb */
};

struct keeper_ending {
	struct frame_header header;
	uint32_t verb, zero; /* enum end_verb; the newest counts */
	/* Of the reply, CLOCK_BOOTTIME; 0 in the request. The first request sets both, none moves
	 * them: at end_ns the keeper makes the end itself. */
	uint64_t began_ns, end_ns;
};

struct keeper_status {
	struct frame_header header;
	uint64_t deadline_ns;
	uint32_t expiry;
	uint32_t n_maps;
	uint32_t shred_step; /* enum shred_step */
	uint32_t reason;
	uint8_t agent_connected, twin_alive, secret_memory, boot_key_held, power_armed,
		watchdog_armed;
	uint8_t zero[2];
	int32_t keeper_pid, twin_pid;
};

/* The size of a request of TYPE, and of its reply (or of what the keeper sends unasked); 0 for a
 * type that is not one. */
size_t keeper_request_size(uint16_t type);
size_t keeper_reply_size(uint16_t type);

/* ---- watchdog ---- */
enum route {
	ROUTE_BOOT = 1,
	ROUTE_LEASE,
	ROUTE_RECEIPT,
	ROUTE_SIGNING_KEYS,
	ROUTE_ENDING,
	ROUTE_BOUND_BOOT,
	ROUTE__MAX
};
/* "/v1/boot", … : the path at the manager. Body sizes: BOOT_BODY_SIZE, LEASE_REQUEST_SIZE,
 * RECEIPT_SIZE, 0 (GET), ENDING_SIZE, BOUND_BODY_SIZE. Answers with 200: TOKEN_SIZE, TOKEN_SIZE, 0,
 * SIGNING_KEYS_SIZE, 0; of a bound boot BOUND_ANSWER_SIZE, or TOKEN_SIZE where the verdict is
 * shred. */
const char *route_path(enum route route);
size_t route_body_size(enum route route);

enum watchdog_frame {
	WATCHDOG_REQUEST = 1, /* agent → watchdog: watchdog_message; a new one of the same route
				 replaces the old, whose answer is dropped */
	WATCHDOG_RESPONSE,    /* watchdog → agent: watchdog_message, same number and route */
	WATCHDOG_EVENT,	      /* watchdog → agent: watchdog_event, informational */
	WATCHDOG_FRAME__MAX
};
struct watchdog_message {
	struct frame_header header;
	uint32_t number;      /* of the exchange, the agent's */
	uint16_t route;	      /* enum route */
	uint16_t http_status; /* in a response; 0: no answer, header.status says why (-ECONNREFUSED,
				 -ETIMEDOUT, -EPROTO, -EKEYREJECTED for a certificate …) */
	uint32_t length;      /* of body */
	uint32_t retry_after_ms; /* the manager's Retry-After; 0 none */
	uint8_t body[BODY_MAX];
};
enum watchdog_event_kind { WATCHDOG_CONNECTED = 1, WATCHDOG_DISCONNECTED };
struct watchdog_event {
	struct frame_header header;
	uint32_t kind, zero;
	char text[128]; /* for the journal; the agent prints it escaped */
};
size_t watchdog_frame_size(uint16_t type);

/* ---- control ---- */
enum control_frame {
	CONTROL_STATUS = 1, /* reply: control_status */
	CONTROL_WAIT,  /* reply (control_status) once the VM is admitted, has failed for good, or is
			  shredding */
	CONTROL_SHRED, /* control_shred; root of the initial user namespace. Reply: header only */
	CONTROL_ENDING, /* root of the initial user namespace. Reply: header only, once the
			   manager has the note that this boot ends, or there is none to be sent */
	/* control_change, of the same root; the reply, control_changed, comes when it is done */
	CONTROL_ADD,	     /* makes a volume of volumes.d that is not there, or that failed */
	CONTROL_GROW,	     /* to the present size of its disks */
	CONTROL_SWAP_RESIZE, /* makes the swap area again, of .bytes; 0: all of the volume */
	CONTROL_FRAME__MAX
};
struct control_plain {
	struct frame_header header;
};
struct control_shred {
	struct frame_header header;
	uint32_t dry_run, zero;
};
struct control_change {
	struct frame_header header;
	char volume[VOLUME_NAME_MAX + 1];
	uint64_t bytes;
};
struct control_changed {
	struct frame_header header;
	int32_t result; /* 0 or negative errno, which .text explains */
	uint32_t n_segments;
	uint64_t bytes; /* of the volume */
	char text[256];
};
struct control_volume {
	char name[VOLUME_NAME_MAX + 1];
	char disk[64];
	char reason[256];
	char mount_point[256];
	uint32_t use, state, n_segments, required;
	uint32_t bound, zero; /* Bind=yes */
	uint64_t bytes;
};
struct control_status {
	struct frame_header header;
	char version[32];
	char workspace[ID_TEXT_MAX + 1], vm[ID_TEXT_MAX + 1];
	uint8_t boot_id[BOOT_ID_SIZE];
	uint8_t admission[HASH_SIZE];
	uint32_t lease_state, expiry, cmk_state, reason;
	uint64_t now_ns, deadline_ns, ttl_ms, number;
	struct sequence highest;
	uint32_t self_test_passed, self_test_failed;
	uint32_t agents, pauses, rejected_tokens;
	uint8_t keeper_connected, watchdog_connected, manager_connected, failed;
	char failure[128];
	char last_error[128]; /* of the way to the manager */
	uint32_t n_volumes, zero;
	struct control_volume volumes[VOLUMES_MAX];
};
size_t control_request_size(uint16_t type);
size_t control_reply_size(uint16_t type);

/* The header of a frame of TYPE and SIZE. */
void frame_init(struct frame_header *header, uint32_t magic, uint16_t type, uint32_t size);
/* Whether BYTES (LEN long) begin with a header of MAGIC that states LEN. */
bool frame_is_valid(const void *bytes, size_t len, uint32_t magic);
