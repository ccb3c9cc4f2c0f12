/* SPDX-License-Identifier: Apache-2.0 */
/* What disks there are, and what is on them: sd-device(3), libblkid, proc and sysfs. */
#include "disks/find.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <systemd/sd-device.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "core/plan_match.h"
#include "disks/claim.h"
#include "disks/parts.h"
#include "disks/probe.h"
#include "disks/udev.h"
#include "disks/uses.h"

/* Kernel names of what is never a disk to take. */
static const char *const excluded[] = {"dm-", "fd", "loop", "ram", "sr", "zram"};

static void cleanup_device(sd_device **device)
{
	sd_device_unref(*device);
}

static void cleanup_enumerator(sd_device_enumerator **enumerator)
{
	sd_device_enumerator_unref(*enumerator);
}

static bool is_excluded(const char *name)
{
	for (size_t i = 0; i < ELEMENTSOF(excluded); i++) {
		size_t n = strlen(excluded[i]);

		/* "fd0", not "fdisk": a prefix, then a digit. */
		if (strncmp(name, excluded[i], n) == 0 && name[n] >= '0' && name[n] <= '9')
			return true;
	}
	return false;
}

/* Copies the first of KEYS that the device has as a udev property. */
static void property_copy(sd_device *device, const char *const keys[], char *to, size_t size)
{
	to[0] = '\0';
	for (size_t i = 0; keys[i]; i++) {
		const char *value;

		if (sd_device_get_property_value(device, keys[i], &value) < 0)
			continue;
		fact_copy_property(to, size, value);
		if (to[0] != '\0')
			return;
	}
}

/* Copies the first of NAMES that the device has as a sysfs attribute. */
static void attribute_copy(sd_device *device, const char *const names[], char *to, size_t size)
{
	for (size_t i = 0; names[i] && to[0] == '\0'; i++) {
		const char *value;

		if (sd_device_get_sysattr_value(device, names[i], &value) >= 0)
			fact_copy_property(to, size, value);
	}
}

/* Without udev: where virtio, NVMe and SCSI disks have in sysfs what udev makes its properties of. */
static void facts_of_sysfs(sd_device *device, struct disk_facts *facts)
{
	static const char *const serial[] = {"serial", "device/serial", NULL};
	static const char *const wwn[] = {"wwid", "device/wwid", NULL};
	static const char *const model[] = {"device/model", NULL};

	/* A partition's are the disk's. */
	if (facts->partition && sd_device_get_parent(device, &device) < 0)
		return;
	attribute_copy(device, serial, facts->serial, sizeof(facts->serial));
	attribute_copy(device, wwn, facts->wwn, sizeof(facts->wwn));
	attribute_copy(device, model, facts->model, sizeof(facts->model));
}

/* Whole links only: half of one could be another's name. */
static void links_copy(sd_device *device, char *to, size_t size)
{
	const char *link;
	size_t used = 0;

	memset(to, 0, size);
	for (link = sd_device_get_devlink_first(device); link;
	     link = sd_device_get_devlink_next(device)) {
		size_t n = strlen(link);

		if (used + (used > 0) + n >= size)
			continue;
		if (used > 0)
			to[used++] = ' ';
		memcpy(to + used, link, n);
		used += n;
	}
}

static int sysattr_u64(sd_device *device, const char *name, uint64_t *ret_value)
{
	const char *text;
	int r;

	r = sd_device_get_sysattr_value(device, name, &text);
	if (r < 0)
		return r;
	return parse_u64(text, ret_value);
}

/* What udev and sysfs say; of several properties the one that lsblk(8) of util-linux 2.38 shows, which
 * is where people look it up. */
static int facts_describe(sd_device *device, struct disk_facts *facts)
{
	static const char *const serial[] = {"SCSI_IDENT_SERIAL", "ID_SCSI_SERIAL",
					     "ID_SERIAL_SHORT", "ID_SERIAL", NULL};
	static const char *const wwn[] = {"ID_WWN_WITH_EXTENSION", "ID_WWN", NULL};
	static const char *const model[] = {"ID_MODEL_ENC", "ID_MODEL", NULL};
	uint64_t sectors, read_only;
	const char *text;
	dev_t number;
	int r;

	r = sd_device_get_devname(device, &text);
	if (r < 0)
		return r;
	r = copy_text(facts->path, sizeof(facts->path), text);
	if (r < 0)
		return r;
	r = sd_device_get_devnum(device, &number);
	if (r < 0)
		return r;
	facts->major = major(number);
	facts->minor = minor(number);
	facts->partition =
		sd_device_get_devtype(device, &text) >= 0 && strcmp(text, "partition") == 0;

	r = sysattr_u64(device, "size", &sectors);
	if (r < 0)
		return r;
	facts->bytes = sectors * SECTOR_SIZE;
	r = sysattr_u64(device, "ro", &read_only);
	if (r < 0)
		return r;
	facts->read_only = read_only != 0;

	property_copy(device, serial, facts->serial, sizeof(facts->serial));
	property_copy(device, wwn, facts->wwn, sizeof(facts->wwn));
	property_copy(device, model, facts->model, sizeof(facts->model));
	links_copy(device, facts->links, sizeof(facts->links));
	if (!udev_runs())
		facts_of_sysfs(device, facts);
	return 0;
}

/* What is on it. */
static void facts_look(sd_device *device, struct disk_facts *facts)
{
	static const char *const part_name[] = {"ID_PART_ENTRY_NAME", "PARTNAME", NULL};
	_cleanup_close_ int fd = open(facts->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode) ||
	    st.st_rdev != makedev(facts->major, facts->minor)) {
		memcpy(facts->signature, "unreadable", sizeof("unreadable"));
		return;
	}
	disk_probe(fd, facts->signature, facts->label);
	if (facts->label[0] == '\0' && facts->partition)
		property_copy(device, part_name, facts->label, sizeof(facts->label));
}

/* Whether someone else has it. */
static void facts_claim(struct disk_facts *facts)
{
	_cleanup_close_ int exclusive = -1;

	if (facts->mounted || facts->in_use)
		return;
	exclusive = claim_open(facts->path, O_RDONLY);
	if (exclusive == -EBUSY) {
		facts->in_use = true;
		memcpy(facts->used_by, "another program", sizeof("another program"));
	}
}

/* All that shows without opening it. */
static int facts_read(sd_device *device, const struct uses *uses, struct disk_facts *ret_facts)
{
	struct disk_facts facts = {.bytes = 0};
	int r;

	r = facts_describe(device, &facts);
	if (r < 0)
		return r;
	r = uses_of(uses, facts.major, facts.minor, &facts.mounted, &facts.in_use, facts.used_by);
	if (r < 0)
		return r;
	if (facts.in_use && !facts.mounted)
		parts_read(&facts);
	*ret_facts = facts;
	return 0;
}

static bool
is_asked_for(const struct volume_config *configs, size_t n, const struct disk_facts *facts,
	     bool (*matches)(const struct volume_config *config, const struct disk_facts *disk))
{
	for (size_t i = 0; i < n; i++)
		if (matches(&configs[i], facts))
			return true;
	return false;
}

static int facts_compare(const void *a, const void *b)
{
	return strverscmp(((const struct disk_facts *)a)->path,
			  ((const struct disk_facts *)b)->path);
}

/* All block devices, those too that udev has not finished with. */
static int enumerate(sd_device_enumerator **ret_enumerator)
{
	_cleanup_(cleanup_enumerator) sd_device_enumerator *enumerator = NULL;
	int r;

	r = sd_device_enumerator_new(&enumerator);
	if (r < 0)
		return r;
	r = sd_device_enumerator_allow_uninitialized(enumerator);
	if (r < 0)
		return r;
	r = sd_device_enumerator_add_match_subsystem(enumerator, "block", 1);
	if (r < 0)
		return r;
	*ret_enumerator = enumerator;
	enumerator = NULL;
	return 0;
}

int disks_find(const struct volume_config *configs, size_t n_configs, struct disk_facts *facts,
	       size_t max, size_t *ret_n, bool *ret_unfinished)
{
	_cleanup_(cleanup_enumerator) sd_device_enumerator *enumerator = NULL;
	_cleanup_uses_ struct uses uses = {.uses = NULL};
	bool unfinished = false, udev = udev_runs();
	size_t n = 0;
	int r;

	r = uses_load(&uses);
	if (r < 0)
		return r;
	r = enumerate(&enumerator);
	if (r < 0)
		return r;

	for (sd_device *device = sd_device_enumerator_get_device_first(enumerator); device;
	     device = sd_device_enumerator_get_device_next(enumerator)) {
		struct disk_facts one;
		const char *name;

		if (sd_device_get_sysname(device, &name) < 0 || is_excluded(name))
			continue;
		r = udev ? sd_device_get_is_initialized(device) : 1;
		if (r == 0) {
			unfinished = true;
			continue;
		}
		r = r < 0 ? r : facts_read(device, &uses, &one);
		/* It went away while it was looked at. */
		if (r == -ENOENT || r == -ENODEV)
			continue;
		if (r < 0)
			return r;
		if (one.bytes == 0 || !is_asked_for(configs, n_configs, &one, disk_may_match))
			continue;
		if (n == max)
			return -E2BIG;
		facts_look(device, &one);
		/* A claim, however short, is in the way of whoever would mount it just now. */
		if (is_asked_for(configs, n_configs, &one, disk_matches))
			facts_claim(&one);
		facts[n++] = one;
	}
	qsort(facts, n, sizeof(facts[0]), facts_compare);
	*ret_n = n;
	*ret_unfinished = unfinished;
	return 0;
}

static int device_find(unsigned major, unsigned minor, sd_device **ret_device)
{
	int r = sd_device_new_from_devnum(ret_device, 'b', makedev(major, minor));

	return r == -ENOENT ? -ENODEV : r;
}

static int device_describe(sd_device *device, struct disk_facts *ret_facts)
{
	_cleanup_uses_ struct uses uses = {.uses = NULL};
	int r = uses_load(&uses);

	return r < 0 ? r : facts_read(device, &uses, ret_facts);
}

int disk_describe(unsigned major, unsigned minor, struct disk_facts *ret_facts)
{
	_cleanup_(cleanup_device) sd_device *device = NULL;
	int r = device_find(major, minor, &device);

	return r < 0 ? r : device_describe(device, ret_facts);
}

int disk_read(unsigned major, unsigned minor, struct disk_facts *ret_facts)
{
	_cleanup_(cleanup_device) sd_device *device = NULL;
	int r = device_find(major, minor, &device);

	r = r < 0 ? r : device_describe(device, ret_facts);
	if (r < 0)
		return r;
	if (ret_facts->bytes > 0) {
		facts_look(device, ret_facts);
		facts_claim(ret_facts);
	}
	return 0;
}
