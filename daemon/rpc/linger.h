/* linger.h - the janitor's part of connections: closing what can block, and waiting for descriptors in
 * flight.
 *
 * A descriptor that we sent and the client has not read counts against the daemon, even after our end was
 * closed. So a socket with such descriptors stays open, with its seat, until SIOCOUTQ says that its queue was
 * read or dropped.
 */
#pragma once

struct connection;

/* On the server's thread: the connection, without events and session, is the janitor's: it closes and frees
 * it. */
void linger_post(struct connection *consume_connection);
/* On the janitor's thread, now and then: close lingering sockets whose peer has read or gone. With `all`,
 * close every one. Returns how many still linger. */
unsigned linger_check(int all);
