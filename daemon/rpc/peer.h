/* peer.h - who is at the other end of a socket, as the kernel recorded it at connect. */
#pragma once

#include "daemon/pool/pool.h"
#include "daemon/rpc/idmap.h"

enum peer_result {
	PEER_OK = 0,
	PEER_GONE,      /* the process has ended already */
	PEER_UNKNOWN,   /* its user or group is not mapped in our user namespace */
	PEER_NAMESPACE, /* of a pid namespace from which this kernel could not prove its death */
};

/* Fills *ret_peer but for its socket (its groups are malloc'ed, the caller's) and a pidfd of the process.
 * Returns an enum peer_result, or negative errno. */
int peer_of_socket(int socket_fd, const struct idmap *idmap, struct peer *ret_peer, int *ret_pid_fd);

/* Why it is not let in. */
const char *peer_refusal(enum peer_result result);

/* A process as sentences name it: "process 12", or, where the pid is 0, that it is of another pid namespace.
 * Returns `name`. */
#define PEER_PROCESS_MAX 40
const char *peer_process_name(uint32_t pid, char name[PEER_PROCESS_MAX]);
