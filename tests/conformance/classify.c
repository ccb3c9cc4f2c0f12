/* SPDX-License-Identifier: Apache-2.0 */
/* Holds the providers' classification against classify.table: a check a row, one a recorded reply
 * that no row names, one a cell that no row is in. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "manager/json.h"
#include "manager/kms/kms.h"

#define ROWS_MAX 512
#define TEXT_MAX 4096

struct row {
	char provider[16], call[32], reply[64], class[16], follow[16], before[16];
};

static const char *directory;
static struct row rows[ROWS_MAX];
static size_t n_rows;
static int failures;

static const char *const classes[KMS_CLASS__MAX] = {
	[KMS_OK] = "ok",
	[KMS_REVOKED_STATE] = "state",
	[KMS_REVOKED_ACCESS] = "access",
	[KMS_IDENTITY] = "identity",
	[KMS_UNAVAILABLE] = "unavailable",
	[KMS_MISCONFIGURED] = "misconfigured",
	[KMS_CORRUPT] = "corrupt",
};

static const char *const follows[KMS_FOLLOW__MAX] = {
	[KMS_FOLLOW_GO] = "go",
	[KMS_FOLLOW_DESCRIBE] = "describe",
	[KMS_FOLLOW_PROBE_AGAIN] = "probe",
	[KMS_FOLLOW_WAIT] = "wait",
	[KMS_FOLLOW_ALARM] = "alarm",
};

static void report(bool good, const char *provider, const char *call, const char *name)
{
	printf("%s classify/%s/%s%s%s\n", good ? "ok" : "not ok", provider, call,
	       name[0] ? "/" : "", name);
	failures += !good;
}

static int find(const char *const *names, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	fprintf(stderr, "classify.table: '%s'\n", name);
	exit(2);
}

/* --- reading --- */

static void read_table(void)
{
	char path[TEXT_MAX], line[256];
	_cleanup_fclose_ FILE *file = NULL;

	snprintf(path, sizeof(path), "%s/classify.table", directory);
	file = fopen(path, "r");
	if (!file) {
		perror(path);
		exit(2);
	}
	while (fgets(line, sizeof(line), file)) {
		struct row *row = &rows[n_rows];

		if (line[0] == '#' || line[0] == '\n')
			continue;
		if (n_rows == ROWS_MAX ||
		    sscanf(line, "%15s %31s %63s %15s %15s %15s", row->provider, row->call,
			   row->reply, row->class, row->follow, row->before) != 6) {
			fprintf(stderr, "classify.table: %s", line);
			exit(2);
		}
		n_rows++;
	}
}

static int error_of(const char *name)
{
	static const struct {
		const char *name;
		int error;
	} errors[] = {{"ETIMEDOUT", ETIMEDOUT},
		      {"EHOSTUNREACH", EHOSTUNREACH},
		      {"ECONNREFUSED", ECONNREFUSED},
		      {"EKEYREJECTED", EKEYREJECTED},
		      {"EPROTO", EPROTO}};

	for (size_t i = 0; i < ELEMENTSOF(errors); i++)
		if (strcmp(errors[i].name, name) == 0)
			return -errors[i].error;
	fprintf(stderr, "classify.table: '@%s'\n", name);
	exit(2);
}

/* TEXT: status line, headers, an empty line, the body. */
static void take_reply(char *text, struct kms_reply *reply, char type[static 128])
{
	static const char header[] = "\nx-amzn-ErrorType: ";
	char *body = strstr(text, "\n\n"), *at;

	if (sscanf(text, "HTTP/1.1 %ld", &reply->status) != 1 || !body) {
		fprintf(stderr, "no reply: %s\n", text);
		exit(2);
	}
	*body = '\0';
	at = strstr(text, header);
	if (at)
		snprintf(type, 128, "%.*s", (int)strcspn(at + strlen(header), "\n"),
			 at + strlen(header));
	reply->body = body + 2;
	reply->n = strlen(reply->body);
}

static void set_call(const char *name, struct kms_reply *reply)
{
	static const char *const names[] = {"wrap",   "unwrap",	      "describe",	 "token",
					    "assume", "assume-known", "unwrap-described"};
	static const enum kms_op ops[] = {KMS_WRAP,   KMS_UNWRAP, KMS_DESCRIBE, KMS_TOKEN,
					  KMS_ASSUME, KMS_ASSUME, KMS_UNWRAP};
	int i = find(names, ELEMENTSOF(names), name);

	reply->op = ops[i];
	reply->identity_answers = i == 5;
	reply->described = i == 6 ? KMS_REVOKED_STATE : KMS_CLASS__MAX;
}

/* --- the checks --- */

static void check_row(const struct row *row)
{
	const struct kms_provider *provider = kms_provider_find(row->provider);
	char path[TEXT_MAX], text[TEXT_MAX], type[128] = "";
	struct kms_reply reply = {.error_type = type, .body = ""};
	struct kms_outcome outcome = {0}, first;
	enum kms_follow follow;
	bool good;

	set_call(row->call, &reply);
	if (row->reply[0] == '@') {
		reply.error = error_of(row->reply + 1);
	} else {
		ssize_t n;

		snprintf(path, sizeof(path), "%s/replies/%s/%s.http", directory, row->provider,
			 row->reply);
		n = file_read(AT_FDCWD, path, text, sizeof(text) - 1);
		if (n < 0) {
			fprintf(stderr, "%s: %s\n", path, strerror((int)-n));
			exit(2);
		}
		text[n] = '\0';
		take_reply(text, &reply, type);
	}
	provider->classify(&reply, &outcome);
	follow = kms_follow_of(&outcome);
	first = outcome;
	kms_first_success(false, &first);
	kms_first_success(true, &outcome);
	good = outcome.class == (unsigned)find(classes, KMS_CLASS__MAX, row->class) &&
	       follow == (unsigned)find(follows, KMS_FOLLOW__MAX, row->follow) &&
	       first.class == (unsigned)find(classes, KMS_CLASS__MAX, row->before);
	if (!good)
		printf("    %s, %s, before the first success %s: %s\n", classes[outcome.class],
		       follows[follow], classes[first.class], outcome.code);
	report(good, row->provider, row->call, row->reply);
}

static bool is_named(const char *provider, const char *file)
{
	size_t len = strlen(file) - strlen(".http");

	for (size_t i = 0; i < n_rows; i++)
		if (strcmp(rows[i].provider, provider) == 0 && strlen(rows[i].reply) == len &&
		    strncmp(rows[i].reply, file, len) == 0)
			return true;
	return false;
}

static void check_replies(const char *provider)
{
	char path[TEXT_MAX];
	_cleanup_closedir_ DIR *dir = NULL;
	const struct dirent *entry;

	snprintf(path, sizeof(path), "%s/replies/%s", directory, provider);
	dir = opendir(path);
	if (!dir) {
		perror(path);
		exit(2);
	}
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' && !is_named(provider, entry->d_name))
			report(false, provider, "unused", entry->d_name);
}

static void check_cell(const char *provider, enum kms_class class)
{
	/* Azure has no word for a corrupt blob; our own tag tells. */
	bool good = class == KMS_CORRUPT && strcmp(provider, "azure") == 0;

	for (size_t i = 0; i < n_rows; i++)
		good = good || (strcmp(rows[i].provider, provider) == 0 &&
				strcmp(rows[i].class, classes[class]) == 0);
	report(good, provider, "cell", classes[class]);
}

int main(int argc, char **argv)
{
	static const char *const providers[] = {"aws", "azure", "google"};

	if (argc != 2) {
		fprintf(stderr, "usage: classify DIRECTORY\n");
		return 2;
	}
	directory = argv[1];
	json_wipe_freed();
	read_table();
	for (size_t i = 0; i < n_rows; i++)
		check_row(&rows[i]);
	for (size_t i = 0; i < ELEMENTSOF(providers); i++) {
		check_replies(providers[i]);
		for (enum kms_class class = 0; class < KMS_CLASS__MAX; class ++)
			check_cell(providers[i], class);
	}
	return failures > 0;
}
