/* SPDX-License-Identifier: Apache-2.0 */
/* emberlock-agent: the context that its files share, and what each file offers the others.
 *
 * One process, one thread, one sd-event loop; a forked worker maps a volume. All buffers lie in
 * struct agent, which is allocated (and locked) once: a shred allocates none of its own.
 *
 *	agent.c            start, loop, end
 *	agent_keeper.c     frames to and from the keeper
 *	agent_config.c     configuration and credential
 *	agent_initramfs.c  the part in the initramfs, and what comes of it
 *	agent_plan.c       which volume may be mapped now
 *	agent_look.c       a child that looks at the disks
 *	agent_volumes.c    volumes mapped and undone
 *	agent_worker.c     the processes that do so
 *	agent_change.c     volumes added, grown and re-sized at run time
 *	agent_report.c     self-test, boot report
 *	agent_bind.c       volumes that wait for the manager's share
 *	agent_offer.c      what that share is to be sealed for
 *	agent_identity.c   signing with the boot identity seed
 *	agent_lease.c      the lease machine and its actions
 *	agent_requests.c   exchanges with the manager, retries
 *	agent_token.c      tokens and signing keys that came in
 *	agent_receipt.c    receipts of a shred
 *	agent_ending.c     the note that this boot ends in good order
 *	agent_watchdog.c   connection of emberlock-watchdog
 *	agent_control.c    connections of emberlockctl
 *	agent_status.c     what CONTROL_STATUS answers
 *	agent_pause.c      hypervisor pauses
 *	agent_socket.c     listening sockets, users and groups
 *	agent_text.c       console, failure, rate-limited and escaped text
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-device.h>
#include <systemd/sd-event.h>

#include "core/config.h"
#include "core/drift.h"
#include "core/frames.h"
#include "core/plan.h"
#include "core/retry.h"
#include "core/state.h"
#include "disks/volume.h"
#include "keys/sign.h"

#define CONTROL_PEERS_MAX 16
#define FAILURE_MAX	  128

/* Order in which the loop serves what is ready: the keeper and the clock before any peer. */
enum agent_priority { PRIORITY_KEEPER = -20, PRIORITY_TIMER = -10, PRIORITY_PEER = 10 };

struct agent;

struct rate {
	uint64_t window_ns; /* when the current window began */
	unsigned n;	    /* events in it */
};

struct agent_keeper {
	int fd;
	int identity_fd; /* of the boot identity seed; mapped only while something is signed */
	sd_event_source *io, *deferred;
	struct keeper_hello hello;
	unsigned posted; /* replies under way that nobody waits for */
	bool report_waits[RECEIPT_KIND__MAX];
	struct keeper_report reports[RECEIPT_KIND__MAX];
	bool ending_waits;
	struct keeper_ending ending;
	union {
		struct frame_header header;
		struct keeper_hello hello;
		struct keeper_state state;
		struct keeper_report report;
		struct keeper_ending ending;
		struct keeper_status status;
	} in, out;
};

/* What is being done for a volume; its result is in the state page. */
enum work_kind {
	WORK_NONE,    /* nothing more: READY or FAILED */
	WORK_WAIT,    /* PLANNED; a plan may start it, its time may run out */
	WORK_BIND,    /* PLANNED, with Bind=yes; waits for the manager's share */
	WORK_UNDO,    /* a worker undoes what an agent before left half-made; then WORK_WAIT */
	WORK_MAP,     /* a worker maps it */
	WORK_CLEAN,   /* a worker undoes what a worker that was killed left; then FAILED */
	WORK_ABANDON, /* FAILED, but its worker has not ended */
	WORK_SWEEP,   /* FAILED; a worker undoes what the abandoned one left; nobody waits for it */
	WORK_GROW,    /* READY; a worker adds segments, and grows the file system */
	WORK_UNGROW,  /* READY; a worker undoes segments that were not added */
	WORK_SWAP,    /* READY; a worker makes the swap area again */
	WORK_UNPLUG,  /* READY, but a disk of it is gone; a worker cleans up */
};

/* What came of one. */
struct work_result {
	bool reported; /* .said is what it said; else it was killed */
	int status;    /* of its end */
	struct work_said {
		int32_t r;
		bool left; /* maps that could not be undone may exist */
		uint32_t ms[VOLUME_STEP__MAX];
		char reason[256];
	} said;
};

struct agent_work {
	struct agent *agent;
	enum work_kind kind;
	uint32_t index;		/* in state.volumes, plan.volumes, disks */
	bool unread;		/* READY, made by an agent before, and not looked at yet */
	bool looked_for;	/* of the look that is under way, as it is now */
	bool gone;		/* a disk of it went while its worker was at it */
	uint64_t wait_until_ns; /* LEASE_NEVER: hot-plugged */
	pid_t pid;
	int result_fd;
	sd_event_source *child, *limit;
};

/* A look at the disks. */
struct agent_look {
	pid_t pid; /* 0: none is under way */
	uint64_t limit_ns;
	struct look_found *found;
	sd_event_source *child, *timer;
};

/* Carrying out the plan. */
struct agent_carry {
	bool settled;	 /* every volume is READY or FAILED, or waits for the manager's share */
	bool bound;	 /* and none does any more */
	bool look_due;	 /* once no worker runs, and no look */
	bool look_stale; /* a disk went while the look was under way */
	int boot_key_fd, gate_fd;
	sd_device_monitor *monitor;
	sd_event_source *begin_look, *timer;
	struct agent_look look;
	struct agent_work works[VOLUMES_MAX];
	struct volume_config configs[VOLUMES_MAX]; /* of the volumes of the page */
	/* The plan as it was carried out, whenever each volume was decided. A disk that no volume of
	 * it has makes room for the next. */
	struct plan plan;
	struct disk_facts disks[DISKS_MAX];
	uint8_t hash[HASH_SIZE];
	/* One look at the disks, for the volumes that still wait. */
	struct plan round;
	struct volume_config round_configs[VOLUMES_MAX];
	uint32_t round_index[VOLUMES_MAX], n_round;
	struct disk_facts round_disks[DISKS_MAX];
	char text[32768]; /* of the printed plan */
};

struct exchange {
	uint32_t number; /* 0: none under way */
	uint16_t route;
};

struct agent_requests {
	uint32_t last_number;
	struct exchange lease, keys;
	struct retry retry;
	sd_event_source *timer;
	uint64_t signed_number; /* of .signed_request; 0 none */
	uint8_t signed_request[LEASE_REQUEST_SIZE];
	uint8_t body[BODY_MAX];
	bool manager_connected;
	char last_error[128];
	/* A token by a signing key that is not in the set, kept while a newer set is asked for. */
	bool token_waits;
	uint8_t waiting_token[BOUND_ANSWER_SIZE]; /* with the share that came with it */
	size_t waiting_size;
	bool offered;
	uint8_t offer[BIND_OFFER_SIZE];
	uint64_t keys_asked_ns;
	struct rate rejections;
};

struct agent_receipt {
	bool made, sent;
	uint8_t bytes[RECEIPT_SIZE];
};

struct agent_shred {
	bool begun;		 /* the keeper reported, or was told to begin */
	bool over;		 /* the keeper has been told that the closing receipt is out */
	unsigned rest;		 /* enum lease_action: what waits for the keeper's report */
	uint64_t verdict_ns;	 /* when a signed shred verdict was held; 0 none */
	enum reason reason;	 /* the keeper's */
	struct signing_key *key; /* from the beginning of a shred to its closing receipt */
	struct receipt receipt;
	struct agent_receipt receipts[RECEIPT_KIND__MAX];
	struct exchange exchange;
	enum receipt_kind sending;
	sd_event_source *timer;
};

struct agent_ending {
	bool over; /* the manager has the note, or it will never */
	struct exchange exchange;
	sd_event_source *timer;
};

struct agent_watchdog {
	uid_t uid;
	int fd;
	sd_event_source *listener, *io;
	struct rate refusals, events;
	struct watchdog_message in, out;
};

struct control_peer {
	struct agent *agent;
	int fd;		       /* -1: free */
	uint16_t waiting;      /* for the answer to this type; 0: for none */
	bool privileged;       /* root of our user namespace */
	uint16_t change;       /* the CONTROL_ADD or the like that it waits for; 0: none */
	uint32_t change_index; /* of the volume */
	pid_t pid;
	sd_event_source *io;
};

struct agent_control {
	sd_event_source *listener;
	struct control_peer peers[CONTROL_PEERS_MAX];
	struct control_status status;
	struct rate refusals;
};

struct agent_pauses {
	int rtc; /* -1: this machine has none */
	sd_event_source *timer;
	struct drift drift;
};

struct agent {
	sd_event *event;
	int console;		    /* -1: none */
	bool continued;		    /* an agent before left a page */
	const char *initramfs_root; /* --initramfs=: where the root is mounted; NULL: it is / */
	struct agent_config config;
	struct volume_config volumes[VOLUMES_MAX];
	size_t n_volumes;
	char workspace[ID_TEXT_MAX + 1], vm[ID_TEXT_MAX + 1];
	bool has_root_key;
	uint8_t root_key[PUBLIC_KEY_SIZE];
	struct signing_keys signing_keys; /* of state.signing_keys; no key where there is none */
	struct signing_key *vm_key;	  /* until the boot report is signed */
	char failure[FAILURE_MAX];	  /* why this boot is never admitted; "" */
	struct agent_state state;
	sd_event_source *tick;
	struct agent_keeper keeper;
	struct agent_carry carry;
	struct agent_requests requests;
	struct agent_shred shred;
	struct agent_ending ending;
	struct agent_watchdog watchdog;
	struct agent_control control;
	struct agent_pauses pauses;
};

/* --- agent.c: all of these report their own errors */
/* Ends the loop: a new agent starts from the state page. */
void agent_exit(struct agent *a, int r);
/* Arms *SOURCE (made at the first use) to call HANDLER with A at AT_NS on CLOCK_BOOTTIME;
 * LEASE_NEVER disarms it. */
void agent_timer(struct agent *a, sd_event_source **source, uint64_t at_ns,
		 sd_event_time_handler_t handler);
/* Fresh random bytes; ends the loop where the kernel has none. */
void agent_random(struct agent *a, void *bytes, size_t n);

/* --- agent_keeper.c */
/* Connects, says HELLO, gets the identity's descriptor and the state page (all zero: a fresh
 * boot). 0 or negative errno, logged. */
int keeper_open(struct agent *a);
void keeper_close(struct agent *a);
/* All: 0 or negative errno. One that says that the keeper is gone has ended the loop. */
int keeper_save(struct agent *a);
int keeper_map_add(struct agent *a, const char *volume, uint32_t segment, uint64_t sectors);
int keeper_map_remove(struct agent *a, const char *volume, uint32_t segment);
int keeper_deadline(struct agent *a, uint64_t deadline_ns, enum expiry expiry);
int keeper_boot_key(struct agent *a, int *ret_fd);
int keeper_erase_boot_key(struct agent *a);
int keeper_status_get(struct agent *a, struct keeper_status *ret_status);
int keeper_shred_dry_run(struct agent *a);
/* Sent without waiting: the shred does not wait for the agent, nor the agent for the shred. False
 * where none has been asked for: it has begun, or the keeper is gone. */
bool keeper_shred(struct agent *a, enum reason reason);
void keeper_receipt_sent(struct agent *a);

/* --- agent_config.c */
void config_load(struct agent *a);

/* --- agent_initramfs.c */
/* In the initramfs: of the volumes that were loaded, leaves those that the root needs. */
void initramfs_config_filter(struct agent *a);
/* In the initramfs: every volume is settled. Mounts the overlay and ends the loop; where it cannot, or
 * a volume has failed, has the keeper end this boot: the bare root is never used instead. */
void initramfs_done(struct agent *a);
/* In the real root: volume INDEX, where it is the root's overlay, was made in the initramfs. */
void initramfs_check(struct agent *a, uint32_t index);
/* Whether the initramfs of this boot carried the configuration and version of the root; logs where
 * not. */
bool initramfs_agrees(struct agent *a);

/* --- agent_plan.c */
/* Begins to carry out the plan, or goes on with it. 0 or negative errno, logged. */
int plan_start(struct agent *a);
/* A volume is READY, FAILED or PLANNED again: goes on with the others, or settles. */
void plan_continue(struct agent *a);
/* Volume INDEX, which is hot-plugged, waits for its disk. */
void plan_wait(struct agent *a, uint32_t index);
/* Volume INDEX, READY: its place in the plan is what the kernel has, its disks are as they are now. 0 or
 * negative errno. */
int plan_refresh(struct agent *a, uint32_t index);
/* Volume NAME of the configuration, which has just been read, is waited for: a new one of the page, or
 * one that failed. Its index; -ENOENT, -E2BIG, or another negative errno. */
int plan_add(struct agent *a, const char *name);

/* Volume INDEX, which waits, as a look at the disks DECIDED; UNFINISHED: udev has not finished with one. */
void plan_decide(struct agent *a, uint32_t index, const struct plan_volume *decided,
		 bool unfinished);
bool plan_has_disk(const struct agent *a, uint32_t index, const struct disk_facts *disk);
/* Looks at volumes that an agent before made: what can wait until the keeper has seen that this one
 * works. */
void plan_unread(struct agent *a);

/* --- agent_look.c */
/* carry.begin_look's: looks at the disks for the volumes that wait, once nothing is in the way. */
int look_begin(sd_event_source *s, void *userdata);
bool look_runs(const struct agent *a);
/* It should have ended long ago: it waits for a disk. */
bool look_is_stuck(const struct agent *a);
/* Workers that a look would be in the way of. */
bool workers_run(const struct agent *a);

/* --- agent_volumes.c */
/* Starts the worker that maps volume INDEX as the plan says, or that undoes it (KIND: WORK_UNDO or
 * WORK_CLEAN or WORK_SWEEP). */
void volume_start(struct agent *a, uint32_t index);
void volume_undo(struct agent *a, uint32_t index, enum work_kind kind);
/* The keeper shall know SEGMENT before it is made. A name that a volume which was unplugged has left
 * there, for the receipt, is taken over; not one whose map exists. 0 or negative errno. */
int volume_announce(struct agent *a, const char *volume, uint32_t segment, uint64_t sectors);
/* A disk of volume INDEX, which is READY or FAILED, is gone. */
void volume_gone(struct agent *a, uint32_t index);
/* Starts the worker that makes the swap area of volume INDEX again. 0 or negative errno. */
int volume_swap_start(struct agent *a, uint32_t index, uint64_t bytes);
/* Volume INDEX was MAPPING when an agent before ended: takes it as READY, or undoes it. */
void volume_recover(struct agent *a, uint32_t index);
/* FAILED, with its reason, on the page and where people look. */
void volume_failed(struct agent *a, uint32_t index, const char *reason);
/* The worker of volume INDEX, of that KIND, has ended; not in a shred. */
void volume_worked(struct agent *a, uint32_t index, enum work_kind kind,
		   const struct work_result *result);
/* For agent_change.c. The maps of segments FIRST to N - 1 are gone: the keeper need know them no more. */
void volume_forget(struct agent *a, uint32_t index, uint32_t first, uint32_t n);
/* The descriptor of the boot key in carry.boot_key_fd, which is held open only while the plan is carried
 * out. 0 or negative errno. */
int volume_boot_key_open(struct agent *a);
void volume_boot_key_close(struct agent *a);
/* All that a worker needs of the plan for volume INDEX. */
struct volume_job volume_job_make(struct agent *a, uint32_t index);
/* "/dev/vdb /dev/vdc"; what does not fit is left out. */
void volume_disks_print(const struct agent *a, const struct plan_volume *planned, char *text,
			size_t size);

/* --- agent_worker.c */
/* Starts the worker that does what KIND says for volume INDEX; volume_worked() is called at its end. 0 or
 * negative errno. */
int worker_fork(struct agent *a, uint32_t index, const struct volume_job *job, enum work_kind kind);
/* A shred has begun: nothing is mapped any more. */
void volumes_abort(struct agent *a);

/* --- agent_change.c */
/* What a peer asks for. >= 0: the volume's index, of which change_ended() tells later; or negative
 * errno with TEXT. */
int change_begin(struct agent *a, uint16_t type, const struct control_change *request,
		 char text[static 256]);
/* A worker of a change has ended: true where KIND is of that sort. */
bool change_worked(struct agent *a, uint32_t index, enum work_kind kind,
		   const struct work_result *result);
/* Starts the worker that adds the segments behind those that volume INDEX has; its page says so, and
 * the keeper knows them. With none, the file system alone is grown. 0 or negative errno. */
int volume_grow_start(struct agent *a, uint32_t index);
/* Growth of volume INDEX came to no known end. Where the volume's map has all of it, the page takes it,
 * and .grow_to says still that the file system may have to grow: true. Else a worker undoes it. */
bool volume_grow_recover(struct agent *a, uint32_t index);
/* The growth of volume INDEX that the page speaks of is over. */
void change_grown(struct agent *a, uint32_t index, int r, const char *text);

/* --- agent_report.c */
/* All volumes are settled: self-test, report, first challenge. */
void report_make(struct agent *a);
/* The boot key is not needed any more: closed, and erased where agent.conf says so. */
void report_boot_key_done(struct agent *a);

/* --- agent_bind.c */
/* Those of the page that have Bind=yes, as the report says it. */
uint16_t bind_volumes(const struct agent *a);
/* This boot's report has such volumes. */
bool bind_asked(const struct agent *a);
/* The share of this boot; false where it has none yet. */
bool bind_share(const struct agent *a, struct bind_share *ret_share);
/* Whether volume INDEX, for which a disk was found, may be mapped now; else bind_wait(). */
bool bind_may_map(const struct agent *a, uint32_t index);
void bind_wait(struct agent *a, uint32_t index);
/* A volume with Bind=yes is still to be made. */
bool bind_waits(const struct agent *a);
/* This boot is admitted: those that wait for the share are mapped. */
void bind_begin(struct agent *a);
/* Volume INDEX is FAILED: where it was to be mapped after the admission, who waits is told. */
void bind_failed(struct agent *a, uint32_t index);
/* None waits any more, where that is so. */
void bind_settle(struct agent *a);

/* --- agent_offer.c */
/* Makes requests.offer, once. 0 or negative errno. */
int offer_make(struct agent *a);

/* --- agent_identity.c */
/* The boot identity's signing key from the keeper's descriptor; the caller frees it. */
int identity_key(struct agent *a, struct signing_key **ret_key);

/* --- agent_lease.c */
/* Gives the machine one event and does what it says. TOKEN_BYTES are those of event->token. */
void lease_event(struct agent *a, enum lease_event_type type, const struct token *token,
		 const uint8_t *token_bytes);
/* Goes on with the lease of the page: repeats whatever an agent before may not have done. */
void lease_resume(struct agent *a);
/* What of a shred has waited until the keeper reports, or had its time to; once. */
void lease_shred_rest(struct agent *a);
bool lease_is_admitted(const struct agent *a);

/* --- agent_requests.c */
/* Sends the current challenge now; without a watchdog, once there is one. */
void requests_send(struct agent *a);
/* Again after a failure: the retry schedule, at least MIN_MS. */
void requests_retry(struct agent *a, uint32_t min_ms);
void requests_response(struct agent *a, const struct watchdog_message *message);
void requests_watchdog_lost(struct agent *a);
uint32_t requests_number(struct agent *a);
int requests_ask_keys(struct agent *a);

/* --- agent_token.c */
/* N: TOKEN_SIZE, or BOUND_ANSWER_SIZE. */
void token_received(struct agent *a, const uint8_t *bytes, size_t n);
void token_keys_received(struct agent *a, const uint8_t *bytes, size_t n);
/* No newer set came: the token that waited for it is rejected. */
void token_keys_missing(struct agent *a);
/* Counts and logs. WHY is ours. */
void token_rejected(struct agent *a, const char *why);
/* Installs the set of BYTES where the root key signed it and its epoch is above the current one.
 * 0, -ESTALE, or as signing_keys_verify(). The caller saves the page. */
int token_keys_install(struct agent *a, const uint8_t *bytes, size_t n);

/* --- agent_receipt.c */
/* Makes ready what signing a receipt needs. */
void receipt_prepare(struct agent *a);
void receipt_report(struct agent *a, const struct keeper_report *report);
void receipt_response(struct agent *a, const struct watchdog_message *message);
void receipt_watchdog_changed(struct agent *a);

/* --- agent_ending.c */
/* The keeper says that the machine stops. */
void ending_begin(struct agent *a, const struct keeper_ending *said);
void ending_response(struct agent *a, const struct watchdog_message *message);
void ending_watchdog_changed(struct agent *a);
/* Whether nothing more is to be waited for. */
bool ending_is_over(const struct agent *a);

/* --- agent_watchdog.c */
int watchdog_open(struct agent *a);
bool watchdog_connected(const struct agent *a);
/* 0, or negative errno: the connection is then closed. */
int watchdog_send(struct agent *a, enum route route, uint32_t number, const void *body, size_t n);
void watchdog_done(struct agent *a);

/* --- agent_control.c */
int control_open(struct agent *a);
/* Answers who waits, where there is now something to say. */
void control_notify(struct agent *a);
/* The same of a change of volume INDEX. */
void control_changed(struct agent *a, uint32_t index, int r, const char *text);
void control_done(struct agent *a);

/* --- agent_status.c */
void status_fill(const struct agent *a, struct control_status *ret_status);
/* Whether CONTROL_WAIT may be answered. */
bool status_is_final(const struct agent *a);

/* --- agent_pause.c */
void pause_start(struct agent *a);
void pause_look(struct agent *a);
void pause_done(struct agent *a);

/* --- agent_socket.c */
/* Makes the parent directory (root:GROUP 0710), and listens at PATH (root:GROUP 0660). 0 or
 * negative errno. */
int socket_listen(const char *path, const char *group, int *ret_fd);
/* The next connection, non-blocking, and who it is. 0, -EAGAIN, or negative errno. */
int socket_accept(int listener, int *ret_fd, uid_t *ret_uid, pid_t *ret_pid);
/* From /etc/passwd and /etc/group alone: no name service is asked. -ENOENT where there is none. */
int user_find(const char *name, uid_t *ret_uid);
int group_find(const char *name, gid_t *ret_gid);
/* Whether process PID is in our user namespace; false too where it is gone. To be asked when the
 * peer has just connected: its number cannot have gone once around by then. */
bool peer_in_our_user_namespace(pid_t pid);

/* --- agent_text.c */
/* One line on the console, without waiting for it. */
void console_write(const struct agent *a, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The boot is never admitted. The first reason counts; each is logged and on the console. */
void agent_fail(struct agent *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* At most BURST a minute. */
bool rate_allow(struct rate *rate, unsigned burst, uint64_t now_ns);
/* Copies at most N bytes of FROM, up to a NUL, with everything but printable ASCII as '?'. */
void text_escape(char *to, size_t size, const char *from, size_t n);
