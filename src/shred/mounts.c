/* SPDX-License-Identifier: Apache-2.0 */
/* What is mounted where PID 1 lives, and what a shred does with it. */
#include "shred/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

#define VOLUME_UUID_PREFIX "EMBERLOCK-VOLUME-" /* core/plan.h */
#define OVERLAY_SOURCE	   "emberlock"	       /* disks/overlay.c */

static const struct {
	const char *type;
	enum mount_kind kind;
} kinds[] = {
	{"tmpfs", MOUNT_MEMORY},     {"ramfs", MOUNT_MEMORY},	  {"mqueue", MOUNT_MEMORY},
	{"hugetlbfs", MOUNT_MEMORY}, {"devtmpfs", MOUNT_DEVICES},
};

/* The kernel writes space, tab, newline and backslash as "\040" and the like. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		if (from[0] == '\\' && from[1] && from[2] && from[3]) {
			*to = (char)((unsigned)(from[1] & 7) << 6 | (unsigned)(from[2] & 7) << 3 |
				     (unsigned)(from[3] & 7));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

/* The name of the volume that block device DEVICE is, in mounts->uuid; NULL where it is none. */
static const char *volume_of(struct mounts *mounts, dev_t device)
{
	char path[64];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "dev/block/%u:%u/dm/uuid", major(device), minor(device));
	n = file_read(mounts->sys_fd, path, mounts->uuid, sizeof(mounts->uuid) - 1);
	if (n < 0)
		return NULL;
	mounts->uuid[n] = '\0';
	mounts->uuid[strcspn(mounts->uuid, "\n")] = '\0';
	if (strncmp(mounts->uuid, VOLUME_UUID_PREFIX, strlen(VOLUME_UUID_PREFIX)) != 0)
		return NULL;
	return mounts->uuid + strlen(VOLUME_UUID_PREFIX);
}

static enum mount_kind kind_of(struct mounts *mounts, struct mount_entry *entry, const char *type,
			       const char *source)
{
	for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
		if (strcmp(type, kinds[i].type) == 0)
			return kinds[i].kind;
	if (strcmp(type, "overlay") == 0)
		return strcmp(source, OVERLAY_SOURCE) == 0 ? MOUNT_OVERLAY : MOUNT_FOREIGN;
	entry->volume = volume_of(mounts, entry->device);
	return entry->volume ? MOUNT_VOLUME : MOUNT_FOREIGN;
}

/* "36 35 98:0 /root /path rw,noatime shared:1 - ext4 /dev/root rw": any number of words before the
 * dash. */
bool mount_entry_parse(struct mounts *mounts, char *line, struct mount_entry *ret_entry)
{
	struct mount_entry entry = {};
	char *words[5], *type, *source, *rest = line;
	unsigned major_number, minor_number;

	for (size_t i = 0; i < ELEMENTSOF(words); i++)
		words[i] = strsep(&rest, " ");
	if (!rest || sscanf(words[2], "%u:%u", &major_number, &minor_number) != 2)
		return false;
	rest = strstr(rest, " - ");
	if (!rest)
		return false;
	rest += strlen(" - ");
	type = strsep(&rest, " ");
	source = strsep(&rest, " ");
	if (!source || words[4][0] != '/')
		return false;
	unescape(words[4]);
	entry.path = words[4];
	entry.device = makedev(major_number, minor_number);
	entry.kind = kind_of(mounts, &entry, type, source);
	*ret_entry = entry;
	return true;
}

/* From the root that the working directory is. */
static const char *relative(const char *path)
{
	return path[1] ? path + 1 : ".";
}

/* The root of what is mounted there, unless something else lies above it by now. */
static int entry_open(const struct mount_entry *entry)
{
	_cleanup_close_ int fd =
		open(relative(entry->path), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return st.st_dev == entry->device ? TAKE_FD(fd) : -ESTALE;
}

static bool detach(const struct mount_entry *entry)
{
	return umount2(relative(entry->path), MNT_DETACH | UMOUNT_NOFOLLOW) == 0;
}

static bool clear_memory(struct mounts *mounts, const struct mount_entry *entry)
{
	int fd = entry_open(entry);

	if (fd < 0)
		return false;
	if (empty_tree(&mounts->empty, fd, entry->kind == MOUNT_MEMORY))
		return true;
	/* Read-only, say. Whoever had it open has been killed. */
	return entry->kind == MOUNT_MEMORY && detach(entry);
}

/* An error is what it is for: every dirty page fails, and is clean. */
static bool fail_dirty(const struct mount_entry *entry)
{
	_cleanup_close_ int fd = entry_open(entry);

	if (fd < 0)
		return false;
	(void)syncfs(fd);
	return true;
}

/* In a thread of its own. Where it is not mounted any more, it went with what it was mounted upon. */
static bool clear_volume(const struct mount_entry *entry)
{
	(void)fail_dirty(entry);
	return detach(entry) || errno == EINVAL || errno == ENOENT;
}

static void clear_volumes(void *argument)
{
	struct mounts *mounts = ((struct mounts_thread *)argument)->mounts;
	unsigned i;

	worker_step_back();
	while ((i = atomic_fetch_add(&mounts->next, 1)) < mounts->n_volumes)
		if (!clear_volume(&mounts->volumes[i]))
			atomic_store(&mounts->left, true);
}

static bool note_volume(struct mounts *mounts, const struct mount_entry *entry)
{
	if (mounts->n_volumes == MOUNTS_VOLUMES_MAX ||
	    !mounts->fails(mounts->argument, entry->volume))
		return false;
	mounts->volumes[mounts->n_volumes++] = *entry;
	return true;
}

static bool clear(struct mounts *mounts, const struct mount_entry *entry)
{
	switch (entry->kind) {
	case MOUNT_FOREIGN:
		break;
	case MOUNT_MEMORY:
	case MOUNT_DEVICES:
		return clear_memory(mounts, entry);
	case MOUNT_VOLUME:
		return note_volume(mounts, entry);
	case MOUNT_OVERLAY:
		mounts->overlay = true;
		return fail_dirty(entry);
	}
	return true;
}

/* What does not fit is not seen. */
static bool text_read(struct mounts *mounts)
{
	_cleanup_close_ int fd = openat(mounts->proc_fd, "1/mountinfo", O_RDONLY | O_CLOEXEC);
	size_t size = 0;
	ssize_t n = 0;

	if (fd < 0)
		return false;
	while (size < sizeof(mounts->text) - 1 &&
	       (n = read(fd, mounts->text + size, sizeof(mounts->text) - 1 - size)) > 0)
		size += (size_t)n;
	mounts->text[size] = '\0';
	return n == 0;
}

static bool enter_root(struct mounts *mounts)
{
	_cleanup_close_ int fd =
		openat(mounts->proc_fd, "1/root", O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 && fchdir(fd) == 0;
}

/* The line that ends before *end, which moves to its start; NULL where there is none. */
static char *line_before(char *text, size_t *end)
{
	size_t start = *end;

	if (start == 0)
		return NULL;
	if (text[start - 1] == '\n')
		text[--start] = '\0';
	while (start > 0 && text[start - 1] != '\n')
		start--;
	*end = start;
	return text + start;
}

/* From the last line to the first: what is mounted upon something comes after it. */
bool mounts_clear(struct mounts *mounts)
{
	bool ok = text_read(mounts);
	size_t end = strlen(mounts->text);
	char *line;

	mounts->n_volumes = 0;
	mounts->overlay = false;
	atomic_store(&mounts->next, 0);
	atomic_store(&mounts->left, false);
	if (!enter_root(mounts))
		return false;
	while ((line = line_before(mounts->text, &end))) {
		struct mount_entry entry;

		ok &= mount_entry_parse(mounts, line, &entry) && clear(mounts, &entry);
	}
	for (unsigned i = 0; i < MOUNTS_THREADS; i++)
		ok &= worker_give(&mounts->threads[i].worker, clear_volumes, &mounts->threads[i]);
	return ok;
}

bool mounts_are_busy(struct mounts *mounts)
{
	bool busy = false;

	for (unsigned i = 0; i < MOUNTS_THREADS; i++)
		busy |= worker_is_busy(&mounts->threads[i].worker);
	return busy;
}

bool mounts_hold(const struct mounts *mounts)
{
	bool hold = mounts->overlay;

	for (unsigned i = 0; i < mounts->n_volumes; i++)
		hold |= mounts->is_held(mounts->argument, mounts->volumes[i].device);
	return hold;
}

int mounts_start(struct mounts *mounts, int done_fd)
{
	for (unsigned i = 0; i < MOUNTS_THREADS; i++) {
		int r = worker_start(&mounts->threads[i].worker, done_fd);

		if (r < 0)
			return r;
		mounts->threads[i].mounts = mounts;
	}
	return 0;
}
