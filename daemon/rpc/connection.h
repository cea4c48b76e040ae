/* connection.h - one client's socket on a worker: frames in, frames out, and how much of each.
 *
 * Backpressure: while more than CONNECTION_OUT_SOFT bytes of replies wait (any, when the connections of its
 * user have as many as one user may, account.h), or CONNECTION_MAX_WAITING of the session's requests, or one
 * that is on an errand (errand.h), nothing more is read; a client that takes nothing for CONNECTION_STALL_S,
 * or says no Hello in CONNECTION_HELLO_S, is closed. After CONNECTION_TURN frames, or CONNECTION_TURN_NS, it
 * is others' turn; who that is, run_queue.h says. Closing is the work of others (linger.h): it can block on
 * what the client sent. A socket with descriptors in flight that the client has not read is kept, and its
 * seat, until they are read or dropped: that bounds them over all.
 */
#pragma once

#include <stdint.h>

#include "daemon/rpc/server.h"
#include "proto/hugepool.pb-c.h"

#define CONNECTION_OUT_SOFT    (256u << 10)
#define CONNECTION_MAX_WAITING 64
#define CONNECTION_TURN        64
#define CONNECTION_TURN_NS     (200 * UINT64_C(1000))
#define CONNECTION_STALL_S     30
#define CONNECTION_HELLO_S     10

#define CONNECTION_MAGIC 0xc0a11000u

/* A Hello that continues a session of another worker, on its way there with the connection; or one for which
 * there was no seat, until the dead have left theirs. */
struct pending_hello {
	uint64_t request_id;
	uint64_t session;
	uint8_t token[SESSION_TOKEN_BYTES];
	char client[SESSION_CLIENT_MAX]; /* of a session that is new */
	bool join; /* become a holder of the session, too */
	bool is_set;
	bool has_reaped; /* it waited until the dead had gone (reap.h) */
};

struct connection {
	unsigned magic;
	int fd;
	struct server *server; /* whose thread may touch this */
	struct peer peer;      /* `groups` and pid_fd are ours until a session takes them */
	int pid_fd;
	bool is_watched;         /* it is in the server's deaths */
	struct session *session; /* NULL before Hello and after Bye */
	struct event *read_event, *write_event;
	struct run_user *user;   /* on this server */
	struct run_item run;     /* its turn */
	bool is_readable;        /* the socket, when we last looked: to be read in its turn */
	struct account *account; /* its user's */
	size_t charged_output;   /* to that */
	size_t charged_input;    /* to that: what the reader's buffer has grown by */
	struct frame_reader *reader;
	struct frame_writer *writer;
	struct connection *prev, *next;
	uint64_t born_ns, moved_ns; /* accepted; output last made progress, or began to wait */
	bool is_reading;
	bool is_deaf;    /* its client reads no more; what it has written is taken until its end */
	bool closing;    /* after what is queued has left */
	uint64_t bye_id; /* the request whose reply says that the session has ended */
	bool said_bye;
	struct pending_hello hello;
	struct letter letter; /* on its way to a server, or to the janitor */
};

/* On the listener's thread: wrap an accepted socket, which has a seat, and post it to a server. Takes over
 * all. On failure (negative errno) nothing was taken. */
int connection_accept(int socket_fd, const struct peer *peer, int pid_fd, struct server *server);

/* Connections that were accepted and have not arrived at their server. Any thread. */
unsigned connections_arriving(void);

/* On the listener's thread: tell the client why it cannot come in, in an error with the id 0, and close. */
void connection_refuse(int consume_fd, const struct service *service, Hugepool__Code code,
		       const char *sentence);

/* On the server's thread. The session, if any, is orphaned unless it is ending. The struct is the janitor's
 * then. */
void connection_close(struct connection *connection);
/* The session is gone by its own wish: answer the Bye. */
void connection_said_bye(struct connection *connection);

/* It is no server's any more, and whoever has it now gives it to one, which goes on with its hello. */
void connection_leave(struct connection *connection);
void connection_give(struct connection *connection, struct server *to);
/* Move to the server that owns the session which connection->hello names. */
void connection_move(struct connection *connection, struct server *to);

/* Queue a reply. `fds` (n_fds of them) are duplicated. Returns 0 or negative errno: a reply with descriptors
 * for which there are none left is not queued; other failures close the connection. */
int connection_reply(struct connection *connection, const Hugepool__Reply *reply, const int *fds,
		     unsigned n_fds);
/* Does it read what it is sent, and is not closing? For what it has not asked for. */
bool connection_takes_more(const struct connection *connection);
/* Only one frame with descriptors may be unacknowledged: may the next reply have some? */
bool connection_may_pass_fds(const struct connection *connection);
/* Queue an error. `code` is not OK. */
void connection_error(struct connection *connection, uint64_t request_id, Hugepool__Code code,
		      const char *format, ...) __attribute__((format(printf, 4, 5)));

/* When it is its turn again, what is queued is sent, and frames that wait are taken: after a reply that was
 * made outside of a turn, or when a bound no longer holds. */
void connection_wake(struct connection *connection);
/* The client has read the descriptors. */
void connection_received(struct connection *connection);

/* Once a second: close what has been idle too long where it may not. */
void connections_check_time(struct server *server);
