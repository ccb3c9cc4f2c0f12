/* SPDX-License-Identifier: Apache-2.0 */
/* emberlockctl: asks agent and keeper, and looks at what a machine or an image lacks. */
#include "ctl.h"

#include <getopt.h>
#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"

static const struct command {
	const char *name;
	unsigned allowed;     /* enum ctl_option */
	int words, words_max; /* how many arguments it takes */
	int (*run)(const struct ctl_options *options);
	const char *help;
} commands[] = {
	{"status", OPTION_JSON, 0, 0, command_status,
	 "status [--json]\n"
	 "      the lease, the self-test and the volumes of this boot\n"},
	{"volumes", OPTION_JSON, 0, 0, command_volumes,
	 "volumes [--json]\n"
	 "      the volumes alone\n"},
	{"metrics", OPTION_OUTPUT, 0, 0, command_metrics,
	 "metrics [--output=FILE]\n"
	 "      the status for the text collector of Prometheus' node exporter\n"},
	{"plan", OPTION_ROOT, 0, 0, command_plan,
	 "plan [--root=DIR]\n"
	 "      which disk each volume would take now, and what is refused\n"},
	{"check", OPTION_ROOT | OPTION_KERNEL_CONFIG | OPTION_JSON, 0, 0, command_check,
	 "check [--root=DIR] [--kernel-config=FILE] [--json]\n"
	 "      what this machine, the image in DIR, or the kernel lacks\n"},
	{"shred", OPTION_YES | OPTION_DRY_RUN, 0, 0, command_shred,
	 "shred [--yes] [--dry-run]\n"
	 "      destroys every key of this boot and powers the VM off\n"},
	{"add", 0, 1, 1, command_add,
	 "add NAME\n"
	 "      makes a volume whose file is new in volumes.d, or that failed\n"},
	{"grow", 0, 1, 1, command_grow,
	 "grow NAME\n"
	 "      grows a volume and its file system to the present size of its disks\n"},
	{"swap", 0, 2, 3, command_swap,
	 "swap resize NAME [SIZE]\n"
	 "      makes a swap area again, of SIZE or as large as its volume\n"},
	{"wait", OPTION_FOR | OPTION_TIMEOUT, 0, 0, command_wait,
	 "wait [--for=admitted|ending] [--timeout=TIME]\n"
	 "      returns once the boot is admitted (0), has failed (3) or is shredding (4);\n"
	 "      ending: once the manager knows that it ends in good order\n"},
	{"initramfs", OPTION_ROOT, 0, 0, command_initramfs,
	 "initramfs [--root=DIR]\n"
	 "      the files of the configuration that an initramfs carries: name and path\n"},
	{"ending", 0, 1, 1, command_ending,
	 "ending poweroff|reboot|kexec\n"
	 "      announces the end of this VM, which then comes in bounded time (EndSec=)\n"},
	{"end", 0, 1, 1, command_end,
	 "end poweroff|reboot|kexec\n"
	 "      wipes every key and ends the VM; what the shutdown hook runs\n"},
};

static const struct option long_options[] = {
	{"json", no_argument, NULL, OPTION_JSON},
	{"root", required_argument, NULL, OPTION_ROOT},
	{"kernel-config", required_argument, NULL, OPTION_KERNEL_CONFIG},
	{"yes", no_argument, NULL, OPTION_YES},
	{"dry-run", no_argument, NULL, OPTION_DRY_RUN},
	{"for", required_argument, NULL, OPTION_FOR},
	{"timeout", required_argument, NULL, OPTION_TIMEOUT},
	{"output", required_argument, NULL, OPTION_OUTPUT},
	{"help", no_argument, NULL, 'h' << 8},
	{"version", no_argument, NULL, 'V' << 8},
	{0},
};

static int help(void)
{
	puts("Usage: emberlockctl COMMAND [OPTION]...\n");
	for (size_t i = 0; i < ELEMENTSOF(commands); i++)
		printf("  %s", commands[i].help);
	puts("\n  --help, --version\n\nSee emberlockctl(1).");
	return EXIT_DONE;
}

static int usage(const char *what, const char *argument)
{
	fprintf(stderr, "emberlockctl: %s '%s'; see --help\n", what, argument);
	return EXIT_USAGE;
}

/* 0, or an exit code. */
static int option_take(struct ctl_options *options, int option)
{
	options->given |= (unsigned)option;
	if (option == OPTION_ROOT)
		options->root = strcmp(optarg, "/") == 0 ? "" : optarg;
	else if (option == OPTION_OUTPUT)
		options->output = optarg;
	else if (option == OPTION_KERNEL_CONFIG)
		options->kernel_config = optarg;
	else if (option == OPTION_FOR && strcmp(optarg, "ending") == 0)
		options->for_ending = true;
	else if (option == OPTION_FOR && strcmp(optarg, "admitted") != 0)
		return usage("--for: nothing to wait for is called", optarg);
	else if (option == OPTION_TIMEOUT && parse_duration(optarg, &options->timeout_ms) < 0)
		return usage("--timeout: not a time:", optarg);
	return 0;
}

static const char *option_name(unsigned bit)
{
	for (size_t i = 0; long_options[i].name; i++)
		if (long_options[i].val == (int)bit)
			return long_options[i].name;
	return "";
}

static int run(const struct command *command, struct ctl_options *options, char **words)
{
	unsigned wrong = options->given & ~command->allowed;

	if (wrong) {
		fprintf(stderr, "emberlockctl: %s does not take --%s; see --help\n", command->name,
			option_name(wrong & -wrong));
		return EXIT_USAGE;
	}
	for (int i = 0; i < command->words; i++)
		if (!words[i]) {
			fprintf(stderr, "emberlockctl: %s needs %s; see --help\n", command->name,
				command->words == 1 ? "an argument" : "more arguments");
			return EXIT_USAGE;
		}
	for (int i = 0; words[i]; i++)
		if (i == command->words_max)
			return usage("unexpected argument", words[i]);
	options->words = words;
	options->word = words[0];
	return command->run(options);
}

int main(int argc, char **argv)
{
	struct ctl_options options = {.root = "", .timeout_ms = UINT64_MAX};
	int c, r;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (c == '?')
			return EXIT_USAGE;
		if (c == 'h' << 8)
			return help();
		if (c == 'V' << 8)
			return puts("emberlockctl " EMBERLOCK_VERSION), EXIT_DONE;
		r = option_take(&options, c);
		if (r != 0)
			return r;
	}
	if (optind == argc)
		return fputs("emberlockctl: a command is needed; see --help\n", stderr), EXIT_USAGE;
	for (size_t i = 0; i < ELEMENTSOF(commands); i++)
		if (strcmp(argv[optind], commands[i].name) == 0)
			return run(&commands[i], &options, argv + optind + 1);
	return usage("unknown command", argv[optind]);
}
