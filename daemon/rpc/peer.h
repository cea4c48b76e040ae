/* peer.h - who is at the other end of a socket, as the kernel recorded it at connect. */
#pragma once

#include "daemon/pool/pool.h"

/* Fills *ret_peer but for its socket (its groups are malloc'ed, the caller's) and a pidfd of the process.
 * Returns 0, -ESRCH when the process is gone already, or another negative errno. */
int peer_of_socket(int socket_fd, struct peer *ret_peer, int *ret_pid_fd);
