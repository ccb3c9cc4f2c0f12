/* SPDX-License-Identifier: Apache-2.0 */
/* In place of the kernel's device mapper: takes the ioctls of src/shred/dm.c (the linker prefers
 * this ioctl to libc's), keeps them, and answers as told by the map's name. */
#pragma once

#include <errno.h>
#include <linux/dm-ioctl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define DM_FD	     77
#define WATCHDOG_FD  78
#define DM_CALLS_MAX 256

struct dm_call {
	unsigned long number;
	_Alignas(8) unsigned char bytes[512];
};

static struct dm_call dm_calls[DM_CALLS_MAX];
static atomic_uint dm_n_calls;
static sem_t dm_release; /* lets a suspend of "…stalled…" go on */
static sem_t dm_stalls;	 /* one for each such suspend that began */
static atomic_bool dm_interrupt_once, dm_late_is_there;
static atomic_int watchdog_pets;
static uint64_t dm_open_device; /* as the kernel writes it */
static int dm_open_count;
static int dm_nameless = ENXIO; /* the answer on a map that is not there */

static inline const struct dm_ioctl *dm_head(unsigned i)
{
	return (const void *)dm_calls[i].bytes;
}

static inline const void *dm_payload(unsigned i)
{
	return dm_calls[i].bytes + sizeof(struct dm_ioctl);
}

static inline bool dm_is_suspend(unsigned long number, const struct dm_ioctl *head)
{
	return number == DM_DEV_SUSPEND && head->flags & DM_SUSPEND_FLAG;
}

static inline int dm_fails(int error)
{
	errno = error;
	return -1;
}

static inline bool dm_is_loaded(const char *name)
{
	for (unsigned i = 0; i < dm_n_calls; i++)
		if (dm_calls[i].number == DM_TABLE_LOAD && strcmp(dm_head(i)->name, name) == 0)
			return true;
	return false;
}

/* What DM_TABLE_STATUS says: the error target where one has been loaded. */
static inline int dm_status(struct dm_ioctl *head)
{
	struct dm_target_spec *target = (struct dm_target_spec *)(head + 1);

	head->flags = strstr(head->name, "inactive") ? DM_INACTIVE_PRESENT_FLAG : 0;
	head->target_count = 1;
	strcpy(target->target_type, dm_is_loaded(head->name) ? "error" : "crypt");
	return 0;
}

static inline int dm_answer(unsigned long number, struct dm_ioctl *head)
{
	if (number == DM_DEV_STATUS && head->dev == dm_open_device) {
		head->open_count = dm_open_count;
		return 0;
	}
	if (strstr(head->name, "absent") || head->name[0] == '\0')
		return dm_fails(dm_nameless);
	if (strstr(head->name, "late") && !atomic_exchange(&dm_late_is_there, true))
		return dm_fails(ENXIO);
	if (number == DM_TABLE_STATUS)
		return dm_status(head);
	if (strstr(head->name, "linear") && number == DM_TARGET_MSG)
		return dm_fails(EINVAL);
	if (strstr(head->name, "tableless") && number == DM_TARGET_MSG)
		return 2; /* as Linux does */
	if (strstr(head->name, "hopeless") && (number == DM_TARGET_MSG || number == DM_TABLE_LOAD))
		return dm_fails(EINVAL);
	if (strstr(head->name, "stalled") && dm_is_suspend(number, head)) {
		sem_post(&dm_stalls);
		while (sem_wait(&dm_release) < 0)
			;
	}
	head->flags = 0xffffffff; /* the kernel writes what it likes */
	return 0;
}

int ioctl(int fd, unsigned long number, ...)
{
	struct dm_ioctl *head;
	unsigned i;
	va_list arguments;

	va_start(arguments, number);
	head = va_arg(arguments, struct dm_ioctl *);
	va_end(arguments);
	if (fd == WATCHDOG_FD) {
		atomic_fetch_add(&watchdog_pets, 1);
		return 0;
	}
	if (fd != DM_FD)
		return dm_fails(EBADF);
	i = atomic_fetch_add(&dm_n_calls, 1);
	if (i >= DM_CALLS_MAX)
		abort();
	dm_calls[i].number = number;
	memcpy(dm_calls[i].bytes, head, head->data_size);
	if (atomic_exchange(&dm_interrupt_once, false)) {
		head->flags = 0;
		return dm_fails(EINTR);
	}
	return dm_answer(number, head);
}
