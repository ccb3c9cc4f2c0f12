/* SPDX-License-Identifier: Apache-2.0 */
/* emberlockctl check: says exactly what a machine, an image or a kernel lacks. */
#include "ctl_check.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "ctl.h"

#define TEXT_MAX (1024 * 1024)

struct finding {
	enum finding_level level;
	const char *area;
	char text[512];
};

static const char *const level_names[FINDING_LEVEL__MAX] = {
	[FINDING_MISSING] = "missing",
	[FINDING_CONFLICT] = "conflict",
	[FINDING_WARNING] = "warning",
};

void finding_add(struct check *check, enum finding_level level, const char *area,
		 const char *format, ...)
{
	struct findings *findings = &check->findings;
	struct finding *list = reallocarray(findings->list, findings->n + 1, sizeof(*list));
	va_list arguments;

	if (!list) {
		findings->no_memory = true;
		return;
	}
	findings->list = list;
	list[findings->n] = (struct finding){.level = level, .area = area};
	va_start(arguments, format);
	vsnprintf(list[findings->n].text, sizeof(list->text), format, arguments);
	va_end(arguments);
	/* Names and lines of an image, or of who mounts: nothing may steer the terminal, nor end JSON. */
	for (char *c = list[findings->n].text; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	findings->n++;
}

bool check_uses(const struct check *check, enum volume_use use)
{
	for (size_t i = 0; i < check->n_volumes; i++)
		if (check->volumes[i].use == use)
			return true;
	return !check->known;
}

static int path_below(const struct check *check, const char *path, char to[static PATH_MAX])
{
	int n = snprintf(to, PATH_MAX, "%s%s", check->root, path);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

char *check_read(struct check *check, const char *path)
{
	_cleanup_free_ char *text = malloc(TEXT_MAX + 1);
	char full[PATH_MAX];
	ssize_t n;

	if (!text || path_below(check, path, full) < 0) {
		check->findings.no_memory |= !text;
		return NULL;
	}
	n = file_read(AT_FDCWD, full, text, TEXT_MAX);
	if (n == -ENOENT)
		return NULL;
	if (n < 0) {
		finding_add(check, FINDING_WARNING, "files", "%s: cannot be read: %s", path,
			    strerror((int)-n));
		return NULL;
	}
	text[n] = '\0';
	return TAKE_PTR(text);
}

bool check_exists(const struct check *check, const char *path)
{
	char full[PATH_MAX];
	struct stat st;

	return path_below(check, path, full) == 0 && lstat(full, &st) == 0;
}

bool check_is_masked(const struct check *check, const char *path)
{
	char full[PATH_MAX], target[16];
	ssize_t n;

	if (path_below(check, path, full) < 0)
		return false;
	n = readlink(full, target, sizeof(target));
	return n == (ssize_t)strlen("/dev/null") && memcmp(target, "/dev/null", (size_t)n) == 0;
}

static unsigned count(const struct findings *findings, enum finding_level level)
{
	unsigned n = 0;

	for (size_t i = 0; i < findings->n; i++)
		n += findings->list[i].level == level;
	return n;
}

static void print_text(const struct findings *findings)
{
	for (size_t i = 0; i < findings->n; i++)
		printf("%-8s %-7s %s\n", level_names[findings->list[i].level],
		       findings->list[i].area, findings->list[i].text);
	printf("check: %u missing, %u conflicts, %u warnings\n", count(findings, FINDING_MISSING),
	       count(findings, FINDING_CONFLICT), count(findings, FINDING_WARNING));
}

static int print_json(const struct findings *findings, bool passed)
{
	json_t *array = json_array();

	for (size_t i = 0; i < findings->n; i++) {
		const struct finding *finding = &findings->list[i];

		json_array_append_new(array, json_pack("{s:s, s:s, s:s}", "level",
						       level_names[finding->level], "area",
						       finding->area, "text", finding->text));
	}
	return json_print(json_pack("{s:b, s:o}", "passed", (int)passed, "findings", array));
}

static int print(const struct findings *findings, bool json)
{
	bool passed = !findings->no_memory && count(findings, FINDING_MISSING) == 0 &&
		      count(findings, FINDING_CONFLICT) == 0;
	int r = EXIT_DONE;

	if (json)
		r = print_json(findings, passed);
	else
		print_text(findings);
	if (findings->no_memory)
		fputs("emberlockctl: check: no memory for all findings\n", stderr);
	return passed ? r : EXIT_REFUSED;
}

/* The one named by --kernel-config; its path is not below the root. */
static int kernel_file(struct check *check, const char *path)
{
	_cleanup_free_ char *text = malloc(TEXT_MAX + 1);
	ssize_t n = text ? file_read(AT_FDCWD, path, text, TEXT_MAX) : -ENOMEM;

	if (n < 0) {
		fprintf(stderr, "emberlockctl: check: --kernel-config %s: %s\n", path,
			strerror((int)-n));
		return -1;
	}
	text[n] = '\0';
	check_kernel_text(check, path, text);
	return 0;
}

int command_check(const struct ctl_options *options)
{
	static struct check check;
	bool kernel_only =
		(options->given & OPTION_KERNEL_CONFIG) && !(options->given & OPTION_ROOT);
	int r;

	check.root = options->root;
	check.running = options->root[0] == '\0';
	if (!kernel_only)
		check_config(&check);
	if (!kernel_only)
		check_others(&check);
	if (options->given & OPTION_KERNEL_CONFIG) {
		if (kernel_file(&check, options->kernel_config) < 0)
			return EXIT_REFUSED;
	} else {
		check_kernels(&check);
	}
	if (!kernel_only) {
		check_image(&check);
		if (check.running)
			check_system(&check);
	}
	r = print(&check.findings, options->given & OPTION_JSON);
	free(check.findings.list);
	return r;
}
