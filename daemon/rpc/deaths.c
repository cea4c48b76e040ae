/* deaths.c - see deaths.h. */
#include <config.h>

#include "daemon/rpc/deaths.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "daemon/base/assert.h"
#include "daemon/rpc/connection.h"
#include "daemon/rpc/reap.h"

#define COLLECT_SLICE 64 /* dead processes that are collected at once */
#define POLL_SLICE    64 /* workers that one poll(2) asks */

/* In an epoll's data, the lowest bit of the pointer. */
#define IS_CONNECTION ((uintptr_t)1)

int deaths_init(struct server *server)
{
	server->deaths_fd = epoll_create1(EPOLL_CLOEXEC);
	return server->deaths_fd < 0 ? -errno : 0;
}

void deaths_fini(struct server *server)
{
	if (server->deaths_fd >= 0)
		close(server->deaths_fd);
}

static int watch(struct server *server, int pid_fd, uintptr_t data)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = data};

	return epoll_ctl(server->deaths_fd, EPOLL_CTL_ADD, pid_fd, &event) == 0 ? 0 : -errno;
}

static void forget(struct server *server, int pid_fd)
{
	hp_assert(epoll_ctl(server->deaths_fd, EPOLL_CTL_DEL, pid_fd, NULL) == 0);
}

int deaths_watch_holder(struct holder *holder)
{
	int r = watch(server_of(holder->session), holder->pid_fd, (uintptr_t)holder);

	holder->is_watched = r == 0;
	return r;
}

int deaths_watch_connection(struct connection *connection)
{
	int r = watch(connection->server, connection->pid_fd, (uintptr_t)connection | IS_CONNECTION);

	connection->is_watched = r == 0;
	return r;
}

void deaths_forget_holder(struct holder *holder)
{
	if (holder->is_watched)
		forget(server_of(holder->session), holder->pid_fd);
	holder->is_watched = false;
}

void deaths_forget_holders(struct session *session)
{
	for (unsigned i = 0; i < SESSION_HOLDERS_MAX; i++)
		deaths_forget_holder(&session->holders[i]);
}

void deaths_forget_connection(struct connection *connection)
{
	if (connection->is_watched)
		forget(connection->server, connection->pid_fd);
	connection->is_watched = false;
}

void deaths_release(struct holder *holder)
{
	struct session *session = holder->session;

	/* It is counted as ending, or its seat as left, before it is watched no more: deaths_are_pending() is
	 * asked first. */
	if (session->n_holders == 1) {
		server_end_session(server_of(session), session);
		deaths_forget_holder(holder);
		return;
	}
	seats_leave(session->shard->seats, session->peer.uid, SEAT_SESSION);
	reap_note_gone();
	deaths_forget_holder(holder);
	holder_remove(holder);
}

/* A child of the dead process may hold the socket: that does not make it a holder. */
static void bury(struct holder *holder)
{
	struct session *session = holder->session;

	if (session->connection && (session->speaker == holder || session->n_holders == 1))
		connection_close(session->connection);
	deaths_release(holder);
}

void deaths_collect_of(struct session *session, const struct holder *living)
{
	for (unsigned i = 0; i < SESSION_HOLDERS_MAX; i++) {
		struct holder *holder = &session->holders[i];

		if (holder != living && holder->is_watched && holder_is_dead(holder))
			bury(holder);
	}
}

bool deaths_collect(struct server *server)
{
	struct epoll_event events[COLLECT_SLICE];
	int n = epoll_wait(server->deaths_fd, events, COLLECT_SLICE, 0);

	/* Connections first: a holder closes its own, which may be among them. */
	for (int i = 0; i < n; i++)
		if (events[i].data.u64 & IS_CONNECTION)
			connection_close(
				(struct connection *)(uintptr_t)(events[i].data.u64 & ~IS_CONNECTION));
	for (int i = 0; i < n; i++)
		if (!(events[i].data.u64 & IS_CONNECTION))
			bury((struct holder *)(uintptr_t)events[i].data.u64);
	return n == COLLECT_SLICE;
}

bool deaths_are_pending(const struct service *service)
{
	for (unsigned first = 0; first < service->n_servers; first += POLL_SLICE) {
		struct pollfd poll_fds[POLL_SLICE];
		unsigned n = 0;

		for (; n < POLL_SLICE && first + n < service->n_servers; n++)
			poll_fds[n] = (struct pollfd){.fd = service->servers[first + n]->deaths_fd,
						      .events = POLLIN};
		if (poll(poll_fds, n, 0) != 0) /* or it cannot be told */
			return true;
	}
	return false;
}
