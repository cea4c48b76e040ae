/* linger.c - see linger.h. The list belongs to the janitor's thread. */
#include <config.h>

#include <linux/sockios.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/base/lock.h"
#include "daemon/rpc/connection.h"
#include "daemon/rpc/linger.h"
#include "proto/frame.h"

static struct connection *lingering;

static void close_strays(struct frame_reader *reader)
{
	int fd;

	while ((fd = frame_reader_take_stray_fd(reader)) >= 0)
		close(fd);
}

static void finish(struct connection *connection)
{
	lock_assert_none();
	close_strays(connection->reader);
	close(connection->fd);
	if (connection->pid_fd >= 0)
		close(connection->pid_fd);
	seats_leave(connection->server->service->seats, connection->peer.uid, SEAT_CONNECTION);
	frame_reader_free(connection->reader);
	frame_writer_free(connection->writer);
	free((void *)connection->peer.groups);
	connection->magic = 0;
	free(connection);
}

static bool has_unread(const struct connection *connection)
{
	int bytes = 0;

	return ioctl(connection->fd, SIOCOUTQ, &bytes) == 0 && bytes > 0;
}

static void arrive(struct letter *letter)
{
	struct connection *connection =
		(struct connection *)((char *)letter - offsetof(struct connection, letter));

	if (frame_writer_unacknowledged(connection->writer) && has_unread(connection)) {
		shutdown(connection->fd, SHUT_RDWR);
		connection->next = lingering;
		lingering = connection;
		return;
	}
	finish(connection);
}

void linger_post(struct connection *connection)
{
	connection->letter.deliver = arrive;
	mailbox_post(connection->server->service->janitor, &connection->letter);
}

unsigned linger_check(int all)
{
	unsigned n = 0;

	for (struct connection **link = &lingering; *link;) {
		struct connection *connection = *link;

		if (!all && has_unread(connection)) {
			link = &connection->next;
			n++;
			continue;
		}
		*link = connection->next;
		finish(connection);
	}
	return n;
}
