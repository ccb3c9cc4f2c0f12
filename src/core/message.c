/* SPDX-License-Identifier: Apache-2.0 */
/* Names of what the records carry, and the order of sequences. */
#include "core/message.h"

#include "base/cleanup.h"

/* NAMES[VALUE], or "unknown" for what has none. */
static const char *name_of(const char *const *names, size_t n, unsigned value)
{
	return value < n && names[value] ? names[value] : "unknown";
}

const char *reason_name(enum reason reason)
{
	static const char *const names[REASON__MAX] = {
		[REASON_NONE] = "none",		  [REASON_REVOKED] = "revoked",
		[REASON_LEASE] = "lease",	  [REASON_SUPERSEDED] = "superseded",
		[REASON_OPERATOR] = "operator",	  [REASON_CLONE] = "clone",
		[REASON_REMOVED] = "removed",	  [REASON_FAULT] = "fault",
		[REASON_ADMISSION] = "admission", [REASON_END] = "end",
		[REASON_DRILL] = "drill",
	};

	return name_of(names, ELEMENTSOF(names), reason);
}

int reason_code(enum reason reason)
{
	return 10 + (int)reason;
}

const char *verdict_name(enum verdict verdict)
{
	static const char *const names[VERDICT__MAX] = {
		[VERDICT_ADMIT] = "admit",
		[VERDICT_CONTINUE] = "continue",
		[VERDICT_SHRED] = "shred",
	};

	return name_of(names, ELEMENTSOF(names), verdict);
}

const char *cmk_state_name(enum cmk_state state)
{
	static const char *const names[CMK__MAX] = {
		[CMK_UNKNOWN] = "unknown",   [CMK_HEALTHY] = "healthy",
		[CMK_REVOKED] = "revoked",   [CMK_UNAVAILABLE] = "unavailable",
		[CMK_IDENTITY] = "identity", [CMK_MISCONFIGURED] = "misconfigured",
	};

	return name_of(names, ELEMENTSOF(names), state);
}

const char *end_verb_name(enum end_verb verb)
{
	static const char *const names[END_VERB__MAX] = {
		[END_POWEROFF] = "poweroff",
		[END_REBOOT] = "reboot",
		[END_KEXEC] = "kexec",
	};

	return name_of(names, ELEMENTSOF(names), verb);
}

const char *volume_use_name(enum volume_use use)
{
	static const char *const names[VOLUME_USE__MAX] = {
		[VOLUME_EXT4] = "ext4", [VOLUME_XFS] = "xfs",	      [VOLUME_SWAP] = "swap",
		[VOLUME_RAW] = "raw",	[VOLUME_OVERLAY] = "overlay",
	};

	return name_of(names, ELEMENTSOF(names), use);
}

const char *volume_state_name(enum volume_state state)
{
	static const char *const names[VOLUME_STATE__MAX] = {
		[VOLUME_PLANNED] = "planned",
		[VOLUME_MAPPING] = "mapping",
		[VOLUME_READY] = "ready",
		[VOLUME_FAILED] = "failed",
	};

	return name_of(names, ELEMENTSOF(names), state);
}

int sequence_compare(struct sequence a, struct sequence b)
{
	if (a.epoch != b.epoch)
		return a.epoch < b.epoch ? -1 : 1;
	if (a.counter != b.counter)
		return a.counter < b.counter ? -1 : 1;
	return 0;
}
