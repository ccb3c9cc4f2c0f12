/* SPDX-License-Identifier: Apache-2.0 */
/* emberlock-admin drill: who is chosen, asked for and told to shred. */
#include "manager/admin_cli_drill.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/parse.h"

static void free_json(json_t **p)
{
	json_decref(*p);
}

static void drill_done(struct drill *drill)
{
	free(drill->boots);
}

static int read_root(struct drill *drill)
{
	const char *file = admin_value(drill->call, "root-key");
	char path[PATH_MAX];

	if (!file) {
		snprintf(path, sizeof(path), "%s/../../offline/root.pub", drill->call->identity);
		file = path;
	}
	return admin_read_key_file(file, false, drill->root_public);
}

/* --- choosing --- */

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

/* Boots under a lease that nothing else ends. */
static int collect(struct drill *drill, const json_t *rows)
{
	const char *vm = admin_value(drill->call, "vm");
	const json_t *row;
	size_t i;

	drill->boots = calloc(json_array_size(rows) + 1, sizeof(*drill->boots));
	if (!drill->boots)
		return admin_refuse(-ENOMEM, "out of memory");
	json_array_foreach((json_t *)rows, i, row)
	{
		struct drill_boot *boot = &drill->boots[drill->n];

		if (strcmp(text_of(row, "state"), "admitted") != 0 ||
		    (vm && strcmp(text_of(row, "vm"), vm) != 0))
			continue;
		if (copy_text(boot->vm, sizeof(boot->vm), text_of(row, "vm")) < 0 ||
		    copy_text(boot->admission, sizeof(boot->admission), text_of(row, "admission")) <
			    0)
			return admin_refuse(-EBADMSG, "the manager's answer is no list of boots");
		drill->n++;
	}
	drill->n_live = drill->n;
	if (drill->n == 0)
		return admin_refuse(-ENOENT, "%s%s%s: no boot of it runs under a lease",
				    drill->workspace, vm ? "/" : "", vm ? vm : "");
	return 0;
}

/* "10%", of N and rounded up, or a number up to N. */
static int read_share(const char *text, size_t n, size_t *ret_share)
{
	size_t len = strlen(text);
	bool percent = len > 0 && text[len - 1] == '%';
	char number[16];
	uint32_t value;

	if (len - percent >= sizeof(number))
		return admin_refuse(-EINVAL, "--share: too long");
	snprintf(number, sizeof(number), "%.*s", (int)(len - percent), text);
	if (parse_u32(number, &value) < 0 || value == 0 || (percent && value > 100))
		return admin_refuse(-EINVAL, "--share: '%s' is neither 1%% to 100%% nor a number",
				    text);
	*ret_share = percent ? (n * value + 99) / 100 : value;
	if (*ret_share > n)
		return admin_refuse(-ERANGE,
				    "--share: of workspace's VMs only %zu run under a lease", n);
	return 0;
}

static int by_vm(const void *a, const void *b)
{
	return strcmp(((const struct drill_boot *)a)->vm, ((const struct drill_boot *)b)->vm);
}

/* SHARE of the boots, each as likely as any other. */
static int draw(struct drill *drill, size_t share)
{
	for (size_t i = 0; i < share; i++) {
		struct drill_boot drawn;
		uint64_t random;
		size_t at;

		if (getrandom(&random, sizeof(random), 0) != sizeof(random))
			return admin_refuse(-errno, "no random numbers: %s", strerror(errno));
		at = i + random % (drill->n - i);
		drawn = drill->boots[at];
		drill->boots[at] = drill->boots[i];
		drill->boots[i] = drawn;
	}
	drill->n = share;
	qsort(drill->boots, drill->n, sizeof(*drill->boots), by_vm);
	return 0;
}

static int choose(struct drill *drill)
{
	const char *share_text = admin_value(drill->call, "share");
	_cleanup_(free_json) json_t *rows = NULL;
	size_t share;
	int r;

	r = admin_fleet_fetch(drill->call, &rows);
	if (r == 0)
		r = collect(drill, rows);
	share = drill->n;
	if (r == 0 && share_text)
		r = read_share(share_text, drill->n, &share);
	return r < 0 ? r : draw(drill, share);
}

/* --- asking --- */

static void print_chosen(const struct drill *drill, FILE *to)
{
	fprintf(to, "drill of workspace %s: %zu of the %zu VMs that run:", drill->workspace,
		drill->n, drill->n_live);
	for (size_t i = 0; i < drill->n; i++)
		fprintf(to, " %s", drill->boots[i].vm);
	fputc('\n', to);
}

static void print_dry_run(const struct drill *drill)
{
	_cleanup_(free_json) json_t *names = json_array(), *all = NULL;

	if (!drill->call->json) {
		print_chosen(drill, stdout);
		puts("nothing was done: --dry-run");
		return;
	}
	for (size_t i = 0; i < drill->n; i++)
		json_array_append_new(names, json_string(drill->boots[i].vm));
	all = json_pack("{s:s, s:b, s:I, s:O}", "workspace", drill->workspace, "dry_run", 1, "live",
			(json_int_t)drill->n_live, "vms", names);
	json_dumpf(all, stdout, JSON_INDENT(2));
	putchar('\n');
}

static int ask(const struct drill *drill)
{
	char line[16] = "";

	if (admin_value(drill->call, "yes"))
		return 0;
	print_chosen(drill, stderr);
	fputs("They power off, and what is on their disks is lost. Type yes to go on: ", stderr);
	if (!fgets(line, sizeof(line), stdin) || strcmp(line, "yes\n") != 0)
		return admin_refuse(-ECANCELED, "not confirmed (--yes): nothing was done");
	return 0;
}

/* --- telling --- */

static int tell(struct drill *drill)
{
	int r;

	r = admin_audit_last(drill->call, &drill->next);
	if (r < 0)
		return r;
	drill->next++;
	for (size_t i = 0; i < drill->n; i++) {
		struct drill_boot *boot = &drill->boots[i];
		char path[256];

		r = admin_path(path, "/v1/boots/", "admission", boot->admission, "/drill");
		if (r == 0)
			r = admin_http(drill->call, "POST", path, NULL, NULL);
		/* It has ended since: the others have not. */
		boot->refused = r == -EREMOTEIO;
		if (r < 0 && r != -EREMOTEIO)
			return admin_refuse(r, "%zu of %zu VMs were told to shred before that", i,
					    drill->n);
	}
	return 0;
}

static int run(struct drill *drill)
{
	int r;

	r = read_root(drill);
	if (r == 0)
		r = choose(drill);
	if (r < 0)
		return r;
	if (admin_value(drill->call, "dry-run")) {
		print_dry_run(drill);
		return 0;
	}
	r = ask(drill);
	if (r == 0)
		r = tell(drill);
	if (r == 0)
		r = drill_follow(drill);
	if (r == 0)
		r = drill_verify(drill);
	return r < 0 ? r : drill_report(drill);
}

static int drill(const struct admin_call *call)
{
	const char *vm = admin_value(call, "vm");
	_cleanup_(drill_done) struct drill drill = {
		.call = call,
		.workspace = admin_value(call, "workspace"),
	};

	if (!vm == !admin_value(call, "share"))
		return admin_refuse(-EINVAL, "--vm and --share: one of them");
	if (vm && !name_is_valid(vm, ID_TEXT_MAX))
		return admin_refuse(-EINVAL, "--vm: '%.64s' is no name: A-Z a-z 0-9 . _ -", vm);
	return run(&drill);
}

/* A row a command. */
/* clang-format off */
const struct admin_command admin_drill_commands[] = {
	{"drill", NULL, {NULL}, "Shred running VMs on purpose, and report times and receipts.", drill,
	 {{"workspace", "NAME", "whose VMs", true},
	  {"vm", "NAME", "this one", false},
	  {"share", "N|N%", "so many of those that run, drawn by lot", false},
	  {"dry-run", NULL, "say who would be drawn, and do nothing", false},
	  {"yes", NULL, "do not ask", false},
	  {"root-key", "FILE", "the root key's public half, to verify receipts; default: "
			       "../../offline/root.pub from the identity", false}}},
	{NULL},
};
/* clang-format on */
