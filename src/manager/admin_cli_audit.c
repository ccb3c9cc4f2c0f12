/* SPDX-License-Identifier: Apache-2.0 */
/* emberlock-admin audit: the log read and exported from the manager, verified with or without it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/parse.h"
#include "manager/admin_cli.h"
#include "manager/audit_verify.h"

#define LISTED 100 /* where nothing else is said: the newest */

static void free_json(json_t **p)
{
	json_decref(*p);
}

/* --- pages from the manager --- */

/* The page that begins with record FROM; "" after the last. */
static int fetch_page(const struct admin_call *call, uint64_t from, char **ret_text, size_t *ret_n)
{
	const char *workspace = admin_value(call, "workspace");
	char start[64], path[256];
	int r = 0;

	snprintf(start, sizeof(start), "/v1/audit?from=%" PRIu64 "%s", from,
		 workspace ? "&workspace=" : "");
	if (workspace)
		r = admin_path(path, start, "--workspace", workspace, "");
	else
		strcpy(path, start);
	return r < 0 ? r : admin_http_text(call, path, ret_text, ret_n);
}

/* What is done with TEXT: whole lines, N bytes. */
typedef int (*page_each)(const char *text, size_t n, void *userdata);

static uint64_t last_number(const char *text, size_t n)
{
	struct audit_record record;
	const char *start;

	if (n == 0 || text[n - 1] != '\n')
		return 0;
	start = memrchr(text, '\n', n - 1);
	start = start ? start + 1 : text;
	if (audit_line_read(start, (size_t)(text + n - 1 - start), &record) < 0)
		return 0;
	return record.number;
}

static int walk_pages(const struct admin_call *call, uint64_t from, page_each each, void *userdata)
{
	for (;;) {
		_cleanup_free_ char *text = NULL;
		uint64_t last;
		size_t n = 0;
		int r;

		r = fetch_page(call, from, &text, &n);
		if (r < 0 || n == 0)
			return r;
		r = each(text, n, userdata);
		if (r < 0)
			return r;
		last = last_number(text, n);
		if (last < from)
			return admin_refuse(-EBADMSG, "the manager's answer is no page of the log");
		from = last + 1;
	}
}

struct record_walk {
	admin_audit_each each;
	void *userdata;
};

static int walk_lines(const char *text, size_t n, void *userdata)
{
	const struct record_walk *walk = userdata;

	while (n > 0) {
		const char *end = memchr(text, '\n', n);
		struct audit_record record;
		int r;

		if (!end || audit_line_read(text, (size_t)(end - text), &record) < 0)
			return admin_refuse(-EBADMSG, "the manager's answer is no page of the log");
		r = walk->each(&record, walk->userdata);
		if (r < 0)
			return r;
		n -= (size_t)(end + 1 - text);
		text = end + 1;
	}
	return 0;
}

int admin_audit_walk(const struct admin_call *call, uint64_t from, admin_audit_each each,
		     void *userdata)
{
	struct record_walk walk = {each, userdata};

	return walk_pages(call, from, walk_lines, &walk);
}

static int read_from(const struct admin_call *call, uint64_t *from)
{
	const char *text = admin_value(call, "from");

	if (text && (parse_u64(text, from) < 0 || *from == 0))
		return admin_refuse(-EINVAL, "--from: '%.64s' is no number of a record", text);
	return 0;
}

static int fetch_checkpoint(const struct admin_call *call, json_t **ret_answer)
{
	return admin_http(call, "GET", "/v1/audit/checkpoint", NULL, ret_answer);
}

int admin_audit_last(const struct admin_call *call, uint64_t *ret_number)
{
	_cleanup_(free_json) json_t *answer = NULL;
	int r;

	r = fetch_checkpoint(call, &answer);
	if (r == 0)
		*ret_number = (uint64_t)json_integer_value(json_object_get(answer, "number"));
	return r;
}

/* --- list --- */

static const char *text_of(const json_t *content, const char *name)
{
	const char *text = json_string_value(json_object_get(content, name));

	return text ? text : "";
}

/* What happened, in a word or two; what became of it. */
static json_t *row_of(const struct audit_record *record)
{
	_cleanup_(free_json) json_t *content =
		record->content ? json_loadb(record->content, record->content_size, 0, NULL) : NULL;
	const char *event = record->content ? text_of(content, "event") : "(withheld)";
	const char *method = text_of(content, "method"), *path = text_of(content, "path");
	json_int_t status = json_integer_value(json_object_get(content, "status"));
	char what[256], became[256] = "";

	snprintf(what, sizeof(what), "%s%s%s%s%s", event, *method ? " " : "", method,
		 *path ? " " : "", path);
	if (status)
		snprintf(became, sizeof(became), "%" JSON_INTEGER_FORMAT "%s%.200s", status,
			 json_object_get(content, "refused") ? " " : "",
			 text_of(content, "refused"));
	else
		snprintf(became, sizeof(became), "%s%s%s", text_of(content, "reason"),
			 text_of(content, "class"), text_of(content, "failure"));
	return json_pack("{s:I, s:I, s:s, s:s, s:s, s:s, s:s}", "number",
			 (json_int_t)record->number, "time",
			 json_integer_value(json_object_get(content, "time_ms")) / 1000, "what",
			 what, "workspace", text_of(content, "workspace"), "vm",
			 text_of(content, "vm"), "by", text_of(content, "by"), "result", became);
}

static int add_row(const struct audit_record *record, void *userdata)
{
	json_t *rows = userdata;

	if (json_array_append_new(rows, row_of(record)) < 0)
		return admin_refuse(-ENOMEM, "out of memory");
	return 0;
}

static int list(const struct admin_call *call)
{
	static const struct admin_column columns[] = {
		{"NUMBER", "number", ADMIN_COLUMN_NUMBER},
		{"TIME", "time", ADMIN_COLUMN_TIME},
		{"WHAT", "what", ADMIN_COLUMN_TEXT},
		{"WORKSPACE", "workspace", ADMIN_COLUMN_TEXT},
		{"VM", "vm", ADMIN_COLUMN_TEXT},
		{"BY", "by", ADMIN_COLUMN_TEXT},
		{"RESULT", "result", ADMIN_COLUMN_TEXT},
	};
	_cleanup_(free_json) json_t *rows = json_array();
	uint64_t from = 1, last;
	int r;

	r = admin_audit_last(call, &last);
	if (r < 0)
		return r;
	if (last > LISTED)
		from = last - LISTED + 1;
	r = read_from(call, &from);
	if (r == 0)
		r = admin_audit_walk(call, from, add_row, rows);
	if (r < 0)
		return r;
	admin_print_table(call, rows, columns, ELEMENTSOF(columns));
	return 0;
}

/* --- export --- */

struct target {
	const char *name;
	FILE *file; /* NULL: the system log */
};

static int write_lines(const char *text, size_t n, void *userdata)
{
	struct target *target = userdata;

	if (target->file && fwrite(text, 1, n, target->file) != n)
		return admin_refuse(-EIO, "%s: cannot write", target->name);
	for (; !target->file && n > 0;) {
		const char *end = memchr(text, '\n', n);
		size_t len = end ? (size_t)(end - text) : n;

		syslog(LOG_NOTICE, "%.*s", (int)len, text);
		text += end ? len + 1 : len;
		n -= end ? len + 1 : len;
	}
	return 0;
}

static int export_to(const struct admin_call *call, uint64_t from, struct target *target)
{
	const char *output = admin_value(call, "output");
	int r;

	if (!output)
		return walk_pages(call, from, write_lines, target);
	target->name = output;
	target->file = fopen(output, "wxe");
	if (!target->file)
		return admin_refuse(-errno, "--output %s: cannot make it: %s", output,
				    strerror(errno));
	r = walk_pages(call, from, write_lines, target);
	if (fclose(target->file) != 0 && r == 0)
		r = admin_refuse(-EIO, "--output %s: cannot write", output);
	if (r < 0)
		unlink(output);
	return r;
}

static int export(const struct admin_call *call)
{
	struct target target = {"standard output", stdout};
	uint64_t from = 1;
	int r;

	if (admin_value(call, "syslog") && admin_value(call, "output"))
		return admin_refuse(-EINVAL, "--syslog and --output: one of them");
	r = read_from(call, &from);
	if (r < 0)
		return r;
	if (!admin_value(call, "syslog"))
		return export_to(call, from, &target);
	target.file = NULL;
	openlog("emberlock-audit", LOG_NDELAY, LOG_AUTHPRIV);
	r = walk_pages(call, from, write_lines, &target);
	closelog();
	return r;
}

/* --- checkpoint --- */

static int checkpoint(const struct admin_call *call)
{
	const char *output = admin_value(call, "output");
	_cleanup_(free_json) json_t *answer = NULL;
	char line[2 * AUDIT_CHECKPOINT_SIZE + 2];
	int r;

	r = fetch_checkpoint(call, &answer);
	if (r < 0)
		return r;
	if (call->json && !output) {
		json_dumpf(answer, stdout, JSON_INDENT(2));
		putchar('\n');
		return 0;
	}
	snprintf(line, sizeof(line), "%s\n", text_of(answer, "checkpoint"));
	if (!output) {
		fputs(line, stdout);
		return 0;
	}
	r = file_write_atomic(output, line, strlen(line), 0644);
	if (r < 0)
		return admin_refuse(r, "--output %s: cannot write it: %s", output, strerror(-r));
	return 0;
}

/* --- verify --- */

/* One in hex a line. */
static int read_checkpoints(const char *file, struct audit_verifier *verifier)
{
	_cleanup_fclose_ FILE *f = fopen(file, "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	ssize_t n;

	if (!f)
		return admin_refuse(-errno, "--checkpoint %s: cannot read it: %s", file,
				    strerror(errno));
	while ((n = getline(&line, &size, f)) > 0) {
		int r;

		if (line[n - 1] == '\n')
			n--;
		r = audit_verifier_add_checkpoint(verifier, line, (size_t)n);
		if (r < 0)
			return admin_refuse(r, "--checkpoint %s: line %zu: %s", file,
					    verifier->n_checkpoints + 1,
					    r == -ENOMEM ? "out of memory"
							 : "no checkpoint in hex");
	}
	if (verifier->n_checkpoints == 0)
		return admin_refuse(-EBADMSG, "--checkpoint %s: there is none in it", file);
	return 0;
}

struct verification {
	const char *name;
	struct audit_verifier *verifier;
};

static int verify_text(const char *text, size_t n, void *userdata)
{
	struct verification *verification = userdata;
	char error[256];
	int r = audit_verifier_text(verification->verifier, text, n, error);

	return r < 0 ? admin_refuse(r, "%s: NOT verified: %s", verification->name, error) : 0;
}

static int verify_file(struct verification *verification)
{
	_cleanup_fclose_ FILE *f = fopen(verification->name, "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	ssize_t n;
	int r = 0;

	if (!f)
		return admin_refuse(-errno, "--input %s: cannot read it: %s", verification->name,
				    strerror(errno));
	while (r == 0 && (n = getline(&line, &size, f)) > 0)
		r = verify_text(line, (size_t)n, verification);
	if (r == 0 && ferror(f))
		r = admin_refuse(-EIO, "--input %s: cannot read it", verification->name);
	return r;
}

static void print_verified(const struct admin_call *call, const struct audit_verifier *verifier)
{
	uint64_t records = verifier->head.number, proven = verifier->proven;

	if (call->json) {
		printf("{\"verified\":true,\"records\":%" PRIu64 ",\"withheld\":%" PRIu64
		       ",\"proven\":%" PRIu64 ",\"signature_checked\":%s}\n",
		       records, verifier->withheld, proven,
		       verifier->have_root && proven > 0 ? "true" : "false");
		return;
	}
	printf("%" PRIu64 " records, %" PRIu64 " of them by their hash alone: each follows the one "
	       "before it\n",
	       records, verifier->withheld);
	if (proven == 0)
		puts("tail not proven: without a checkpoint from elsewhere nobody can tell whether "
		     "the end was cut off, or all of it written anew");
	else if (proven < records)
		printf("proven up to record %" PRIu64 "; tail not proven: no checkpoint is newer\n",
		       proven);
	else
		printf("proven to the end, record %" PRIu64 "\n", proven);
	if (proven > 0 && !verifier->have_root)
		puts("the checkpoint's signature was not looked at: no --root-key");
}

static int verify_with(const struct admin_call *call, struct audit_verifier *verifier)
{
	const char *input = admin_value(call, "input"), *file = admin_value(call, "checkpoint");
	const char *root = admin_value(call, "root-key");
	struct verification verification = {input ? input : "the manager's log", verifier};
	char error[256];
	int r = 0;

	if (root) {
		r = admin_read_key_file(root, false, verifier->root_public);
		verifier->have_root = true;
	}
	if (r == 0 && file)
		r = read_checkpoints(file, verifier);
	if (r == 0)
		r = input ? verify_file(&verification)
			  : walk_pages(call, 1, verify_text, &verification);
	if (r < 0)
		return r;
	r = audit_verifier_end(verifier, error);
	if (r < 0)
		return admin_refuse(r, "%s: NOT verified: %s", verification.name, error);
	print_verified(call, verifier);
	return 0;
}

static int verify(const struct admin_call *call)
{
	_cleanup_(audit_verifier_done) struct audit_verifier verifier = {0};

	if (admin_value(call, "input") && admin_value(call, "workspace"))
		return admin_refuse(-EINVAL, "--input and --workspace: one of them");
	return verify_with(call, &verifier);
}

#define WORKSPACE_OPTION                                                                           \
	{                                                                                          \
		"workspace", "NAME", "what is not about it by its hash alone", false               \
	}
#define FROM_OPTION                                                                                \
	{                                                                                          \
		"from", "NUMBER", "from this record on", false                                     \
	}

/* A row a command. */
/* clang-format off */
const struct admin_command admin_audit_commands[] = {
	{"audit", "list", {NULL}, "List what is on record, the newest hundred.", list,
	 {FROM_OPTION, WORKSPACE_OPTION}},
	{"audit", "export", {NULL}, "Write the log as JSON lines, for `audit verify`.", export,
	 {FROM_OPTION, WORKSPACE_OPTION,
	  {"output", "FILE", "write it there, where there is none; default: standard output", false},
	  {"syslog", NULL, "to the system log (facility authpriv) instead", false}}},
	{"audit", "checkpoint", {NULL}, "Fetch the signed number and hash of the last record, to be kept elsewhere.",
	 checkpoint, {{"output", "FILE", "write it there; default: standard output", false}}},
	{"audit", "verify", {NULL}, "Verify the manager's log, or one that was exported.", verify,
	 {{"input", "FILE", "an exported log; default: ask the manager", false},
	  {"checkpoint", "FILE", "checkpoints kept elsewhere, one a line", false},
	  {"root-key", "FILE", "the root key's public half (root.pub): checkpoints must be signed", false},
	  WORKSPACE_OPTION}},
	{NULL},
};
/* clang-format on */
