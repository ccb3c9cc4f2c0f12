/* SPDX-License-Identifier: Apache-2.0 */
/* A tiny storage node: keeps a line of text in a file, under a DEK that the file carries as a blob. For
 * the tests, and for whoever wants to see emberlock-storage.h at work. What a node does with its DEKs
 * is its own affair: this one adds them bit by bit, a real one encrypts. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "storage/emberlock-storage.h"

static struct emberlock_storage *storage;
static char error[EMBERLOCK_ERROR_MAX];

struct file {
	struct emberlock_dek_blob blob;
	unsigned char text[EMBERLOCK_DEK_SIZE];
};

static int fail(int r)
{
	fprintf(stderr, "storage_node: %s (%s)\n", error, strerror(-r));
	return r;
}

static int add(const unsigned char dek[EMBERLOCK_DEK_SIZE], void *userdata)
{
	struct file *file = userdata;

	for (size_t i = 0; i < EMBERLOCK_DEK_SIZE; i++)
		file->text[i] ^= dek[i];
	return 0;
}

static int read_file(const char *path, struct file *file)
{
	FILE *from = fopen(path, "rb");
	size_t n = from ? fread(file, 1, sizeof(*file), from) : 0;

	if (from)
		fclose(from);
	snprintf(error, sizeof(error), "%s: cannot read it", path);
	return n == sizeof(*file) ? 0 : -EINVAL;
}

static int write_file(const char *path, const struct file *file)
{
	FILE *to = fopen(path, "wb");
	size_t n = to ? fwrite(file, 1, sizeof(*file), to) : 0;

	snprintf(error, sizeof(error), "%s: cannot write it", path);
	return to && fclose(to) == 0 && n == sizeof(*file) ? 0 : -EIO;
}

/* A file that holds the text, given as its argument. */
static int seal(char **arguments)
{
	const char *use = arguments[0], *context = arguments[1], *text = arguments[2];
	struct emberlock_dek dek = {.context = context};
	struct file file = {0};
	int r;

	snprintf((char *)file.text, sizeof(file.text), "%s", text);
	r = emberlock_dek_generate(storage, use, &dek, 1, error);
	if (r < 0)
		return r;
	file.blob = dek.blob;
	r = emberlock_dek_use(storage, &file.blob, context, add, &file, error);
	return r < 0 ? r : write_file(arguments[3], &file);
}

static int open_file(char **arguments)
{
	struct file file;
	int r;

	r = read_file(arguments[1], &file);
	if (r == 0)
		r = emberlock_dek_use(storage, &file.blob, arguments[0], add, &file, error);
	if (r < 0)
		return r;
	printf("%.*s\n", (int)sizeof(file.text), (const char *)file.text);
	return 0;
}

static int rewrap(char **arguments)
{
	struct emberlock_dek dek = {.context = arguments[0]};
	struct file file;
	int r;

	r = read_file(arguments[1], &file);
	dek.blob = file.blob;
	if (r == 0)
		r = emberlock_dek_rewrap(storage, &dek, 1, error);
	if (r == 0)
		r = dek.result;
	if (r < 0)
		return r;
	file.blob = dek.blob;
	return write_file(arguments[1], &file);
}

static void wait_10_ms(void)
{
	const struct timespec time = {.tv_nsec = 10000000};

	nanosleep(&time, NULL);
}

/* Says when it holds the DEK, and again when that was dropped: by the library, unasked. */
static int hold(char **arguments)
{
	struct emberlock_dek dek = {.context = arguments[0]};
	struct file file;
	int r;

	r = read_file(arguments[1], &file);
	dek.blob = file.blob;
	if (r == 0)
		r = emberlock_dek_fetch(storage, &dek, 1, error);
	if (r == 0)
		r = dek.result;
	if (r < 0)
		return r;
	printf("held %u\n", emberlock_dek_count(storage));
	fflush(stdout);
	while (emberlock_dek_count(storage) > 0)
		wait_10_ms();
	puts("dropped");
	return 0;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Fetches the DEK of FILE again and again, N at once, for SECONDS; prints how many. */
static int load(char **arguments)
{
	size_t n = strtoul(arguments[2], NULL, 10);
	static struct emberlock_dek deks[EMBERLOCK_DEK_BATCH_MAX];
	double end = seconds() + strtod(arguments[3], NULL);
	unsigned long done = 0;
	struct file file;
	int r;

	r = read_file(arguments[1], &file);
	for (size_t i = 0; i < EMBERLOCK_DEK_BATCH_MAX; i++)
		deks[i] = (struct emberlock_dek){.blob = file.blob, .context = arguments[0]};
	while (r == 0 && seconds() < end) {
		r = emberlock_dek_fetch(storage, deks, n, error);
		if (r == 0)
			r = deks[0].result;
		if (r == 0)
			done += n;
		emberlock_dek_drop(storage);
		if (r == -EAGAIN) {
			wait_10_ms();
			r = 0;
		}
	}
	printf("%lu\n", done);
	return r;
}

/* Makes N DEKs, each of a use of its own. Whoever is told to wait does. */
static int fill(char **arguments)
{
	unsigned long first = strtoul(arguments[1], NULL, 10), n = strtoul(arguments[2], NULL, 10);
	int r = 0;

	for (unsigned long i = first; r == 0 && i < first + n; i++) {
		struct emberlock_dek dek = {0};
		char use[48];

		snprintf(use, sizeof(use), "%.16s%lu", arguments[0], i);
		do {
			r = emberlock_dek_generate(storage, use, &dek, 1, error);
			if (r == -EAGAIN)
				wait_10_ms();
		} while (r == -EAGAIN);
	}
	return r;
}

static volatile sig_atomic_t told_to_end;

static void on_term(int signal)
{
	told_to_end = 1;
}

/* Any answer but success counts as a failure, and is said. */
static void count(int r, int result, unsigned long *done, unsigned long *failed)
{
	if (r == 0)
		r = result;
	(*done)++;
	if (r == 0)
		return;
	(*failed)++;
	fprintf(stderr, "storage_node: %s (%s)\n", error, strerror(-r));
}

#define STEADY_USES 8

/* Fetches DEKs of several uses, makes and rewraps some, until SIGTERM; prints how many requests there
 * were and how many of them were refused, whatever the reason. */
static int steady(char **arguments)
{
	struct emberlock_dek deks[STEADY_USES] = {0}, made;
	unsigned long done = 0, failed = 0;
	char uses[STEADY_USES][32];

	signal(SIGTERM, on_term);
	for (unsigned i = 0; i < STEADY_USES; i++) {
		snprintf(uses[i], sizeof(uses[i]), "%.16s%u", arguments[0], i);
		if (emberlock_dek_generate(storage, uses[i], &deks[i], 1, error) < 0)
			return -EIO;
	}
	puts("steady");
	fflush(stdout);
	for (unsigned long i = 0; !told_to_end; i++) {
		struct emberlock_dek *dek = &deks[i % STEADY_USES];

		emberlock_dek_drop(storage);
		count(emberlock_dek_fetch(storage, dek, 1, error), dek->result, &done, &failed);
		if (i % 10 == 9) {
			made = (struct emberlock_dek){0};
			count(emberlock_dek_generate(storage, uses[i % STEADY_USES], &made, 1,
						     error),
			      made.result, &done, &failed);
		}
		if (i % 10 == 4)
			count(emberlock_dek_rewrap(storage, dek, 1, error), dek->result, &done,
			      &failed);
		wait_10_ms();
	}
	printf("%lu %lu\n", done, failed);
	return 0;
}

static const struct {
	const char *name;
	int n_arguments;
	int (*run)(char **arguments);
	const char *arguments;
} commands[] = {
	{"seal", 4, seal, "USE CONTEXT TEXT FILE"},
	{"open", 2, open_file, "CONTEXT FILE"},
	{"rewrap", 2, rewrap, "CONTEXT FILE"},
	{"hold", 2, hold, "CONTEXT FILE"},
	{"load", 4, load, "CONTEXT FILE N SECONDS"},
	{"fill", 3, fill, "USES FIRST N"},
	{"steady", 1, steady, "USES"},
};

int main(int argc, char **argv)
{
	int r;

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (argc != 3 + commands[i].n_arguments || strcmp(argv[2], commands[i].name) != 0)
			continue;
		r = emberlock_storage_open(argv[1], 0, &storage, error);
		if (r == 0)
			r = commands[i].run(argv + 3);
		emberlock_storage_close(storage);
		return r < 0 ? fail(r), EXIT_FAILURE : EXIT_SUCCESS;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(stderr, "storage_node CREDENTIALS %s %s\n", commands[i].name,
			commands[i].arguments);
	return 2;
}
