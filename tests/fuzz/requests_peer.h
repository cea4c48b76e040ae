/* requests_peer.h - who the clients of fuzz_requests.c are: two users and more, and an admin, two processes
 * each.
 *
 * A process is a child that does nothing but live, so that its pidfd can tell its death. It is made by a
 * process that was forked before there were threads.
 */
#pragma once

#define FUZZ_PEERS 10 /* processes: of five users */

/* Before there are threads; once. */
void fuzz_peers_prepare(void);
void fuzz_peers_start(void);
void fuzz_peers_stop(void);

/* A connection of this peer's to the daemon. Returns our end of it, which does not block, or -1: there is no
 * seat. */
int fuzz_peer_connect(unsigned peer);
/* It dies, and another process takes its place. */
void fuzz_peer_kill(unsigned peer);
