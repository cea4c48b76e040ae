/* call.c - sends requests, brings each reply to the call that it belongs to, and to the thread that waits.
 *
 * What was under way on a connection that broke is sent again on the next, marked so that the daemon does
 * nothing twice. Calls that nobody waits for go along: whoever drives (wait.c) answers them, and where nobody
 * does hp_dispatch() reads, without ever blocking.
 *
 * A request for memory may wait at the daemon, which takes nothing more from a client with too many of those.
 * So they are held back here, and what frees memory passes them.
 */
#include <config.h>

#include <errno.h>
#include <string.h>

#include "client/lib/interrupt.h"
#include "client/lib/limit.h"
#include "client/lib/session.h"
#include "daemon/base/clock.h"

#define CALL_MAX_SENDS  8    /* a request that breaks the connection every time is not sent for ever */
#define CALL_MAX_ASKING 48   /* the daemon stops reading at 64 requests that wait, of any kind */
#define CALL_MAX_SENT   1024 /* their replies find room in a socket that nobody reads for a while */
#define POLL_MAX_READS  16   /* in one turn, so that a talkative daemon does not keep us */

void call_init(struct call *call, Hugepool__Request *request, call_take *take)
{
	call->request = request;
	call->take = take;
	call->finish = NULL;
	call->discard = NULL;
	call->withdraw = NULL;
	call->patience = CALL_PATIENT;
	call->is_waited = call->is_asleep = call->is_left = false;
	call->asks = false;
	call->state = CALL_NEW;
	call->n_sends = 0;
	atomic_init(&call->wake, 0);
	call->error.code = 0;
}

static struct call_queue *waiting_queue(hp_client *client, const struct call *call)
{
	return call->asks ? &client->asks : &client->tells;
}

void call_enqueue(hp_client *client, struct call *call)
{
	call->request->id = ++client->last_request_id;
	call->n_sends = 0;
	call->error.code = 0;
	call->state = CALL_WAITING;
	TAILQ_INSERT_TAIL(waiting_queue(client, call), call, link);
}

static void dequeue(hp_client *client, struct call *call)
{
	if (call->state == CALL_SENT) {
		TAILQ_REMOVE(&client->sent, call, link);
		client->n_sent--;
		client->n_asking -= call->asks;
	} else {
		TAILQ_REMOVE(waiting_queue(client, call), call, link);
	}
}

void call_wake(struct call *call)
{
	if (!call->is_waited)
		return;
	atomic_fetch_add(&call->wake, 1);
	if (call->is_asleep)
		interrupt_wake(&call->wake);
}

/* It is in no queue any more, and done. */
static void finish(hp_client *client, struct call *call)
{
	call->state = CALL_DONE;
	client->n_left -= call->is_left;
	call->is_left = false;
	if (call->is_waited) {
		call_wake(call);
	} else if (call->finish) {
		TAILQ_INSERT_TAIL(&client->finished, call, link);
		session_wake(client);
	} else {
		call->discard(call);
	}
}

/* What the error is has a sentence already, unless it is one of these. */
static void keep_error(hp_client *client, struct call *call, int error)
{
	char limit[LIMIT_WORDS_MAX];

	switch (error) {
	case -ECANCELED:
		error_keep(&call->error, error, "The client was closed.");
		break;
	case -ESTALE:
		error_keep(&call->error, error, ERROR_SESSION_ENDED);
		break;
	case -EPROTO:
		error_keep(&call->error, error, "The daemon at %s said what makes no sense.",
			   client->socket_path);
		break;
	case -ECONNRESET:
		error_keep(&call->error, error, "The daemon at %s hangs up on this request.",
			   client->socket_path);
		break;
	case -EINTR:
		error_keep(&call->error, error, "A signal handler has interrupted the call.");
		break;
	case -ETIMEDOUT:
		error_keep(&call->error, error, "The daemon at %s does not answer: is it stopped?",
			   client->socket_path);
		break;
	case -EMSGSIZE:
		error_keep(&call->error, -EOVERFLOW, "The request is too long: ask for less at once.");
		break;
	default:
		error_keep(&call->error, error, "Cannot ask the daemon at %s: %s%s.", client->socket_path,
			   strerror(-error), limit_explain(error, NULL, limit));
	}
}

void call_fail(hp_client *client, struct call *call, int error)
{
	keep_error(client, call, error);
	dequeue(client, call);
	finish(client, call);
}

void call_drop(hp_client *client, struct call *call, int error)
{
	keep_error(client, call, error);
	dequeue(client, call);
	call->state = CALL_DONE;
}

/* All in one of the client's queues fail. */
static void fail_queue(hp_client *client, struct call_queue *queue, const struct error *error)
{
	struct call *call;

	while ((call = TAILQ_FIRST(queue))) {
		call->error = *error;
		dequeue(client, call);
		finish(client, call);
	}
}

void call_fail_all(hp_client *client, const struct error *error)
{
	fail_queue(client, &client->sent, error);
	fail_queue(client, &client->tells, error);
	fail_queue(client, &client->asks, error);
}

void call_cancel_asks(hp_client *client)
{
	while (!TAILQ_EMPTY(&client->asks))
		call_fail(client, TAILQ_FIRST(&client->asks), -ECANCELED);
}

void call_hand_over(hp_client *client)
{
	struct call_queue *const queues[] = {&client->sent, &client->tells, &client->asks};

	if (client->driven || client->n_waiters == 0)
		return;
	for (unsigned i = 0; i < sizeof(queues) / sizeof(queues[0]); i++) {
		struct call *call;

		TAILQ_FOREACH (call, queues[i], link)
			if (call->is_waited) {
				call_wake(call);
				return;
			}
	}
}

/* ---- one connection ---- */

/* Whoever is blocked on it wakes up, and whoever waits only as long as there is one. The order stays. */
void call_break_connection(hp_client *client)
{
	struct call *call;

	watch_socket(&client->watch, -1, false);
	connection_shutdown(client->connection);
	client->connection = connection_unref(client->connection);
	client->n_received_due = 0;
	while ((call = TAILQ_LAST(&client->sent, call_queue))) {
		dequeue(client, call);
		call->state = CALL_WAITING;
		TAILQ_INSERT_HEAD(waiting_queue(client, call), call, link);
	}
	TAILQ_FOREACH (call, &client->tells, link)
		call_wake(call);
	session_wake(client);
}

/* Tell the daemon that frames' descriptors have arrived. */
static int queue_received(hp_client *client)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Received received = HUGEPOOL__RECEIVED__INIT;
	int r = 0;

	request.method_case = HUGEPOOL__REQUEST__METHOD_RECEIVED;
	request.received = &received;
	while (r == 0 && client->n_received_due > 0) {
		request.id = ++client->last_request_id;
		r = connection_queue(client->connection, &request);
		if (r == 0)
			client->n_received_due--;
	}
	return r;
}

/* The call whose turn it is; NULL: none, or the daemon has enough. */
static struct call *next_call(const hp_client *client)
{
	if (client->n_sent >= CALL_MAX_SENT)
		return NULL;
	if (!TAILQ_EMPTY(&client->tells))
		return TAILQ_FIRST(&client->tells);
	return client->n_asking < CALL_MAX_ASKING ? TAILQ_FIRST(&client->asks) : NULL;
}

/* Queue a call's request. -ENOBUFS: there is no room until something has been sent. */
static int queue_call(hp_client *client, struct call *call)
{
	int r;

	call->request->again = call->n_sends > 0;
	r = call->n_sends < CALL_MAX_SENDS ? connection_queue(client->connection, call->request)
					   : -ECONNRESET;
	if (r == -ENOBUFS)
		return r;
	if (r < 0) {
		call_fail(client, call, r);
		return 0;
	}
	dequeue(client, call);
	call->state = CALL_SENT;
	call->n_sends++;
	client->n_sent++;
	client->n_asking += call->asks;
	TAILQ_INSERT_TAIL(&client->sent, call, link);
	return 0;
}

void call_send(hp_client *client)
{
	struct connection *connection = client->connection;
	struct call *call;
	int r;

	if (!connection)
		return;
	r = queue_received(client);
	while (r == 0 && (call = next_call(client)))
		r = queue_call(client, call);
	if (frame_writer_pending(connection->writer) > 0 &&
	    frame_writer_flush(connection->writer, connection->socket_fd) < 0)
		call_break_connection(client);
	else
		watch_socket(&client->watch, connection->socket_fd,
			     frame_writer_pending(connection->writer) > 0);
}

void call_answer(hp_client *client, const struct answer *answer)
{
	const Hugepool__Reply *reply = answer->reply;
	struct call *call;

	TAILQ_FOREACH (call, &client->sent, link)
		if (call->request->id == reply->id)
			break;
	if (!call)
		return; /* it was given up */
	if (!reply->error && (unsigned)reply->result_case != (unsigned)call->request->method_case) {
		call_fail(client, call, -EPROTO);
		return;
	}
	dequeue(client, call);
	if (reply->error)
		error_keep_wire(&call->error, reply->error);
	if (call->take && !call->take(client, call, answer))
		call_enqueue(client, call);
	else
		finish(client, call);
}

void call_take_frames(hp_client *client)
{
	struct frame frame;
	int r;

	while ((r = frame_reader_next(client->connection->reader, &frame)) == 0) {
		r = session_take_reply(client, &frame);
		if (r < 0)
			break;
	}
	if (r < 0) {
		while (!TAILQ_EMPTY(&client->sent)) /* asked again, the daemon would say the same */
			call_fail(client, TAILQ_FIRST(&client->sent), -EPROTO);
		call_break_connection(client);
		return;
	}
	call_send(client);
}

void call_start(hp_client *client, struct call *call)
{
	call_enqueue(client, call);
	if (client->ended)
		call_fail(client, call, -ESTALE);
	call_send(client);
	if (!client->connection)
		session_wake(client); /* hp_dispatch() finds the daemon */
}

void call_poll(hp_client *client)
{
	int r = 0;

	for (unsigned i = 0; client->connection && !client->driven && r == 0 && i < POLL_MAX_READS; i++) {
		struct connection *connection = client->connection;

		r = frame_reader_fill_now(connection->reader, connection->socket_fd);
		if (r == 0)
			call_take_frames(client);
		else if (r != FRAME_AGAIN)
			call_break_connection(client);
	}
	call_send(client);
}

/* ---- for hugepoolctl ---- */

struct plain_call {
	struct call call;
	Hugepool__Reply *reply; /* NULL: no memory */
};

static bool take_copy(hp_client *client, struct call *call, const struct answer *answer)
{
	struct plain_call *plain = (struct plain_call *)call;

	plain->reply = hugepool__reply__unpack(NULL, answer->frame->length, answer->frame->message);
	return true;
}

int client_call(hp_client *client, Hugepool__Request *request, Hugepool__Reply **ret_reply)
{
	struct plain_call plain = {.reply = NULL};
	int r = session_check(client);

	if (r < 0)
		return r;
	call_init(&plain.call, request, take_copy);
	pthread_mutex_lock(&client->lock);
	r = call_run(client, &plain.call, NO_DEADLINE);
	pthread_mutex_unlock(&client->lock);
	if (r == 0 && !plain.reply)
		r = error_no_memory("the daemon's reply");
	if (r == 0)
		*ret_reply = plain.reply;
	else
		hugepool__reply__free_unpacked(plain.reply, NULL);
	return r;
}
