/* dispatch.c - for programs with an event loop: hp_fd() and hp_dispatch().
 *
 * hp_dispatch() never waits. It reads what is there unless a thread that waits for its own call is reading
 * anyhow; what that thread finishes for us, the bell tells. Callbacks are called without the lock, each taken
 * out of its queue first, so that they may call what they like, hp_dispatch() as well.
 */
#include <config.h>

#include <errno.h>
#include <string.h>

#include "client/lib/cache.h"
#include "client/lib/limit.h"
#include "daemon/base/clock.h"

#define RETRY_NS (250 * NS_PER_MS) /* from a mend that was given up to the next, where nobody asks for it */

void session_wake(hp_client *client)
{
	if (client->n_dispatchers == 0)
		watch_ring(&client->watch);
}

int hp_fd(hp_client *client)
{
	const struct connection *connection;
	char limit[LIMIT_WORDS_MAX];
	int r = session_check(client);

	if (r < 0)
		return r;
	pthread_mutex_lock(&client->lock);
	if (client->watch.epoll_fd < 0) {
		r = watch_open(&client->watch);
		connection = client->connection ? client->connection : client->mend.greeting;
		if (r < 0)
			error_set(r, "Cannot make a descriptor to poll: %s%s.", strerror(-r),
				  limit_explain(r, NULL, limit));
		else if (connection)
			watch_socket(&client->watch, connection->socket_fd,
				     frame_writer_pending(connection->writer) > 0);
		/* What happened before there was a descriptor. */
		watch_ring(&client->watch);
	}
	if (r == 0)
		r = client->watch.epoll_fd;
	pthread_mutex_unlock(&client->lock);
	return r;
}

/* Take a step towards the daemon. When that is given up, every call has failed, and *ret_error says why. */
static void mend_on(hp_client *client, struct error *ret_error)
{
	int r = mend_step(client);

	if (r == MEND_WAIT) {
		watch_time(&client->watch, mend_next_ns(client));
	} else if (r < 0) {
		*ret_error = client->mend.error;
		call_fail_all(client, ret_error);
		if (!client->ended)
			watch_time(&client->watch, clock_now_ns() + RETRY_NS);
	}
}

/* Send and receive, and see that there is a connection. */
static void work(hp_client *client, struct error *ret_error)
{
	watch_quiet(&client->watch);
	watch_time(&client->watch, 0);
	call_poll(client);
	if (!client->connection && !client->driven && !client->ended) {
		mend_on(client, ret_error);
		call_poll(client);
	}
	call_hand_over(client);
}

/* The daemon is short of memory: begin to give it what the caches can spare. */
static void relieve(hp_client *client)
{
	if (!cache_list_is_pressed(client))
		return;
	pthread_mutex_unlock(&client->lock);
	cache_list_relieve(client);
	pthread_mutex_lock(&client->lock);
}

/* Call what the next finished call or event is for; the lock is held, and given up meanwhile. False: there is
 * none. */
static bool call_back(hp_client *client, int *n_called)
{
	struct call *call = TAILQ_FIRST(&client->finished);
	hp_event_handler *handler = client->events.handler;
	void *arg = client->events.arg;
	struct event event;

	if (call)
		TAILQ_REMOVE(&client->finished, call, link);
	else if (!event_queue_take(&client->events, &event))
		return false;
	pthread_mutex_unlock(&client->lock);
	if (call) {
		*n_called += (int)call->finish(client, call);
	} else {
		const struct hp_event told = {.kind = event.kind,
					      .pool = event.pool,
					      .lease_id = event.lease,
					      .arena = event.arena,
					      .missed = event.missed};

		handler(arg, &told);
		*n_called += 1;
	}
	pthread_mutex_lock(&client->lock);
	return true;
}

int hp_dispatch(hp_client *client)
{
	int r = session_check(client), n_called = 0;
	struct error error = {.code = 0};

	if (r < 0)
		return r;
	pthread_mutex_lock(&client->lock);
	client->n_dispatchers++;
	work(client, &error);
	relieve(client);
	while (call_back(client, &n_called))
		;
	client->n_dispatchers--;
	if (!client->connection && !client->driven && !client->ended && !client->watch.timed)
		session_wake(client); /* it broke while we called back */
	if (client->ended && error.code == 0)
		error_keep(&error, -ESTALE, ERROR_SESSION_ENDED);
	pthread_mutex_unlock(&client->lock);
	return error.code < 0 ? error_raise(&error) : n_called;
}

void session_cancel(hp_client *client)
{
	struct error canceled;
	struct call *call;

	error_keep(&canceled, -ECANCELED, "The client was closed.");
	pthread_mutex_lock(&client->lock);
	call_fail_all(client, &canceled);
	while ((call = TAILQ_FIRST(&client->finished))) {
		TAILQ_REMOVE(&client->finished, call, link);
		call->error = canceled;
		pthread_mutex_unlock(&client->lock);
		(void)call->finish(client, call);
		pthread_mutex_lock(&client->lock);
	}
	pthread_mutex_unlock(&client->lock);
}
