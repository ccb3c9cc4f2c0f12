/* SPDX-License-Identifier: Apache-2.0 */
/* Bare device-mapper ioctls on one named dm-crypt map (linux/dm-ioctl.h). */
#include "shred/dm.h"

#include <errno.h>
#include <linux/dm-ioctl.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

/* Neither wait for dirty pages nor freeze file systems: both can take for ever. */
#define DM_AT_ONCE (DM_NOFLUSH_FLAG | DM_SKIP_LOCKFS_FLAG)

_Static_assert(DM_NAME_MAX < DM_NAME_LEN, "a name must fit the ioctl's");
_Static_assert(sizeof(struct dm_ioctl) + sizeof(struct dm_target_spec) + 8 <=
		       sizeof(struct dm_buffer),
	       "a table of one target must fit the buffer");

static struct dm_ioctl *request(struct dm_buffer *buffer, const char *name, uint32_t flags,
				uint32_t payload)
{
	struct dm_ioctl *head = (void *)buffer->bytes;

	memset(buffer, 0, sizeof(*buffer));
	head->version[0] = DM_VERSION_MAJOR;
	head->data_size = (uint32_t)sizeof(*head) + payload;
	head->data_start = sizeof(*head);
	head->flags = flags;
	memcpy(head->name, name, strnlen(name, DM_NAME_MAX));
	return head;
}

/* A stop (SIGSTOP cannot be blocked) ends the wait of a suspend early: go on with it. A positive
 * result is what a message gets that no target took, since the map has no live table yet
 * (drivers/md/dm-ioctl.c, target_message()): a key may be in the inactive one. */
static int submit(int fd, unsigned long number, struct dm_ioctl *head)
{
	uint32_t flags = head->flags;
	uint32_t data_size = head->data_size;
	int r;

	while ((r = ioctl(fd, number, head)) < 0) {
		if (errno != EINTR)
			return -errno;
		head->flags = flags;
		head->data_size = data_size;
	}
	return r == 0 ? 0 : -ENOMSG;
}

int dm_suspend(int fd, struct dm_buffer *buffer, const char *name)
{
	return submit(fd, DM_DEV_SUSPEND, request(buffer, name, DM_SUSPEND_FLAG | DM_AT_ONCE, 0));
}

int dm_key_wipe(int fd, struct dm_buffer *buffer, const char *name)
{
	static const char message[] = "key wipe";
	const uint32_t payload = sizeof(struct dm_target_msg) + sizeof(message);
	struct dm_ioctl *head = request(buffer, name, 0, payload);
	struct dm_target_msg *target = (struct dm_target_msg *)(head + 1);

	target->sector = 0;
	memcpy(target->message, message, sizeof(message));
	return submit(fd, DM_TARGET_MSG, head);
}

static int load_error(int fd, struct dm_buffer *buffer, const char *name, uint64_t length_sectors)
{
	const uint32_t payload = sizeof(struct dm_target_spec) + 8; /* no parameters: a NUL */
	struct dm_ioctl *head = request(buffer, name, 0, payload);
	struct dm_target_spec *target = (struct dm_target_spec *)(head + 1);

	head->target_count = 1;
	target->sector_start = 0;
	target->length = length_sectors;
	target->next = payload;
	memcpy(target->target_type, "error", sizeof("error"));
	return submit(fd, DM_TABLE_LOAD, head);
}

int dm_swap_to_error(int fd, struct dm_buffer *buffer, const char *name, uint64_t length_sectors)
{
	int r;

	r = load_error(fd, buffer, name, length_sectors);
	if (r < 0)
		return r;
	/* A resume; the flags count where the map is not suspended yet. */
	return submit(fd, DM_DEV_SUSPEND, request(buffer, name, DM_AT_ONCE, 0));
}

int dm_check(int fd, struct dm_buffer *buffer)
{
	int r;

	r = dm_suspend(fd, buffer, "");
	if (r == -ENXIO)
		r = dm_key_wipe(fd, buffer, "");
	if (r == -ENXIO)
		return 0;
	return r < 0 ? r : -EPROTO;
}

int dm_destroy_key(int fd, struct dm_buffer *buffer, const char *name, uint64_t length_sectors)
{
	int r;

	r = dm_suspend(fd, buffer, name);
	if (r == -ENXIO)
		return r;
	if (r == 0)
		r = dm_key_wipe(fd, buffer, name);
	if (r < 0)
		r = dm_swap_to_error(fd, buffer, name, length_sectors);
	return r;
}

bool dm_is_open(int fd, struct dm_buffer *buffer, dev_t device)
{
	struct dm_ioctl *head = request(buffer, "", 0, 0);
	int r;

	/* As the kernel's huge_encode_dev() does (linux/kdev_t.h). */
	head->dev = (minor(device) & 0xff) | major(device) << 8 |
		    (uint64_t)(minor(device) & ~0xffu) << 12;
	r = submit(fd, DM_DEV_STATUS, head);
	return r < 0 ? r != -ENXIO : head->open_count > 0;
}

bool dm_holds_no_key(int fd, struct dm_buffer *buffer, const char *name)
{
	const uint32_t payload = sizeof(buffer->bytes) - sizeof(struct dm_ioctl);
	struct dm_ioctl *head = request(buffer, name, DM_NOFLUSH_FLAG, payload);
	const struct dm_target_spec *target = (const struct dm_target_spec *)(head + 1);
	int r = submit(fd, DM_TABLE_STATUS, head);

	if (r < 0)
		return r == -ENXIO;
	/* A table that waits to be made live may hold a key. */
	return head->target_count == 1 && strcmp(target->target_type, "error") == 0 &&
	       !(head->flags & (DM_INACTIVE_PRESENT_FLAG | DM_BUFFER_FULL_FLAG));
}
