/* SPDX-License-Identifier: Apache-2.0 */
/* agent.conf and volumes.d, from the directories of administrator, run time and vendor. */
#include "disks/config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/parse.h"
#include "disks/reason.h"

#define FILE_SIZE_MAX 65536
#define FILES_MAX     256
#define SUFFIX	      ".conf"

const char *const config_directories[] = {"/etc/emberlock", "/run/emberlock/conf",
					  "/usr/lib/emberlock", NULL};

/* The files of volumes.d that count, masks too. */
struct files {
	size_t n;
	struct file {
		char name[VOLUME_NAME_MAX + 1];
		char path[PATH_MAX];
	} files[FILES_MAX];
};

static int path_join(char path[static PATH_MAX], const char *root, const char *directory,
		     const char *name)
{
	int n = snprintf(path, PATH_MAX, "%s%s/%s", root, directory, name);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* Reads PATH whole. *ret_text is the caller's to free. */
static int text_read(const char *path, char **ret_text, size_t *ret_size, char error[static 256])
{
	_cleanup_free_ char *text = malloc(FILE_SIZE_MAX);
	ssize_t n;

	if (!text)
		return reason_errno(error, -ENOMEM, "%s", path);
	n = file_read(AT_FDCWD, path, text, FILE_SIZE_MAX);
	if (n < 0)
		return reason_errno(error, (int)n, "%s", path);
	*ret_text = TAKE_PTR(text);
	*ret_size = (size_t)n;
	return 0;
}

static int told(const char *path, const struct config_error *config_error, int r,
		char error[static 256])
{
	if (config_error->line == 0)
		return reason_set(error, r, "%s: %s", path, config_error->text);
	return reason_set(error, r, "%s:%u: %s", path, config_error->line, config_error->text);
}

static int agent_load(const char *root, struct agent_config *ret_agent, char error[static 256])
{
	for (size_t i = 0; config_directories[i]; i++) {
		_cleanup_free_ char *text = NULL;
		struct config_error config_error;
		char path[PATH_MAX];
		size_t size = 0;
		int r;

		r = path_join(path, root, config_directories[i], "agent.conf");
		if (r < 0)
			return reason_errno(error, r, "%s", root);
		r = text_read(path, &text, &size, error);
		if (r == -ENOENT)
			continue;
		if (r < 0)
			return r;
		r = agent_config_parse(text, size, ret_agent, &config_error);
		return r < 0 ? told(path, &config_error, r, error) : 0;
	}
	agent_config_init(ret_agent);
	return 0;
}

static bool files_have(const struct files *files, const char *name)
{
	for (size_t i = 0; i < files->n; i++)
		if (strcmp(files->files[i].name, name) == 0)
			return true;
	return false;
}

/* Notes DIRECTORY/FILE_NAME unless a directory before had one of that name. */
static int file_note(struct files *files, const char *root, const char *directory,
		     const char *file_name, char error[static 256])
{
	size_t length = strlen(file_name), suffix = strlen(SUFFIX);
	struct file file = {.name = ""};
	int r;

	if (file_name[0] == '.' || length < suffix ||
	    strcmp(file_name + length - suffix, SUFFIX) != 0)
		return 0;
	r = path_join(file.path, root, directory, file_name);
	if (r < 0)
		return reason_errno(error, r, "%s", root);
	length -= suffix;
	if (length > VOLUME_NAME_MAX)
		return reason_set(error, -ENAMETOOLONG, "%s: the name has over %d characters",
				  file.path, VOLUME_NAME_MAX);
	memcpy(file.name, file_name, length);
	if (!name_is_valid(file.name, VOLUME_NAME_MAX))
		return reason_set(error, -EINVAL, "%s: '%s' cannot be the name of a volume",
				  file.path, file.name);
	if (files_have(files, file.name))
		return 0;
	if (files->n == FILES_MAX)
		return reason_set(error, -E2BIG, "%s: more than %d files", file.path, FILES_MAX);
	files->files[files->n++] = file;
	return 0;
}

static int directory_scan(struct files *files, const char *root, const char *parent,
			  char error[static 256])
{
	_cleanup_closedir_ DIR *stream = NULL;
	char directory[64], path[PATH_MAX];
	int r;

	(void)snprintf(directory, sizeof(directory), "%s/volumes.d", parent);
	r = path_join(path, root, parent, "volumes.d");
	if (r < 0)
		return reason_errno(error, r, "%s", root);
	stream = opendir(path);
	if (!stream)
		return errno == ENOENT ? 0 : reason_errno(error, -errno, "%s", path);

	for (;;) {
		const struct dirent *entry;

		errno = 0;
		entry = readdir(stream);
		if (!entry)
			return errno == 0 ? 0 : reason_errno(error, -errno, "%s", path);
		r = file_note(files, root, directory, entry->d_name, error);
		if (r < 0)
			return r;
	}
}

/* 1: loaded; 0: the file is a mask: empty, as a link to /dev/null is when read. */
static int volume_load(const struct file *file, struct volume_config *volume,
		       char error[static 256])
{
	_cleanup_free_ char *text = NULL;
	struct config_error config_error;
	size_t size = 0;
	int r;

	r = text_read(file->path, &text, &size, error);
	if (r < 0)
		return r;
	if (size == 0)
		return 0;
	r = volume_config_parse(text, size, file->name, volume, &config_error);
	return r < 0 ? told(file->path, &config_error, r, error) : 1;
}

static int file_compare(const void *a, const void *b)
{
	return strcmp(((const struct file *)a)->name, ((const struct file *)b)->name);
}

static const struct volume_config *overlay_find(const struct volume_config *volumes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (volumes[i].use == VOLUME_OVERLAY)
			return &volumes[i];
	return NULL;
}

static int volumes_load(const char *root, struct volume_config *volumes, size_t max, size_t *ret_n,
			char error[static 256])
{
	_cleanup_free_ struct files *files = calloc(1, sizeof(*files));
	size_t n = 0;
	int r;

	if (!files)
		return reason_errno(error, -ENOMEM, "volumes.d");
	for (size_t i = 0; config_directories[i]; i++) {
		r = directory_scan(files, root, config_directories[i], error);
		if (r < 0)
			return r;
	}
	qsort(files->files, files->n, sizeof(files->files[0]), file_compare);

	for (size_t i = 0; i < files->n; i++) {
		struct volume_config volume;

		r = volume_load(&files->files[i], &volume, error);
		if (r < 0)
			return r;
		if (r == 0)
			continue;
		if (n == max)
			return reason_set(error, -E2BIG, "%s: more than %zu volumes",
					  files->files[i].path, max);
		if (volume.use == VOLUME_OVERLAY && overlay_find(volumes, n))
			return reason_set(error, -EEXIST,
					  "%s: volume '%s' has Use=overlay already; a root has one",
					  files->files[i].path, overlay_find(volumes, n)->name);
		volumes[n++] = volume;
	}
	*ret_n = n;
	return 0;
}

int configs_load(const char *root, struct agent_config *ret_agent, struct volume_config *volumes,
		 size_t max, size_t *ret_n, char error[static 256])
{
	struct agent_config agent;
	int r;

	r = agent_load(root, &agent, error);
	if (r < 0)
		return r;
	r = volumes_load(root, volumes, max, ret_n, error);
	if (r < 0)
		return r;
	*ret_agent = agent;
	return 0;
}
