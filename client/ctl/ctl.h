/* ctl.h - what hugepoolctl's files say to each other: the command that was given, and how a command ends. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "client/include/hugepool.h"
#include "proto/hugepool.pb-c.h"

#define CTL_ACCESS_MAX 16 /* users and groups that one lease can be opened to; the library's limit */

/* Exit status; scripts rely on the numbers. */
enum ctl_status {
	CTL_DONE = 0,
	CTL_FAILED = 1,    /* the daemon refused, or something failed here */
	CTL_USAGE = 2,     /* the command line makes no sense */
	CTL_NO_DAEMON = 3, /* nobody listens on the socket */
};

struct ctl {
	/* What the options say; those of leases are in the library's words. */
	unsigned given;          /* enum ctl_option */
	const char *socket_path; /* NULL: the library's default */
	bool json;
	struct hp_alloc_options alloc; /* flags: also how `open` maps it */
	struct hp_access access[CTL_ACCESS_MAX];
	uint32_t owner_uid; /* who must have made what is opened; with --owner */
	unsigned kinds;     /* of events: HP_EVENT_...; 0: all */

	char **args; /* after the command's name; as many as its row in the table allows */
	int n_args;
	hp_client *client; /* after ctl_connect() */
};

/* ---- main.c ---- */

/* One line to stderr, with the program's name in front. */
void ctl_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Say that memory ran out. Returns CTL_FAILED. */
enum ctl_status ctl_no_memory(void);
/* Print one JSON object on a line, and free it; NULL: there was no memory for it. */
enum ctl_status ctl_print_json(json_t *object);
/* See that what was printed has left; says so if not. */
enum ctl_status ctl_flush(void);

/* ---- ask.c ---- */

/* Connect, unless that was done; every command does so once its arguments are understood. Says why it failed.
 */
enum ctl_status ctl_connect(struct ctl *ctl);
/* Connect and send one request. The result is a new object with the fields of the reply's. */
enum ctl_status ctl_ask(struct ctl *ctl, Hugepool__Request *request, json_t **ret_result);
/* Connect and do this to every argument, also after one that failed, which is reported: `act` returns 0 or a
 * negative errno, with hp_error(). In JSON: the lists `done_key` and "failed" of the words. */
enum ctl_status ctl_each(struct ctl *ctl, const char *done_key,
			 int (*act)(hp_client *client, const char *word));
/* A word of digits is an id. False: it is another word, or does not fit 64 bits. */
bool ctl_read_id(const char *word, uint64_t *ret_id);

/* ---- stay.c ---- */

/* SIGINT and SIGTERM do not end us any more. Returns a descriptor that is readable when one has come, or -1
 * after a complaint. */
int ctl_catch_signals(void);
/* Call back what comes, until there is a signal or *is_over. CTL_FAILED after a complaint: the daemon, or the
 * session, has gone. */
enum ctl_status ctl_stay(struct ctl *ctl, int signal_fd, const bool *is_over);

/* ---- show.c ---- */

enum ctl_status ctl_status_run(struct ctl *ctl);
enum ctl_status ctl_pools_run(struct ctl *ctl);
enum ctl_status ctl_tenants_run(struct ctl *ctl);
enum ctl_status ctl_leases_run(struct ctl *ctl);
enum ctl_status ctl_sessions_run(struct ctl *ctl);
enum ctl_status ctl_buddyinfo_run(struct ctl *ctl);

/* ---- lease.c ---- */

enum ctl_status ctl_alloc_run(struct ctl *ctl);
enum ctl_status ctl_open_run(struct ctl *ctl);
enum ctl_status ctl_free_run(struct ctl *ctl);

/* ---- orphans.c ---- */

enum ctl_status ctl_free_orphaned_run(struct ctl *ctl);

/* ---- operate.c ---- */

enum ctl_status ctl_revoke_run(struct ctl *ctl);
enum ctl_status ctl_evict_run(struct ctl *ctl);
enum ctl_status ctl_isolate_run(struct ctl *ctl);
enum ctl_status ctl_drain_run(struct ctl *ctl);
enum ctl_status ctl_restore_run(struct ctl *ctl);

/* ---- events.c ---- */

enum ctl_status ctl_events_run(struct ctl *ctl);
/* A list of kinds, parted by commas, as HP_EVENT_...; 0: one of them is none. */
unsigned ctl_read_kinds(const char *list);
