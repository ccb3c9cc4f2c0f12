/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzzer's function over every file of the directories named: the corpus, without libFuzzer.
 * Fails on a crash, and where there is no file. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "fuzz.h"

#define INPUT_MAX 65536

/* A block of just the input's size, so that AddressSanitizer sees a read behind it. */
static int replay_file(int dirfd, const char *name)
{
	static uint8_t buffer[INPUT_MAX];
	_cleanup_free_ uint8_t *input = NULL;
	ssize_t n = file_read(dirfd, name, buffer, sizeof(buffer));

	if (n < 0) {
		fprintf(stderr, "%s: %s\n", name, strerror((int)-n));
		return -1;
	}
	input = malloc(n > 0 ? (size_t)n : 1);
	if (!input)
		return -1;
	memcpy(input, buffer, (size_t)n);
	printf("%s\n", name);
	fflush(stdout);
	LLVMFuzzerTestOneInput(input, (size_t)n);
	return 0;
}

/* Returns the number of files, or -1. */
static int replay_directory(const char *path)
{
	_cleanup_closedir_ DIR *directory = opendir(path);
	struct dirent *entry;
	int n = 0;

	if (!directory) {
		perror(path);
		return -1;
	}
	while ((entry = readdir(directory))) {
		if (entry->d_name[0] == '.')
			continue;
		if (replay_file(dirfd(directory), entry->d_name) < 0)
			return -1;
		n++;
	}
	return n;
}

int main(int argc, char **argv)
{
	int total = 0;

	for (int i = 1; i < argc; i++) {
		int n = replay_directory(argv[i]);

		if (n < 0)
			return EXIT_FAILURE;
		total += n;
	}
	printf("%d inputs\n", total);
	return total > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
