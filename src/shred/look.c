/* SPDX-License-Identifier: Apache-2.0 */
/* Step 3 of a shred: looks at what is left. */
#include "shred/look.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "core/message.h"

#define KEY_DESCRIPTION "emberlock:" /* keys/keyring.h */

/* What a map's live table maps to is all that is asked: parameters would show a key. */
static bool keys_are_gone(struct look *look)
{
	bool gone = bytes_are_zero(look->boot_key->bytes, look->boot_key->size);

	for (unsigned i = 0; i < SEGMENTS_MAX; i++) {
		struct shared_map *map = &look->shared->maps[i];

		if (atomic_load(&map->used))
			gone &= dm_holds_no_key(look->dm_fd, &look->buffer, map->name);
	}
	return gone;
}

/* Of the keys that the kernel lists for root, in any keyring (keyrings(7), /proc/keys). */
static bool no_key_is_ours(struct look *look)
{
	_cleanup_close_ int fd = openat(look->proc_fd, "keys", O_RDONLY | O_CLOEXEC);
	size_t kept = 0;
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT; /* a kernel without keyrings */
	/* What may be the beginning of the word at the end of one piece goes before the next. */
	while ((n = read(fd, look->text + kept, sizeof(look->text) - 1 - kept)) > 0) {
		size_t size = kept + (size_t)n;

		look->text[size] = '\0';
		if (strstr(look->text, KEY_DESCRIPTION))
			return false;
		kept = size < strlen(KEY_DESCRIPTION) ? size : strlen(KEY_DESCRIPTION) - 1;
		memmove(look->text, look->text + size - kept, kept);
	}
	return n == 0;
}

/* ABI/testing/sysfs-kernel-kexec... "1\n" where one is loaded; no file without that feature. */
static bool is_not_loaded(struct look *look, const char *file)
{
	ssize_t n = file_read(look->sys_fd, file, look->text, sizeof(look->text));

	return n == -ENOENT || (n > 0 && look->text[0] == '0');
}

static void note(struct look *look, enum self_test_bit bit, bool passed)
{
	atomic_fetch_or(passed ? &look->passed : &look->failed, (unsigned)bit);
}

static void look_at_all(void *argument)
{
	struct look *look = argument;

	note(look, SELF_TEST_KEYS_GONE, keys_are_gone(look));
	note(look, SELF_TEST_KEYRING, no_key_is_ours(look));
	note(look, SELF_TEST_CRASH_KERNEL,
	     is_not_loaded(look, "kernel/kexec_crash_loaded") &&
		     is_not_loaded(look, "kernel/kexec_loaded"));
}

int look_start(struct look *look, int done_fd)
{
	return worker_start(&look->worker, done_fd);
}

void look_begin(struct look *look)
{
	(void)worker_give(&look->worker, look_at_all, look);
}
