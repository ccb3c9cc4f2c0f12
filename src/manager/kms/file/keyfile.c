/* SPDX-License-Identifier: Apache-2.0 */
/* The key files of the embedded KMS: read, created, switched, deleted. */
#include "manager/kms/file/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/parse.h"
#include "manager/json.h"

#define KEYFILE_TEXT_MAX 512

static const char *const state_names[KEYFILE_STATE__MAX] = {
	[KEYFILE_ENABLED] = "enabled",
	[KEYFILE_DISABLED] = "disabled",
	[KEYFILE_PENDING_DELETION] = "pending-deletion",
};

const char *keyfile_state_name(enum keyfile_state state)
{
	return state_names[state];
}

static int keyfile_path(const char *directory, const char *key_id, char path[static PATH_MAX])
{
	if (!name_is_valid(key_id, KEYFILE_ID_MAX))
		return -EINVAL;
	if (snprintf(path, PATH_MAX, "%s/%s.json", directory, key_id) >= PATH_MAX)
		return -ENAMETOOLONG;
	return 0;
}

/* One writer at a time: reading, changing and replacing a key must not lose another's change. */
static int lock_directory(const char *directory, int *ret_fd)
{
	_cleanup_close_ int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int keyfile_parse(const char *text, size_t len, struct keyfile *keyfile)
{
	char state[32] = "", error[256];
	const struct json_member members[] = {
		{"key", JSON_MEMBER_BYTES, keyfile->key, sizeof(keyfile->key)},
		{"state", JSON_MEMBER_TEXT, state, sizeof(state)},
	};
	int r;

	r = json_read_object(text, len, members, ELEMENTSOF(members), error);
	if (r < 0)
		return r;
	for (int i = 0; i < KEYFILE_STATE__MAX; i++) {
		if (strcmp(state, state_names[i]) == 0) {
			keyfile->state = (enum keyfile_state)i;
			return 0;
		}
	}
	return -EBADMSG;
}

int keyfile_read(const char *directory, const char *key_id, struct keyfile *ret_keyfile)
{
	char path[PATH_MAX], text[KEYFILE_TEXT_MAX];
	ssize_t n;
	int r;

	r = keyfile_path(directory, key_id, path);
	if (r < 0)
		return r;
	n = file_read(AT_FDCWD, path, text, sizeof(text));
	if (n < 0)
		return n == -E2BIG ? -EBADMSG : (int)n;
	r = keyfile_parse(text, (size_t)n, ret_keyfile);
	bytes_wipe(text, sizeof(text));
	if (r < 0)
		bytes_wipe(ret_keyfile, sizeof(*ret_keyfile));
	return r;
}

/* Root leaves the file to whom the directory (the descriptor LOCK) belongs: the manager, who must
 * read it, is somebody else. */
static int keyfile_write(int lock, const char *path, const struct keyfile *keyfile)
{
	char text[KEYFILE_TEXT_MAX], hex[2 * KEYFILE_KEY_SIZE + 1];
	bool root = geteuid() == 0;
	struct stat st;
	int n, r;

	if (fstat(lock, &st) < 0)
		return -errno;
	hex_encode(keyfile->key, sizeof(keyfile->key), hex);
	n = snprintf(text, sizeof(text), "{\"key\":\"%s\",\"state\":\"%s\"}\n", hex,
		     state_names[keyfile->state]);
	r = file_write_atomic_as(path, text, (size_t)n, 0600, root ? st.st_uid : (uid_t)-1,
				 st.st_gid);
	bytes_wipe(hex, sizeof(hex));
	bytes_wipe(text, sizeof(text));
	return r;
}

int keyfile_create(const char *directory, const char *key_id)
{
	_cleanup_close_ int lock = -1;
	struct keyfile keyfile = {.state = KEYFILE_ENABLED};
	char path[PATH_MAX];
	int r;

	r = keyfile_path(directory, key_id, path);
	if (r < 0)
		return r;
	if (mkdir(directory, 0700) < 0 && errno != EEXIST)
		return -errno;
	r = lock_directory(directory, &lock);
	if (r < 0)
		return r;
	if (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	if (RAND_priv_bytes(keyfile.key, sizeof(keyfile.key)) != 1)
		return -EIO;
	r = keyfile_write(lock, path, &keyfile);
	bytes_wipe(&keyfile, sizeof(keyfile));
	return r;
}

int keyfile_set_state(const char *directory, const char *key_id, enum keyfile_state state)
{
	_cleanup_close_ int lock = -1;
	struct keyfile keyfile;
	char path[PATH_MAX];
	int r;

	r = keyfile_path(directory, key_id, path);
	if (r < 0)
		return r;
	r = lock_directory(directory, &lock);
	if (r < 0)
		return r;
	r = keyfile_read(directory, key_id, &keyfile);
	if (r < 0)
		return r;
	keyfile.state = state;
	r = keyfile_write(lock, path, &keyfile);
	bytes_wipe(&keyfile, sizeof(keyfile));
	return r;
}

int keyfile_delete(const char *directory, const char *key_id)
{
	_cleanup_close_ int lock = -1;
	char path[PATH_MAX];
	int r;

	r = keyfile_path(directory, key_id, path);
	if (r < 0)
		return r;
	r = lock_directory(directory, &lock);
	if (r < 0)
		return r;
	if (unlink(path) < 0)
		return -errno;
	return fsync(lock) < 0 ? -errno : 0;
}
