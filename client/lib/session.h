/* session.h - struct hp_client, one session with the daemon, and what the library's files say to each other
 * about it.
 *
 * client.c opens and closes it, call.c sends requests and mends the connection, lease.c does what is done
 * with leases. One mutex guards all that changes; nobody waits for the daemon while holding it.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/lib/arena.h"
#include "client/lib/client.h"
#include "client/lib/connection.h"
#include "proto/socket_path.h"

#define SESSION_TOKEN_BYTES 16
#define SESSION_MAX_BATCH   1024 /* items in one request of ours; the daemon may allow fewer */

#define SESSION_POOL_NAME_MAX 64

struct session_pool {
	uint32_t number;
	char name[SESSION_POOL_NAME_MAX];
	uint64_t page_bytes;
};

struct hp_client {
	/* Constant after hp_open(). */
	char socket_path[SOCKET_PATH_MAX];
	const volatile uint8_t *fork_mark; /* a page that the kernel wipes in a forked child */

	pthread_mutex_t lock;

	/* Guarded by lock. */
	struct connection *connection; /* NULL: broken */
	bool driven;                   /* a thread is reading from the connection, or mending it */
	bool ended;                    /* the daemon does not know the session any more */
	struct call *calls;            /* not answered yet */
	uint64_t last_request_id;
	struct session_pool *pools;
	unsigned n_pools, max_batch;
	struct arena_table arenas;
	struct hp_lease *leases; /* every handle there is */

	/* Changed under lock, by the driving thread only. */
	uint64_t session; /* 0: none yet */
	uint8_t token[SESSION_TOKEN_BYTES];
};

/* ---- client.c ---- */

/* -EINVAL without a client, -ECHILD in a process that forked away from its owner; both with hp_error(). Every
 * public function's first line: in such a child another thread may have left the lock taken. */
int session_check(const hp_client *client);

/* Connect and say hello, as a new session or the one we had; without the lock. 0; what connect says;
 * -ECONNRESET, -EPIPE or -ETIMEDOUT where nobody answers; -ESTALE: the session has ended; or another refusal
 * of the daemon's; always with hp_error(). The reply, a HelloReply of our version, is the caller's. */
int session_connect(hp_client *client, uint64_t request_id, uint64_t deadline_ns,
		    struct connection **ret_connection, Hugepool__Reply **ret_reply);
/* Take over what the reply says about session, pools and limits; the lock is held, or nobody else is there
 * yet. -ENOMEM, -EPROTO: nothing has changed. */
int session_adopt(hp_client *client, const Hugepool__HelloReply *hello);
/* The pool of that name (NULL: the first); the lock is held. The name in it stays the session's. -ENOENT. */
int session_find_pool(const hp_client *client, const char *name, struct session_pool *ret_pool);

/* ---- call.c ---- */

/* As client_call() without its check, given up at a deadline (-ETIMEDOUT) that holds where nobody else calls.
 * A reply that is returned has the result that belongs to the request's method. */
int session_call(hp_client *client, Hugepool__Request *request, uint64_t deadline_ns,
		 Hugepool__Reply **ret_reply);

/* ---- lease.c ---- */

/* Free every handle; the lock is held, or nobody else is left. */
void session_forget_leases(hp_client *client, bool mapped);
