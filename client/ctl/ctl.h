/* ctl.h - what hugepoolctl's files say to each other: the command that was given, and how a command ends. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "client/include/hugepool.h"

/* Exit status; scripts rely on the numbers. */
enum ctl_status {
	CTL_DONE = 0,
	CTL_FAILED = 1,    /* the daemon refused, or something failed here */
	CTL_USAGE = 2,     /* the command line makes no sense */
	CTL_NO_DAEMON = 3, /* nobody listens on the socket */
};

struct ctl {
	const char *socket_path; /* NULL: the library's default */
	bool json;
	const char *pool, *name; /* options of `alloc` */
	bool detach;
	char **args; /* after the command's name; as many as its row in the table allows */
	int n_args;
	hp_client *client; /* after ctl_connect() */
};

/* ---- main.c ---- */

/* Connect, unless that was done; every command does so once its arguments are understood. Says why it failed.
 */
enum ctl_status ctl_connect(struct ctl *ctl);
/* One line to stderr, with the program's name in front. */
void ctl_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Say that memory ran out. Returns CTL_FAILED. */
enum ctl_status ctl_no_memory(void);
/* Print one JSON object on a line, and free it; NULL: there was no memory for it. */
enum ctl_status ctl_print_json(json_t *object);
/* See that what was printed has left; says so if not. */
enum ctl_status ctl_flush(void);

/* ---- show.c ---- */

enum ctl_status ctl_status_run(struct ctl *ctl);
enum ctl_status ctl_pools_run(struct ctl *ctl);
enum ctl_status ctl_leases_run(struct ctl *ctl);
enum ctl_status ctl_sessions_run(struct ctl *ctl);
enum ctl_status ctl_buddyinfo_run(struct ctl *ctl);

/* ---- lease.c ---- */

enum ctl_status ctl_alloc_run(struct ctl *ctl);
enum ctl_status ctl_free_run(struct ctl *ctl);
