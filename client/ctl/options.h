/* options.h - the options of the command line: what each means, and which of them a command knows. */
#pragma once

#include <stdio.h>

#include "client/ctl/ctl.h"

/* Bits of a set. */
enum ctl_option {
	CTL_OPTION_SOCKET = 1u << 0,
	CTL_OPTION_JSON = 1u << 1,
	CTL_OPTION_HELP = 1u << 2,
	CTL_OPTION_VERSION = 1u << 3,
	CTL_OPTION_POOL = 1u << 4,
	CTL_OPTION_NAME = 1u << 5,
	CTL_OPTION_MODE = 1u << 6,
	CTL_OPTION_READ = 1u << 7,
	CTL_OPTION_WRITE = 1u << 8,
	CTL_OPTION_MAX_RUNS = 1u << 9,
	CTL_OPTION_CONTIGUOUS = 1u << 10,
	CTL_OPTION_NODE = 1u << 11,
	CTL_OPTION_WAIT = 1u << 12,
	CTL_OPTION_LIFETIME = 1u << 13,
	CTL_OPTION_REVOCABLE = 1u << 14,
	CTL_OPTION_DETACH = 1u << 15,
	CTL_OPTION_READ_ONLY = 1u << 16,
	CTL_OPTION_KINDS = 1u << 17,
	CTL_OPTION_OWNER = 1u << 18,
	CTL_OPTION_ORPHANED = 1u << 19,
};

/* Every command knows these. */
#define CTL_OPTIONS_COMMON (CTL_OPTION_SOCKET | CTL_OPTION_JSON | CTL_OPTION_HELP | CTL_OPTION_VERSION)
/* These make sense for a lease with a name only. */
#define CTL_OPTIONS_NAMED (CTL_OPTION_MODE | CTL_OPTION_READ | CTL_OPTION_WRITE)
#define CTL_OPTIONS_ALLOC                                                                                    \
	(CTL_OPTION_POOL | CTL_OPTION_NAME | CTL_OPTIONS_NAMED | CTL_OPTION_MAX_RUNS |                       \
	 CTL_OPTION_CONTIGUOUS | CTL_OPTION_NODE | CTL_OPTION_WAIT | CTL_OPTION_LIFETIME |                   \
	 CTL_OPTION_REVOCABLE | CTL_OPTION_DETACH)

/* Read all options, wherever they stand, into *ctl; the words between them are argv[optind] and on then.
 * CTL_DONE, or CTL_USAGE after a complaint. */
enum ctl_status ctl_options_read(int argc, char **argv, struct ctl *ctl);

/* The name of one option of the set, the first in the table; NULL: the set is empty. */
const char *ctl_options_first(unsigned set);
/* Those of the set as a usage line has them, each with a space before it. */
void ctl_options_print_usage(FILE *out, unsigned set);
/* A line of help for each of the set, indented by so many columns. */
void ctl_options_print_help(FILE *out, unsigned set, int indent);
