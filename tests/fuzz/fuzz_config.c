/* SPDX-License-Identifier: Apache-2.0 */
/* The parsers of all five configuration files; the first byte chooses. */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "core/config.h"
#include "fuzz.h"

/* The struct is wiped after an error, whose text ends, can be printed and is not empty. */
static void check(int r, const struct config_error *error, const void *config, size_t size)
{
	size_t len = strnlen(error->text, sizeof(error->text));

	if (r == 0)
		return;
	must(r == -EBADMSG);
	must(bytes_are_zero(config, size));
	must(len > 0 && len < sizeof(error->text));
	for (size_t i = 0; i < len; i++)
		must(error->text[i] >= ' ' && error->text[i] <= '~');
}

static void volume(const char *text, size_t len)
{
	struct config_error error = {};
	struct volume_config config;
	int r = volume_config_parse(text, len, "data", &config, &error);

	check(r, &error, &config, sizeof(config));
	must(r < 0 || (config.use >= VOLUME_EXT4 && config.use < VOLUME_USE__MAX));
	must(r < 0 || (config.n_disks >= 1 && config.n_disks <= VOLUME_DISKS_MAX));
	must(r < 0 || config.offset.percent + config.length.percent <= 100);
	must(r < 0 || !(config.hot_plug && config.required));
	must(r < 0 || !strchr(config.make_options, '/'));
	must(r < 0 || (config.segment_bytes >= 1 << 24 && config.size_min <= config.size_max));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	const char *text = (const char *)bytes + 1;
	size_t len = size - 1;
	struct config_error error = {};
	union {
		struct agent_config agent;
		struct keeper_config keeper;
		struct vm_credential vm;
		struct manager_credential manager;
	} config;

	if (size == 0)
		return 0;
	switch (bytes[0]) {
	case 'a':
		check(agent_config_parse(text, len, &config.agent, &error), &error, &config.agent,
		      sizeof(config.agent));
		break;
	case 'k':
		check(keeper_config_parse(text, len, &config.keeper, &error), &error,
		      &config.keeper, sizeof(config.keeper));
		break;
	case 'c':
		check(vm_credential_parse(text, len, &config.vm, &error), &error, &config.vm,
		      sizeof(config.vm));
		break;
	case 'm':
		check(manager_credential_parse(text, len, &config.manager, &error), &error,
		      &config.manager, sizeof(config.manager));
		break;
	case 'v':
		volume(text, len);
		break;
	}
	return 0;
}
