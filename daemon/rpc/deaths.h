/* deaths.h - whose process has died: the pidfds of a worker's holders and connections, in one epoll.
 *
 * The kernel puts a pidfd into the epoll's ready list before wait(2) can tell the parent. So whoever has
 * waited for a process, and any thread that asks deaths_are_pending() after that, finds it here, long before
 * the worker's event loop may have come to it.
 *
 * A connection is watched until a session has its pidfd, as a holder's; one that continues a session, all its
 * life.
 */
#pragma once

#include <stdbool.h>

struct connection;
struct service;
struct holder;
struct server;
struct session;

/* Returns 0 or negative errno. */
int deaths_init(struct server *server);
void deaths_fini(struct server *server);

/* On the server's thread. 0 or negative errno. */
int deaths_watch_holder(struct holder *holder);
int deaths_watch_connection(struct connection *connection);
/* Before the pidfd is closed or goes elsewhere. Of what is not watched: nothing. */
void deaths_forget_holder(struct holder *holder);
void deaths_forget_holders(struct session *session);
void deaths_forget_connection(struct connection *connection);

/* On the server's thread: close the connections of dead processes and let the sessions that nobody else holds
 * begin to end, some of them. Returns whether there may be more. */
bool deaths_collect(struct server *server);
/* Do the same for the holders of one session, but for one of them (NULL: for all). */
void deaths_collect_of(struct session *session, const struct holder *living);
/* On the server's thread: the process holds its session no more, which ends if nobody else does. */
void deaths_release(struct holder *holder);

/* On any thread: has a watched process died that its worker has not collected? */
bool deaths_are_pending(const struct service *service);
