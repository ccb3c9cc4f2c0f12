/* SPDX-License-Identifier: Apache-2.0 */
/* agent.conf and keeper.conf. */
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "core/config_grammar.h"

static const char *const admission_words[] = {"wait", "poweroff", NULL};

static const struct config_key agent_keys[] = {
	{"Agent", "MaxLeaseSec", config_set_duration, "a time of at least 1 s, or infinity",
	 CONFIG_FIELD(agent_config, max_lease_ms), .min = 1000, .max = UINT64_MAX},
	{"Agent", "ForbidWarn", config_set_bool, "yes or no",
	 CONFIG_FIELD(agent_config, forbid_warn)},
	{"Agent", "OnAdmissionTimeout", config_set_choice, "one of wait, poweroff",
	 CONFIG_FIELD(agent_config, admission_poweroff), .words = admission_words},
	{"Agent", "AdmissionTimeoutSec", config_set_duration, "a time from 1 s to 24 h",
	 CONFIG_FIELD(agent_config, admission_timeout_ms), .min = 1000, .max = 86400000},
	{"Agent", "KeepBootKey", config_set_bool, "yes or no",
	 CONFIG_FIELD(agent_config, keep_boot_key)},
	{"Agent", "QueueRequests", config_set_u32, "a number from 4 to 1024",
	 CONFIG_FIELD(agent_config, queue_requests), .min = 4, .max = 1024},
	{"Agent", "QueueMaxKiB", config_set_u32, "a number from 4 to 4096",
	 CONFIG_FIELD(agent_config, queue_max_kib), .min = 4, .max = 4096},
};

void agent_config_init(struct agent_config *config)
{
	*config = (struct agent_config){
		.max_lease_ms = UINT64_MAX,
		.admission_timeout_ms = 300000,
		.keep_boot_key = true,
		.queue_requests = 16,
		.queue_max_kib = 128,
	};
}

int agent_config_parse(const char *text, size_t len, struct agent_config *ret_config,
		       struct config_error *ret_error)
{
	static const struct config_table table = {agent_keys, ELEMENTSOF(agent_keys)};
	struct config_lines lines;
	int r;

	agent_config_init(ret_config);
	r = config_read(text, len, &table, ret_config, &lines, ret_error);
	if (r < 0)
		bytes_wipe(ret_config, sizeof(*ret_config));
	return r;
}

/* "none", or a device. */
static bool set_watchdog(const struct config_key *key, const char *value, void *field)
{
	bool device = strncmp(value, "/dev/", 5) == 0 && value[5] != '\0' && !strstr(value, "/.");

	return (device || strcmp(value, "none") == 0) && config_set_text(key, value, field);
}

static const struct config_key keeper_keys[] = {
	{"Keeper", "RequireMemfdSecret", config_set_bool, "yes or no",
	 CONFIG_FIELD(keeper_config, require_memfd_secret)},
	{"Keeper", "Watchdog", set_watchdog, "a path in /dev of at most 63 characters, or none",
	 CONFIG_FIELD(keeper_config, watchdog)},
	{"Keeper", "WatchdogSec", config_set_duration, "a time from 10 s to 600 s",
	 CONFIG_FIELD(keeper_config, watchdog_ms), .min = 10000, .max = 600000},
	{"Keeper", "AgentGoneSec", config_set_duration, "a time from 10 s to 3600 s",
	 CONFIG_FIELD(keeper_config, agent_gone_ms), .min = 10000, .max = 3600000},
	{"Keeper", "EndSec", config_set_duration, "a time from 10 s to 3600 s",
	 CONFIG_FIELD(keeper_config, end_ms), .min = 10000, .max = 3600000},
};

void keeper_config_init(struct keeper_config *config)
{
	*config = (struct keeper_config){
		.watchdog = "/dev/watchdog",
		.watchdog_ms = 30000,
		.agent_gone_ms = 120000,
		.end_ms = 120000,
	};
}

int keeper_config_parse(const char *text, size_t len, struct keeper_config *ret_config,
			struct config_error *ret_error)
{
	static const struct config_table table = {keeper_keys, ELEMENTSOF(keeper_keys)};
	struct config_lines lines;
	int r;

	keeper_config_init(ret_config);
	r = config_read(text, len, &table, ret_config, &lines, ret_error);
	if (r < 0)
		bytes_wipe(ret_config, sizeof(*ret_config));
	return r;
}
