/* event.h - telling clients what has happened, those that asked for it (Subscribe).
 *
 * An event is a reply that answers nothing. A client that does not read, or is not connected, gets no more of
 * them: pressure is kept, once a pool, of others the next one says that some were missed. So it does when
 * some went out on a connection that has broken: nobody knows whether they were read. So events take no
 * memory that a client can make grow.
 */
#pragma once

#include "daemon/rpc/server.h"
#include "proto/hugepool.pb-c.h"

/* On the session's thread. `lease`, `arena`: 0 where the kind has none. */
void event_send(struct session *session, Hugepool__EventKind kind, const struct pool *pool, uint64_t lease,
		uint64_t arena);
/* An event that is told later than it is made, since what it says is not so yet; in a list (NULL: empty). */
struct late_event;
/* Add one, if the session wants it. Without memory it is told at once. */
void event_hold(struct late_event **list, struct session *session, Hugepool__EventKind kind,
		struct pool *pool, uint64_t lease);
/* Tell all of them now, from any thread; or when all of their pool is truncated that the janitor was given
 * before. The list is empty then. */
void event_post_all(struct late_event **list);
void event_post_all_released(struct late_event **list);

/* What had to be kept, as far as the client reads again. Now and then, on the server's thread. */
void event_send_kept(struct server *server);

/* From any thread: to everybody; handed to the pools as their signal(). `service` is a struct service. */
void event_broadcast(void *service, const struct pool *pool, enum pool_signal signal, uint64_t arena);
/* On the server's thread, whenever it is rung: pressure that was broadcast. */
void event_deliver_pressure(struct server *server);
