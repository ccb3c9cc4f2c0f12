/* SPDX-License-Identifier: Apache-2.0 */
/* What goes on a fresh volume: mkfs.ext4(8), mkfs.xfs(8), mkswap(8). */
#include "disks/content.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "disks/program.h"
#include "disks/volume_parts.h"

#define ARGUMENTS_MAX 96   /* a word of MakeOptions= has a character and a space */
#define DEFAULT_MODE  0755 /* of a root directory as mkfs makes it, owned by root */

/* How much ext4 can grow at run time with its group descriptors in one place. */
#define GROWTH_FACTOR	 16
#define GROWTH_MAX_BYTES (8ull << 40) /* more than mkfs.ext4(8) has in its largest reserve */

/* From /etc/passwd and /etc/group alone: a name service may need the network, which comes later. */
static int uid_of(const char *name, uid_t *ret_uid)
{
	_cleanup_fclose_ FILE *file = fopen("/etc/passwd", "re");
	const struct passwd *user;

	while (file && (user = fgetpwent(file))) {
		if (strcmp(user->pw_name, name) != 0)
			continue;
		*ret_uid = user->pw_uid;
		return 0;
	}
	return -ESRCH;
}

static int gid_of(const char *name, gid_t *ret_gid)
{
	_cleanup_fclose_ FILE *file = fopen("/etc/group", "re");
	const struct group *group;

	while (file && (group = fgetgrent(file))) {
		if (strcmp(group->gr_name, name) != 0)
			continue;
		*ret_gid = group->gr_gid;
		return 0;
	}
	return -ESRCH;
}

/* Whether TEXT is the number of a user or group. The highest is none: to chown(2) it says "leave it". */
static bool is_id(const char *text, uint32_t *ret_id)
{
	return parse_u32(text, ret_id) == 0 && *ret_id != UINT32_MAX;
}

int owner_resolve(const struct volume_config *config, struct owner *ret_owner,
		  char reason[static REASON_SIZE])
{
	struct owner owner = {.mode = (mode_t)config->mode};

	if (config->owner[0] && !is_id(config->owner, &owner.uid) &&
	    uid_of(config->owner, &owner.uid) < 0)
		return reason_set(reason, -ESRCH, "volume %s: Owner=: no user '%s'", config->name,
				  config->owner);
	if (config->group[0] && !is_id(config->group, &owner.gid) &&
	    gid_of(config->group, &owner.gid) < 0)
		return reason_set(reason, -ESRCH, "volume %s: Group=: no group '%s'", config->name,
				  config->group);
	*ret_owner = owner;
	return 0;
}

int mount_detached(const char *type, const char *path, int *ret_fd)
{
	_cleanup_close_ int context = fsopen(type, FSOPEN_CLOEXEC);
	int fd;

	if (context < 0)
		return -errno;
	if (fsconfig(context, FSCONFIG_SET_STRING, "source", path, 0) < 0 ||
	    fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = fsmount(context, FSMOUNT_CLOEXEC,
		     MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOATIME);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

static int root_own(const char *type, const char *path, const struct owner *owner)
{
	_cleanup_close_ int mount_fd = -1, root = -1;
	int r;

	r = mount_detached(type, path, &mount_fd);
	if (r < 0)
		return r;
	root = openat(mount_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -errno;
	if (fchown(root, owner->uid, owner->gid) < 0 || fchmod(root, owner->mode) < 0)
		return -errno;
	return 0;
}

/* The arguments of one run of mkfs. */
struct words {
	const char *argv[ARGUMENTS_MAX + 1];
	size_t n;
	char size[24];							/* of a swap area, in KiB */
	char extended[128];						/* of ext4, -E */
	char own[sizeof(((struct volume_config *)NULL)->make_options)]; /* of MakeOptions= */
};

static int word_add(struct words *words, const char *word)
{
	if (words->n == ARGUMENTS_MAX)
		return -E2BIG;
	words->argv[words->n++] = word;
	return 0;
}

static int words_add(struct words *words, const char *const list[])
{
	int r = 0;

	for (size_t i = 0; list[i] && r == 0; i++)
		r = word_add(words, list[i]);
	return r;
}

static int own_words_add(struct words *words, const struct volume_config *config)
{
	char *rest = words->own, *word;
	int r = 0;

	memcpy(words->own, config->make_options, sizeof(words->own));
	while (r == 0 && (word = strsep(&rest, " ")))
		if (word[0])
			r = word_add(words, word);
	return r;
}

/* The reserve for growth, which is written at once: by itself mkfs.ext4 takes one for a thousand times the
 * size, of 4 MiB for a volume of 100 GiB. What grows beyond it takes space elsewhere (meta_bg). With features
 * of the volume file's own it may be that there is none. */
static void extended_make(struct words *words, const struct volume_config *config, uint64_t bytes)
{
	uint64_t growth =
		bytes < GROWTH_MAX_BYTES / GROWTH_FACTOR ? bytes * GROWTH_FACTOR : GROWTH_MAX_BYTES;
	char reserve[40] = "";

	if (growth > bytes && !strstr(config->make_options, "-O"))
		(void)snprintf(reserve, sizeof(reserve), ",resize=%" PRIu64 "K", growth / 1024);
	(void)snprintf(words->extended, sizeof(words->extended),
		       "lazy_itable_init=1,nodiscard,packed_meta_blocks=1%s%s", reserve,
		       config->project_quota ? ",quotatype=prjquota" : "");
}

static int ext4_words_add(struct words *words, const struct volume_config *config, uint64_t bytes)
{
	const char *features =
		config->project_quota ? "^has_journal,project,quota" : "^has_journal";

	extended_make(words, config, bytes);
	return words_add(words, (const char *const[]){"-O", features, "-E", words->extended, NULL});
}

/* Ours first: a later one of MakeOptions= counts. No discard: it would wait for the whole disk. No
 * journal and no zeroing of inode tables: nothing outlives the boot. */
static int words_make(struct words *words, const struct volume_config *config, uint64_t bytes,
		      const char *path)
{
	static const char *const ext4[] = {"/sbin/mkfs.ext4", "-q", "-m", "0", NULL};
	static const char *const xfs[] = {"/sbin/mkfs.xfs", "-q", "-K", NULL};
	static const char *const swap[] = {"/sbin/mkswap", NULL};
	static const char *const *const programs[VOLUME_USE__MAX] = {
		[VOLUME_EXT4] = ext4,
		[VOLUME_XFS] = xfs,
		[VOLUME_SWAP] = swap,
		[VOLUME_OVERLAY] = ext4,
	};
	int r;

	if (!programs[config->use])
		return 0;
	r = words_add(words, programs[config->use]);
	if (r == 0 && programs[config->use] == ext4)
		r = ext4_words_add(words, config, bytes);
	if (r == 0 && config->label[0])
		r = words_add(words, (const char *const[]){"-L", config->label, NULL});
	r = r < 0 ? r : own_words_add(words, config);
	return r < 0 ? r : word_add(words, path);
}

static int words_run(const struct words *words, const struct volume_config *config,
		     char reason[static REASON_SIZE])
{
	char text[REASON_SIZE];
	int r = program_run(words->argv, text);

	if (r < 0)
		return reason_set(reason, r, "volume %s: Use=%s: %s: %.150s", config->name,
				  volume_use_name(config->use), words->argv[0], text);
	return 0;
}

int content_swap(const struct volume_config *config, uint64_t bytes,
		 char reason[static REASON_SIZE])
{
	struct words words = {.n = 0};
	char node[MAP_NODE_SIZE];
	int r;

	r = volume_node(config->name, node);
	if (r < 0)
		return reason_errno(reason, r, "volume %s: its map", config->name);
	(void)snprintf(words.size, sizeof(words.size), "%" PRIu64, bytes / 1024);
	r = words_make(&words, config, bytes, node);
	r = r < 0 ? r : word_add(&words, words.size);
	if (r < 0)
		return reason_errno(reason, r, "volume %s: MakeOptions=", config->name);
	return words_run(&words, config, reason);
}

int content_make(const struct volume_config *config, uint64_t bytes, const struct owner *owner,
		 char reason[static REASON_SIZE])
{
	struct words words = {.n = 0};
	char node[MAP_NODE_SIZE];
	int r;

	r = volume_node(config->name, node);
	if (r < 0)
		return reason_errno(reason, r, "volume %s: its map", config->name);
	r = words_make(&words, config, bytes, node);
	if (r < 0)
		return reason_errno(reason, r, "volume %s: MakeOptions=", config->name);
	if (words.n == 0)
		return 0;
	r = words_run(&words, config, reason);
	if (r < 0)
		return r;

	if (config->use == VOLUME_SWAP ||
	    (owner->uid == 0 && owner->gid == 0 && owner->mode == DEFAULT_MODE))
		return 0;
	r = root_own(config->use == VOLUME_XFS ? "xfs" : "ext4", node, owner);
	if (r < 0)
		return reason_errno(reason, r,
				    "volume %s: Owner=, Group= and Mode= of the root directory",
				    config->name);
	return 0;
}
