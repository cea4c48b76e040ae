/* linger.c - see linger.h. The list belongs to the janitor's thread. */
#include <config.h>

#include <linux/sockios.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/base/lock.h"
#include "daemon/rpc/connection.h"
#include "daemon/rpc/linger.h"
#include "daemon/rpc/reap.h"
#include "proto/frame.h"

static struct connection *lingering;
static _Atomic unsigned n_closing;

/* A socket without a connection, on its way to the closer. */
struct stranger {
	struct letter letter;
	int fd;
};

static struct connection *connection_of(struct letter *letter)
{
	return (struct connection *)((char *)letter - offsetof(struct connection, letter));
}

/* Are there descriptors in what was sent to us and not read? Nothing is taken; more cannot come from now on.
 */
static bool has_unread_fds(int fd)
{
	static _Thread_local char bytes[FRAME_MAX_BYTES];
	struct iovec part = {.iov_base = bytes, .iov_len = sizeof(bytes)};
	ssize_t n;

	shutdown(fd, SHUT_RDWR);
	if (setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &(int){0}, sizeof(int)) != 0)
		return true; /* or it cannot be told */
	do {
		struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

		n = recvmsg(fd, &message, MSG_PEEK | MSG_DONTWAIT);
		/* There is no room for any. */
		if (n > 0 && message.msg_flags & MSG_CTRUNC)
			return true;
	} while (n > 0);
	return false;
}

static bool has_unread_output(const struct connection *connection)
{
	int bytes = 0;

	return ioctl(connection->fd, SIOCOUTQ, &bytes) == 0 && bytes > 0;
}

static void close_strays(struct frame_reader *reader)
{
	int fd;

	while ((fd = frame_reader_take_stray_fd(reader)) >= 0)
		close(fd);
}

static void close_and_free(struct connection *connection)
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
	reap_note_gone();
}

static void arrive_at_closer(struct letter *letter)
{
	close_and_free(connection_of(letter));
}

static void finish(struct connection *connection)
{
	if (has_unread_fds(connection->fd) || frame_reader_has_stray_fd(connection->reader)) {
		connection->letter.deliver = arrive_at_closer;
		mailbox_post(connection->server->service->closer, &connection->letter);
		return;
	}
	close_and_free(connection);
}

static void arrive(struct letter *letter)
{
	struct connection *connection = connection_of(letter);

	if (frame_writer_unacknowledged(connection->writer) && has_unread_output(connection)) {
		shutdown(connection->fd, SHUT_RDWR);
		connection->next = lingering;
		lingering = connection;
	} else {
		finish(connection);
	}
	atomic_fetch_sub(&n_closing, 1);
}

void linger_expect(void)
{
	atomic_fetch_add(&n_closing, 1);
}

void linger_post(struct connection *connection)
{
	connection->letter.deliver = arrive;
	mailbox_post(connection->server->service->janitor, &connection->letter);
}

unsigned linger_n_closing(void)
{
	return atomic_load(&n_closing);
}

static void close_stranger(struct letter *letter)
{
	struct stranger *stranger = (struct stranger *)((char *)letter - offsetof(struct stranger, letter));

	lock_assert_none();
	close(stranger->fd);
	free(stranger);
}

void linger_close_socket(const struct service *service, int fd)
{
	struct stranger *stranger = has_unread_fds(fd) ? malloc(sizeof(*stranger)) : NULL;

	/* Nothing to be dropped; or no memory, and then it is better to wait than to keep it. */
	if (!stranger) {
		close(fd);
		return;
	}
	stranger->fd = fd;
	stranger->letter.deliver = close_stranger;
	mailbox_post(service->closer, &stranger->letter);
}

unsigned linger_check(int all)
{
	unsigned n = 0;

	for (struct connection **link = &lingering; *link;) {
		struct connection *connection = *link;

		if (!all && has_unread_output(connection)) {
			link = &connection->next;
			n++;
			continue;
		}
		*link = connection->next;
		atomic_fetch_add(&n_closing, 1);
		finish(connection);
		atomic_fetch_sub(&n_closing, 1);
	}
	return n;
}
