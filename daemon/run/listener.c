/* listener.c - see listener.h. Of two daemons that start at once on one path, a lock on its directory lets
 * one look, bind and listen before the other looks. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/rpc/connection.h"
#include "daemon/rpc/peer.h"
#include "daemon/rpc/reap.h"
#include "daemon/run/listener.h"

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

#define BACKLOG        4096
#define ACCEPTS_A_TURN 64
#define PAUSE_MS       50 /* when there are no descriptors left */

static int fail(char **ret_error, int error, const char *path, const char *what)
{
	if (asprintf(ret_error, "socket %s: %s%s%s", path, what, error ? ": " : "",
		     error ? strerror(error) : "") < 0)
		*ret_error = NULL;
	return error ? -error : -EADDRINUSE;
}

/* Is somebody listening there? A socket that refuses is a dead daemon's. */
static int remove_stale(const struct sockaddr_un *address, char **ret_error)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (lstat(address->sun_path, &st) != 0)
		return errno == ENOENT ? 0 : fail(ret_error, errno, address->sun_path, "cannot look at it");
	if (!S_ISSOCK(st.st_mode))
		return fail(ret_error, 0, address->sun_path,
			    "the path is taken by something that is not a socket");
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fail(ret_error, errno, address->sun_path, "no socket");
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno != ECONNREFUSED)
		return fail(ret_error, 0, address->sun_path,
			    "a daemon is listening there: stop it or use another path");
	if (unlink(address->sun_path) != 0)
		return fail(ret_error, errno, address->sun_path, "cannot remove what a dead daemon left");
	return 0;
}

static int lock_directory(const char *path, int *ret_fd, char **ret_error)
{
	_cleanup_free_ char *copy = strdup(path);
	_cleanup_close_ int fd = -1;

	if (!copy)
		return -ENOMEM;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_EX) != 0)
		return fail(ret_error, errno, path, "cannot open its directory");
	*ret_fd = take_fd(&fd);
	return 0;
}

int listener_init(struct listener *listener, const char *path, uint32_t index, char **ret_error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = -1, lock_fd = -1;
	mode_t old_mask;
	int r;

	*listener = (struct listener){.fd = -1, .index = index, .next_server = index};
	if (strlen(path) >= sizeof(address.sun_path))
		return fail(ret_error, ENAMETOOLONG, path, "at most 107 bytes");
	strcpy(address.sun_path, path);
	r = lock_directory(path, &lock_fd, ret_error);
	if (r == 0)
		r = remove_stale(&address, ret_error);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fail(ret_error, errno, path, "no socket");
	/* Who may connect is the pools' decision, by credentials. */
	old_mask = umask(0111);
	r = bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 ? 0 : errno;
	umask(old_mask);
	if (r != 0)
		return fail(ret_error, r, path, "cannot bind");
	listener->path = strdup(path);
	if (!listener->path)
		return -ENOMEM;
	/* Accepted sockets inherit it: clients then cannot send descriptors (Linux 6.16). */
	(void)setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &(int){0}, sizeof(int));
	/* Who connects now waits until listener_start(). */
	if (listen(fd, BACKLOG) != 0)
		return fail(ret_error, errno, path, "cannot listen");
	listener->fd = take_fd(&fd);
	return 0;
}

static struct server *choose_server(struct listener *listener)
{
	return listener->service->servers[listener->next_server++ % listener->service->n_servers];
}

static void turn_away(const struct service *service, int fd, Hugepool__Code code, const char *why)
{
	log_limited(LOG_LEVEL_WARNING, "a client was turned away: %s", why);
	connection_refuse(fd, service, code, why);
}

/* For want of memory or descriptors, or its process is not one whose death could be proven. */
static void turn_away_errno(const struct service *service, int fd, int error)
{
	if (error == -ESRCH)
		turn_away(service, fd, HUGEPOOL__CODE__NOT_ALLOWED,
			  "the client's process is gone, or of another pid namespace");
	else if (error == -EMFILE || error == -ENFILE)
		turn_away(service, fd, HUGEPOOL__CODE__NO_MEMORY,
			  "the daemon has no descriptors left: try again later");
	else
		turn_away(service, fd, HUGEPOOL__CODE__NO_MEMORY, strerror(-error));
}

/* ---- a client for whom there is no seat, until the dead have left theirs ---- */

#define MAX_ASIDE 64 /* sockets without a seat, at most */

struct aside {
	struct reap reap; /* first */
	struct peer peer;
	int fd, pid_fd;
};

static _Atomic unsigned n_aside;

static void seat_or_turn_away(int fd, const struct peer *peer, int pid_fd, struct server *server,
			      bool may_wait);

/* On the thread of some worker. */
static void from_aside(struct reap *reap, struct session *session)
{
	struct aside *aside = (struct aside *)reap;
	struct server *server = reap->errand.service->servers[reap->errand.home];

	atomic_fetch_sub(&n_aside, 1);
	seat_or_turn_away(aside->fd, &aside->peer, aside->pid_fd, server, false);
	free(aside);
}

static bool set_aside(int fd, const struct peer *peer, int pid_fd, struct server *server, uint64_t mark)
{
	struct aside *aside;

	if (!reap_is_due(server->service, mark))
		return false;
	aside = atomic_fetch_add(&n_aside, 1) < MAX_ASIDE ? malloc(sizeof(*aside)) : NULL;
	if (!aside) {
		atomic_fetch_sub(&n_aside, 1);
		return false;
	}
	aside->peer = *peer;
	aside->fd = fd;
	aside->pid_fd = pid_fd;
	aside->reap.again = from_aside;
	reap_start(&aside->reap, server, NULL, REAP_SEATS);
	return true;
}

/* Takes over all. */
static void seat_or_turn_away(int fd, const struct peer *peer, int pid_fd, struct server *server,
			      bool may_wait)
{
	const struct service *service = server->service;
	struct seats *seats = service->seats;
	const uint64_t mark = reap_mark();
	int r = seats_take(seats, peer->uid, SEAT_CONNECTION);

	if (r == 0) {
		r = connection_accept(fd, peer, pid_fd, server);
		if (r == 0)
			return;
		seats_leave(seats, peer->uid, SEAT_CONNECTION);
	}
	if (r > 0 && may_wait && set_aside(fd, peer, pid_fd, server, mark))
		return;
	free((void *)peer->groups);
	close(pid_fd);
	if (r == SEATS_FULL)
		turn_away(service, fd, HUGEPOOL__CODE__TOO_MANY,
			  "the daemon has as many connections as its descriptors allow: try again later");
	else if (r == SEATS_USER_FULL)
		turn_away(service, fd, HUGEPOOL__CODE__TOO_MANY,
			  "this user has as many connections as it may: close some");
	else
		turn_away_errno(service, fd, r);
}

static void let_in(struct listener *listener, int fd)
{
	struct peer peer;
	int pid_fd, r;

	(void)setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &(int){0}, sizeof(int));
	r = peer_of_socket(fd, &peer, &pid_fd);
	if (r < 0) {
		turn_away_errno(listener->service, fd, r);
		return;
	}
	peer.socket = listener->index;
	seat_or_turn_away(fd, &peer, pid_fd, choose_server(listener), true);
}

static void on_resume(evutil_socket_t unused, short what, void *arg)
{
	struct listener *listener = arg;

	event_add(listener->event, NULL);
}

static void on_connect(evutil_socket_t unused, short what, void *arg)
{
	const struct timeval pause = {.tv_usec = PAUSE_MS * 1000};
	struct listener *listener = arg;

	for (unsigned i = 0; i < ACCEPTS_A_TURN; i++) {
		int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			let_in(listener, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			log_limited(LOG_LEVEL_WARNING, "cannot accept clients for now: %s", strerror(errno));
			event_del(listener->event);
			event_add(listener->resume_event, &pause);
		}
		if (errno != ECONNABORTED && errno != EINTR)
			return;
	}
}

int listener_start(struct listener *listener, struct event_base *base, const struct service *service)
{
	listener->service = service;
	listener->event = event_new(base, listener->fd, EV_READ | EV_PERSIST, on_connect, listener);
	listener->resume_event = event_new(base, -1, 0, on_resume, listener);
	if (!listener->event || !listener->resume_event || event_add(listener->event, NULL) != 0)
		return -ENOMEM;
	return 0;
}

void listener_fini(struct listener *listener)
{
	if (listener->event)
		event_free(listener->event);
	if (listener->resume_event)
		event_free(listener->resume_event);
	if (listener->fd >= 0) {
		unlink(listener->path);
		close(listener->fd);
	}
	free(listener->path);
	*listener = (struct listener){.fd = -1};
}
