/* SPDX-License-Identifier: Apache-2.0 */
/* What VM and manager say to each other: eight records of fixed size, integers in network byte
 * order, each with a magic that is its version, each signed over a domain string and all that
 * precedes the signature. Pure: encode, decode, check of form; signatures are keys/sign.h's work.
 *
 *   token           manager → agent     a lease, or its end
 *   signing keys    root key → agent    which keys may sign tokens
 *   boot report     agent → manager     what booted; its SHA-256 is the admission
 *   lease request   agent → manager     one challenge
 *   receipt         agent → manager     what a shred did
 *   ending          agent → manager     this boot ends in good order
 *   bind offer      agent → manager     what the share of this boot is to be sealed for
 *   bind share      manager → agent     its part of the keys of volumes with Bind=yes, sealed
 *
 * emberlock-protocol(7) draws them. Every decoder: 0, or -EBADMSG where size, magic, a reserved
 * byte (must be zero), an enum, a number or a text is not of the form; nothing is written then.
 * Encoders write exactly X_SIZE bytes. Texts are printable ASCII, NUL-padded, end in NUL, and
 * satisfy name_is_valid() where they are ids. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/limits.h"

/* Domain-separation strings: signed as the string with its final NUL, then the record up to its
 * signature. */
#define TOKEN_DOMAIN	     "emberlock v1 token"
#define SIGNING_KEYS_DOMAIN  "emberlock v1 signing keys"
#define BOOT_REPORT_DOMAIN   "emberlock v1 boot report"
#define LEASE_REQUEST_DOMAIN "emberlock v1 lease request"
#define RECEIPT_DOMAIN	     "emberlock v1 receipt"
#define ENDING_DOMAIN	     "emberlock v1 ending"
#define BIND_OFFER_DOMAIN    "emberlock v1 bind offer"
#define BIND_SHARE_DOMAIN    "emberlock v1 bind share"

enum verdict { VERDICT_ADMIT = 1, VERDICT_CONTINUE, VERDICT_SHRED, VERDICT__MAX };
enum expiry { EXPIRY_SHRED = 1, EXPIRY_WARN, EXPIRY__MAX };
enum cmk_state {
	CMK_UNKNOWN,
	CMK_HEALTHY,
	CMK_REVOKED,
	CMK_UNAVAILABLE,
	CMK_IDENTITY,
	CMK_MISCONFIGURED,
	CMK__MAX
};

/* Why a VM's keys end; also the code on the console and the manager's record. */
enum reason {
	REASON_NONE,
	REASON_REVOKED,	   /* the customer took the CMK back */
	REASON_LEASE,	   /* the deadline passed */
	REASON_SUPERSEDED, /* the same VM booted again */
	REASON_OPERATOR,   /* emberlockctl shred, or an operator of the manager */
	REASON_CLONE,	   /* two holders of one boot identity */
	REASON_REMOVED,	   /* the VM's enrolment was removed */
	REASON_FAULT,	   /* a keeper process died, or the agent was gone too long */
	REASON_ADMISSION,  /* OnAdmissionTimeout=poweroff */
	REASON_END,	   /* orderly power-off, reboot, kexec */
	REASON_DRILL,	   /* an operator of the manager tries it on purpose */
	REASON__MAX
};

/* How an orderly end ends. */
enum end_verb { END_POWEROFF = 1, END_REBOOT, END_KEXEC, END_VERB__MAX };

/* "revoked", "lease", ...: the words of the console line, status and records. Never NULL. */
const char *reason_name(enum reason reason);
const char *verdict_name(enum verdict verdict);
const char *cmk_state_name(enum cmk_state state);
const char *end_verb_name(enum end_verb verb); /* "poweroff", "reboot", "kexec" */
/* Code of the console line "emberlock: off: NAME (code N)": 10 + reason. */
int reason_code(enum reason reason);

struct sequence {
	uint64_t epoch;	  /* rises at each start of a store */
	uint64_t counter; /* rises with each token */
};
/* <0, 0, >0 as A is lower than, equal to, higher than B: epoch first. */
int sequence_compare(struct sequence a, struct sequence b);

#define TOKEN_SIZE 192
struct token {
	uint8_t admission[HASH_SIZE];
	uint8_t challenge[CHALLENGE_SIZE];
	struct sequence sequence;
	uint32_t ttl_ms;    /* of the lease, from the making of the challenge */
	uint32_t margin_ms; /* before the deadline, WARNING */
	uint32_t poll_ms;   /* the manager answers at the latest after this long */
	enum verdict verdict;
	enum expiry expiry;
	enum cmk_state cmk_state;
	enum reason reason; /* of a shred; REASON_NONE otherwise */
	uint64_t issued_at; /* seconds since 1970, informational */
	uint64_t key_id;    /* of the signing key: signing_key_id() */
	uint8_t signature[SIGNATURE_SIZE];
};
/*   0 magic "EMBTOK01" · 8 admission · 40 challenge · 72 epoch · 80 counter · 88 ttl · 92 margin ·
 *  96 poll · 100 verdict · 101 expiry · 102 CMK state · 103 reason · 104 issued at · 112 key id ·
 * 120 zero (8) · 128 signature
 * A shred has a reason, admit and continue have none. */
void token_encode(const struct token *token, uint8_t bytes[static TOKEN_SIZE]);
int token_decode(const uint8_t *bytes, size_t size, struct token *ret_token);

#define SIGNING_KEYS_SIZE 352
/* The set of keys that may sign tokens, as the root key holder signed it. A key that is not in the
 * newest set is revoked. Key id: the first 8 bytes of SHA-256(public key), big-endian, computed by
 * the verifier (keys/sign.h). */
struct signing_keys {
	uint64_t epoch;	 /* the highest seen counts */
	uint32_t n_keys; /* 1 to SIGNING_KEYS_MAX */
	uint8_t keys[SIGNING_KEYS_MAX][PUBLIC_KEY_SIZE];
	uint8_t signature[SIGNATURE_SIZE]; /* by the root key */
};
/*   0 magic "EMBKEY01" · 8 epoch · 16 number · 20 zero (12) · 32 keys (8 × 32, unused zero) ·
 * 288 signature */
void signing_keys_encode(const struct signing_keys *set, uint8_t bytes[static SIGNING_KEYS_SIZE]);
int signing_keys_decode(const uint8_t *bytes, size_t size, struct signing_keys *ret_set);

enum volume_use {
	VOLUME_EXT4 = 1,
	VOLUME_XFS,
	VOLUME_SWAP,
	VOLUME_RAW,
	VOLUME_OVERLAY, /* the upper layer of the root; mapped in the initramfs */
	VOLUME_USE__MAX
};
enum volume_state {
	VOLUME_PLANNED,
	VOLUME_MAPPING,
	VOLUME_READY,
	VOLUME_FAILED,
	VOLUME_STATE__MAX
};
const char *volume_use_name(enum volume_use use);
const char *volume_state_name(enum volume_state state);

struct report_volume {
	char name[VOLUME_NAME_MAX + 1];
	enum volume_use use;
	enum volume_state state;
	uint16_t n_segments;
	uint64_t bytes;
};

/* Bits of the self-test; a bit is in "passed", in "failed", or in neither when it was not looked
 * at. */
enum self_test_bit {
	SELF_TEST_MEMORY_LOCKED = 1 << 0,   /* keeper and agent hold all their pages */
	SELF_TEST_SECRET_MEMORY = 1 << 1,   /* the boot key is in memfd_secret */
	SELF_TEST_NO_CORE = 1 << 2,	    /* keeper and agent are not dumpable */
	SELF_TEST_WATCHDOG = 1 << 3,	    /* a watchdog device stands below the keeper */
	SELF_TEST_POWER_ARMED = 1 << 4,	    /* the keeper may power the VM off */
	SELF_TEST_INIT_ON_FREE = 1 << 5,    /* the kernel zeroes freed pages */
	SELF_TEST_KEYS_REFERENCED = 1 << 6, /* every map's table names a key, none holds one */
	SELF_TEST_QUEUES_BOUNDED = 1 << 7,  /* below every segment */
	SELF_TEST_PANIC = 1 << 8,	    /* kernel.panic > 0: a panic ends the VM */
	SELF_TEST_INITRAMFS = 1 << 9,	  /* it carried the configuration and version of the root */
	SELF_TEST_KEYRING = 1 << 10,	  /* no keyring holds a key of ours */
	SELF_TEST_CRASH_KERNEL = 1 << 11, /* no other kernel is loaded that memory would go to */
	SELF_TEST_KEYS_GONE = 1 << 12,	  /* in a shred: the boot key is zero, no map has one */
	SELF_TEST_PLAINTEXT = 1 << 13,	  /* in a shred: every part of step 4 is done */
};

#define BOOT_REPORT_SIZE 1296
struct boot_report {
	char workspace[ID_TEXT_MAX + 1];
	char vm[ID_TEXT_MAX + 1];
	uint8_t boot_id[BOOT_ID_SIZE];
	uint8_t boot_key[PUBLIC_KEY_SIZE]; /* signs lease requests and receipts of this boot */
	uint8_t plan_hash[HASH_SIZE];	   /* SHA-256 of the printed plan */
	uint32_t self_test_passed, self_test_failed;
	char version[32];  /* of the agent */
	char kernel[64];   /* uname -r */
	char failure[128]; /* why a required volume failed; "" otherwise. Printable ASCII. */
	uint32_t n_volumes;
	uint16_t
		bound; /* bit I: volume I has Bind=yes. Not 0: the report comes with a bind offer */
	struct report_volume volumes[VOLUMES_MAX];
	uint8_t vm_signature[SIGNATURE_SIZE];	/* by the VM's enrolled key */
	uint8_t boot_signature[SIGNATURE_SIZE]; /* by boot_key, over the same bytes */
};
/*   0 magic "EMBRPT01" · 8 workspace · 72 VM · 136 boot id · 152 boot key · 184 plan hash ·
 * 216 passed · 220 failed · 224 version · 256 kernel · 320 failure · 448 number of volumes ·
 * 452 bound (2) · 454 zero (10) · 464 volumes (16 × 44: name 32 · use 1 · state 1 · segments 2 · bytes 8; unused
 * zero) · 1168 VM signature · 1232 boot signature
 * Both signatures are over everything before the first of them. Admission = SHA-256 of all
 * BOOT_REPORT_SIZE bytes. */
void boot_report_encode(const struct boot_report *report, uint8_t bytes[static BOOT_REPORT_SIZE]);
int boot_report_decode(const uint8_t *bytes, size_t size, struct boot_report *ret_report);

#define LEASE_REQUEST_SIZE 192
struct lease_request {
	uint8_t admission[HASH_SIZE];
	uint64_t number; /* of the challenge: 1, 2, 3 … */
	uint8_t challenge[CHALLENGE_SIZE];
	struct sequence highest; /* seen by this boot */
	uint32_t self_test_passed, self_test_failed;
	uint32_t pauses;		   /* hypervisor pauses noticed so far */
	uint8_t signature[SIGNATURE_SIZE]; /* by the boot key */
};
/*   0 magic "EMBREQ01" · 8 admission · 40 number (not 0) · 48 challenge · 80 epoch · 88 counter ·
 *  96 passed · 100 failed · 104 pauses · 108 zero (20) · 128 signature */
void lease_request_encode(const struct lease_request *request,
			  uint8_t bytes[static LEASE_REQUEST_SIZE]);
int lease_request_decode(const uint8_t *bytes, size_t size, struct lease_request *ret_request);

enum segment_fate { SEGMENT_ABSENT, SEGMENT_WIPED, SEGMENT_UNWIPED, SEGMENT_FATE__MAX };
enum receipt_kind { RECEIPT_KEYS = 1, RECEIPT_CLOSING, RECEIPT_KIND__MAX };

struct receipt_segment {
	char volume[VOLUME_NAME_MAX + 1];
	uint16_t segment;
	enum segment_fate fate;
	uint32_t wiped_us; /* after the start of the shred; in the order of the array */
};

#define RECEIPT_SIZE 3072
struct receipt {
	uint8_t admission[HASH_SIZE];
	enum receipt_kind kind;
	enum reason reason;
	uint8_t previous[HASH_SIZE]; /* SHA-256 of the receipt before; for the first, of the token
					that was last accepted, or zero */
	uint64_t verdict_ns;   /* T2: CLOCK_BOOTTIME when the agent held the verdict; 0 where there
				  was none */
	uint64_t start_ns;     /* the keeper began */
	uint64_t keys_gone_ns; /* T3: every segment, boot key and copy; 0 while a segment is unwiped
				*/
	uint64_t blocked_io_ns; /* step 2 done; 0 in the first receipt */
	uint64_t plaintext_ns;	/* step 4 done; 0 in the first receipt, and where some is left */
	uint32_t self_test_passed, self_test_failed;
	uint32_t n_segments;
	struct receipt_segment segments[SEGMENTS_MAX];
	uint8_t signature[SIGNATURE_SIZE]; /* by the boot key */
};
/*   0 magic "EMBRCT01" · 8 admission · 40 kind · 41 reason (not none) · 42 zero (2) · 44 number of
 * segments · 48 previous · 80 verdict · 88 start · 96 keys gone · 104 blocked I/O · 112 passed ·
 * 116 failed · 120 plaintext · 128 segments (64 × 40: name 32 · segment 2 · fate 1 · zero 1 · µs 4;
 * unused zero) · 2688 zero (320) · 3008 signature
 * One with a time of "keys gone" and an unwiped segment is not of the form. */
void receipt_encode(const struct receipt *receipt, uint8_t bytes[static RECEIPT_SIZE]);
int receipt_decode(const uint8_t *bytes, size_t size, struct receipt *ret_receipt);

#define ENDING_SIZE 128
/* Says that the keeper makes an orderly end of this boot BOUND_MS after BEGAN_NS at the latest, which
 * nobody can put off. It does not say that a key is gone: none is yet, and only a receipt says so. */
struct ending {
	uint8_t admission[HASH_SIZE];
	enum end_verb verb;
	uint32_t bound_ms;		   /* not 0 */
	uint64_t began_ns;		   /* CLOCK_BOOTTIME */
	uint8_t signature[SIGNATURE_SIZE]; /* by the boot key */
};
/*   0 magic "EMBEND01" · 8 admission · 40 verb · 41 zero (3) · 44 bound · 48 began · 56 zero (8) ·
 *  64 signature */
void ending_encode(const struct ending *ending, uint8_t bytes[static ENDING_SIZE]);
int ending_decode(const uint8_t *bytes, size_t size, struct ending *ret_ending);

#define BIND_OFFER_SIZE 144
/* Whose private half the holder of the boot key can compute, and nobody else: keys/bind.h. */
struct bind_offer {
	uint8_t admission[HASH_SIZE];
	uint8_t key[BIND_KEY_SIZE];
	uint8_t signature[SIGNATURE_SIZE]; /* by the boot key pair of the report */
};
/*   0 magic "EMBOFR01" · 8 admission · 40 key · 72 zero (8) · 80 signature */
void bind_offer_encode(const struct bind_offer *offer, uint8_t bytes[static BIND_OFFER_SIZE]);
int bind_offer_decode(const uint8_t *bytes, size_t size, struct bind_offer *ret_offer);

#define BIND_SHARE_RECORD_SIZE 192
/* BIND_SHARE_SIZE bytes that the CMK has encrypted and decrypted for this admission, sealed for the
 * key of its offer. */
struct bind_share {
	uint8_t admission[HASH_SIZE];
	uint8_t encapsulated[BIND_KEY_SIZE];
	uint8_t sealed[BIND_SEALED_SIZE];
	uint64_t key_id; /* of the signing key */
	uint8_t signature[SIGNATURE_SIZE];
};
/*   0 magic "EMBSHR01" · 8 admission · 40 encapsulated key · 72 sealed share (48) · 120 key id ·
 * 128 signature */
void bind_share_encode(const struct bind_share *share,
		       uint8_t bytes[static BIND_SHARE_RECORD_SIZE]);
int bind_share_decode(const uint8_t *bytes, size_t size, struct bind_share *ret_share);

/* What goes to POST /v1/boot: the report and the first lease request, one after the other. */
#define BOOT_BODY_SIZE (BOOT_REPORT_SIZE + LEASE_REQUEST_SIZE)
/* What goes to POST /v1/bound-boot: those two and the offer. Where the token in the answer admits,
 * the share comes behind it. */
#define BOUND_BODY_SIZE	  (BOOT_BODY_SIZE + BIND_OFFER_SIZE)
#define BOUND_ANSWER_SIZE (TOKEN_SIZE + BIND_SHARE_RECORD_SIZE)
/* The largest body of any route, either way. */
#define BODY_MAX 4096
