/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands that enrol share: a directory of credential files that are made, or none of them;
 * where the manager is found, and the CA by which it is trusted. Errors: a negative errno after it has
 * been said why on standard error. */
#pragma once

#include "manager/admin_cli.h"

#define ENROLMENT_URL_MAX 256
#define ENROLMENT_CA_MAX  16384

struct admin_enrolment {
	const char *directory;
	const char *const *files; /* names in it */
	size_t n_files;
	char url[ENROLMENT_URL_MAX];
	char ca[ENROLMENT_CA_MAX];
	size_t ca_size;
};

/* That all arguments of the command are names. */
int enrolment_check_names(const struct admin_call *call);
/* Makes the directory where it is missing; -EEXIST where one of the files is there: a private key is
 * never overwritten, it may be the only copy. */
int enrolment_check_output(const struct admin_enrolment *enrolment);
/* .url: the value of OPTION, else what the identity's file of that name holds; MISSING ends the message
 * where there is no such file. */
int enrolment_read_url(const struct admin_call *call, const char *option, const char *missing,
		       struct admin_enrolment *enrolment);
/* .ca: --ca, else the identity's ca.pem. */
int enrolment_read_ca(const struct admin_call *call, struct admin_enrolment *enrolment);
/* One of the files, 0600. */
int enrolment_write(const struct admin_enrolment *enrolment, const char *name, const void *bytes,
		    size_t n);
/* Removes what was written: what fails leaves nothing behind. */
void enrolment_undo(const struct admin_enrolment *enrolment);
