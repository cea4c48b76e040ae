/* connection.c - see connection.h. The socket blocks when read, so that waiting for a reply is one system
 * call; the writer never blocks. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/lib/connection.h"
#include "client/lib/interrupt.h"
#include "daemon/base/clock.h"
#include "proto/hot.h"

/* Time left in milliseconds, rounded up; -1: no limit. */
static int timeout_ms(uint64_t deadline_ns)
{
	uint64_t now_ns = clock_now_ns(), left_ms;

	if (deadline_ns == UINT64_MAX)
		return -1;
	left_ms = now_ns < deadline_ns ? (deadline_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS : 0;
	return left_ms < 3600 * 1000 ? (int)left_ms : 3600 * 1000;
}

/* A socket that is connected, and blocks from then on. A daemon whose backlog is full would make us wait. */
static int connect_now(int socket_fd, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int r;

	memcpy(address.sun_path, path, strlen(path) + 1);
	do {
		r = connect(socket_fd, (const struct sockaddr *)&address, sizeof(address));
	} while (r < 0 && errno == EINTR);
	if (r == 0)
		r = fcntl(socket_fd, F_SETFL, 0);
	return r < 0 ? -errno : 0;
}

int connection_open(const char *path, struct connection **ret)
{
	struct connection *connection;
	int r;

	if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return -ENAMETOOLONG;
	connection = calloc(1, sizeof(*connection));
	if (!connection)
		return -ENOMEM;
	connection->n_refs = 1;
	connection->socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (connection->socket_fd < 0)
		r = -errno;
	else
		r = connect_now(connection->socket_fd, path);
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
	uint8_t *message = frame_writer_reserve(connection->writer, HOT_MAX_BYTES);
	size_t length = message ? hot_pack_request(request, message) : 0;

	if (length == 0) {
		length = hugepool__request__get_packed_size(request);
		if (length > FRAME_MAX_BYTES)
			return -EMSGSIZE;
		message = frame_writer_reserve(connection->writer, length);
		if (!message)
			return frame_writer_pending(connection->writer) > 0 ? -ENOBUFS : -ENOMEM;
		hugepool__request__pack(request, message);
	}
	return frame_writer_commit(connection->writer, length, NULL, 0);
}

int connection_wait(const struct connection *connection, short events, uint64_t deadline_ns)
{
	struct pollfd poll_fd = {.fd = connection ? connection->socket_fd : -1, .events = events};

	for (;;) {
		int left_ms = timeout_ms(deadline_ns), n = poll(&poll_fd, 1, left_ms);

		if (n > 0)
			return poll_fd.revents;
		if (n == 0 && left_ms == 0)
			return -ETIMEDOUT;
		if (n < 0 && (errno != EINTR || interrupt_is_meant()))
			return -errno;
	}
}
