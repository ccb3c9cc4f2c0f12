/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands of emberlock-admin share: options, refusals, key files. */
#include "manager/admin_cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/parse.h"

const char *admin_value(const struct admin_call *call, const char *name)
{
	const struct admin_option *options = call->command->options;

	for (size_t i = 0; options[i].name; i++)
		if (strcmp(options[i].name, name) == 0)
			return call->values[i];
	return NULL;
}

int admin_refuse(int r, const char *format, ...)
{
	va_list list;

	fputs("emberlock-admin: ", stderr);
	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fputc('\n', stderr);
	return r;
}

int admin_path(char path[static 256], const char *prefix, const char *what, const char *name,
	       const char *suffix)
{
	if (!name_is_valid(name, 64))
		return admin_refuse(-EINVAL,
				    "%s: '%.64s' is no name: A-Z a-z 0-9 . _ -, "
				    "not beginning with . or -",
				    what, name);
	if (snprintf(path, 256, "%s%s%s", prefix, name, suffix) >= 256)
		return admin_refuse(-ENAMETOOLONG, "%s: too long", what);
	return 0;
}

static int check_private(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	if (st.st_mode & 077)
		return admin_refuse(-EPERM, "%s: must be readable by its owner alone (chmod 600)",
				    path);
	return 0;
}

int admin_read_key_file(const char *path, bool secret, uint8_t ret_key[static 32])
{
	char text[64 + 2];
	ssize_t n;
	int r;

	r = secret ? check_private(path) : 0;
	if (r == -EPERM)
		return r;
	n = file_read(AT_FDCWD, path, text, sizeof(text));
	if (n < 0 && n != -E2BIG)
		return admin_refuse((int)n, "%s: cannot read it: %s", path, strerror((int)-n));
	if (n > 0 && text[n - 1] == '\n')
		n--;
	r = n < 0 ? -EBADMSG : hex_decode(text, (size_t)n, ret_key, 32);
	bytes_wipe(text, sizeof(text));
	if (r < 0)
		return admin_refuse(-EBADMSG, "%s: must be one line of 64 hex digits", path);
	return 0;
}

int admin_write_key_file(const char *path, const uint8_t key[static 32], unsigned mode)
{
	char text[64 + 2];
	int r;

	hex_encode(key, 32, text);
	memcpy(text + 64, "\n", 2);
	r = file_write_atomic(path, text, 65, mode);
	bytes_wipe(text, sizeof(text));
	if (r < 0)
		return admin_refuse(r, "%s: cannot write it: %s", path, strerror(-r));
	return 0;
}

int admin_make_directory(const char *directory)
{
	if (mkdir(directory, 0700) < 0 && errno != EEXIST) {
		int r = -errno;

		return admin_refuse(r, "%s: cannot make the directory: %s", directory,
				    strerror(-r));
	}
	return 0;
}
