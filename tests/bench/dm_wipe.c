/* SPDX-License-Identifier: Apache-2.0 */
/* The baseline of the revoke benchmark: suspend and wipe the crypt maps named, one after the other, by bare
 * ioctls in a loop; prints the nanoseconds it took. */
#include <fcntl.h>
#include <inttypes.h>
#include <linux/dm-ioctl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct request {
	struct dm_ioctl dm;
	uint64_t sector; /* struct dm_target_msg: the sector, then the text */
	char text[16];
};

static void prepare(struct request *r, const char *name, uint32_t flags)
{
	memset(r, 0, sizeof(*r));
	r->dm.version[0] = DM_VERSION_MAJOR;
	r->dm.data_size = sizeof(*r);
	r->dm.data_start = sizeof(r->dm);
	r->dm.flags = flags;
	snprintf(r->dm.name, sizeof(r->dm.name), "%s", name);
}

int main(int argc, char **argv)
{
	int fd = open("/dev/mapper/control", O_RDWR);
	struct request r;
	uint64_t begin;

	if (fd < 0)
		return perror("/dev/mapper/control"), 1;
	begin = now_ns();
	for (int i = 1; i < argc; i++) {
		prepare(&r, argv[i], DM_SUSPEND_FLAG | DM_NOFLUSH_FLAG | DM_SKIP_LOCKFS_FLAG);
		if (ioctl(fd, DM_DEV_SUSPEND, &r) < 0)
			return perror("suspend"), 1;
		prepare(&r, argv[i], 0);
		snprintf(r.text, sizeof(r.text), "key wipe");
		if (ioctl(fd, DM_TARGET_MSG, &r) < 0)
			return perror("key wipe"), 1;
	}
	printf("%" PRIu64 "\n", now_ns() - begin);
	return 0;
}
