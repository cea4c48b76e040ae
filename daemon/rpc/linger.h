/* linger.h - the end of sockets: closing what can block, and waiting for descriptors in flight.
 *
 * A descriptor that we sent and the client has not read counts against the daemon, even after our end was
 * closed. So a socket with such descriptors stays open, with its seat, until SIOCOUTQ says that its queue was
 * read or dropped.
 *
 * A descriptor that a client sent us can block whoever closes it for as long as the client likes (SO_LINGER,
 * a file on FUSE), also as part of what we never read. Kernels since 6.16 refuse to send us any; for older
 * ones such sockets are closed by a thread that does nothing else, the closer, so that they hold up only each
 * other. All others the janitor closes. Nothing waits for the closer.
 */
#pragma once

struct connection;
struct service;

/* It will be posted: it counts as closing before its process is watched no more. */
void linger_expect(void);
/* On the server's thread: the connection, without events and session, is the janitor's: it closes and frees
 * it. */
void linger_post(struct connection *consume_connection);
/* On any thread: close a socket that never became a connection, or have it closed. */
void linger_close_socket(const struct service *service, int consume_fd);
/* Connections that the janitor is yet to close, and that have their seats until then; not those that linger,
 * nor the closer's: nobody can say how long these take. Any thread. */
unsigned linger_n_closing(void);
/* On the janitor's thread, now and then: close lingering sockets whose peer has read or gone. With `all`,
 * close every one. Returns how many still linger. */
unsigned linger_check(int all);
