/* SPDX-License-Identifier: Apache-2.0 */
/* System V shared memory and message queues: they outlive who made them. */
#include "shred/sysv.h"

#include <errno.h>
#include <stddef.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/shm.h>

/* shmctl(2): by an index into the kernel's table, which gives the id; -EINVAL where it is free. */
static bool shared_memory_remove(void)
{
	struct shm_info info;
	struct shmid_ds segment;
	int last = shmctl(0, SHM_INFO, (void *)&info);
	bool ok = last >= 0 || errno == ENOSYS;

	for (int i = 0; i <= last; i++) {
		int id = shmctl(i, SHM_STAT_ANY, &segment);

		if (id >= 0)
			ok &= shmctl(id, IPC_RMID, NULL) == 0;
	}
	return ok;
}

static bool queues_remove(void)
{
	struct msginfo info;
	struct msqid_ds queue;
	int last = msgctl(0, MSG_INFO, (void *)&info);
	bool ok = last >= 0 || errno == ENOSYS;

	for (int i = 0; i <= last; i++) {
		int id = msgctl(i, MSG_STAT_ANY, &queue);

		if (id >= 0)
			ok &= msgctl(id, IPC_RMID, NULL) == 0;
	}
	return ok;
}

bool sysv_remove(void)
{
	bool memory = shared_memory_remove();

	return queues_remove() && memory;
}
