/* SPDX-License-Identifier: Apache-2.0 */
/* What an initramfs carries of the configuration, and its hash. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "disks/config.h"
#include "disks/reason.h"
#include "keys/sign.h"

#define FILE_SIZE_MAX 65536
#define TEXT_SIZE_MAX (4 * FILE_SIZE_MAX)

/* What is hashed: our version, and each file's name, size and content. */
struct text {
	size_t used;
	char bytes[TEXT_SIZE_MAX];
};

static void text_add_line(struct text *text, const char *name, size_t size)
{
	text->used += (size_t)snprintf(text->bytes + text->used, sizeof(text->bytes) - text->used,
				       "%s %zu\n", name, size);
}

/* The file NAME where the first directory has it; it need not be anywhere. */
static int file_add(struct initramfs_config *config, struct text *text, const char *root,
		    const char *name, char error[static 256])
{
	struct initramfs_file *file = &config->files[config->n];
	_cleanup_free_ char *bytes = malloc(FILE_SIZE_MAX);
	ssize_t n = -ENOENT;

	if (!bytes)
		return reason_errno(error, -ENOMEM, "%s", name);
	for (size_t i = 0; n == -ENOENT && config_directories[i]; i++) {
		int length = snprintf(file->path, sizeof(file->path), "%s%s/%s", root,
				      config_directories[i], name);

		if (length < 0 || (size_t)length >= sizeof(file->path))
			return reason_errno(error, -ENAMETOOLONG, "%s", root);
		n = file_read(AT_FDCWD, file->path, bytes, FILE_SIZE_MAX);
	}
	if (n == -ENOENT)
		return 0;
	if (n < 0)
		return reason_errno(error, (int)n, "%s", file->path);
	(void)snprintf(file->name, sizeof(file->name), "%s", name);
	config->n++;
	text_add_line(text, name, (size_t)n);
	memcpy(text->bytes + text->used, bytes, (size_t)n);
	text->used += (size_t)n;
	return 0;
}

static int config_read_all(const char *root, const char *volume, struct initramfs_config *config,
			   char error[static 256])
{
	_cleanup_free_ struct text *text = calloc(1, sizeof(*text));
	char name[sizeof(config->files[0].name)];
	int r;

	if (!text)
		return reason_errno(error, -ENOMEM, "configuration");
	text_add_line(text, "emberlock " EMBERLOCK_VERSION, 0);
	(void)snprintf(name, sizeof(name), "volumes.d/%s.conf", volume);
	r = file_add(config, text, root, name, error);
	r = r < 0 ? r : file_add(config, text, root, "agent.conf", error);
	r = r < 0 ? r : file_add(config, text, root, "keeper.conf", error);
	if (r < 0)
		return r;
	r = sha256(text->bytes, text->used, config->hash);
	return r < 0 ? reason_errno(error, r, "hash of the configuration") : 0;
}

int configs_initramfs(const char *root, struct initramfs_config *ret_config, char error[static 256])
{
	_cleanup_free_ struct volume_config *volumes = calloc(VOLUMES_MAX, sizeof(*volumes));
	struct initramfs_config config = {.n = 0};
	struct agent_config agent;
	size_t n = 0;
	int r;

	if (!volumes)
		return reason_errno(error, -ENOMEM, "configuration");
	r = configs_load(root, &agent, volumes, VOLUMES_MAX, &n, error);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		if (volumes[i].use != VOLUME_OVERLAY)
			continue;
		r = config_read_all(root, volumes[i].name, &config, error);
		if (r < 0)
			return r;
	}
	*ret_config = config;
	return 0;
}
