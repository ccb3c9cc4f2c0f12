/* SPDX-License-Identifier: Apache-2.0 */
/* What of a disk a volume file's [Disk] asks for. */
#include "core/plan_match.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Whether WORD, of LEN characters, is one of the space-separated words of LIST, or with ANY_REST the
 * beginning of one. */
static bool list_begins(const char *list, const char *word, size_t len, bool any_rest)
{
	while (*list) {
		size_t n = strcspn(list, " ");

		if (n >= len && (any_rest || n == len) && strncmp(list, word, len) == 0)
			return true;
		list += n;
		list += strspn(list, " ");
	}
	return false;
}

static bool list_has(const char *list, const char *word)
{
	return list_begins(list, word, strlen(word), false);
}

/* A '*' at the end of WANTED stands for any rest. */
static bool key_matches(enum disk_match_key key, const char *wanted, const struct disk_facts *disk)
{
	const char *const facts[MATCH__MAX] = {
		[MATCH_SERIAL] = disk->serial, [MATCH_LABEL] = disk->label, [MATCH_WWN] = disk->wwn,
		[MATCH_MODEL] = disk->model,   [MATCH_PATH] = disk->path,
	};
	size_t len = strlen(wanted);
	bool any_rest = len > 0 && wanted[len - 1] == '*';

	if (any_rest)
		len--;
	if (key == MATCH_PATH && list_begins(disk->links, wanted, len, any_rest))
		return true;
	return strncmp(wanted, facts[key], len) == 0 && (any_rest || facts[key][len] == '\0');
}

bool disk_may_match(const struct volume_config *config, const struct disk_facts *disk)
{
	if (disk->partition && !config->match[MATCH_PATH][0] && !config->match[MATCH_LABEL][0])
		return false;
	for (int key = 0; key < MATCH__MAX; key++)
		if (key != MATCH_LABEL && config->match[key][0] &&
		    !key_matches(key, config->match[key], disk))
			return false;
	return disk->bytes >= config->size_min && disk->bytes <= config->size_max;
}

bool disk_matches(const struct volume_config *config, const struct disk_facts *disk)
{
	const char *label = config->match[MATCH_LABEL];

	return disk_may_match(config, disk) && (!label[0] || key_matches(MATCH_LABEL, label, disk));
}

/* Whether PARTITION's path is DISK's with "p" (after a digit) and a number: vdb1, nvme0n1p1. */
static bool is_partition_of(const struct disk_facts *partition, const struct disk_facts *disk)
{
	size_t len = strlen(disk->path);
	const char *rest = partition->path + len;

	if (!partition->partition || disk->partition || len == 0 ||
	    strncmp(partition->path, disk->path, len) != 0)
		return false;
	if (disk->path[len - 1] >= '0' && disk->path[len - 1] <= '9') {
		if (*rest != 'p')
			return false;
		rest++;
	}
	return *rest != '\0' && rest[strspn(rest, "0123456789")] == '\0';
}

bool disks_overlap(const struct disk_facts *a, const struct disk_facts *b)
{
	return a == b || is_partition_of(a, b) || is_partition_of(b, a);
}

bool destroy_allows(const char *destroy, const char *signature)
{
	return signature[0] == '\0' || strcmp(destroy, "any") == 0 || list_has(destroy, signature);
}

void match_print(const struct volume_config *config, char *text, size_t size)
{
	static const char *const names[MATCH__MAX] = {
		[MATCH_SERIAL] = "Serial", [MATCH_LABEL] = "Label", [MATCH_WWN] = "WWN",
		[MATCH_MODEL] = "Model",   [MATCH_PATH] = "Path",
	};
	size_t len = 0;

	text[0] = '\0';
	for (int key = 0; key < MATCH__MAX && len < size; key++)
		if (config->match[key][0])
			len += (size_t)snprintf(text + len, size - len, "%s%s=%s", len ? " " : "",
						names[key], config->match[key]);
	if ((config->size_min == 0 && config->size_max == UINT64_MAX) || len >= size)
		return;
	snprintf(text + len, size - len, "%sSize=%ju-%ju", len ? " " : "",
		 (uintmax_t)config->size_min, (uintmax_t)config->size_max);
}
