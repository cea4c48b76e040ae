/* connection.c - see connection.h. */
#include <config.h>

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/assert.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/text.h"
#include "daemon/rpc/connection.h"
#include "daemon/rpc/deaths.h"
#include "daemon/rpc/dispatch.h"
#include "daemon/rpc/linger.h"
#include "daemon/rpc/peer.h"
#include "proto/frame.h"
#include "proto/hot.h"

/* Connections on their way to a server, whose processes nobody watches yet. */
static _Atomic unsigned n_arriving;

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);
static void work(struct run_item *item);

static struct connection *connection_of(struct letter *letter)
{
	return (struct connection *)((char *)letter - offsetof(struct connection, letter));
}

/* ---- coming and going ---- */

static void link_connection(struct server *server, struct connection *connection)
{
	connection->server = server;
	connection->prev = NULL;
	connection->next = server->connections;
	if (connection->next)
		connection->next->prev = connection;
	server->connections = connection;
}

static void unlink_connection(struct connection *connection)
{
	if (connection->prev)
		connection->prev->next = connection->next;
	else
		connection->server->connections = connection->next;
	if (connection->next)
		connection->next->prev = connection->prev;
}

static void drop_events(struct connection *connection)
{
	if (connection->read_event)
		event_free(connection->read_event);
	if (connection->write_event)
		event_free(connection->write_event);
	connection->read_event = connection->write_event = NULL;
	run_queue_remove(&connection->run);
	connection->user = run_queue_put_user(&connection->server->run_queue, connection->user);
	deaths_forget_connection(connection);
}

/* Have the user charged for what the client has not read. */
static void charge_output(struct connection *connection, size_t n_bytes)
{
	if (n_bytes > connection->charged_output)
		account_add(connection->account, ACCOUNT_OUTPUT, n_bytes - connection->charged_output);
	else if (n_bytes < connection->charged_output)
		account_discharge(connection->account, ACCOUNT_OUTPUT, connection->charged_output - n_bytes);
	connection->charged_output = n_bytes;
}

/* The same for what has been read of requests. 0, or what account_charge() says: the buffer may not grow. */
static int charge_input(struct connection *connection, size_t n_bytes)
{
	int r = 0;

	if (n_bytes > connection->charged_input)
		r = account_charge(connection->account, ACCOUNT_INPUT, n_bytes - connection->charged_input);
	else if (n_bytes < connection->charged_input)
		account_discharge(connection->account, ACCOUNT_INPUT, connection->charged_input - n_bytes);
	if (r == 0)
		connection->charged_input = n_bytes;
	return r;
}

static void set_reading(struct connection *connection, bool reading)
{
	if (connection->is_reading == reading)
		return;
	connection->is_reading = reading;
	if (reading)
		event_add(connection->read_event, NULL);
	else
		event_del(connection->read_event);
}

/* On the server's thread: a new connection, or one that continues a session of this server. */
static void settle(struct connection *connection)
{
	struct server *server = connection->server;

	link_connection(server, connection);
	connection->read_event =
		event_new(server->base, connection->fd, EV_READ | EV_PERSIST, on_readable, connection);
	connection->write_event = event_new(server->base, connection->fd, EV_WRITE, on_writable, connection);
	connection->user = run_queue_get_user(&server->run_queue, connection->peer.uid);
	connection->run.run = work;
	if (!connection->account)
		connection->account = account_get(server->service->accounts, connection->peer.uid);
	/* Without a pidfd it had its session already. */
	if (connection->pid_fd >= 0 && deaths_watch_connection(connection) < 0) {
		connection_close(connection);
		return;
	}
	if (server->stopping || !connection->read_event || !connection->write_event || !connection->user ||
	    !connection->account) {
		connection_close(connection);
		return;
	}
	set_reading(connection, true);
	if (connection->hello.is_set && dispatch_pending_hello(connection) != DISPATCH_MOVED)
		connection_wake(connection);
}

static void arrive(struct letter *letter)
{
	settle(connection_of(letter));
	atomic_fetch_sub(&n_arriving, 1);
}

static void post_to_server(struct connection *connection)
{
	atomic_fetch_add(&n_arriving, 1);
	connection->letter.deliver = arrive;
	mailbox_post(&connection->server->mailbox, &connection->letter);
}

unsigned connections_arriving(void)
{
	return atomic_load(&n_arriving);
}

int connection_accept(int socket_fd, const struct peer *peer, int pid_fd, struct server *server)
{
	struct connection *connection = calloc(1, sizeof(*connection));
	int r = -ENOMEM;

	if (!connection)
		return -ENOMEM;
	connection->magic = CONNECTION_MAGIC;
	r = frame_reader_new(false, &connection->reader);
	if (r == 0)
		r = frame_writer_new(&connection->writer);
	if (r < 0) {
		frame_reader_free(connection->reader);
		free(connection);
		return r;
	}
	connection->fd = socket_fd;
	connection->peer = *peer;
	connection->pid_fd = pid_fd;
	connection->born_ns = connection->moved_ns = clock_now_ns();
	connection->server = server;
	post_to_server(connection);
	return 0;
}

void connection_refuse(int fd, const struct service *service, Hugepool__Code code, const char *sentence)
{
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;
	Hugepool__Error error = HUGEPOOL__ERROR__INIT;
	struct frame_writer *writer;
	uint8_t *message;

	error.code = code;
	error.message = (char *)(uintptr_t)sentence;
	reply.error = &error;
	if (frame_writer_new(&writer) == 0) {
		size_t length = hugepool__reply__get_packed_size(&reply);

		message = frame_writer_reserve(writer, length);
		if (message) {
			hugepool__reply__pack(&reply, message);
			frame_writer_commit(writer, length, NULL, 0);
			/* An empty socket takes it, or the client has gone. */
			(void)frame_writer_flush(writer, fd);
		}
		frame_writer_free(writer);
	}
	linger_close_socket(service, fd);
}

void connection_leave(struct connection *connection)
{
	unlink_connection(connection);
	drop_events(connection);
	connection->is_reading = false;
}

void connection_give(struct connection *connection, struct server *to)
{
	connection->server = to;
	post_to_server(connection);
}

void connection_move(struct connection *connection, struct server *to)
{
	connection_leave(connection);
	connection_give(connection, to);
}

void connection_close(struct connection *connection)
{
	struct session *session = connection->session;

	hp_assert_alive(connection, CONNECTION_MAGIC);
	if (session)
		session_set_connection(session, NULL, NULL);
	connection->session = NULL;
	charge_output(connection, 0);
	charge_input(connection, 0);
	connection->account = account_put(connection->account);
	linger_expect();
	unlink_connection(connection);
	drop_events(connection);
	linger_post(connection);
}

void connection_said_bye(struct connection *connection)
{
	Hugepool__ByeReply bye = HUGEPOOL__BYE_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;

	connection->session = NULL;
	reply.id = connection->bye_id;
	reply.result_case = HUGEPOOL__REPLY__RESULT_BYE;
	reply.bye = &bye;
	connection->closing = true;
	if (connection_reply(connection, &reply, NULL, 0) == 0)
		connection_wake(connection);
}

/* ---- out ---- */

/* Send what can be sent. Returns false when the connection is gone. */
static bool flush(struct connection *connection)
{
	size_t before = frame_writer_pending(connection->writer);
	int r = connection->is_deaf ? -EPIPE : frame_writer_flush(connection->writer, connection->fd);

	if (frame_writer_pending(connection->writer) != before)
		connection->moved_ns = connection->server->shard.now_ns;
	charge_output(connection, frame_writer_pending(connection->writer));
	if (r == FRAME_AGAIN) {
		event_add(connection->write_event, NULL);
		return true;
	}
	/* Other clients' descriptors in flight: the next second's check tries again. */
	if (r == -ETOOMANYREFS)
		return true;
	/* What it said before it went is heard: it may have freed all that it had. */
	connection->is_deaf = r == -EPIPE || r == -ECONNRESET;
	if (connection->is_deaf && connection_takes_more(connection))
		return true;
	if (r < 0 || (connection->closing && frame_writer_pending(connection->writer) == 0)) {
		connection_close(connection);
		return false;
	}
	return true;
}

int connection_reply(struct connection *connection, const Hugepool__Reply *reply, const int *fds,
		     unsigned n_fds)
{
	struct frame_writer *writer = connection->writer;
	uint8_t *message = frame_writer_reserve(writer, HOT_MAX_BYTES);
	size_t length = message ? hot_pack_reply(reply, message) : 0;

	if (length == 0) {
		length = hugepool__reply__get_packed_size(reply);
		hp_assert(length <= FRAME_MAX_BYTES);
		message = frame_writer_reserve(writer, length);
		if (!message) {
			connection->closing = true;
			return -ENOMEM;
		}
		hugepool__reply__pack(reply, message);
	}
	if (frame_writer_pending(writer) == 0)
		connection->moved_ns = connection->server->shard.now_ns;
	return frame_writer_commit(writer, length, fds, (uint8_t)n_fds);
}

void connection_error(struct connection *connection, uint64_t request_id, Hugepool__Code code,
		      const char *format, ...)
{
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;
	Hugepool__Error error = HUGEPOOL__ERROR__INIT;
	char message[256];
	va_list args;

	va_start(args, format);
	text_vformat(message, sizeof(message), format, args);
	va_end(args);
	error.code = code;
	error.message = message;
	reply.id = request_id;
	reply.error = &error;
	connection_reply(connection, &reply, NULL, 0);
}

bool connection_takes_more(const struct connection *connection)
{
	const size_t pending = frame_writer_pending(connection->writer);

	return !connection->closing && pending < CONNECTION_OUT_SOFT &&
	       (pending == 0 || connection->charged_output == 0 ||
		account_has_room(connection->account, ACCOUNT_OUTPUT));
}

bool connection_may_pass_fds(const struct connection *connection)
{
	return frame_writer_may_pass_fds(connection->writer);
}

void connection_received(struct connection *connection)
{
	frame_writer_acknowledge(connection->writer);
}

/* ---- in ---- */

static bool may_take_more(const struct connection *connection)
{
	const struct session *session = connection->session;

	return connection_takes_more(connection) &&
	       (!session || (session->n_waiting < CONNECTION_MAX_WAITING && session->n_errands == 0));
}

enum taken { TAKEN_ALL, TAKEN_SOME, TAKEN_MOVED };

/* What a connection may still do before it is others' turn. */
struct turn {
	unsigned n_left; /* frames */
	uint64_t end_ns;
};

#define CLOCK_FRAMES 8   /* after as many short ones, or a long one, we look at the clock */
#define LONG_FRAME   128 /* bytes */

static bool is_over(const struct turn *turn, const struct frame *frame)
{
	return turn->n_left == 0 || ((turn->n_left % CLOCK_FRAMES == 0 || frame->length >= LONG_FRAME) &&
				     clock_now_ns() >= turn->end_ns);
}

/* Handle the frames that were read, until the turn is over, as long as there is room for their replies. */
static enum taken take_frames(struct connection *connection, struct turn *turn)
{
	while (turn->n_left > 0 && may_take_more(connection)) {
		struct frame frame;
		int r = frame_reader_next(connection->reader, &frame);

		if (r == FRAME_AGAIN)
			return TAKEN_ALL;
		turn->n_left--;
		if (r < 0) {
			connection_error(
				connection, 0, HUGEPOOL__CODE__BAD_REQUEST,
				"this is not a hugepool frame: a header of 8 bytes and at most 64 KiB");
			connection->closing = true;
			break;
		}
		if (dispatch_frame(connection, frame.message, frame.length) == DISPATCH_MOVED)
			return TAKEN_MOVED;
		if (is_over(turn, &frame))
			turn->n_left = 0;
	}
	/* Who sends as many as a turn has is told of the next by its socket. */
	return frame_reader_pending(connection->reader) > 0 ? TAKEN_SOME : TAKEN_ALL;
}

/* Take frames and send replies until one of the two has to wait, or the turn is over: what has been read is
 * then gone on with before any more is. */
static void take_turn(struct connection *connection)
{
	struct turn turn = {
		.n_left = CONNECTION_TURN,
		.end_ns = connection->server->shard.now_ns + CONNECTION_TURN_NS,
	};
	enum taken taken;

	do {
		taken = take_frames(connection, &turn);
		if (taken == TAKEN_MOVED || !flush(connection))
			return;
	} while (taken == TAKEN_SOME && turn.n_left > 0 && may_take_more(connection));
	set_reading(connection, taken == TAKEN_ALL && may_take_more(connection));
	if (taken == TAKEN_SOME && may_take_more(connection))
		connection_wake(connection);
}

/* Read on, into a buffer that the user is charged for: one without room reads in smaller pieces, but for a
 * frame that is too long for that, which is refused. As frame_reader_fill(). */
static int read_on(struct connection *connection)
{
	struct frame_reader *reader = connection->reader;
	char message[ACCOUNT_MESSAGE_MAX];
	int r = 0;

	frame_reader_keep_size(reader, false);
	if (frame_reader_size_next(reader) > frame_reader_size(reader))
		r = charge_input(connection, frame_reader_size_next(reader));
	if (r != 0) {
		frame_reader_keep_size(reader, true);
		r = frame_reader_size_needed(reader) > frame_reader_size(reader)
			    ? charge_input(connection, frame_reader_size_needed(reader))
			    : 0;
	}
	if (r == 0)
		return frame_reader_fill(reader, connection->fd);
	connection_error(connection, 0, HUGEPOOL__CODE__TOO_MANY, "%s",
			 account_explain(connection->account, ACCOUNT_INPUT, r, message));
	connection->closing = true;
	return 0;
}

/* What a long request has made the buffer grow by is given back when nothing has come for a while. */
static void shrink_input(struct connection *connection)
{
	if (connection->charged_input == 0 || connection->is_readable ||
	    frame_reader_pending(connection->reader) > 0)
		return;
	frame_reader_shrink(connection->reader);
	charge_input(connection, 0);
}

/* A turn of the connection, which may be gone afterwards. */
static void work(struct run_item *item)
{
	struct connection *connection =
		(struct connection *)((char *)item - offsetof(struct connection, run));
	struct server *server = connection->server;
	int r = 0;

	hp_assert_alive(connection, CONNECTION_MAGIC);
	server->shard.now_ns = clock_now_ns();
	run_queue_count_turn(&server->run_queue);
	if (connection->session)
		connection->session->n_turns++;
	if (connection->is_readable)
		r = read_on(connection);
	connection->is_readable = false;
	if (r != 0 && r != FRAME_AGAIN && r != -ENOBUFS)
		connection_close(connection);
	else
		take_turn(connection);
	server_end_turn(server);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct connection *connection = arg;

	connection->is_readable = true;
	connection_wake(connection);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	connection_wake(arg);
}

void connection_wake(struct connection *connection)
{
	hp_assert_alive(connection, CONNECTION_MAGIC);
	server_queue(connection->server, connection->user, &connection->run);
}

void connections_check_time(struct server *server)
{
	uint64_t now_ns = server->shard.now_ns;

	for (struct connection *connection = server->connections, *next; connection; connection = next) {
		bool stalled = frame_writer_pending(connection->writer) > 0 &&
			       now_ns - connection->moved_ns > CONNECTION_STALL_S * NS_PER_S;
		bool mute = !connection->session && !connection->closing &&
			    now_ns - connection->born_ns > CONNECTION_HELLO_S * NS_PER_S;
		char name[PEER_PROCESS_MAX];

		next = connection->next;
		shrink_input(connection);
		if (stalled || mute) {
			log_limited(LOG_LEVEL_INFO, "closing the connection of %s (uid %u): %s",
				    peer_process_name((uint32_t)connection->peer.pid, name),
				    connection->peer.uid,
				    stalled ? "it does not read its replies" : "no Hello");
			connection_close(connection);
		} else if (frame_writer_pending(connection->writer) > 0) {
			connection_wake(connection);
		}
	}
}
