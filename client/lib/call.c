/* call.c - sends requests, brings each reply to the thread that waits for it, and mends the connection.
 *
 * There is no thread of ours: of those that wait, one drives, that is, it reads from the socket without the
 * lock and hands the replies to the others, who sleep each on its own condition. When it leaves with its own
 * reply it wakes another to drive on. Whoever finds the connection broken while nobody drives mends it, and
 * then every thread sends its request again, marked so that the daemon does nothing twice.
 *
 * Invariant, whenever the lock is free: if a call waits, a thread drives or one that will has been woken.
 */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "client/lib/error.h"
#include "client/lib/session.h"
#include "daemon/base/clock.h"

#define MEND_LIMIT_NS     (10 * NS_PER_S)
#define MEND_PAUSE_MIN_NS NS_PER_MS
#define MEND_PAUSE_MAX_NS (250 * NS_PER_MS)
#define CALL_MAX_SENDS    8 /* a request that breaks the connection every time is not sent for ever */

/* A request and who waits for its reply; lives on that thread's stack. Guarded by the client's lock. */
struct call {
	struct call *next;
	uint64_t id;
	pthread_cond_t wake;
	bool sent; /* on the connection there is now */
	unsigned n_sends;
	bool done;
	int result; /* 0 with a reply, or a negative errno */
	Hugepool__Reply *reply;
};

static void call_finish(struct call *call, int result, Hugepool__Reply *reply)
{
	call->done = true;
	call->result = result;
	call->reply = reply;
	pthread_cond_signal(&call->wake);
}

static struct call *find_call(const hp_client *client, uint64_t id)
{
	struct call *call = client->calls;

	while (call && (call->id != id || call->done))
		call = call->next;
	return call;
}

static void unlink_call(hp_client *client, const struct call *call)
{
	struct call **link = &client->calls;

	while (*link != call)
		link = &(*link)->next;
	*link = call->next;
}

/* The calling thread does not drive any longer: if calls wait, one of them has to. */
static void hand_over(hp_client *client)
{
	for (struct call *call = client->calls; call; call = call->next)
		if (!call->done) {
			pthread_cond_signal(&call->wake);
			return;
		}
}

/* Whoever waits has something to do: send again, or see that it failed. */
static void wake_all(hp_client *client)
{
	for (struct call *call = client->calls; call; call = call->next)
		pthread_cond_signal(&call->wake);
}

static void fail_all(hp_client *client, int result)
{
	for (struct call *call = client->calls; call; call = call->next)
		if (!call->done)
			call_finish(call, result, NULL);
}

/* ---- one connection ---- */

/* Give it up: whoever is blocked on it wakes up, and every call is to be sent again on the next one. */
static void break_connection(hp_client *client)
{
	connection_shutdown(client->connection);
	client->connection = connection_unref(client->connection);
	for (struct call *call = client->calls; call; call = call->next)
		call->sent = false;
}

static void flush(hp_client *client)
{
	if (frame_writer_flush(client->connection->writer, client->connection->socket_fd) < 0)
		break_connection(client);
}

/* Queue and send a call's request. False: there is no room until something has been sent. */
static bool send_call(hp_client *client, struct call *call, Hugepool__Request *request)
{
	int r;

	if (call->n_sends == CALL_MAX_SENDS) {
		call_finish(call, -ECONNRESET, NULL);
		return true;
	}
	request->again = call->n_sends > 0;
	r = connection_queue(client->connection, request);
	if (r == -ENOBUFS)
		return false;
	if (r < 0) {
		call_finish(call, r, NULL);
		return true;
	}
	call->sent = true;
	call->n_sends++;
	flush(client);
	return true;
}

/* Tell the daemon that a frame's descriptors have arrived. */
static int queue_received(hp_client *client)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Received received = HUGEPOOL__RECEIVED__INIT;

	request.id = ++client->last_request_id;
	request.method_case = HUGEPOOL__REQUEST__METHOD_RECEIVED;
	request.received = &received;
	return connection_queue(client->connection, &request);
}

/* List the arenas that a reply shows, taking their descriptors out of the frame. Where one was lost or cannot
 * be listed, the lease that needs it asks again. -EPROTO: reply and descriptors do not fit together. */
static int take_arenas(hp_client *client, const Hugepool__Reply *reply, struct frame *frame)
{
	Hugepool__ArenaInfo *const *infos = NULL;
	size_t n_infos = 0;

	if (reply->result_case == HUGEPOOL__REPLY__RESULT_ALLOC) {
		infos = reply->alloc->new_arenas;
		n_infos = reply->alloc->n_new_arenas;
	} else if (reply->result_case == HUGEPOOL__REPLY__RESULT_ARENA && reply->arena->arena) {
		infos = &reply->arena->arena;
		n_infos = 1;
	}
	if (n_infos != frame->n_fds)
		return -EPROTO;
	for (size_t i = 0; i < n_infos; i++) {
		if (frame->fds[i] < 0)
			continue;
		(void)arena_table_consume_fd(&client->arenas, infos[i]->arena, infos[i]->n_pages,
					     infos[i]->page_bytes, frame->fds[i]);
		frame->fds[i] = -1;
	}
	return 0;
}

/* Take one reply and give it to whom it belongs. */
static int take_frame(hp_client *client, struct frame *frame)
{
	Hugepool__Reply *reply = hugepool__reply__unpack(NULL, frame->length, frame->message);
	int r = reply ? take_arenas(client, reply, frame) : -EPROTO;
	struct call *call;

	frame_close_fds(frame);
	if (r < 0) {
		hugepool__reply__free_unpacked(reply, NULL);
		return r;
	}
	for (size_t i = 0; i < reply->n_gone_arenas; i++)
		arena_table_gone(&client->arenas, reply->gone_arenas[i]);

	call = find_call(client, reply->id);
	if (call)
		call_finish(call, 0, reply);
	else
		hugepool__reply__free_unpacked(reply, NULL); /* of a call that was given up */
	return frame->n_fds > 0 ? queue_received(client) : 0;
}

/* Take every frame that is there, and send what they ask for. */
static void take_frames(hp_client *client)
{
	struct frame frame;
	int r;

	while ((r = frame_reader_next(client->connection->reader, &frame)) == 0) {
		r = take_frame(client, &frame);
		if (r < 0)
			break;
	}
	if (r == -EPROTO)
		fail_all(client, r); /* asked again, it would say the same */
	if (r < 0)
		break_connection(client);
	else if (frame_writer_pending(client->connection->writer) > 0)
		flush(client);
}

/* Wait for the daemon and take what it says. Gives up the lock meanwhile. -ETIMEDOUT after the deadline. */
static int drive(hp_client *client, uint64_t deadline_ns)
{
	struct connection *connection = connection_ref(client->connection);
	bool stuck = frame_writer_pending(connection->writer) > 0;
	int events = POLLIN, r = 0;

	client->driven = true;
	pthread_mutex_unlock(&client->lock);
	if (stuck || deadline_ns != NO_DEADLINE)
		events = connection_wait(connection, (short)(POLLIN | (stuck ? POLLOUT : 0)), deadline_ns);
	if (events > 0 && events != POLLOUT)
		r = frame_reader_fill(connection->reader, connection->socket_fd);
	pthread_mutex_lock(&client->lock);
	client->driven = false;

	/* Another thread may have found it broken. */
	if (client->connection == connection && events > 0) {
		if (r == 0)
			take_frames(client);
		else
			break_connection(client);
	}
	connection_unref(connection);
	return events < 0 ? events : 0;
}

/* Send what is stuck while another thread drives. Gives up the lock meanwhile. Wakes for input as well: that
 * thread may leave, and whoever is here is not listening for it to hand over. */
static int unstick(hp_client *client, uint64_t deadline_ns)
{
	struct connection *connection = connection_ref(client->connection);
	int events;

	pthread_mutex_unlock(&client->lock);
	events = connection_wait(connection, POLLIN | POLLOUT, deadline_ns);
	pthread_mutex_lock(&client->lock);
	if (client->connection == connection)
		flush(client);
	connection_unref(connection);
	return events < 0 ? events : 0;
}

/* ---- the next connection ---- */

/* Nobody was there, or no longer: another daemon may be soon. Or it has no room for us at the moment, perhaps
 * because our old connection has not left it yet. */
static bool may_come_back(int error)
{
	return error == -ECONNREFUSED || error == -ENOENT || error == -ECONNRESET || error == -EPIPE ||
	       error == -ETIMEDOUT || error == -EOVERFLOW || error == -ENOMEM;
}

/* Try until somebody answers, with growing pauses. -ECONNRESET: nobody has; otherwise as session_connect().
 */
static int connect_again(hp_client *client, uint64_t request_id, uint64_t deadline_ns,
			 struct connection **ret_connection, Hugepool__Reply **ret_reply)
{
	uint64_t pause_ns = MEND_PAUSE_MIN_NS, limit_ns = clock_now_ns() + MEND_LIMIT_NS;

	if (deadline_ns > limit_ns)
		deadline_ns = limit_ns;
	for (;;) {
		struct timespec pause = {.tv_nsec = (long)pause_ns};
		int r = session_connect(client, request_id, deadline_ns, ret_connection, ret_reply);

		if (!may_come_back(r))
			return r;
		if (clock_now_ns() + pause_ns >= deadline_ns)
			return -ECONNRESET;
		nanosleep(&pause, NULL);
		pause_ns = 2 * pause_ns < MEND_PAUSE_MAX_NS ? 2 * pause_ns : MEND_PAUSE_MAX_NS;
	}
}

/* Find the daemon again and continue the session there; if that fails, so does every call that waits. Gives
 * up the lock meanwhile. */
static void mend(hp_client *client, uint64_t deadline_ns)
{
	uint64_t request_id = ++client->last_request_id;
	struct connection *connection = NULL;
	Hugepool__Reply *reply;
	int r;

	client->driven = true;
	pthread_mutex_unlock(&client->lock);
	r = connect_again(client, request_id, deadline_ns, &connection, &reply);
	pthread_mutex_lock(&client->lock);
	client->driven = false;

	if (r == 0) {
		r = session_adopt(client, reply->hello);
		hugepool__reply__free_unpacked(reply, NULL);
	}
	if (r == 0) {
		client->connection = connection;
		wake_all(client);
		return;
	}
	connection_unref(connection);
	client->ended = r == -ESTALE;
	fail_all(client, r);
}

/* ---- one call ---- */

/* Answer the call, by whatever has to be done first. The lock is held. */
static void run_call(hp_client *client, struct call *call, Hugepool__Request *request, uint64_t deadline_ns)
{
	while (!call->done) {
		int r = 0;

		if (client->ended)
			r = -ESTALE;
		else if (!client->connection && !client->driven)
			mend(client, deadline_ns);
		else if (client->connection && !call->sent && send_call(client, call, request))
			continue;
		else if (client->connection && !client->driven)
			r = drive(client, deadline_ns);
		else if (client->connection && frame_writer_pending(client->connection->writer) > 0)
			r = unstick(client, deadline_ns);
		else
			pthread_cond_wait(&call->wake, &client->lock);
		if (r < 0 && !call->done)
			call_finish(call, r, NULL);
	}
}

/* What a call that has no reply tells its own thread. */
static int set_call_error(const hp_client *client, int error)
{
	switch (error) {
	case -ESTALE:
		return error_set(error, "The session has ended, and its leases with it: close the client.");
	case -ECONNRESET:
		return error_set(error, "The daemon at %s went away and did not come back.",
				 client->socket_path);
	case -EPROTO:
		return error_set(error, "The daemon at %s said what makes no sense.", client->socket_path);
	case -EMSGSIZE:
		return error_set(-EOVERFLOW, "The request is too long: ask for less at once.");
	default:
		return error_set(error, "Cannot ask the daemon at %s: %s.", client->socket_path,
				 strerror(-error));
	}
}

int session_call(hp_client *client, Hugepool__Request *request, uint64_t deadline_ns,
		 Hugepool__Reply **ret_reply)
{
	struct call call = {.wake = PTHREAD_COND_INITIALIZER};
	int r = 0;

	pthread_mutex_lock(&client->lock);
	call.id = request->id = ++client->last_request_id;
	call.next = client->calls;
	client->calls = &call;
	run_call(client, &call, request, deadline_ns);
	unlink_call(client, &call);
	if (!client->driven)
		hand_over(client);
	pthread_mutex_unlock(&client->lock);
	pthread_cond_destroy(&call.wake);

	if (call.result < 0)
		return set_call_error(client, call.result);
	if (call.reply->error)
		r = error_set_wire(call.reply->error);
	else if ((unsigned)call.reply->result_case != (unsigned)request->method_case)
		r = set_call_error(client, -EPROTO);
	if (r < 0) {
		hugepool__reply__free_unpacked(call.reply, NULL);
		return r;
	}
	*ret_reply = call.reply;
	return 0;
}

int client_call(hp_client *client, Hugepool__Request *request, Hugepool__Reply **ret_reply)
{
	int r = session_check(client);

	return r < 0 ? r : session_call(client, request, NO_DEADLINE, ret_reply);
}
