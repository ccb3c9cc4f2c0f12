/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar, and the configuration files but for volumes: good texts, and bad ones with the line
 * and the message they must give. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "core/config.h"
#include "unit.h"

struct bad_case {
	const char *text;
	unsigned line;
	const char *message;
};

/* Each text gives its message, and leaves nothing of itself in the struct. */
#define CHECK_BAD(parse, config, cases)                                                            \
	do {                                                                                       \
		for (size_t i = 0; i < ELEMENTSOF(cases); i++) {                                   \
			struct config_error told = {};                                             \
                                                                                                   \
			memset(&config, 0x5a, sizeof(config));                                     \
			assert_int_equal(                                                          \
				parse(cases[i].text, strlen(cases[i].text), &config, &told),       \
				-EBADMSG);                                                         \
			assert_string_equal(told.text, cases[i].message);                          \
			assert_int_equal(told.line, cases[i].line);                                \
			assert_true(bytes_are_zero(&config, sizeof(config)));                      \
		}                                                                                  \
	} while (0)

static void agent_defaults(void **state)
{
	struct agent_config config;
	struct config_error error;

	assert_int_equal(agent_config_parse("", 0, &config, &error), 0);
	assert_int_equal(config.max_lease_ms, UINT64_MAX);
	assert_false(config.forbid_warn);
	assert_false(config.admission_poweroff);
	assert_int_equal(config.admission_timeout_ms, 300000);
	assert_true(config.keep_boot_key);
	assert_int_equal(config.queue_requests, 16);
	assert_int_equal(config.queue_max_kib, 128);
}

static void agent_all(void **state)
{
	static const char text[] = "# comment\n; another\n\n[Agent]\r\n\tMaxLeaseSec = 2min \n"
				   "ForbidWarn=yes\nOnAdmissionTimeout=poweroff\n"
				   "AdmissionTimeoutSec=90\n[Agent]\nKeepBootKey=no\n"
				   "QueueRequests=1024\nQueueMaxKiB=4";
	struct agent_config config;
	struct config_error error;

	assert_int_equal(agent_config_parse(text, strlen(text), &config, &error), 0);
	assert_int_equal(config.max_lease_ms, 120000);
	assert_true(config.forbid_warn);
	assert_true(config.admission_poweroff);
	assert_int_equal(config.admission_timeout_ms, 90000);
	assert_false(config.keep_boot_key);
	assert_int_equal(config.queue_requests, 1024);
	assert_int_equal(config.queue_max_kib, 4);
	assert_int_equal(agent_config_parse("[Agent]\nMaxLeaseSec=infinity\n", 29, &config, &error),
			 0);
	assert_int_equal(config.max_lease_ms, UINT64_MAX);
}

static void grammar(void **state)
{
	static const struct bad_case cases[] = {
		{"ForbidWarn=yes\n", 1, "ForbidWarn= stands before any section"},
		{"[Agent\n", 1, "'[Agent': ']' is missing"},
		{"[\n", 1, "'[': ']' is missing"},
		{"[]\n", 1, "unknown section []"},
		{"\n[Keeper]\n", 2, "unknown section [Keeper]"},
		{"[agent]\n", 1, "unknown section [agent]"},
		{"[Agent] x\n", 1, "'[Agent] x': ']' is missing"},
		{"[Agent]\nforbidwarn=yes\n", 2, "unknown setting forbidwarn= in [Agent]"},
		{"[Agent]\n=yes\n", 2, "unknown setting = in [Agent]"},
		{"[Agent]\n\nForbidWarn\n", 3, "not a section, a setting or a comment"},
		{"[Agent]\nForbidWarn=\n", 2, "ForbidWarn= has no value"},
		{"[Agent]\nForbidWarn=yes # on\n", 2, "ForbidWarn=: 'yes # on' is not yes or no"},
		{"[Agent]\nForbidWarn=yes\nForbidWarn=yes\n", 3,
		 "ForbidWarn= is given twice, first in line 2"},
		{"[Agent]\nForbidWarn=y\\\nes\n", 2,
		 "ends in '\\': there are no continuation lines"},
		{"[Agent]\nForbidWarn=\033[1m\n", 2, "holds a control character"},
		{"[Agent]\nForbidWarn=\xc3\xa4\n", 2, "ForbidWarn=: '\?\?' is not yes or no"},
	};
	struct agent_config config;

	CHECK_BAD(agent_config_parse, config, cases);
}

static void agent_values(void **state)
{
	static const struct bad_case cases[] = {
		{"[Agent]\nMaxLeaseSec=999ms\n", 2,
		 "MaxLeaseSec=: '999ms' is not a time of at least 1 s, or infinity"},
		{"[Agent]\nMaxLeaseSec=-1\n", 2,
		 "MaxLeaseSec=: '-1' is not a time of at least 1 s, or infinity"},
		{"[Agent]\nOnAdmissionTimeout=reboot\n", 2,
		 "OnAdmissionTimeout=: 'reboot' is not one of wait, poweroff"},
		{"[Agent]\nAdmissionTimeoutSec=25h\n", 2,
		 "AdmissionTimeoutSec=: '25h' is not a time from 1 s to 24 h"},
		{"[Agent]\nAdmissionTimeoutSec=infinity\n", 2,
		 "AdmissionTimeoutSec=: 'infinity' is not a time from 1 s to 24 h"},
		{"[Agent]\nKeepBootKey=maybe\n", 2, "KeepBootKey=: 'maybe' is not yes or no"},
		{"[Agent]\nQueueRequests=3\n", 2,
		 "QueueRequests=: '3' is not a number from 4 to 1024"},
		{"[Agent]\nQueueRequests=1025\n", 2,
		 "QueueRequests=: '1025' is not a number from 4 to 1024"},
		{"[Agent]\nQueueMaxKiB=4097\n", 2,
		 "QueueMaxKiB=: '4097' is not a number from 4 to 4096"},
	};
	struct agent_config config;

	CHECK_BAD(agent_config_parse, config, cases);
}

static void nul_and_length(void **state)
{
	static const char nul[] = "[Agent]\nForbid\0Warn=yes\n";
	char text[1100];
	struct agent_config config;
	struct config_error error;

	assert_int_equal(agent_config_parse(nul, sizeof(nul) - 1, &config, &error), -EBADMSG);
	assert_string_equal(error.text, "holds a NUL byte");
	assert_int_equal(error.line, 2);
	memset(text, '#', sizeof(text));
	assert_int_equal(agent_config_parse(text, 1023, &config, &error), 0);
	assert_int_equal(agent_config_parse(text, 1024, &config, &error), -EBADMSG);
	assert_string_equal(error.text, "longer than 1023 bytes");
	/* Nothing behind LEN is read. */
	assert_int_equal(agent_config_parse("[Agent]\nForbidWarn=yes", 21, &config, &error),
			 -EBADMSG);
	assert_string_equal(error.text, "ForbidWarn=: 'ye' is not yes or no");
}

static void long_values_are_cut_in_messages(void **state)
{
	char text[1000] = "[Agent]\nForbidWarn=";
	struct agent_config config;
	struct config_error error;
	size_t len = strlen(text);

	memset(text + len, 'x', sizeof(text) - len);
	assert_int_equal(agent_config_parse(text, sizeof(text), &config, &error), -EBADMSG);
	assert_int_equal(strspn(error.text + strlen("ForbidWarn=: '"), "x"), 60);
}

static void keeper(void **state)
{
	static const char text[] = "[Keeper]\nRequireMemfdSecret=on\nWatchdog=/dev/watchdog1\n"
				   "WatchdogSec=10\nAgentGoneSec=1h\nEndSec=10\n";
	static const struct bad_case cases[] = {
		{"[Agent]\n", 1, "unknown section [Agent]"},
		{"[Keeper]\nWatchdog=/tmp/x\n", 2,
		 "Watchdog=: '/tmp/x' is not a path in /dev of at most 63 characters, or none"},
		{"[Keeper]\nWatchdog=/dev/../tmp/x\n", 2,
		 "Watchdog=: '/dev/../tmp/x' is not a path in /dev of at most 63 characters, or "
		 "none"},
		{"[Keeper]\nWatchdog=/dev/\n", 2,
		 "Watchdog=: '/dev/' is not a path in /dev of at most 63 characters, or none"},
		{"[Keeper]\nWatchdogSec=9\n", 2,
		 "WatchdogSec=: '9' is not a time from 10 s to 600 s"},
		{"[Keeper]\nAgentGoneSec=3601\n", 2,
		 "AgentGoneSec=: '3601' is not a time from 10 s to 3600 s"},
		{"[Keeper]\nEndSec=9\n", 2, "EndSec=: '9' is not a time from 10 s to 3600 s"},
	};
	struct keeper_config config;
	struct config_error error;

	assert_int_equal(keeper_config_parse("", 0, &config, &error), 0);
	assert_false(config.require_memfd_secret);
	assert_string_equal(config.watchdog, "/dev/watchdog");
	assert_int_equal(config.watchdog_ms, 30000);
	assert_int_equal(config.agent_gone_ms, 120000);
	assert_int_equal(config.end_ms, 120000);
	assert_int_equal(keeper_config_parse(text, strlen(text), &config, &error), 0);
	assert_true(config.require_memfd_secret);
	assert_string_equal(config.watchdog, "/dev/watchdog1");
	assert_int_equal(config.watchdog_ms, 10000);
	assert_int_equal(config.agent_gone_ms, 3600000);
	assert_int_equal(config.end_ms, 10000);
	CHECK_BAD(keeper_config_parse, config, cases);
}

/* PrivateKey= of 0x01 bytes, RootKey= of 0x02, SigningKeys= of 0x03. */
static const char *credential(const char *workspace, const char *private_key)
{
	static char text[2048];
	char root_key[2 * PUBLIC_KEY_SIZE + 1], signing_keys[2 * SIGNING_KEYS_SIZE + 1];
	uint8_t bytes[SIGNING_KEYS_SIZE];

	memset(bytes, 2, sizeof(bytes));
	hex_encode(bytes, PUBLIC_KEY_SIZE, root_key);
	memset(bytes, 3, sizeof(bytes));
	hex_encode(bytes, SIGNING_KEYS_SIZE, signing_keys);
	snprintf(text, sizeof(text),
		 "[VM]\nWorkspace=%s\nVM=db-1\nPrivateKey=%s\nRootKey=%s\nSigningKeys=%s\n",
		 workspace, private_key, root_key, signing_keys);
	return text;
}

#define KEY_HEX "0101010101010101010101010101010101010101010101010101010101010101"

static void vm(void **state)
{
	const char *text = credential("acme", KEY_HEX);
	struct vm_credential config;
	struct config_error error;

	assert_int_equal(vm_credential_parse(text, strlen(text), &config, &error), 0);
	assert_string_equal(config.workspace, "acme");
	assert_string_equal(config.vm, "db-1");
	assert_int_equal(config.private_key[31], 1);
	assert_int_equal(config.root_key[31], 2);
	assert_int_equal(config.signing_keys[SIGNING_KEYS_SIZE - 1], 3);
}

static void vm_bad(void **state)
{
	static const struct bad_case cases[] = {
		{"", 0, "Workspace= is missing in [VM]"},
		{"[VM]\nWorkspace=acme\nVM=a\nRootKey=" KEY_HEX "\n", 0,
		 "PrivateKey= is missing in [VM]"},
		{"[VM]\nWorkspace=a/b\n", 2,
		 "Workspace=: 'a/b' is not a name of 1 to 63 of A-Z a-z 0-9 . _ -"},
		{"[VM]\nRootKey=00\n", 2, "RootKey=: '00' is not 64 hexadecimal digits"},
		{"[VM]\nPrivateKey=canary\n", 2,
		 "PrivateKey=: the value is not 64 hexadecimal digits"},
		{"[VM]\ncanary=\n", 2, "unknown setting (not shown)= in [VM]"},
		{"canary=x\n", 1, "(not shown)= stands before any section"},
		{"[canary]\n", 1, "unknown section [(not shown)]"},
		{"[canary\n", 1, "'(not shown)': ']' is missing"},
		{"canary\n", 1, "not a section, a setting or a comment"},
	};
	struct vm_credential config;

	CHECK_BAD(vm_credential_parse, config, cases);
}

static void no_secret_in_any_message(void **state)
{
	static const char *const keys[] = {"canary", (KEY_HEX "canary"), ("canary" KEY_HEX)};
	struct vm_credential config;
	struct config_error error;

	for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
		const char *text = credential("acme", keys[i]);

		assert_int_equal(vm_credential_parse(text, strlen(text), &config, &error),
				 -EBADMSG);
		assert_null(strstr(error.text, "canary"));
		assert_null(strstr(error.text, "0101"));
		assert_int_equal(error.line, 4);
	}
}

static void manager(void **state)
{
	static const char *const good[] = {"https://manager.example:8443", "https://10.0.2.2:1",
					   "https://[::1]:65535"};
	static const char *const bad[] = {"http://manager:8443",       "https://manager",
					  "https://manager:",	       "https://manager:0",
					  "https://manager:65536",     "https://manager:8443/",
					  "https://user@manager:8443", "https://:8443",
					  "https://[]:8443",	       "https://[::1:8443",
					  "https://-x:8443",	       "https://a b:8443"};
	struct manager_credential config;
	struct config_error error;
	char text[128], message[160];

	for (size_t i = 0; i < ELEMENTSOF(good); i++) {
		snprintf(text, sizeof(text), "[Manager]\nURL=%s\n", good[i]);
		assert_int_equal(manager_credential_parse(text, strlen(text), &config, &error), 0);
		assert_string_equal(config.url, good[i]);
	}
	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		snprintf(text, sizeof(text), "[Manager]\nURL=%s\n", bad[i]);
		snprintf(message, sizeof(message),
			 "URL=: '%s' is not https://HOST:PORT of at most 255 characters", bad[i]);
		assert_int_equal(manager_credential_parse(text, strlen(text), &config, &error),
				 -EBADMSG);
		assert_string_equal(error.text, message);
	}
	assert_int_equal(manager_credential_parse("", 0, &config, &error), -EBADMSG);
	assert_string_equal(error.text, "URL= is missing in [Manager]");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agent_defaults), cmocka_unit_test(agent_all),
		cmocka_unit_test(grammar),	  cmocka_unit_test(agent_values),
		cmocka_unit_test(nul_and_length), cmocka_unit_test(long_values_are_cut_in_messages),
		cmocka_unit_test(keeper),	  cmocka_unit_test(vm),
		cmocka_unit_test(vm_bad),	  cmocka_unit_test(no_secret_in_any_message),
		cmocka_unit_test(manager),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
