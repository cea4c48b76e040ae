/* main.c - hugepoolctl, the operators' command line: which commands there are, options, exit status.
 *
 * Options may stand before and after the command. What a command does is in show.c and lease.c.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/ctl/ctl.h"

#define ARGS_ANY 1000000

struct command {
	const char *name;
	const char *arguments;
	int args_min, args_max;
	bool allocates; /* knows --pool, --name and --detach */
	enum ctl_status (*run)(struct ctl *ctl);
	const char *prose;
};

/* clang-format off */
static const struct command commands[] = {
	{"status", "", 0, 0, false, ctl_status_run, "the daemon and its pools in short"},
	{"pools", "", 0, 0, false, ctl_pools_run, "every pool's memory, by state"},
	{"leases", "", 0, 0, false, ctl_leases_run, "who holds what"},
	{"sessions", "", 0, 0, false, ctl_sessions_run, "who is connected"},
	{"buddyinfo", "[POOL]", 0, 1, false, ctl_buddyinfo_run, "free blocks of each arena, by order"},
	{"alloc", "[--pool POOL] [--name NAME] [--detach] SIZE", 1, 1, true, ctl_alloc_run,
	 "lease memory and hold it until SIGINT or SIGTERM; with --detach print and leave"},
	{"free", "LEASE|NAME...", 1, ARGS_ANY, false, ctl_free_run,
	 "end leases, by id (digits) or by name"},
};
/* clang-format on */

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

enum option_value { OPT_SOCKET = 256, OPT_JSON, OPT_HELP, OPT_VERSION, OPT_POOL, OPT_NAME, OPT_DETACH };

static const struct option options[] = {
	{"socket", required_argument, NULL, OPT_SOCKET}, {"json", no_argument, NULL, OPT_JSON},
	{"help", no_argument, NULL, OPT_HELP},           {"version", no_argument, NULL, OPT_VERSION},
	{"pool", required_argument, NULL, OPT_POOL},     {"name", required_argument, NULL, OPT_NAME},
	{"detach", no_argument, NULL, OPT_DETACH},       {0},
};

void ctl_complain(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("hugepoolctl: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
}

enum ctl_status ctl_no_memory(void)
{
	ctl_complain("Out of memory.");
	return CTL_FAILED;
}

enum ctl_status ctl_connect(struct ctl *ctl)
{
	int r = ctl->client ? 0 : hp_open(ctl->socket_path, &ctl->client);

	if (r == 0)
		return CTL_DONE;
	ctl_complain("%s", hp_error());
	return r == -ECONNREFUSED || r == -ENOENT ? CTL_NO_DAEMON : CTL_FAILED;
}

/* What cannot be written is found by ctl_flush(). */
enum ctl_status ctl_print_json(json_t *object)
{
	if (!object)
		return ctl_no_memory();
	json_dumpf(object, stdout, 0);
	fputc('\n', stdout);
	json_decref(object);
	return CTL_DONE;
}

enum ctl_status ctl_flush(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return CTL_DONE;
	ctl_complain("Cannot write the result to standard output.");
	return CTL_FAILED;
}

static void print_help(void)
{
	puts("usage: hugepoolctl [--socket PATH] [--json] COMMAND\n");
	for (size_t i = 0; i < N_COMMANDS; i++)
		printf("  %s%s%s\n        %s\n", commands[i].name, *commands[i].arguments ? " " : "",
		       commands[i].arguments, commands[i].prose);
	puts("\n  --socket PATH  where the daemon listens; default: $HUGEPOOL_SOCKET, else\n"
	     "                 /run/hugepool/hugepoold.sock for root, else\n"
	     "                 $XDG_RUNTIME_DIR/hugepool/hugepoold.sock\n"
	     "  --json         print one JSON object\n"
	     "  --help         print this\n"
	     "  --version      print the version\n\n"
	     "Exit status: 0 done, 1 the daemon refused or failed, 2 wrong usage, 3 no daemon there.");
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

/* Read options into *ctl. Returns what --help and --version say they are, 0 when neither was given, or '?'
 * after getopt's complaint. */
static int read_options(int argc, char **argv, struct ctl *ctl)
{
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case OPT_SOCKET:
			ctl->socket_path = optarg;
			break;
		case OPT_JSON:
			ctl->json = true;
			break;
		case OPT_POOL:
			ctl->pool = optarg;
			break;
		case OPT_NAME:
			ctl->name = optarg;
			break;
		case OPT_DETACH:
			ctl->detach = true;
			break;
		default:
			return option;
		}
	}
	return 0;
}

/* Find the command in what the options left over. NULL: there is none that fits; said so. */
static const struct command *read_command(struct ctl *ctl, int n_words, char **words)
{
	const struct command *command = n_words > 0 ? find_command(words[0]) : NULL;

	if (!command) {
		if (n_words > 0)
			ctl_complain("There is no command \"%s\"; --help lists them.", words[0]);
		else
			ctl_complain("A command is missing; --help lists them.");
		return NULL;
	}
	ctl->args = words + 1;
	ctl->n_args = n_words - 1;
	if (ctl->n_args < command->args_min || ctl->n_args > command->args_max ||
	    (!command->allocates && (ctl->pool || ctl->name || ctl->detach))) {
		ctl_complain("usage: hugepoolctl [--socket PATH] [--json] %s %s", command->name,
			     command->arguments);
		return NULL;
	}
	return command;
}

/* The places of stdin, stdout and stderr are taken, so that no socket is ever written to by accident; writing
 * to one that was closed fails. */
static void fill_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	const struct command *command;
	enum ctl_status status = CTL_DONE;
	struct ctl ctl = {0};

	fill_standard_fds();
	signal(SIGPIPE, SIG_IGN);
	switch (read_options(argc, argv, &ctl)) {
	case OPT_HELP:
		print_help();
		break;
	case OPT_VERSION:
		puts("hugepoolctl " PACKAGE_VERSION);
		break;
	case 0:
		command = read_command(&ctl, argc - optind, argv + optind);
		status = command ? command->run(&ctl) : CTL_USAGE;
		break;
	default:
		return CTL_USAGE;
	}
	if (status == CTL_DONE)
		status = ctl_flush();
	hp_close(ctl.client);
	return status;
}
