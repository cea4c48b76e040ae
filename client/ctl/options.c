/* options.c - the table of options, and how the value of each is read.
 *
 * An option's value is checked when it is read; whether the command at hand knows the option is main.c's
 * question.
 */
#include <config.h>

#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/ctl/options.h"
#include "client/lib/lease_name.h"
#include "proto/socket_path.h"

#define ID_MAX      (UINT32_MAX - 1) /* the last is (uid_t)-1: nobody at all */
#define SECONDS_MAX 1e9
#define MS_PER_S    1000
#define MODE_MAX    0777
#define RUNS_MAX    64 /* the library's limit */

_Static_assert(SOCKET_PATH_MAX == 108, "what --socket expects says so");

/* ---- values; false: it is not what the option expects ---- */

static bool read_socket(struct ctl *ctl, const char *value)
{
	ctl->socket_path = value;
	return *value && strlen(value) < SOCKET_PATH_MAX;
}

static bool read_json(struct ctl *ctl, const char *value)
{
	ctl->json = true;
	return true;
}

static bool read_pool(struct ctl *ctl, const char *value)
{
	ctl->alloc.pool = value;
	return true;
}

/* Digits alone would be an id to the other commands. */
static bool read_name(struct ctl *ctl, const char *value)
{
	char name[NAME_FULL_MAX + 1];

	ctl->alloc.name = value;
	return lease_name_find(value, name) == 0;
}

/* *ret_number is untouched unless it is from `min` to `max`. */
static bool read_number(const char *word, int base, uint64_t min, uint64_t max, uint64_t *ret_number)
{
	size_t n_digits = strspn(word, base == 8 ? "01234567" : "0123456789");
	uint64_t number;

	errno = 0;
	number = strtoull(word, NULL, base);
	if (errno || n_digits == 0 || word[n_digits] || number < min || number > max)
		return false;
	*ret_number = number;
	return true;
}

static bool read_unsigned(const char *word, int base, uint64_t min, uint64_t max, unsigned *ret_number)
{
	uint64_t number;

	if (!read_number(word, base, min, max, &number))
		return false;
	*ret_number = (unsigned)number;
	return true;
}

static bool read_max_runs(struct ctl *ctl, const char *value)
{
	return read_unsigned(value, 10, 1, RUNS_MAX, &ctl->alloc.max_runs);
}

static bool read_node(struct ctl *ctl, const char *value)
{
	char path[64];

	if (!read_unsigned(value, 10, 0, UINT_MAX - 1, &ctl->alloc.node))
		return false;
	/* A kernel that tells of no nodes has just the first. */
	snprintf(path, sizeof(path), "/sys/devices/system/node/node%u", ctl->alloc.node);
	if (ctl->alloc.node > 0 && access(path, F_OK) < 0)
		return false;
	ctl->alloc.node++; /* 0 is any */
	return true;
}

static bool read_mode(struct ctl *ctl, const char *value)
{
	return read_unsigned(value, 8, 1, MODE_MAX, &ctl->alloc.mode);
}

static bool read_ms(const char *word, uint64_t min_ms, uint64_t *ret_ms)
{
	size_t length = strspn(word, "0123456789.");
	char *end;
	double seconds = strtod(word, &end);
	uint64_t ms;

	if (length == 0 || word[length] || *end || seconds > SECONDS_MAX)
		return false;
	ms = (uint64_t)(seconds * MS_PER_S + 0.5);
	if (ms < min_ms)
		return false;
	*ret_ms = ms;
	return true;
}

static bool read_wait(struct ctl *ctl, const char *value)
{
	return read_ms(value, 0, &ctl->alloc.wait_ms);
}

static bool read_lifetime(struct ctl *ctl, const char *value)
{
	return read_ms(value, 1, &ctl->alloc.lifetime_ms);
}

/* A number is that id whether anybody has it or not; a name must be known here. */
static bool read_user(const char *word, uint32_t *ret_uid)
{
	const struct passwd *entry;

	if (read_unsigned(word, 10, 0, ID_MAX, ret_uid))
		return true;
	entry = getpwnam(word);
	if (entry)
		*ret_uid = entry->pw_uid;
	return entry;
}

static bool read_group(const char *word, uint32_t *ret_gid)
{
	const struct group *entry;

	if (read_unsigned(word, 10, 0, ID_MAX, ret_gid))
		return true;
	entry = getgrnam(word);
	if (entry)
		*ret_gid = entry->gr_gid;
	return entry;
}

static bool read_access(struct ctl *ctl, const char *word, bool may_write)
{
	struct hp_access access = {.is_group = *word == ':', .may_write = may_write};

	if (ctl->alloc.n_access == CTL_ACCESS_MAX ||
	    !(access.is_group ? read_group(word + 1, &access.id) : read_user(word, &access.id)))
		return false;
	ctl->access[ctl->alloc.n_access++] = access;
	ctl->alloc.access = ctl->access;
	return true;
}

static bool read_reader(struct ctl *ctl, const char *value)
{
	return read_access(ctl, value, false);
}

static bool read_writer(struct ctl *ctl, const char *value)
{
	return read_access(ctl, value, true);
}

static bool read_owner(struct ctl *ctl, const char *value)
{
	return read_user(value, &ctl->owner_uid);
}

static bool read_kinds(struct ctl *ctl, const char *value)
{
	ctl->kinds = ctl_read_kinds(value);
	return ctl->kinds;
}

/* ---- the table ---- */

#define WHO_EXPECTED "the name or number of a user, or a colon and that of a group, at most 16 in all"

struct option_row {
	enum ctl_option option;
	unsigned flag; /* for the lease: HP_... */
	const char *name;
	const char *argument; /* NULL: it has none */
	bool (*read)(struct ctl *ctl, const char *value);
	const char *expects; /* what its value has to be; NULL: anything */
	const char *prose;
};

/* clang-format off */
static const struct option_row rows[] = {
	{CTL_OPTION_SOCKET, 0, "socket", "PATH", read_socket, "a path of 1 to 107 bytes",
	 "where the daemon listens"},
	{CTL_OPTION_JSON, 0, "json", NULL, read_json, NULL,
	 "print JSON, one object a line"},
	{CTL_OPTION_HELP, 0, "help", NULL, NULL, NULL,
	 "print this"},
	{CTL_OPTION_VERSION, 0, "version", NULL, NULL, NULL,
	 "print the version"},

	{CTL_OPTION_POOL, 0, "pool", "POOL", read_pool, NULL,
	 "lease from this pool instead of the daemon's first"},
	{CTL_OPTION_NAME, 0, "name", "NAME", read_name, 
	 "NAME, ~/NAME or ~USER/NAME of a user known here: at most 255 bytes of UTF-8, without control, direction "
	 "and invisible characters, that are not all digits",
	 "give the lease a name, for open and free"},
	{CTL_OPTION_MODE, 0, "mode", "OCTAL", read_mode, "an octal number from 1 to 777",
	 "who may open it, as of a file; default: 600"},
	{CTL_OPTION_READ, 0, "read", "USER|:GROUP", read_reader, WHO_EXPECTED,
	 "who else may open it, read-only; as often as needed"},
	{CTL_OPTION_WRITE, 0, "write", "USER|:GROUP", read_writer, WHO_EXPECTED,
	 "who else may open it; as often as needed"},
	{CTL_OPTION_MAX_RUNS, 0, "max-runs", "N", read_max_runs, "a number of runs from 1 to 64",
	 "made of so many runs of pages at most"},
	{CTL_OPTION_CONTIGUOUS, HP_CONTIGUOUS, "contiguous", NULL, NULL, NULL,
	 "made of one run of pages"},
	{CTL_OPTION_NODE, 0, "node", "N", read_node, "the number of a NUMA node of this host",
	 "prefer this NUMA node"},
	{CTL_OPTION_WAIT, 0, "wait", "SECONDS", read_wait, "a number of seconds such as 30 or 0.5, at most 1000000000",
	 "wait so long for memory"},
	{CTL_OPTION_LIFETIME, 0, "lifetime", "SECONDS", read_lifetime, "a number of seconds from 0.001 to 1000000000",
	 "it ends by itself then, whoever uses it"},
	{CTL_OPTION_REVOCABLE, HP_REVOCABLE, "revocable", NULL, NULL, NULL,
	 "an operator may end it"},
	{CTL_OPTION_DETACH, HP_DETACHED, "detach", NULL, NULL, NULL,
	 "leave at once; the lease stays until it is freed"},

	{CTL_OPTION_READ_ONLY, HP_READ_ONLY, "read-only", NULL, NULL, NULL,
	 "for who may not write to it"},

	{CTL_OPTION_OWNER, 0, "owner", "USER", read_owner, "the name or number of a user",
	 "only if this user has made it"},

	{CTL_OPTION_ORPHANED, 0, "orphaned", NULL, NULL, NULL,
	 "those whose holder lives but has lost them; without LEASE, all of one's own"},

	{CTL_OPTION_KINDS, 0, "kinds", "LIST", read_kinds, "some of pressure,drained,restored",
	 "only these, parted by commas; default: all"},
};
/* clang-format on */

#define N_ROWS      (sizeof(rows) / sizeof(rows[0]))
#define GETOPT_BASE 256 /* past every character that getopt_long() returns by itself */
#define WORD_MAX    32  /* an option with its argument */
#define WORD_WIDTH  20  /* of its column in the help */

/* ---- the interface ---- */

static bool read_row(struct ctl *ctl, const struct option_row *row, const char *value)
{
	ctl->given |= row->option;
	ctl->alloc.flags |= row->flag;
	if (!row->read || row->read(ctl, value))
		return true;
	ctl_complain("--%s: expected %s, not \"%s\"", row->name, row->expects, value);
	return false;
}

enum ctl_status ctl_options_read(int argc, char **argv, struct ctl *ctl)
{
	struct option options[N_ROWS + 1] = {0};
	static char name[] = "hugepoolctl";
	int option;

	argv[0] = name; /* in getopt's complaints */
	for (size_t i = 0; i < N_ROWS; i++)
		options[i] = (struct option){.name = rows[i].name,
					     .has_arg = rows[i].argument ? required_argument : no_argument,
					     .val = GETOPT_BASE + (int)i};
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (option < GETOPT_BASE || !read_row(ctl, &rows[option - GETOPT_BASE], optarg))
			return CTL_USAGE;
	return CTL_DONE;
}

const char *ctl_options_first(unsigned set)
{
	for (size_t i = 0; i < N_ROWS; i++)
		if (set & rows[i].option)
			return rows[i].name;
	return NULL;
}

/* "--pool POOL" */
static void row_format(const struct option_row *row, char word[WORD_MAX])
{
	snprintf(word, WORD_MAX, "--%s%s%s", row->name, row->argument ? " " : "",
		 row->argument ? row->argument : "");
}

void ctl_options_print_usage(FILE *out, unsigned set)
{
	char word[WORD_MAX];

	for (size_t i = 0; i < N_ROWS; i++) {
		if (!(set & rows[i].option))
			continue;
		row_format(&rows[i], word);
		fprintf(out, " [%s]", word);
	}
}

void ctl_options_print_help(FILE *out, unsigned set, int indent)
{
	char word[WORD_MAX];

	for (size_t i = 0; i < N_ROWS; i++) {
		if (!(set & rows[i].option))
			continue;
		row_format(&rows[i], word);
		fprintf(out, "%*s%-*s  %s\n", indent, "", WORD_WIDTH, word, rows[i].prose);
	}
}
