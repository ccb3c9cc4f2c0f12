/* SPDX-License-Identifier: Apache-2.0 */
/* The self-test's questions about disks and kernel. */
#include "disks/selftest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/parse.h"
#include "core/plan.h"
#include "disks/queue.h"
#include "disks/segment.h"
#include "disks/volume.h"
#include "keys/keyring.h"

#define COMMAND_LINE_MAX 8192

/* What was seen of all segments. */
struct look {
	const struct agent_config *agent;
	const struct volume_config *configs;
	size_t n_configs, n_segments;
	bool referenced, bounded;
};

static void answer(bool passed, uint32_t bit, uint32_t *ret_passed, uint32_t *ret_failed)
{
	*(passed ? ret_passed : ret_failed) |= bit;
}

static bool command_line_has(const char *line, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = line; (p = strstr(p, word)); p += n)
		if ((p == line || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\n' || p[n] == '\0'))
			return true;
	return false;
}

/* The kernel tells it nowhere else but in its log. */
static bool init_on_free(void)
{
	_cleanup_free_ char *line = malloc(COMMAND_LINE_MAX);
	ssize_t n;

	if (!line)
		return false;
	n = file_read(AT_FDCWD, "/proc/cmdline", line, COMMAND_LINE_MAX - 1);
	if (n < 0)
		return false;
	line[n] = '\0';
	return command_line_has(line, "init_on_free=1") &&
	       !command_line_has(line, "init_on_free=0");
}

static bool panic_ends(void)
{
	char text[16];
	uint32_t seconds;
	ssize_t n = file_read(AT_FDCWD, "/proc/sys/kernel/panic", text, sizeof(text) - 1);

	if (n < 0)
		return false;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return parse_u32(text, &seconds) == 0 && seconds > 0;
}

/* "1\n" where one is loaded; no file in a kernel without that feature. */
static bool is_not_loaded(const char *file)
{
	char text[16] = "";
	ssize_t n = file_read(AT_FDCWD, file, text, sizeof(text));

	return n == -ENOENT || (n > 0 && text[0] == '0');
}

/* Of the keys that the kernel lists for root, in any keyring (keyrings(7), /proc/keys). */
static bool keyrings_hold_none(void)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/keys", "re");
	char line[512];

	if (!file)
		return errno == ENOENT; /* a kernel without keyrings */
	while (fgets(line, sizeof(line), file))
		if (strstr(line, KEYRING_PREFIX))
			return false;
	return !ferror(file);
}

/* The volume file's bounds; a volume without a file any more is held to the agent's. */
static void bounds_of(const struct look *look, const char *volume, uint32_t *ret_requests,
		      uint32_t *ret_kib)
{
	*ret_requests = look->agent->queue_requests;
	*ret_kib = look->agent->queue_max_kib;
	for (size_t i = 0; i < look->n_configs; i++) {
		const struct volume_config *config = &look->configs[i];

		if (strcmp(config->name, volume) != 0)
			continue;
		if (config->queue_requests)
			*ret_requests = config->queue_requests;
		if (config->queue_max_kib)
			*ret_kib = config->queue_max_kib;
	}
}

static void segment_judge(struct look *look, const char *volume, uint32_t number)
{
	struct segment_table table = {.referenced = false};
	uint32_t requests, kib;
	bool bounded = false;
	uint64_t length;
	int r;

	r = segment_look(volume, number, &table, &length);
	if (r == -ENXIO)
		return;
	look->n_segments++;
	bounds_of(look, volume, &requests, &kib);
	if (r < 0 || queue_is_bounded(table.major, table.minor, requests, kib, &bounded) < 0)
		bounded = false;
	look->referenced = look->referenced && table.referenced;
	look->bounded = look->bounded && bounded;
}

void disks_self_test(const struct agent_config *agent, const struct volume_config *configs,
		     size_t n, uint32_t *ret_passed, uint32_t *ret_failed)
{
	struct look look = {.agent = agent,
			    .configs = configs,
			    .n_configs = n,
			    .referenced = true,
			    .bounded = true};
	struct volume_leftover volumes[SEGMENTS_MAX];
	uint32_t passed = 0, failed = 0;
	size_t n_volumes = 0;

	if (volumes_leftover(volumes, ELEMENTSOF(volumes), &n_volumes) < 0) {
		failed |= SELF_TEST_KEYS_REFERENCED | SELF_TEST_QUEUES_BOUNDED;
	} else {
		for (size_t i = 0; i < n_volumes; i++)
			for (uint32_t k = 0; k < volumes[i].n_segments; k++)
				segment_judge(&look, volumes[i].name, k);
		if (look.n_segments > 0) {
			answer(look.referenced, SELF_TEST_KEYS_REFERENCED, &passed, &failed);
			answer(look.bounded, SELF_TEST_QUEUES_BOUNDED, &passed, &failed);
		}
	}
	answer(init_on_free(), SELF_TEST_INIT_ON_FREE, &passed, &failed);
	answer(panic_ends(), SELF_TEST_PANIC, &passed, &failed);
	answer(keyrings_hold_none(), SELF_TEST_KEYRING, &passed, &failed);
	answer(is_not_loaded("/sys/kernel/kexec_crash_loaded") &&
		       is_not_loaded("/sys/kernel/kexec_loaded"),
	       SELF_TEST_CRASH_KERNEL, &passed, &failed);
	*ret_passed = passed;
	*ret_failed = failed;
}
