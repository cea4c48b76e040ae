/* server.h - one worker's event loop: its connections, its sessions' pidfds, its mailbox.
 *
 * Everything of a server is touched by its own thread only; others post letters to its mailbox.
 */
#pragma once

#include <event2/event.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/backing/nodes.h"
#include "daemon/base/mailbox.h"
#include "daemon/lease/session.h"
#include "daemon/rpc/admins.h"
#include "daemon/rpc/idmap.h"
#include "daemon/rpc/run_queue.h"
#include "proto/bump.h"

struct connection;
struct server;

/* What all servers share; constant while they run. */
struct service {
	struct server **servers;
	unsigned n_servers;
	struct pool **pools;
	unsigned n_pools;
	struct ledger *ledger;
	struct seats *seats;
	struct accounts *accounts;
	struct mailbox *janitor, *closer;
	struct nodes nodes; /* of the host */
	struct idmap idmap;
	struct admins admins;
	uint64_t started_ns;
};

/* Visits to be made here (errand.h), in the order in which they came. */
struct errand_queue {
	struct letter *head, **tail;
};

struct server {
	/* constant */
	const struct service *service;
	struct event_base *base;
	struct event *mail_event, *flush_event, *ending_event, *second_event, *due_event, *run_event,
		*deaths_event;
	int deaths_fd; /* deaths.h; any thread may poll it */

	struct mailbox mailbox;          /* any thread posts */
	_Atomic uint64_t n_ending;       /* of them: dead, or said goodbye, and not gone yet; others read */
	_Atomic uint64_t n_sessions;     /* others read */
	struct pool_set_shared pressure; /* pools; others add to it and ring the mailbox */

	/* this worker only */
	struct shard shard;
	struct connection *connections;
	struct run_queue run_queue;
	bool is_running;                /* on_run() is: it looks for more by itself */
	struct errand_queue errands[2]; /* of admins, and of others */
	struct run_user *errands_user; /* nobody's: in the run queue all errands have the turns of one user */
	struct run_item errands_run;
	struct letter *parked;                 /* errand_park() */
	struct session *ending, **ending_tail; /* the sessions that are, by their ending_number */
	uint64_t last_ending;                  /* the number of the newest */
	struct bump bump;                      /* for the request that is being handled */
	uint64_t due_ns;                       /* when due_event goes off; 0: it is not set */
	bool stopping;
	struct letter stop_letter;
};

/* Returns 0 or negative errno; server_fini() undoes either. */
int server_init(struct server *server, const struct service *service, unsigned index);
void server_fini(struct server *server);

/* Run until server_stop(); every connection is closed and every lease has ended then. */
void server_run(struct server *server);
/* From any thread, once. */
void server_stop(struct server *server);

static inline struct server *server_of(const struct session *session)
{
	return (struct server *)((char *)session->shard - offsetof(struct server, shard));
}

/* ---- for the rest of rpc, on the server's thread ---- */

/* Watch the new session's only holder. 0 or negative errno. */
int server_add_session(struct server *server, struct session *session);
/* The last holder is dead or has said goodbye: end the session, a slice at a time. */
void server_end_session(struct server *server, struct session *session);
/* Has every session that began to end up to this number lost its leases? With `gone`: is none of them left?
 */
bool server_has_ended(const struct server *server, uint64_t number, bool gone);
/* The user's item is ready for a turn. */
void server_queue(struct server *server, struct run_user *user, struct run_item *item);
/* A turn is over: what was freed gets to the scrubber soon, and new deadlines are watched. */
void server_end_turn(struct server *server);
/* NULL: there is none of that name. */
struct pool *server_find_pool(const struct server *server, const char *name);
bool server_is_admin(const struct server *server, const struct peer *peer);
