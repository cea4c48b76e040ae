/* connection.c - see connection.h. The socket blocks when read, so that waiting for a reply is one system
 * call; the writer never blocks. */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/lib/connection.h"
#include "daemon/base/clock.h"

/* Time left in milliseconds, rounded up; -1: no limit. */
static int timeout_ms(uint64_t deadline_ns)
{
	uint64_t now_ns = clock_now_ns(), left_ms;

	if (deadline_ns == NO_DEADLINE)
		return -1;
	left_ms = now_ns < deadline_ns ? (deadline_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS : 0;
	return left_ms < 3600 * 1000 ? (int)left_ms : 3600 * 1000;
}

/* A daemon whose backlog is full makes connect wait. */
static int connect_by(int socket_fd, const char *path, uint64_t deadline_ns)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int left_ms = timeout_ms(deadline_ns), r;

	if (left_ms == 0)
		return -ETIMEDOUT;
	if (left_ms > 0) {
		struct timeval limit = {.tv_sec = left_ms / 1000, .tv_usec = left_ms % 1000 * 1000};

		if (setsockopt(socket_fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
			return -errno;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	do {
		r = connect(socket_fd, (const struct sockaddr *)&address, sizeof(address));
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	return 0;
}

int connection_open(const char *path, uint64_t deadline_ns, struct connection **ret)
{
	struct connection *connection;
	int r;

	if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return -ENAMETOOLONG;
	connection = calloc(1, sizeof(*connection));
	if (!connection)
		return -ENOMEM;
	connection->n_refs = 1;
	connection->socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connection->socket_fd < 0)
		r = -errno;
	else
		r = connect_by(connection->socket_fd, path, deadline_ns);
	if (r == 0)
		r = frame_reader_new(true, &connection->reader);
	if (r == 0)
		r = frame_writer_new(&connection->writer);
	if (r < 0) {
		connection_unref(connection);
		return r;
	}
	*ret = connection;
	return 0;
}

struct connection *connection_ref(struct connection *connection)
{
	connection->n_refs++;
	return connection;
}

struct connection *connection_unref(struct connection *connection)
{
	if (!connection || --connection->n_refs > 0)
		return NULL;
	frame_reader_free(connection->reader);
	frame_writer_free(connection->writer);
	if (connection->socket_fd >= 0)
		close(connection->socket_fd);
	free(connection);
	return NULL;
}

void connection_shutdown(struct connection *connection)
{
	(void)shutdown(connection->socket_fd, SHUT_RDWR);
}

int connection_queue(struct connection *connection, const Hugepool__Request *request)
{
	size_t length = hugepool__request__get_packed_size(request);
	uint8_t *message;

	if (length > FRAME_MAX_BYTES)
		return -EMSGSIZE;
	message = frame_writer_reserve(connection->writer, length);
	if (!message)
		return frame_writer_pending(connection->writer) > 0 ? -ENOBUFS : -ENOMEM;
	hugepool__request__pack(request, message);
	return frame_writer_commit(connection->writer, length, NULL, 0);
}

int connection_wait(const struct connection *connection, short events, uint64_t deadline_ns)
{
	struct pollfd poll_fd = {.fd = connection->socket_fd, .events = events};

	for (;;) {
		int left_ms = timeout_ms(deadline_ns), n = poll(&poll_fd, 1, left_ms);

		if (n > 0)
			return poll_fd.revents;
		if (n == 0 && left_ms == 0)
			return -ETIMEDOUT;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

int connection_exchange(struct connection *connection, const Hugepool__Request *request, uint64_t deadline_ns,
			Hugepool__Reply **ret_reply)
{
	struct frame frame;
	Hugepool__Reply *reply;
	int r = connection_queue(connection, request);

	if (r == 0)
		r = frame_writer_flush(connection->writer, connection->socket_fd);
	/* A daemon that turns us away says why, and does not wait for what we say. */
	if (r != 0 && r != -EPIPE && r != -ECONNRESET)
		return r < 0 ? r : -EPROTO; /* a first request that does not fit an empty socket */

	while ((r = frame_reader_next(connection->reader, &frame)) == FRAME_AGAIN) {
		r = connection_wait(connection, POLLIN, deadline_ns);
		if (r > 0)
			r = frame_reader_fill(connection->reader, connection->socket_fd);
		if (r == FRAME_END)
			r = -ECONNRESET;
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;

	frame_close_fds(&frame);
	reply = hugepool__reply__unpack(NULL, frame.length, frame.message);
	if (!reply || (reply->id != request->id && !(reply->id == 0 && reply->error)) || frame.n_fds > 0) {
		hugepool__reply__free_unpacked(reply, NULL);
		return -EPROTO;
	}
	*ret_reply = reply;
	return 0;
}
