/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of the log: levels, cutting, escaping, the journal's prefix. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "unit.h"

static int capture = -1, original = -1;
static char line[4096];

/* Standard error goes to a pipe; what was logged is read back from it. */
static int redirect(void **state)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	original = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	capture = ends[0];
	unsetenv("JOURNAL_STREAM");
	log_set_level(LOG_LEVEL_INFO);
	return 0;
}

static int restore(void **state)
{
	dup2(original, STDERR_FILENO);
	close(original);
	close(capture);
	return 0;
}

static const char *logged(void)
{
	ssize_t n = read(capture, line, sizeof(line) - 1);

	line[n < 0 ? 0 : n] = '\0';
	return line;
}

static void levels(void **state)
{
	log_info("volume %s", "data");
	assert_string_equal(logged(), "volume data\n");
	log_debug("not now");
	assert_string_equal(logged(), "");
	log_set_level(LOG_LEVEL_ERROR);
	log_warning("not now");
	assert_string_equal(logged(), "");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("now");
	assert_string_equal(logged(), "now\n");
}

static void control_characters(void **state)
{
	log_info("a\nb\x1b[31m\x7f");
	assert_string_equal(logged(), "a?b?[31m?\n");
}

static void long_lines_are_cut(void **state)
{
	char text[2000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_info("%s", text);
	assert_int_equal(strlen(logged()), 1001);
	log_errno(-EIO, "%s", text);
	assert_int_equal(strlen(logged()), 1001);
}

static void errors_have_their_text(void **state)
{
	errno = EPERM;
	assert_int_equal(log_errno(-ENOENT, "disk %d", 1), -ENOENT);
	assert_int_equal(errno, EPERM);
	assert_string_equal(logged(), "disk 1: No such file or directory\n");
	log_set_level(LOG_LEVEL_ERROR - 1);
	assert_int_equal(log_errno(-ENOENT, "disk"), -ENOENT);
	assert_string_equal(logged(), "");
}

static void the_journal_has_a_prefix(void **state)
{
	struct stat st;
	char stream[64];

	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_warning("near");
	assert_string_equal(logged(), "<4>near\n");
	/* Of a parent's stream: we do not write there. */
	setenv("JOURNAL_STREAM", "1:1", 1);
	log_warning("far");
	assert_string_equal(logged(), "far\n");
}

static void errors_are_copied(void **state)
{
	char copy[64] = "";
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	log_copy_errors(ends[1]);
	log_warning("near");
	log_error("far\x1b");
	log_errno(-EIO, "disk");
	log_copy_errors(-1);
	log_error("over");
	assert_string_equal(logged(), "near\nfar?\ndisk: Input/output error\nover\n");
	assert_true(read(ends[0], copy, sizeof(copy) - 1) > 0);
	assert_string_equal(copy, "<3>emberlock: far?\n<3>emberlock: disk: Input/output error\n");
	close(ends[0]);
	close(ends[1]);
}

#define captured(test) cmocka_unit_test_setup_teardown(test, redirect, restore)

int main(void)
{
	const struct CMUnitTest tests[] = {
		captured(levels),
		captured(control_characters),
		captured(long_lines_are_cut),
		captured(errors_have_their_text),
		captured(the_journal_has_a_prefix),
		captured(errors_are_copied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
