/* SPDX-License-Identifier: Apache-2.0 */
/* Runs mkfs and its like. */
#include "disks/program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Exit code of a child that could not start the program; its errno is what it wrote. */
#define EXIT_NOT_STARTED 127

/* fork() and not posix_spawn(), which cannot ask for PR_SET_PDEATHSIG. */
static _Noreturn void child(const char *const argv[], int error_fd, pid_t parent)
{
	static char *const environment[] = {NULL};
	sigset_t none;
	int null;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	null = open("/dev/null", O_RDWR);
	if (null >= 0 && dup2(error_fd, STDERR_FILENO) >= 0 && dup2(null, STDIN_FILENO) >= 0 &&
	    dup2(null, STDOUT_FILENO) >= 0 &&
	    close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC) >= 0 &&
	    prctl(PR_SET_PDEATHSIG, SIGKILL) >= 0 && getppid() == parent) {
		union {
			const char *const *in;
			char *const *out; /* execve() changes nothing: POSIX, rationale of exec */
		} arguments = {.in = argv};

		execve(argv[0], arguments.out, environment);
	}
	(void)dprintf(STDERR_FILENO, "%s\n", strerror(errno));
	_exit(EXIT_NOT_STARTED);
}

/* Keeps the first line that says something, and reads the rest away so that the writer never
 * blocks. */
static void first_line(int fd, char text[static REASON_SIZE])
{
	char buffer[1024] = "";
	size_t used = 0;

	for (;;) {
		char *to = used < sizeof(buffer) - 1 ? buffer + used : NULL;
		char rest[512];
		ssize_t n =
			to ? read(fd, to, sizeof(buffer) - 1 - used) : read(fd, rest, sizeof(rest));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		if (to)
			used += (size_t)n;
	}
	buffer[used] = '\0';
	(void)snprintf(text, REASON_SIZE, "%.200s", buffer + strspn(buffer, "\n\t "));
	text[strcspn(text, "\n")] = '\0';
	for (char *p = text; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
}

static int wait_for(pid_t pid, int *ret_status)
{
	while (waitpid(pid, ret_status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

int program_run(const char *const argv[], char text[static REASON_SIZE])
{
	_cleanup_close_ int read_end = -1, write_end = -1;
	pid_t parent = getpid(), pid;
	int ends[2], status, r;

	text[0] = '\0';
	if (access(argv[0], X_OK) < 0)
		return reason_errno(text, -errno, "%s", argv[0]);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return reason_errno(text, -errno, "%s", argv[0]);
	read_end = ends[0];
	write_end = ends[1];

	pid = fork();
	if (pid < 0)
		return reason_errno(text, -errno, "%s", argv[0]);
	if (pid == 0)
		child(argv, write_end, parent);
	close(TAKE_FD(write_end));
	first_line(read_end, text);
	r = wait_for(pid, &status);
	if (r < 0)
		return reason_errno(text, r, "%s", argv[0]);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (text[0] == '\0')
		(void)reason_set(text, 0, "%s %d", WIFEXITED(status) ? "exit code" : "signal",
				 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	return -EPROTO;
}
