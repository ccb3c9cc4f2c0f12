/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration text → struct. Takes bytes, not paths; pure; fuzzed. The grammar is
 * systemd.syntax(7)'s: [Section], Key=Value, comments with # or ;, no continuation lines. An
 * unknown section or key, a key given twice, a key without a value, a value that is bad or has no
 * meaning beside the others is an error with its line. Lines have at most 1,023 bytes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/limits.h"
#include "core/message.h"

struct config_error {
	unsigned line; /* 1-based; 0: about the whole */
	char text
		[160]; /* "Use=: 'ext5' is not one of ext4, xfs, swap, raw, overlay". Never a secret's
			   value. */
};

/* --- agent.conf: [Agent] --- */
struct agent_config {
	uint64_t max_lease_ms;	 /* MaxLeaseSec=     default infinity (UINT64_MAX); at least 1 s */
	bool forbid_warn;	 /* ForbidWarn=      default no */
	bool admission_poweroff; /* OnAdmissionTimeout=wait|poweroff, default wait */
	uint64_t admission_timeout_ms; /* AdmissionTimeoutSec= default 300 s; 1 s to 24 h */
	bool keep_boot_key;	       /* KeepBootKey=     default yes */
	uint32_t queue_requests;       /* QueueRequests=   default 16; 4 to 1024 */
	uint32_t queue_max_kib;	       /* QueueMaxKiB=     default 128; 4 to 4096 */
};

/* --- keeper.conf: [Keeper] --- */
struct keeper_config {
	bool require_memfd_secret; /* RequireMemfdSecret= default no */
	char watchdog[64];	   /* Watchdog=        default /dev/watchdog; "none": none */
	uint64_t watchdog_ms;	   /* WatchdogSec=     default 30 s; 10 to 600 s */
	uint64_t agent_gone_ms;	   /* AgentGoneSec=    default 120 s; 10 to 3600 s */
	uint64_t end_ms;	   /* EndSec=          default 120 s; 10 to 3600 s */
};

/* --- volumes.d/NAME.conf: [Volume] and [Disk] --- */
enum disk_match_key { MATCH_SERIAL, MATCH_LABEL, MATCH_WWN, MATCH_MODEL, MATCH_PATH, MATCH__MAX };
enum volume_layout { LAYOUT_LINEAR, LAYOUT_STRIPED, VOLUME_LAYOUT__MAX };
enum volume_discard { DISCARD_NO, DISCARD_FSTRIM, DISCARD_ALWAYS, VOLUME_DISCARD__MAX };

/* A place on a disk, or a length: bytes (a multiple of 1 MiB), or hundredths of the disk. */
struct disk_share {
	uint64_t bytes;
	uint32_t percent; /* 0: .bytes counts */
};

struct volume_config {
	char name[VOLUME_NAME_MAX + 1]; /* the caller sets it: the file's name without .conf */
	/* [Volume] */
	enum volume_use use;	   /* Use=ext4|xfs|swap|raw|overlay; required */
	char mount_point[256];	   /* MountPoint=, absolute, normalised; "" none; refused with swap,
				  raw and overlay */
	char mount_options[128];   /* MountOptions=; default noatime */
	char owner[64], group[64]; /* Owner=, Group=: of the file system's root directory or of the
				       raw device; names or numbers; "" root */
	uint32_t mode;		   /* Mode=; default 0755 for a file system, 0600 for raw */
	bool required;		   /* Required=; default yes; refused with overlay where no */
	uint64_t device_timeout_ms; /* DeviceTimeoutSec=; default 30 s */
	uint64_t segment_bytes; /* SegmentSize=; default and at most 1T; at least 16M, a multiple of
				   1M */
	int32_t swap_priority;	/* Priority=; -1 (unset) to 32767; with swap only */
	enum volume_layout layout; /* Layout=linear|striped; default linear; striped needs Disks= */
	uint32_t stripe_bytes;	   /* StripeSize=; a power of two from 4K to 1M; default 64K */
	enum volume_discard discard; /* Discard=no|fstrim|always; default no */
	char label[17];		     /* FileSystemLabel= of what is made on it; "" none */
	bool project_quota;	     /* ProjectQuota=; with ext4 and xfs only */
	char make_options[128]; /* MakeOptions=: more words for mkfs; no '/', so no other disk */
	bool hot_plug;		/* HotPlug=: its disk may come and go; then it is not required */
	bool bind; /* Bind=: the manager has a part in its keys, and it is mapped after admission;
		    * refused with overlay, and with a MountPoint= that the way there needs */
	/* [Disk]: all that are given must match; at least one of them besides Model= and Size=
	 * unless those are enough to be unambiguous */
	char match[MATCH__MAX][128]; /* Serial=, Label=, WWN=, Model=, Path= (/dev/disk/by-…, never
				      * /dev/vdX, /dev/sdX, /dev/nvmeX); "" not given. Label= is a
				      * file-system or partition label now on the disk. A '*' at the
				      * end stands for any rest */
	uint64_t size_min, size_max; /* Size=8G or Size=8G-16G; 0 and UINT64_MAX: any */
	uint32_t n_disks; /* Disks=: how many disks match, all of which are taken; 1 to 8, default 1
			   */
	struct disk_share offset, length; /* Offset=, Length= of the part of each disk that is the
					     volume's; default 0, and all that follows */
	char destroy[128]; /* Destroy=: space-separated signature types (libblkid's TYPE or PTTYPE:
			    * ext4, xfs, swap, crypto_LUKS, gpt …) that may be on the disk and will
			    * be lost; "any"; "" only a blank disk or one of ours is taken */
	uint32_t queue_requests, queue_max_kib; /* QueueRequests=, QueueMaxKiB=; 0: agent.conf's */
};

/* --- the credential emberlock.vm: [VM] --- */
struct vm_credential {
	char workspace[ID_TEXT_MAX + 1];	 /* Workspace= */
	char vm[ID_TEXT_MAX + 1];		 /* VM= */
	uint8_t private_key[IDENTITY_SEED_SIZE]; /* PrivateKey=, 64 hex digits; secret */
	uint8_t root_key[PUBLIC_KEY_SIZE];	 /* RootKey=, 64 hex digits */
	uint8_t signing_keys[SIGNING_KEYS_SIZE]; /* SigningKeys=, hex of the record */
};

/* --- the credential emberlock.manager: [Manager], for the watchdog --- */
struct manager_credential {
	char url[256]; /* URL=https://HOST:PORT */
};

/* TEXT is LEN bytes, not NUL-terminated; it may hold anything. Defaults are set first. 0, or
 * -EBADMSG with *ret_error. On error the struct is wiped. */
int agent_config_parse(const char *text, size_t len, struct agent_config *ret_config,
		       struct config_error *ret_error);
int keeper_config_parse(const char *text, size_t len, struct keeper_config *ret_config,
			struct config_error *ret_error);
int volume_config_parse(const char *text, size_t len, const char *name,
			struct volume_config *ret_config, struct config_error *ret_error);
int vm_credential_parse(const char *text, size_t len, struct vm_credential *ret_credential,
			struct config_error *ret_error);
int manager_credential_parse(const char *text, size_t len,
			     struct manager_credential *ret_credential,
			     struct config_error *ret_error);

/* The defaults alone, for where a file is absent. */
void agent_config_init(struct agent_config *config);
void keeper_config_init(struct keeper_config *config);
