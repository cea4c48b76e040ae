/* deaths.h - whose process has died: the pidfds of a worker's sessions and connections, in one epoll.
 *
 * The kernel puts a pidfd into the epoll's ready list before wait(2) can tell the parent. So whoever has
 * waited for a process, and any thread that asks deaths_are_pending() after that, finds it here, long before
 * the worker's event loop may have come to it.
 *
 * A connection is watched until it has a session, which then is; one that continues a session, all its life.
 */
#pragma once

#include <stdbool.h>

struct connection;
struct service;
struct server;
struct session;

/* Returns 0 or negative errno. */
int deaths_init(struct server *server);
void deaths_fini(struct server *server);

/* On the server's thread. 0 or negative errno. */
int deaths_watch_session(struct server *server, struct session *session);
int deaths_watch_connection(struct connection *connection);
/* Before the pidfd is closed or goes elsewhere. Of what is not watched: nothing. */
void deaths_forget_session(struct session *session);
void deaths_forget_connection(struct connection *connection);

/* On the server's thread: close the connections of dead processes and let their sessions begin to end, some
 * of them. Returns whether there may be more. */
bool deaths_collect(struct server *server);

/* On any thread: has a watched process died that its worker has not collected? */
bool deaths_are_pending(const struct service *service);
