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

/* Connect to the daemon at `path`, at once or not at all: a negative errno is what connect says; -EAGAIN: the
 * daemon has no time just now. */
int connection_open(const char *path, struct connection **ret);
struct connection *connection_ref(struct connection *connection);
/* NULL is fine. Returns NULL. */
struct connection *connection_unref(struct connection *connection);
/* Nothing comes or goes any more; who waits on the socket wakes up. */
void connection_shutdown(struct connection *connection);

/* Queue a request. -EMSGSIZE: no frame is that long; -ENOBUFS: no room until something was sent; -ENOMEM. */
int connection_queue(struct connection *connection, const Hugepool__Request *request);
/* Wait for any of `events`, as poll has them; on no connection (NULL) for the deadline (monotonic;
 * UINT64_MAX: none). Returns what happened, -ETIMEDOUT, -EINTR (interrupt.h), or another negative errno. */
int connection_wait(const struct connection *connection, short events, uint64_t deadline_ns);
