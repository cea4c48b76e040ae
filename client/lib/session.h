/* session.h - struct hp_client, one session with the daemon, and what the library's files say to each other
 * about it.
 *
 * client.c opens and closes it, adopt.c has a forked child take part, mend.c finds the daemon, call.c sends
 * requests and brings their replies, wait.c is for threads that wait for them, reply.c takes what replies say
 * to the session, dispatch.c is for programs with an event loop; claim.c makes leases of what was granted,
 * alloc.c, resize.c and free.c are what is done with them; cache.c keeps some of them. One mutex guards all
 * that changes; nobody waits for the daemon while holding it.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/lib/arena.h"
#include "client/lib/call.h"
#include "client/lib/client.h"
#include "client/lib/connection.h"
#include "client/lib/event.h"
#include "client/lib/mend.h"
#include "client/lib/watch.h"
#include "proto/bump.h"
#include "proto/socket_path.h"

#define SESSION_TOKEN_BYTES 16
#define SESSION_MAX_BATCH   1024 /* items in one request of ours; the daemon may allow fewer */

struct session_pool {
	uint32_t number;
	char name[EVENT_POOL_MAX];
	uint64_t page_bytes;
};

TAILQ_HEAD(lease_list, hp_lease);

struct hp_client {
	/* Constant after hp_open(). */
	char socket_path[SOCKET_PATH_MAX];
	const volatile uint8_t *fork_mark; /* a page that the kernel wipes in a forked child */

	pthread_mutex_t lock;

	/* Guarded by lock. */
	struct connection *connection; /* NULL: broken */
	bool driven;                   /* a thread is reading from the connection, or mending it */
	bool ended;                    /* the daemon does not know the session any more */
	uint64_t last_request_id;
	unsigned n_received_due; /* frames with descriptors that the daemon has not been told of */

	struct call_queue asks, tells; /* not sent yet: for memory, and all others */
	struct call_queue sent;        /* on this connection, in this order */
	struct call_queue finished;    /* that nobody waits for */
	unsigned n_sent, n_asking;     /* of sent: all, and those for memory */
	unsigned n_waiters;            /* threads that wait for a call */
	unsigned n_left;               /* calls that go on alone, and for which a thread has waited in vain */
	unsigned n_dispatchers;        /* threads in hp_dispatch() */
	uint64_t spin_ns;              /* a thread that drives looks for input so long before it sleeps */

	struct session_pool *pools;
	unsigned n_pools, max_batch;
	struct arena_table arenas;
	struct lease_list leases; /* every handle there is */
	LIST_HEAD(, hp_cache) caches;
	struct event_queue events;
	struct watch watch;
	struct bump bump; /* for the reply that is being taken */

	/* Guarded by lock; changed by whoever drives only. */
	struct mend mend;
	bool joins;       /* hp_adopt() is at it: Hello makes this process a holder of the session */
	uint64_t session; /* 0: none yet */
	uint8_t token[SESSION_TOKEN_BYTES];
};

/* ---- client.c ---- */

/* A client that is not connected yet. NULL: no memory, with hp_error(). */
hp_client *session_new(void);

/* -EINVAL without a client, -ECHILD in a process that forked away from its owner; both with hp_error(). Every
 * public function's first line: in such a child another thread may have left the lock taken. */
int session_check(const hp_client *client);
bool session_is_forked(const hp_client *client);
/* The client is this process's from now on, and not its children's. */
void session_own(hp_client *client);
/* Take over what the reply says about session, pools and limits; the lock is held. -ENOMEM, -EPROTO: nothing
 * has changed. */
int session_adopt(hp_client *client, const Hugepool__HelloReply *hello);
/* The pool of that name (NULL: the first), or number; the lock is held, and the pool only there while it is.
 * NULL: there is none. */
const struct session_pool *session_find_pool(const hp_client *client, const char *name);
const struct session_pool *session_pool_number(const hp_client *client, uint32_t number);

/* ---- dispatch.c ---- */

/* hp_dispatch() has something to do; the lock is held. */
void session_wake(hp_client *client);
/* hp_close() is at it: tell whoever has started something that nothing will come of it. */
void session_cancel(hp_client *client);

/* ---- reply.c ---- */

/* Take one reply: what it says of arenas and events, and the call's answer. The lock is held. 0, or a
 * negative errno: nothing more can be understood on this connection. */
int session_take_reply(hp_client *client, struct frame *frame);

/* ---- lease.c ---- */

/* Free every handle; nobody else is left. */
void session_forget_leases(hp_client *client, bool mapped);
