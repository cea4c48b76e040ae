/* listener.c - see listener.h. Of two daemons that start at once on one path, bind() lets one have it:
 * nothing that is at a path is removed but what a dead daemon with our state directory has written down. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/directory.h"
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

char *listener_describe_owner(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct ucred peer = {.pid = 0};
	socklen_t size = sizeof(peer);
	char *words;

	if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
		return NULL;
	strcpy(address.sun_path, path);
	/* One whose queue is full is alive. */
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 && errno != EAGAIN)
		return NULL;
	(void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
	if (peer.pid > 0 ? asprintf(&words, "a daemon is listening there (pid %d)", (int)peer.pid) < 0
			 : asprintf(&words, "a daemon is listening there") < 0)
		return NULL;
	return words;
}

/* What is there is not ours: say whose. */
static int refuse_taken(const char *path, uint32_t mode, char **ret_error)
{
	_cleanup_free_ char *owner = S_ISSOCK(mode) ? listener_describe_owner(path) : NULL;

	if (!S_ISSOCK(mode))
		return fail(ret_error, 0, path, "the path is taken by something that is not a socket");
	if (asprintf(ret_error, "socket %s: %s", path,
		     owner ? owner
			   : "the path is taken by a socket that nobody listens on and no daemon with this "
			     "state "
			     "directory has made: remove it") < 0 ||
	    (owner && asprintf(ret_error, "%s: stop it or use another path", take_ptr(*ret_error)) < 0))
		*ret_error = NULL;
	return -EADDRINUSE;
}

/* ---- what is written down ---- */

#define JOURNAL_PREFIX "socket:"
#define UNKNOWN_YET    "binding" /* until the socket has an inode */

/* The key of a socket by its directory's own path, so that it is the same however one comes there. */
static char *make_key(int directory_fd, const char *name)
{
	_cleanup_free_ char *directory = directory_path(directory_fd), *path = NULL, *word = NULL;
	char *key;

	if (!directory || asprintf(&path, "%s/%s", directory, name) < 0)
		return NULL;
	word = journal_escape(path);
	return word && asprintf(&key, JOURNAL_PREFIX "%s", word) >= 0 ? key : NULL;
}

/* Remove the socket of that entry if it is there. One that was killed while it bound may have made what is
 * there: then it is ours by its owner, and by being a socket that nobody listens on. */
static void remove_dead(const char *path, const char *value)
{
	_cleanup_free_ char *directory = NULL, *owner = NULL;
	_cleanup_close_ int directory_fd = -1;
	struct inode_id id, now;
	const char *name;
	uint32_t mode;
	bool is_ours;
	struct stat st;

	directory = directory_split(path, &name);
	if (!directory || directory_open(directory, &directory_fd) < 0 ||
	    inode_id_read(directory_fd, name, &now, &mode) < 0 || !S_ISSOCK(mode))
		return;
	if (strcmp(value, UNKNOWN_YET) == 0) {
		owner = listener_describe_owner(path);
		is_ours = !owner && fstatat(directory_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			  st.st_uid == geteuid();
	} else {
		is_ours = inode_id_parse(value, &id) == strlen(value) && inode_id_equal(&id, &now);
	}
	if (is_ours)
		(void)unlinkat(directory_fd, name, 0);
	else
		log_warning("socket %s: it is not the one that a daemon before this one has made: left alone",
			    path);
}

void listener_take_over(struct journal *journal)
{
	const char *key, *after = NULL;

	while ((key = journal_next(journal, JOURNAL_PREFIX, after))) {
		_cleanup_free_ char *path = journal_unescape(key + strlen(JOURNAL_PREFIX));

		if (path && path[0] == '/')
			remove_dead(path, journal_get(journal, key));
		if (journal_drop(journal, key) < 0)
			after = key;
	}
}

/* ---- binding ---- */

/* Bind between two entries in the journal: that we are about to, and what has come of it. */
static int bind_written_down(struct listener *listener, int fd, char **ret_error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char words[INODE_ID_WORDS_MAX];
	uint32_t mode;
	int r;

	strcpy(address.sun_path, listener->path);
	r = journal_put(listener->journal, listener->journal_key, UNKNOWN_YET);
	if (r < 0)
		return fail(ret_error, -r, listener->path, "cannot write it down in the state directory");
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
		r = -errno;
		(void)journal_drop(listener->journal, listener->journal_key);
		if (r == -EADDRINUSE &&
		    inode_id_read(listener->directory_fd, listener->name, &listener->id, &mode) == 0)
			return refuse_taken(listener->path, mode, ret_error);
		return fail(ret_error, -r, listener->path, "cannot bind");
	}
	r = inode_id_read(listener->directory_fd, listener->name, &listener->id, &mode);
	if (r == 0)
		r = S_ISSOCK(mode) ? 0 : -ENOTSOCK;
	if (r < 0)
		return fail(ret_error, -r, listener->path, "it was taken away while it was bound");
	listener->is_bound = true;
	/* No flag keeps fchmodat() from following a symlink; there is none as long as only we can put one
	 * there. */
	if (fchmodat(listener->directory_fd, listener->name, 0666, 0) < 0)
		return fail(ret_error, errno, listener->path, "cannot open it to its users");
	r = journal_put(listener->journal, listener->journal_key, "%s",
			inode_id_format(&listener->id, words));
	return r < 0 ? fail(ret_error, -r, listener->path, "cannot write it down in the state directory") : 0;
}

int listener_init(struct listener *listener, const char *path, uint32_t index, struct journal *journal,
		  char **ret_error)
{
	struct sockaddr_un address;
	_cleanup_free_ char *directory = NULL;
	_cleanup_close_ int fd = -1;
	struct inode_id there;
	uint32_t mode;
	int r;

	*listener = (struct listener){
		.fd = -1, .directory_fd = -1, .index = index, .next_server = index, .journal = journal};
	if (strlen(path) >= sizeof(address.sun_path))
		return fail(ret_error, ENAMETOOLONG, path, "at most 107 bytes");
	listener->path = strdup(path);
	directory = listener->path ? directory_split(listener->path, &listener->name) : NULL;
	if (!directory)
		return -ENOMEM;
	r = directory_open(directory, &listener->directory_fd);
	if (r < 0) {
		if (asprintf(ret_error, "socket %s: cannot open its directory: %s%s", path,
			     directory_strerror(r),
			     r == -ENOENT ? ": make it, or name another --socket" : "") < 0)
			*ret_error = NULL;
		return r;
	}
	listener->journal_key = make_key(listener->directory_fd, listener->name);
	if (!listener->journal_key)
		return -ENOMEM;
	r = inode_id_read(listener->directory_fd, listener->name, &there, &mode);
	if (r != -ENOENT)
		return r < 0 ? fail(ret_error, -r, path, "cannot look at it")
			     : refuse_taken(path, mode, ret_error);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fail(ret_error, errno, path, "no socket");
	r = bind_written_down(listener, fd, ret_error);
	if (r < 0)
		return r;
	/* Accepted sockets inherit it: clients then cannot send descriptors (Linux 6.16). */
	(void)setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &(int){0}, sizeof(int));
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

/* For what it is (an enum peer_result), or want of memory or descriptors. */
static void turn_away_errno(const struct service *service, int fd, int error)
{
	if (error > 0)
		turn_away(service, fd, HUGEPOOL__CODE__NOT_ALLOWED, peer_refusal((enum peer_result)error));
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
	r = peer_of_socket(fd, &listener->service->idmap, &peer, &pid_fd);
	if (r != 0) {
		turn_away_errno(listener->service, fd, r);
		return;
	}
	peer.socket = listener->index;
	peer.is_privileged = admins_privileges(&listener->service->admins, peer.uid);
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

void listener_stop(struct listener *listener)
{
	if (listener->event)
		event_free(listener->event);
	if (listener->resume_event)
		event_free(listener->resume_event);
	listener->event = listener->resume_event = NULL;
	if (listener->fd >= 0)
		close(take_fd(&listener->fd));
}

/* An operator may have put something else there, or another directory in its directory's place. */
static void remove_socket(struct listener *listener)
{
	struct inode_id now;
	uint32_t mode;

	if (inode_id_read(listener->directory_fd, listener->name, &now, &mode) == 0 &&
	    inode_id_equal(&now, &listener->id))
		(void)unlinkat(listener->directory_fd, listener->name, 0);
	(void)journal_drop(listener->journal, listener->journal_key);
}

void listener_fini(struct listener *listener)
{
	listener_stop(listener);
	if (listener->is_bound)
		remove_socket(listener);
	if (listener->directory_fd >= 0)
		close(listener->directory_fd);
	free(listener->journal_key);
	free(listener->path);
	*listener = (struct listener){.fd = -1, .directory_fd = -1};
}
