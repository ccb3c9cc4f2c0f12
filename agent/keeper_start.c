/* SPDX-License-Identifier: Apache-2.0 */
/* What the keeper does before it holds anything: locks itself in, and opens all it will need. */
#include "keeper_start.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/log.h"
#include "shred/signals.h"

static int write_setting(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return fd_write_full(fd, text, strlen(text));
}

/* A locked page that compaction moves leaves a copy, which no wipe reaches. Secret memory is never
 * moved; a plain memfd is, and so is what the agent derives from it. */
static void keep_pages_in_place(void)
{
	int r = write_setting("/proc/sys/vm/compact_unevictable_allowed", "0");

	if (r < 0 && r != -ENOENT) /* a kernel that does not compact */
		log_warning("locked pages may be moved and leave copies: %s "
			    "(vm.compact_unevictable_allowed)",
			    strerror(-r));
}

/* A journal that stands still must not stop the keeper. Other kinds of descriptor are left as they
 * are: the flag would be their other users' too. */
static void make_log_nonblocking(void)
{
	struct stat st;
	int flags = fcntl(STDERR_FILENO, F_GETFL);

	if (flags >= 0 && fstat(STDERR_FILENO, &st) == 0 && S_ISSOCK(st.st_mode))
		(void)fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK);
}

int start_harden(void)
{
	const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	const struct sched_param priority = {.sched_priority = 1};
	int r;

	make_log_nonblocking();
	/* In every thread: none may end a suspend, and an orderly end is a request on the socket.
	 * What the kernel forces (SIGKILL, a fault) is the twin's business. */
	signals_block(NULL);
	r = write_setting("/proc/self/oom_score_adj", "-1000");
	if (r < 0)
		return log_errno(r, "cannot set oom_score_adj to -1000 (CAP_SYS_RESOURCE)");
	/* Ahead of whatever loads the machine when keys must go. */
	if (sched_setscheduler(0, SCHED_RR, &priority) < 0)
		log_warning("no real-time priority: %s (CAP_SYS_NICE, RestrictRealtime=)",
			    strerror(errno));

	/* What the kernel allocates for a call of ours, a datagram's buffer say, must not wait for
	 * pages to reach a disk: with a swap volume suspended they do not. Both processes and all
	 * threads inherit it. */
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) < 0)
		log_warning("memory may wait for disks: %s (CAP_SYS_RESOURCE)", strerror(errno));

	/* The little that libc allocates for threads: one arena, grown by pages. What libc's own
	 * start left over goes back. */
	(void)mallopt(M_ARENA_MAX, 1);
	(void)mallopt(M_TOP_PAD, 0);
	(void)malloc_trim(0);
	keep_pages_in_place();
	/* Where this fails the lock below may still succeed, by CAP_IPC_LOCK. */
	(void)setrlimit(RLIMIT_MEMLOCK, &unlimited);
	r = process_lock();
	if (r < 0)
		return log_errno(r, "cannot lock all memory (CAP_IPC_LOCK, LimitMEMLOCK=)");
	return 0;
}

static int make_secrets(struct keeper *keeper)
{
	bool require = keeper->config.require_memfd_secret;
	int r;

	r = secret_new(BOOT_KEY_SIZE, require, &keeper->boot_key);
	if (r == 0)
		r = secret_new(IDENTITY_SEED_SIZE, require, &keeper->identity);
	if (r == -ENOSYS)
		return log_errno(r, "RequireMemfdSecret=yes, and the kernel has no memfd_secret "
				    "(secretmem.enable=1 on its command line)");
	if (r < 0)
		return log_errno(r, "cannot make secret memory (memfd_secret in SystemCallFilter=, "
				    "LimitMEMLOCK=)");
	if (!keeper->boot_key.secret_memory)
		log_notice("the kernel has no memfd_secret: keys are in locked ordinary memory");
	return 0;
}

int start_open(struct keeper *keeper)
{
	struct dm_buffer buffer;
	int r;

	keeper->steps.dm_fd = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	if (keeper->steps.dm_fd < 0)
		return log_errno(-errno, "cannot open /dev/mapper/control (module dm_mod)");
	r = dm_check(keeper->steps.dm_fd, &buffer);
	if (r < 0)
		return log_errno(r, "/dev/mapper/control refuses what a shred asks of it "
				    "(CAP_SYS_ADMIN, DeviceAllow=)");
	r = console_open(&keeper->console);
	if (r < 0)
		return log_errno(r, "cannot open /dev/kmsg nor /dev/console");
	freezer_open(&keeper->freezer, keeper->proc_fd, keeper->sys_fd);
	r = power_open(&keeper->power);
	if (r < 0)
		return log_errno(r, "cannot read /proc/cmdline or open /proc/sysrq-trigger "
				    "(ProtectKernelTunables=, CONFIG_MAGIC_SYSRQ)");
	r = shared_new(&keeper->shared);
	if (r < 0)
		return log_errno(r, "cannot map shared memory");
	plaintext_open(&keeper->plaintext, keeper->proc_fd, keeper->sys_fd, keeper->steps.dm_fd,
		       keeper->shared);
	r = make_secrets(keeper);
	if (r < 0)
		return r;
	keeper->look.proc_fd = keeper->proc_fd;
	keeper->look.sys_fd = keeper->sys_fd;
	keeper->look.dm_fd = keeper->steps.dm_fd;
	keeper->look.shared = keeper->shared;
	keeper->look.boot_key = &keeper->boot_key;
	if (getrandom(keeper->boot_id, sizeof(keeper->boot_id), 0) != sizeof(keeper->boot_id))
		return log_errno(-EIO, "cannot make the boot id");

	atomic_store(&keeper->shared->boot_key_held, 1);
	keeper->steps.shared = keeper->shared;
	keeper->steps.boot_key = &keeper->boot_key;
	keeper->steps.identity = &keeper->identity;
	keeper->steps.console = &keeper->console;
	keeper->steps.freezer = &keeper->freezer;
	keeper->steps.plaintext = &keeper->plaintext;
	keeper->steps.look = &keeper->look;
	keeper->steps.power = &keeper->power;
	return 0;
}

int start_threads(struct keeper *keeper, enum process self)
{
	int r;

	keeper->steps.self = self;
	keeper->steps.done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (keeper->steps.done_fd < 0)
		return -errno;
	r = console_start(&keeper->console);
	if (r < 0)
		return r;
	r = freezer_start(&keeper->freezer, keeper->steps.done_fd);
	if (r < 0)
		return r;
	r = plaintext_start(&keeper->plaintext, keeper->steps.done_fd);
	if (r < 0)
		return r;
	r = look_start(&keeper->look, keeper->steps.done_fd);
	if (r < 0)
		return r;
	return power_start(&keeper->power);
}
