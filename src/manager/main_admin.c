/* SPDX-License-Identifier: Apache-2.0 */
/* emberlock-admin: finds the command in the tables, reads its options, runs it. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/cleanup.h"
#include "manager/admin_cli.h"
#include "manager/json.h"

#define IDENTITY_DEFAULT "/var/lib/emberlock/identities/key-administrator"

static const struct admin_command *const tables[] = {
	admin_key_commands,	admin_workspace_commands, admin_kek_commands,
	admin_vm_commands,	admin_fleet_commands,	  admin_drill_commands,
	admin_storage_commands, admin_receipt_commands,	  admin_signing_commands,
	admin_audit_commands,	admin_file_kms_commands,
};

static const struct admin_option common_options[] = {
	{"identity", "DIR",
	 "client certificate, key, CA and URL; $EMBERLOCK_IDENTITY; "
	 "default " IDENTITY_DEFAULT},
	{"json", NULL, "print JSON"},
	{"help", NULL, "print this help"},
	{"version", NULL, "print the version"},
};

static void format_words(const struct admin_command *command, char text[static 64])
{
	const char *first = command->arguments[0], *second = command->arguments[1];

	snprintf(text, 64, "%s%s%s%s%s%s%s", command->object, command->verb ? " " : "",
		 command->verb ? command->verb : "", first ? " " : "", first ? first : "",
		 second ? " " : "", second ? second : "");
}

static void print_usage_line(FILE *to, const struct admin_command *command)
{
	char words[64];

	format_words(command, words);
	fprintf(to, "emberlock-admin %s", words);
	for (const struct admin_option *o = command->options; o->name; o++)
		fprintf(to, o->required ? " --%s%s%s" : " [--%s%s%s]", o->name,
			o->argument ? " " : "", o->argument ? o->argument : "");
	fputc('\n', to);
}

static void print_option(const struct admin_option *option)
{
	char text[64];

	snprintf(text, sizeof(text), "--%s %s", option->name,
		 option->argument ? option->argument : "");
	printf("  %-26s %s\n", text, option->help);
}

static void print_common_options(void)
{
	puts("\nCommon options:");
	for (size_t i = 0; i < ELEMENTSOF(common_options); i++)
		print_option(&common_options[i]);
}

/* OBJECT NULL: of all. */
static void print_help(const char *object)
{
	char words[64];

	puts("usage: emberlock-admin COMMAND [OPTION...]\n\nCommands (each has --help):");
	for (size_t i = 0; i < ELEMENTSOF(tables); i++) {
		for (const struct admin_command *c = tables[i]; c->object; c++) {
			if (object && strcmp(object, c->object) != 0)
				continue;
			format_words(c, words);
			printf("  %-26s %s\n", words, c->help);
		}
	}
	print_common_options();
}

static void print_command_help(const struct admin_command *command)
{
	printf("usage: ");
	print_usage_line(stdout, command);
	printf("\n%s\n", command->help);
	if (command->options[0].name)
		puts("\nOptions:");
	for (const struct admin_option *o = command->options; o->name; o++)
		print_option(o);
	print_common_options();
}

static int __attribute__((format(printf, 2, 3)))
usage_error(const struct admin_command *command, const char *format, ...)
{
	va_list list;

	fputs("emberlock-admin: ", stderr);
	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fputc('\n', stderr);
	if (command) {
		fputs("usage: ", stderr);
		print_usage_line(stderr, command);
	} else {
		fputs("usage: emberlock-admin COMMAND [OPTION...]; see --help\n", stderr);
	}
	return EXIT_USAGE;
}

static bool is_object(const char *word)
{
	for (size_t i = 0; i < ELEMENTSOF(tables); i++)
		for (const struct admin_command *c = tables[i]; c->object; c++)
			if (strcmp(word, c->object) == 0)
				return true;
	return false;
}

/* WORDS: what is not an option, in order. *ret_used: how many of them name the command. */
static const struct admin_command *find_command(const char *const *words, size_t n,
						size_t *ret_used)
{
	for (size_t i = 0; i < ELEMENTSOF(tables); i++) {
		for (const struct admin_command *c = tables[i]; c->object; c++) {
			if (n < 1 || strcmp(words[0], c->object) != 0)
				continue;
			if (c->verb && (n < 2 || strcmp(words[1], c->verb) != 0))
				continue;
			*ret_used = c->verb ? 2 : 1;
			return c;
		}
	}
	return NULL;
}

#define WORDS_MAX (2 + ADMIN_ARGUMENTS_MAX)

/* The arguments, sorted into words and options; options keep their order of appearance. */
struct command_line {
	const char *words[WORDS_MAX + 1];
	size_t n_words;
	const char *options[2 * ADMIN_OPTIONS_MAX];
	const char *values[2 * ADMIN_OPTIONS_MAX];
	size_t n_options;
	const char *identity;
	bool json, help, version;
};

/* Whether option NAME takes an argument, by any command's table: the command is not known yet. */
static bool takes_argument(const char *name)
{
	if (strcmp(name, "identity") == 0)
		return true;
	for (size_t i = 0; i < ELEMENTSOF(tables); i++)
		for (const struct admin_command *c = tables[i]; c->object; c++)
			for (const struct admin_option *o = c->options; o->name; o++)
				if (strcmp(o->name, name) == 0)
					return o->argument;
	return false;
}

static int add_option(struct command_line *line, const char *name, const char *value)
{
	if (strcmp(name, "identity") == 0) {
		line->identity = value;
	} else if (strcmp(name, "json") == 0) {
		line->json = true;
	} else if (strcmp(name, "help") == 0) {
		line->help = true;
	} else if (strcmp(name, "version") == 0) {
		line->version = true;
	} else {
		if (line->n_options == ELEMENTSOF(line->options))
			return usage_error(NULL, "too many options");
		line->options[line->n_options] = name;
		line->values[line->n_options++] = value ? value : "";
	}
	return 0;
}

/* "--name value" and "--name=value"; ARGV's strings are cut at '='. */
static int sort_arguments(int argc, char **argv, struct command_line *line)
{
	for (int i = 1; i < argc; i++) {
		char *name = argv[i], *value = NULL;
		int r;

		if (strncmp(name, "--", 2) != 0 || !name[2]) {
			if (line->n_words == ELEMENTSOF(line->words))
				return usage_error(NULL, "too many arguments");
			line->words[line->n_words++] = name;
			continue;
		}
		name += 2;
		value = strchr(name, '=');
		if (value)
			*value++ = '\0';
		if (value && !takes_argument(name))
			return usage_error(NULL, "--%s takes no value", name);
		if (!value && takes_argument(name)) {
			if (++i == argc)
				return usage_error(NULL, "--%s needs a value", name);
			value = argv[i];
		}
		r = add_option(line, name, value);
		if (r != 0)
			return r;
	}
	return 0;
}

static int fill_options(const struct command_line *line, struct admin_call *call)
{
	const struct admin_option *options = call->command->options;

	for (size_t i = 0; i < line->n_options; i++) {
		size_t at = 0;

		while (options[at].name && strcmp(options[at].name, line->options[i]) != 0)
			at++;
		if (!options[at].name)
			return usage_error(call->command, "unknown option --%s", line->options[i]);
		if (call->values[at])
			return usage_error(call->command, "--%s is given twice", line->options[i]);
		call->values[at] = line->values[i];
	}
	for (size_t i = 0; options[i].name; i++)
		if (options[i].required && !call->values[i])
			return usage_error(call->command, "--%s is required", options[i].name);
	return 0;
}

static int fill_call(const struct command_line *line, size_t used, struct admin_call *call)
{
	const char *environment = getenv("EMBERLOCK_IDENTITY");

	for (size_t i = 0; i < ADMIN_ARGUMENTS_MAX && call->command->arguments[i]; i++) {
		if (used == line->n_words)
			return usage_error(call->command, "%s is missing",
					   call->command->arguments[i]);
		call->arguments[i] = line->words[used++];
	}
	if (used < line->n_words)
		return usage_error(call->command, "what is '%.64s'?", line->words[used]);
	call->json = line->json;
	call->identity = environment && *environment ? environment : IDENTITY_DEFAULT;
	if (line->identity)
		call->identity = line->identity;
	return fill_options(line, call);
}

int main(int argc, char **argv)
{
	struct command_line line = {0};
	struct admin_call call = {0};
	size_t used = 0;
	int r;

	json_wipe_freed();
	/* Root keys and VMs' keys pass through this process: no core file. */
	if (prctl(PR_SET_DUMPABLE, 0) < 0)
		return admin_refuse(-errno, "cannot forbid core dumps"), EXIT_FAILURE;
	r = sort_arguments(argc, argv, &line);
	if (r != 0)
		return r;
	if (line.version) {
		puts("emberlock-admin " EMBERLOCK_VERSION);
		return EXIT_SUCCESS;
	}
	call.command = find_command(line.words, line.n_words, &used);
	if (line.help) {
		if (call.command)
			print_command_help(call.command);
		else
			print_help(line.n_words && is_object(line.words[0]) ? line.words[0] : NULL);
		return EXIT_SUCCESS;
	}
	if (!call.command) {
		if (line.n_words && is_object(line.words[0]))
			return usage_error(NULL, "'%s' needs a verb: emberlock-admin %s --help",
					   line.words[0], line.words[0]);
		return line.n_words ? usage_error(NULL, "unknown command '%.64s'", line.words[0])
				    : usage_error(NULL, "no command");
	}
	r = fill_call(&line, used, &call);
	if (r != 0)
		return r;
	r = call.command->run(&call);
	if (fflush(stdout) != 0)
		r = admin_refuse(-EIO, "standard output: cannot write");
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
