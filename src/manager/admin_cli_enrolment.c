/* SPDX-License-Identifier: Apache-2.0 */
/* emberlock-admin: what the commands that enrol share. */
#include "manager/admin_cli_enrolment.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/io.h"
#include "base/parse.h"

int enrolment_check_names(const struct admin_call *call)
{
	for (size_t i = 0; i < ADMIN_ARGUMENTS_MAX; i++)
		if (!name_is_valid(call->arguments[i], ID_TEXT_MAX))
			return admin_refuse(-EINVAL, "%s: '%.64s' is no name: A-Z a-z 0-9 . _ -",
					    call->command->arguments[i], call->arguments[i]);
	return 0;
}

static int file_path(const struct admin_enrolment *enrolment, const char *name,
		     char path[static PATH_MAX])
{
	if (snprintf(path, PATH_MAX, "%s/%s", enrolment->directory, name) >= PATH_MAX)
		return admin_refuse(-ENAMETOOLONG, "--output: the path is too long");
	return 0;
}

int enrolment_check_output(const struct admin_enrolment *enrolment)
{
	char path[PATH_MAX];
	int r;

	r = admin_make_directory(enrolment->directory);
	if (r < 0)
		return r;
	for (size_t i = 0; i < enrolment->n_files; i++) {
		r = file_path(enrolment, enrolment->files[i], path);
		if (r < 0)
			return r;
		if (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			return admin_refuse(-EEXIST, "--output: %s is there already", path);
	}
	if (access(enrolment->directory, W_OK) < 0)
		return admin_refuse(-errno, "--output: cannot write into %s", enrolment->directory);
	return 0;
}

int enrolment_read_url(const struct admin_call *call, const char *option, const char *missing,
		       struct admin_enrolment *enrolment)
{
	const char *given = admin_value(call, option);
	char *url = enrolment->url, path[PATH_MAX];
	ssize_t n;

	if (given) {
		if (copy_text(url, ENROLMENT_URL_MAX, given) < 0)
			return admin_refuse(-EINVAL, "--%s: too long", option);
	} else {
		snprintf(path, sizeof(path), "%s/%s", call->identity, option);
		n = file_read(AT_FDCWD, path, url, ENROLMENT_URL_MAX - 1);
		if (n < 0)
			return admin_refuse((int)n, "--%s is not given, and cannot read %s%s",
					    option, path, missing);
		url[n] = '\0';
		url[strcspn(url, "\n")] = '\0';
	}
	if (strncmp(url, "https://", 8) != 0 || !url[8])
		return admin_refuse(-EINVAL, "--%s: must be https://HOST:PORT", option);
	return 0;
}

int enrolment_read_ca(const struct admin_call *call, struct admin_enrolment *enrolment)
{
	const char *file = admin_value(call, "ca");
	char path[PATH_MAX];
	ssize_t n;

	if (!file) {
		snprintf(path, sizeof(path), "%s/ca.pem", call->identity);
		file = path;
	}
	n = file_read(AT_FDCWD, file, enrolment->ca, sizeof(enrolment->ca));
	if (n < 0)
		return admin_refuse((int)n, "--ca %s: cannot read it: %s", file, strerror((int)-n));
	if (!memmem(enrolment->ca, (size_t)n, "-----BEGIN CERTIFICATE-----", 27) ||
	    memmem(enrolment->ca, (size_t)n, "PRIVATE KEY", 11))
		return admin_refuse(-EBADMSG, "--ca %s: must hold PEM certificates alone", file);
	enrolment->ca_size = (size_t)n;
	return 0;
}

int enrolment_write(const struct admin_enrolment *enrolment, const char *name, const void *bytes,
		    size_t n)
{
	char path[PATH_MAX];
	int r;

	r = file_path(enrolment, name, path);
	if (r < 0)
		return r;
	r = file_write_atomic(path, bytes, n, 0600);
	return r < 0 ? admin_refuse(r, "%s: cannot write it: %s", path, strerror(-r)) : 0;
}

void enrolment_undo(const struct admin_enrolment *enrolment)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < enrolment->n_files; i++)
		if (file_path(enrolment, enrolment->files[i], path) == 0)
			unlink(path);
}
