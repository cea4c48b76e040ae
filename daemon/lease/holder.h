/* holder.h - a process that holds a session: the one that opened it, or one that has joined it.
 *
 * A session has up to SESSION_HOLDERS_MAX of them and ends with the last. Each has a pidfd, which is readable
 * when the process is dead, and a seat of its user's. The session's worker only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/pool/pool.h"

#define SESSION_HOLDERS_MAX 8

struct session;

struct holder {
	struct session *session; /* NULL: there is no holder in this place */
	pid_t pid;               /* as a struct peer has them */
	uint64_t process;
	int pid_fd;
	bool is_watched; /* rpc's: its pidfd is in the worker's deaths */
};

/* Make this process a holder, for which a seat was taken. Takes over the pidfd. NULL: there is no place. */
struct holder *holder_add(struct session *session, const struct peer *peer, int consume_pid_fd);
/* The process holds it no more. Its seat is left already, and nobody watches its pidfd. */
void holder_remove(struct holder *holder);
/* The holder that is this process; NULL: none is. */
struct holder *holder_find(struct session *session, const struct peer *peer);
bool holder_is_dead(const struct holder *holder);
