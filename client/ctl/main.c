/* main.c - hugepoolctl, the operators' command line: which commands there are, and the exit status.
 *
 * Options may stand before and after the command; options.c has them. What a command does is in show.c,
 * lease.c, operate.c and events.c.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/ctl/options.h"
#include "daemon/base/text.h"

#define ARGS_ANY      1000000
#define COMPLAINT_MAX 1024 /* bytes; what is longer is cut */

struct command {
	const char *name;
	const char *arguments;
	int args_min, args_max;
	unsigned options; /* CTL_OPTION_..., beside the common ones */
	enum ctl_status (*run)(struct ctl *ctl);
	const char *prose;
};

/* clang-format off */
static const struct command commands[] = {
	{"status", "", 0, 0, 0, ctl_status_run, "the daemon and its pools in short"},
	{"pools", "", 0, 0, 0, ctl_pools_run, "every pool's memory, by state"},
	{"tenants", "[POOL]", 0, 1, 0, ctl_tenants_run, "who is charged for what, pool by pool"},
	{"leases", "", 0, 0, 0, ctl_leases_run, "who holds what"},
	{"sessions", "", 0, 0, 0, ctl_sessions_run, "who is connected"},
	{"buddyinfo", "[POOL]", 0, 1, 0, ctl_buddyinfo_run, "free blocks of each arena, by order"},
	{"events", "", 0, 0, CTL_OPTION_KINDS, ctl_events_run,
	 "print what happens, one event a line, until SIGINT or SIGTERM"},
	{"alloc", "SIZE", 1, 1, CTL_OPTIONS_ALLOC, ctl_alloc_run,
	 "lease memory and hold it until SIGINT or SIGTERM"},
	{"open", "NAME", 1, 1, CTL_OPTION_READ_ONLY | CTL_OPTION_OWNER, ctl_open_run,
	 "hold a lease that somebody has named, until SIGINT or SIGTERM"},
	{"free", "LEASE|NAME...", 1, ARGS_ANY, CTL_OPTION_ORPHANED, ctl_free_run,
	 "end leases, by id (digits) or by name"},
	{"revoke", "LEASE...", 1, ARGS_ANY, 0, ctl_revoke_run,
	 "end revocable leases, whoever holds them"},
	{"evict", "ARENA", 1, 1, 0, ctl_evict_run,
	 "end every lease in an arena, and give its pages back to the kernel"},
	{"isolate", "ARENA", 1, 1, 0, ctl_isolate_run,
	 "lease nothing more from an arena; it goes when it is empty"},
	{"drain", "POOL", 1, 1, 0, ctl_drain_run,
	 "lease nothing more from a pool; its arenas go as they empty"},
	{"restore", "ARENA|POOL", 1, 1, 0, ctl_restore_run,
	 "undo isolate (digits: an arena) or drain"},
};
/* clang-format on */

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

#define HELP_INDENT 2 /* of a command; its prose and options */
#define HELP_DEEPER 8

void ctl_complain(const char *format, ...)
{
	char sentence[COMPLAINT_MAX];
	va_list args;

	va_start(args, format);
	text_vformat(sentence, sizeof(sentence), format, args);
	va_end(args);
	fprintf(stderr, "hugepoolctl: %s\n", sentence);
}

enum ctl_status ctl_no_memory(void)
{
	ctl_complain("Out of memory.");
	return CTL_FAILED;
}

/* What cannot be written is found by ctl_flush(). */
enum ctl_status ctl_print_json(json_t *object)
{
	char *text;

	if (!object)
		return ctl_no_memory();
	text = json_dumps(object, 0);
	/* The same to whoever parses it, and nothing to a terminal. */
	if (text && !text_is_plain(text)) {
		free(text);
		text = json_dumps(object, JSON_ENSURE_ASCII);
	}
	json_decref(object);
	if (!text)
		return ctl_no_memory();
	puts(text);
	free(text);
	return CTL_DONE;
}

enum ctl_status ctl_flush(void)
{
	bool failed_before = ferror(stdout);
	int r = fflush(stdout);

	if (r == 0 && !failed_before)
		return CTL_DONE;
	if (r != 0)
		ctl_complain("Cannot write the result to standard output: %s.", strerror(errno));
	else
		ctl_complain("Cannot write the result to standard output.");
	return CTL_FAILED;
}

static void print_help(void)
{
	puts("usage: hugepoolctl [--socket PATH] [--json] COMMAND\n");
	for (size_t i = 0; i < N_COMMANDS; i++) {
		printf("%*s%s%s%s%s\n", HELP_INDENT, "", commands[i].name,
		       commands[i].options ? " [OPTION...]" : "", *commands[i].arguments ? " " : "",
		       commands[i].arguments);
		printf("%*s%s\n", HELP_DEEPER, "", commands[i].prose);
		ctl_options_print_help(stdout, commands[i].options, HELP_DEEPER);
	}
	putchar('\n');
	ctl_options_print_help(stdout, CTL_OPTIONS_COMMON, HELP_INDENT);
	puts("\nWithout --socket: $HUGEPOOL_SOCKET, else /run/hugepool/hugepoold.sock for root, else\n"
	     "$XDG_RUNTIME_DIR/hugepool/hugepoold.sock if it is there, else root's.\n"
	     "Exit status: 0 done, 1 the daemon refused or failed, 2 wrong usage, 3 no daemon there.");
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static void complain_usage(const struct command *command)
{
	fprintf(stderr, "hugepoolctl: usage: hugepoolctl [--socket PATH] [--json] %s", command->name);
	ctl_options_print_usage(stderr, command->options);
	fprintf(stderr, "%s%s\n", *command->arguments ? " " : "", command->arguments);
}

/* Find the command in what the options left over. NULL: there is none that fits; said so. */
static const struct command *read_command(struct ctl *ctl, int n_words, char **words)
{
	const struct command *command = n_words > 0 ? find_command(words[0]) : NULL;
	const char *alien;

	if (!command) {
		if (n_words > 0)
			ctl_complain("There is no command \"%s\"; --help lists them.", words[0]);
		else
			ctl_complain("A command is missing; --help lists them.");
		return NULL;
	}
	ctl->args = words + 1;
	ctl->n_args = n_words - 1;
	alien = ctl_options_first(ctl->given & ~(command->options | CTL_OPTIONS_COMMON));
	if (alien)
		ctl_complain("%s knows no option --%s.", command->name, alien);
	if (alien || (ctl->n_args < command->args_min && !(ctl->given & CTL_OPTION_ORPHANED)) ||
	    ctl->n_args > command->args_max) {
		complain_usage(command);
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
	enum ctl_status status;
	struct ctl ctl = {0};

	fill_standard_fds();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a result longer than RLIMIT_FSIZE allows is one that cannot be written */
	status = ctl_options_read(argc, argv, &ctl);
	if (status != CTL_DONE)
		return status;
	if (ctl.given & CTL_OPTION_HELP) {
		print_help();
	} else if (ctl.given & CTL_OPTION_VERSION) {
		puts("hugepoolctl " PACKAGE_VERSION);
	} else {
		command = read_command(&ctl, argc - optind, argv + optind);
		status = command ? command->run(&ctl) : CTL_USAGE;
	}
	if (status == CTL_DONE)
		status = ctl_flush();
	hp_close(ctl.client);
	return status;
}
