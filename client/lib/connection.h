/* connection.h - one socket to the daemon with its frames: no session, no threads, no mending.
 *
 * Whoever opened it serialises. While a thread blocks on the socket without the owner's lock, it holds a
 * reference; connection_shutdown() wakes it.
 */
#pragma once

#include <stdint.h>

#include "proto/frame.h"
#include "proto/hugepool.pb-c.h"

struct connection {
	int socket_fd;
	unsigned n_refs;
	struct frame_reader *reader;
	struct frame_writer *writer;
};

#define NO_DEADLINE UINT64_MAX

/* Connect to the daemon at `path`. A negative errno: what connect says; -ETIMEDOUT after the deadline
 * (monotonic). */
int connection_open(const char *path, uint64_t deadline_ns, struct connection **ret);
struct connection *connection_ref(struct connection *connection);
/* NULL is fine. Returns NULL. */
struct connection *connection_unref(struct connection *connection);
/* Nothing comes or goes any more; who waits on the socket wakes up. */
void connection_shutdown(struct connection *connection);

/* Queue a request. -EMSGSIZE: no frame is that long; -ENOBUFS: no room until something was sent; -ENOMEM. */
int connection_queue(struct connection *connection, const Hugepool__Request *request);
/* Wait for any of `events`, as poll has them. Returns what happened, -ETIMEDOUT, or a negative errno. */
int connection_wait(const struct connection *connection, short events, uint64_t deadline_ns);
/* Send a request and wait for its reply, on a connection that nobody else uses and where no other reply is
 * due.  The reply is the caller's; an error with the id 0, by which the daemon turns
 * us away, is one. -ECONNRESET and the like; -ETIMEDOUT; -EPROTO: not a reply to this. */
int connection_exchange(struct connection *connection, const Hugepool__Request *request, uint64_t deadline_ns,
			Hugepool__Reply **ret_reply);
