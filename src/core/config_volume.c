/* SPDX-License-Identifier: Apache-2.0 */
/* volumes.d/NAME.conf. */
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/parse.h"
#include "core/config_grammar.h"

#define MIB	      (1ull << 20)
#define XFS_LABEL_MAX 12

#define LETTERS_AND_DIGITS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static const char *const use_words[] = {"ext4", "xfs", "swap", "raw", "overlay", NULL};
static const char *const layout_words[] = {"linear", "striped", NULL};
static const char *const discard_words[] = {"no", "fstrim", "always", NULL};

/* Whether TEXT is an absolute path with no empty, "." or ".." component and no final slash, of
 * characters that need no escape in a unit file, a mount table or a log. */
static bool path_is_plain(const char *text)
{
	const char *p = text;

	if (text[strspn(text, LETTERS_AND_DIGITS "/._-+@:,=~")] != '\0')
		return false;
	while (*p == '/') {
		size_t len = strcspn(++p, "/");

		if (len == 0 || (len == 1 && p[0] == '.') ||
		    (len == 2 && p[0] == '.' && p[1] == '.'))
			return false;
		p += len;
	}
	return *p == '\0';
}

static bool set_mount_point(const struct config_key *key, const char *value, void *field)
{
	return path_is_plain(value) && config_set_text(key, value, field);
}

static bool set_mount_options(const struct config_key *key, const char *value, void *field)
{
	return value[strspn(value, LETTERS_AND_DIGITS "/._-+@:,=~")] == '\0' &&
	       config_set_text(key, value, field);
}

static bool set_disk_path(const struct config_key *key, const char *value, void *field)
{
	static const char prefix[] = "/dev/disk/by-";

	/* udev writes other bytes as \x20; a path has no ".." to leave the directory with. */
	return strncmp(value, prefix, strlen(prefix)) == 0 && !strstr(value, "/.") &&
	       !strpbrk(value, " \t") && config_set_text(key, value, field);
}

static bool set_segment_size(const struct config_key *key, const char *value, void *field)
{
	uint64_t size;

	if (parse_size(value, &size) < 0 || size < 16 * MIB || size > SEGMENT_BYTES_MAX ||
	    size % MIB != 0)
		return false;
	memcpy(field, &size, sizeof(size));
	return true;
}

static bool set_stripe_size(const struct config_key *key, const char *value, void *field)
{
	uint64_t size;
	uint32_t bytes;

	if (parse_size(value, &size) < 0 || size < CRYPT_SECTOR_SIZE || size > MIB ||
	    (size & (size - 1)) != 0)
		return false;
	bytes = (uint32_t)size;
	memcpy(field, &bytes, sizeof(bytes));
	return true;
}

/* 10G, or 25%. */
static bool set_share(const struct config_key *key, const char *value, void *field)
{
	struct disk_share share = {.bytes = 0};
	char text[64], *percent;

	if (copy_text(text, sizeof(text), value) < 0)
		return false;
	percent = strchr(text, '%');
	if (percent) {
		if (percent[1] != '\0')
			return false;
		*percent = '\0';
		if (parse_u32(text, &share.percent) < 0 || share.percent < 1 || share.percent > 100)
			return false;
	} else if (parse_size(text, &share.bytes) < 0 || share.bytes % MIB != 0) {
		return false;
	}
	memcpy(field, &share, sizeof(share));
	return true;
}

/* Of a file system or swap header: quoted by no tool, and safe in a unit and a rule. */
static bool set_label(const struct config_key *key, const char *value, void *field)
{
	return value[0] != '-' && value[strspn(value, LETTERS_AND_DIGITS "._-+")] == '\0' &&
	       config_set_text(key, value, field);
}

/* A slash would let a word name a device, and so a log in the clear on it. */
static bool set_make_options(const struct config_key *key, const char *value, void *field)
{
	return value[strspn(value, LETTERS_AND_DIGITS "._-+^:,= ")] == '\0' &&
	       config_set_text(key, value, field);
}

/* 8G or 8G-16G; the field is size_min, size_max lies behind it. */
static bool set_size(const struct config_key *key, const char *value, void *field)
{
	uint64_t *bounds = field;
	char text[64], *dash;

	if (copy_text(text, sizeof(text), value) < 0)
		return false;
	dash = strchr(text, '-');
	if (dash)
		*dash = '\0';
	if (parse_size(text, &bounds[0]) < 0 || parse_size(dash ? dash + 1 : text, &bounds[1]) < 0)
		return false;
	return bounds[0] <= bounds[1];
}
_Static_assert(offsetof(struct volume_config, size_max) ==
		       offsetof(struct volume_config, size_min) + sizeof(uint64_t),
	       "set_size() writes both");

static bool set_destroy(const struct config_key *key, const char *value, void *field)
{
	return value[strspn(value, LETTERS_AND_DIGITS "_- ")] == '\0' &&
	       config_set_text(key, value, field);
}

#define TEXT_127 "a text of at most 127 characters"

static const struct config_key keys[] = {
	{"Volume", "Use", config_set_word, "one of ext4, xfs, swap, raw, overlay",
	 CONFIG_FIELD(volume_config, use), .min = VOLUME_EXT4, .words = use_words,
	 .required = true},
	{"Volume", "MountPoint", set_mount_point,
	 "an absolute path without . and .., of letters, digits and / . _ - + @ : , = ~",
	 CONFIG_FIELD(volume_config, mount_point)},
	{"Volume", "MountOptions", set_mount_options,
	 "options separated by commas, of at most 127 characters",
	 CONFIG_FIELD(volume_config, mount_options)},
	{"Volume", "Owner", config_set_name, "a user's name or number",
	 CONFIG_FIELD(volume_config, owner)},
	{"Volume", "Group", config_set_name, "a group's name or number",
	 CONFIG_FIELD(volume_config, group)},
	{"Volume", "Mode", config_set_mode, "three or four octal digits",
	 CONFIG_FIELD(volume_config, mode)},
	{"Volume", "Required", config_set_bool, "yes or no", CONFIG_FIELD(volume_config, required)},
	{"Volume", "DeviceTimeoutSec", config_set_duration, "a time of at most 1 h",
	 CONFIG_FIELD(volume_config, device_timeout_ms), .max = 3600000},
	{"Volume", "SegmentSize", set_segment_size, "a multiple of 1M from 16M to 1T",
	 CONFIG_FIELD(volume_config, segment_bytes)},
	{"Volume", "Priority", config_set_priority, "a number from 0 to 32767",
	 CONFIG_FIELD(volume_config, swap_priority)},
	{"Volume", "Layout", config_set_word, "linear or striped",
	 CONFIG_FIELD(volume_config, layout), .min = LAYOUT_LINEAR, .words = layout_words},
	{"Volume", "StripeSize", set_stripe_size, "a power of two from 4K to 1M",
	 CONFIG_FIELD(volume_config, stripe_bytes)},
	{"Volume", "Discard", config_set_word, "one of no, fstrim, always",
	 CONFIG_FIELD(volume_config, discard), .min = DISCARD_NO, .words = discard_words},
	{"Volume", "FileSystemLabel", set_label,
	 "at most 16 letters, digits and . _ - +, not beginning with -",
	 CONFIG_FIELD(volume_config, label)},
	{"Volume", "ProjectQuota", config_set_bool, "yes or no",
	 CONFIG_FIELD(volume_config, project_quota)},
	{"Volume", "MakeOptions", set_make_options,
	 "words for mkfs, of letters, digits and . _ - + ^ : , =",
	 CONFIG_FIELD(volume_config, make_options)},
	{"Volume", "HotPlug", config_set_bool, "yes or no", CONFIG_FIELD(volume_config, hot_plug)},
	{"Volume", "Bind", config_set_bool, "yes or no", CONFIG_FIELD(volume_config, bind)},
	{"Disk", "Serial", config_set_text, TEXT_127,
	 CONFIG_FIELD(volume_config, match[MATCH_SERIAL])},
	{"Disk", "Label", config_set_text, TEXT_127,
	 CONFIG_FIELD(volume_config, match[MATCH_LABEL])},
	{"Disk", "WWN", config_set_text, TEXT_127, CONFIG_FIELD(volume_config, match[MATCH_WWN])},
	{"Disk", "Model", config_set_text, TEXT_127,
	 CONFIG_FIELD(volume_config, match[MATCH_MODEL])},
	{"Disk", "Path", set_disk_path, "a path below /dev/disk/by-*/ of at most 127 characters",
	 CONFIG_FIELD(volume_config, match[MATCH_PATH])},
	{"Disk", "Size", set_size, "a size or two, like 8G or 8G-16G",
	 CONFIG_FIELD(volume_config, size_min)},
	{"Disk", "Disks", config_set_u32, "a number from 1 to 8",
	 CONFIG_FIELD(volume_config, n_disks), .min = 1, .max = VOLUME_DISKS_MAX},
	{"Disk", "Offset", set_share, "a multiple of 1M, or 1% to 100%",
	 CONFIG_FIELD(volume_config, offset)},
	{"Disk", "Length", set_share, "a multiple of 1M, or 1% to 100%",
	 CONFIG_FIELD(volume_config, length)},
	{"Disk", "Destroy", set_destroy, "a list of signature types, or any",
	 CONFIG_FIELD(volume_config, destroy)},
	{"Disk", "QueueRequests", config_set_u32, "a number from 4 to 1024",
	 CONFIG_FIELD(volume_config, queue_requests), .min = 4, .max = 1024},
	{"Disk", "QueueMaxKiB", config_set_u32, "a number from 4 to 4096",
	 CONFIG_FIELD(volume_config, queue_max_kib), .min = 4, .max = 4096},
};
static const struct config_table table = {keys, ELEMENTSOF(keys)};
_Static_assert(ELEMENTSOF(keys) <= CONFIG_KEYS_MAX, "config_lines must have room");

static void set_defaults(struct volume_config *config)
{
	*config = (struct volume_config){
		.required = true,
		.device_timeout_ms = 30000,
		.segment_bytes = SEGMENT_BYTES_MAX,
		.swap_priority = -1,
		.stripe_bytes = 65536,
		.n_disks = 1,
		.size_max = UINT64_MAX,
	};
}

/* Whether PATH is DIRECTORY or lies below it. */
static bool path_is_within(const char *path, const char *directory)
{
	size_t n = strlen(directory);

	if (n == 1) /* the root */
		return true;
	return strncmp(path, directory, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

/* Whether the system comes to the manager, and so to an admission, without what is at MOUNT_POINT:
 * network, logs and temporary files come before it, and would wait for it. */
static bool may_come_late(const char *mount_point)
{
	static const char *const needed[] = {
		"/etc",		 "/run", "/tmp", "/usr", "/var/log", "/var/tmp", "/var/lib/systemd",
		"/var/lib/dhcp",
	};

	for (size_t i = 0; i < ELEMENTSOF(needed); i++)
		if (path_is_within(needed[i], mount_point) ||
		    path_is_within(mount_point, needed[i]))
			return false;
	return true;
}

static int check_bind(const struct volume_config *config, const struct config_lines *lines,
		      struct config_error *ret_error)
{
	if (!config->bind)
		return 0;
	if (config->use == VOLUME_OVERLAY)
		return config_fail(ret_error, config_line(&table, lines, "Bind"),
				   "Bind=yes cannot work with Use=overlay: the root comes before "
				   "the admission");
	if (config->mount_point[0] && !may_come_late(config->mount_point))
		return config_fail(ret_error, config_line(&table, lines, "Bind"),
				   "Bind=yes cannot work with MountPoint=%.60s: the system needs "
				   "it before the admission",
				   config->mount_point);
	return 0;
}

/* A setting that has no meaning with this use is refused: whoever wrote it expects something. */
static int refuse_useless(const struct volume_config *config, const struct config_lines *lines,
			  struct config_error *ret_error)
{
	enum {
		FS = 1 << VOLUME_EXT4 | 1 << VOLUME_XFS,
		RAW = 1 << VOLUME_RAW,
		SWAP = 1 << VOLUME_SWAP,
		OVERLAY = 1 << VOLUME_OVERLAY,
	};
	static const struct {
		const char *name;
		unsigned uses;
	} rules[] = {
		{"MountPoint", FS},
		{"MountOptions", FS},
		{"Owner", FS | RAW},
		{"Group", FS | RAW},
		{"Mode", FS | RAW},
		{"Priority", SWAP},
		{"HotPlug", FS | RAW},
		{"ProjectQuota", FS},
		{"FileSystemLabel", FS | SWAP | OVERLAY},
		{"MakeOptions", FS | SWAP | OVERLAY},
	};

	for (size_t i = 0; i < ELEMENTSOF(rules); i++) {
		unsigned line = config_line(&table, lines, rules[i].name);

		if (line > 0 && !(rules[i].uses & 1u << config->use))
			return config_fail(ret_error, line, "%s= has no meaning with Use=%s",
					   rules[i].name, volume_use_name(config->use));
	}
	/* Without it there is no root. */
	if (config->use == VOLUME_OVERLAY && !config->required)
		return config_fail(ret_error, config_line(&table, lines, "Required"),
				   "Required=no has no meaning with Use=overlay");
	if (config->hot_plug && config->required && config_line(&table, lines, "Required") > 0)
		return config_fail(ret_error, config_line(&table, lines, "Required"),
				   "Required=yes has no meaning with HotPlug=yes");
	if (config->use == VOLUME_XFS && strlen(config->label) > XFS_LABEL_MAX)
		return config_fail(ret_error, config_line(&table, lines, "FileSystemLabel"),
				   "FileSystemLabel=: xfs takes at most %d characters",
				   XFS_LABEL_MAX);
	if (config->mount_options[0] && !config->mount_point[0])
		return config_fail(ret_error, config_line(&table, lines, "MountOptions"),
				   "MountOptions= has no meaning without MountPoint=");
	return 0;
}

static int check_disk(const struct volume_config *config, const struct config_lines *lines,
		      struct config_error *ret_error)
{
	if (config->layout == LAYOUT_STRIPED && config->n_disks < 2)
		return config_fail(ret_error, config_line(&table, lines, "Layout"),
				   "Layout=striped has no meaning without Disks= of at least 2");
	if (config->layout != LAYOUT_STRIPED && config_line(&table, lines, "StripeSize") > 0)
		return config_fail(ret_error, config_line(&table, lines, "StripeSize"),
				   "StripeSize= has no meaning without Layout=striped");
	if (config->offset.percent + config->length.percent > 100)
		return config_fail(ret_error, config_line(&table, lines, "Length"),
				   "Offset= and Length= are more than 100%% together");
	for (size_t i = 0; i < MATCH__MAX; i++)
		if (config->match[i][0])
			return 0;
	if (config->size_min > 0 || config->size_max < UINT64_MAX)
		return 0;
	return config_fail(ret_error, 0,
			   "no disk is described: [Disk] needs Serial=, Label=, WWN=, Path=, "
			   "Model= or Size=");
}

/* NAME-sDIGITS would be the map of a segment of the volume NAME. */
static bool is_segment_name(const char *name)
{
	const char *dash = strrchr(name, '-');

	return dash && dash[1] == 's' && dash[2] != '\0' &&
	       dash[2 + strspn(dash + 2, "0123456789")] == '\0';
}

static void complete(struct volume_config *config, const struct config_lines *lines)
{
	if (config->hot_plug)
		config->required = false;
	if (config->use == VOLUME_SWAP)
		return;
	if (config_line(&table, lines, "Mode") == 0)
		config->mode = config->use == VOLUME_RAW ? 0600 : 0755;
	if (config->use != VOLUME_RAW && config->use != VOLUME_OVERLAY && !config->mount_options[0])
		copy_text(config->mount_options, sizeof(config->mount_options), "noatime");
}

static int parse(const char *text, size_t len, const char *name, struct volume_config *config,
		 struct config_error *ret_error)
{
	struct config_lines lines;
	int r;

	if (!name_is_valid(name, VOLUME_NAME_MAX) || is_segment_name(name))
		return config_fail(ret_error, 0,
				   "'%.60s' is no name for a volume: 1 to 31 of A-Z a-z 0-9 . _ -, "
				   "not ending in -s and digits",
				   name);
	copy_text(config->name, sizeof(config->name), name);
	r = config_read(text, len, &table, config, &lines, ret_error);
	if (r < 0)
		return r;
	r = refuse_useless(config, &lines, ret_error);
	r = r < 0 ? r : check_bind(config, &lines, ret_error);
	if (r < 0)
		return r;
	complete(config, &lines);
	return check_disk(config, &lines, ret_error);
}

int volume_config_parse(const char *text, size_t len, const char *name,
			struct volume_config *ret_config, struct config_error *ret_error)
{
	int r;

	set_defaults(ret_config);
	r = parse(text, len, name, ret_config, ret_error);
	if (r < 0)
		bytes_wipe(ret_config, sizeof(*ret_config));
	return r;
}
