/* hello.c - the beginning and the end of a session: Hello, Bye, and Received. */
#include <config.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/lease/request.h"
#include "daemon/rpc/deaths.h"
#include "daemon/rpc/dispatch.h"
#include "daemon/rpc/reap.h"

#define PROTOCOL_VERSION 1

static void reply_hello(struct connection *connection, uint64_t request_id, bool continued)
{
	const struct service *service = connection->server->service;
	Hugepool__HelloReply hello = HUGEPOOL__HELLO_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;
	Hugepool__PoolInfo pools[POOLS_MAX], *pool_ptrs[POOLS_MAX];

	for (unsigned i = 0; i < service->n_pools; i++) {
		const struct pool_config *config = &service->pools[i]->config;

		pools[i] = (Hugepool__PoolInfo)HUGEPOOL__POOL_INFO__INIT;
		pools[i].pool = i;
		pools[i].name = (char *)config->name;
		pools[i].page_bytes = config->page_bytes;
		pools[i].pages_max = config->max_pages;
		pool_ptrs[i] = &pools[i];
	}
	hello.version = PROTOCOL_VERSION;
	hello.daemon_version = (char *)PACKAGE_VERSION;
	hello.session = connection->session->id;
	hello.token.data = connection->session->token;
	hello.token.len = SESSION_TOKEN_BYTES;
	hello.continued = continued;
	hello.n_pools = service->n_pools;
	hello.pools = pool_ptrs;
	hello.max_batch = LEASE_MAX_BATCH;
	reply.id = request_id;
	reply.result_case = HUGEPOOL__REPLY__RESULT_HELLO;
	reply.hello = &hello;
	connection_reply(connection, &reply, NULL, 0);
}

/* ---- a Hello that waits for a seat of somebody dead ---- */

struct hello_reap {
	struct reap reap; /* first */
	struct connection *connection;
};

static void hello_again(struct reap *reap, struct session *session)
{
	struct hello_reap *waiting = (struct hello_reap *)reap;

	connection_give(waiting->connection, waiting->connection->server);
	free(waiting);
}

/* True: the connection is away until then, and comes back with its hello. */
static bool wait_for_seat(struct connection *connection, const struct pending_hello *hello, uint64_t mark)
{
	struct hello_reap *waiting;

	if (hello->has_reaped || !reap_is_due(connection->server->service, mark))
		return false;
	waiting = malloc(sizeof(*waiting));
	if (!waiting)
		return false;
	connection->hello = *hello;
	connection->hello.has_reaped = connection->hello.is_set = true;
	connection_leave(connection);
	waiting->connection = connection;
	waiting->reap.again = hello_again;
	reap_start(&waiting->reap, connection->server, NULL, REAP_SEATS);
	return true;
}

static enum dispatch_result start_session(struct connection *connection, const struct pending_hello *hello)
{
	const uint64_t request_id = hello->request_id, mark = reap_mark();
	struct server *server = connection->server;
	struct seats *seats = server->service->seats;
	struct session *session;
	int r;

	r = seats_take(seats, connection->peer.uid, SEAT_SESSION);
	if (r > 0 && wait_for_seat(connection, hello, mark))
		return DISPATCH_MOVED;
	if (r > 0) {
		connection_error(connection, request_id, HUGEPOOL__CODE__TOO_MANY,
				 r == SEATS_FULL ? "the daemon has as many sessions as it may: try again "
						   "later, or its operator "
						   "raises max_sessions or its limit of descriptors"
						 : "this user has as many sessions as it may: close some");
		return DISPATCH_DONE;
	}
	if (r == 0) {
		r = session_new(&server->shard, &connection->peer, connection->pid_fd, hello->client,
				&session);
		if (r < 0)
			seats_leave(seats, connection->peer.uid, SEAT_SESSION);
	}
	if (r < 0) {
		connection_error(connection, request_id, HUGEPOOL__CODE__NO_MEMORY,
				 "no memory for a session: %s", strerror(-r));
		return DISPATCH_DONE;
	}
	/* The session has the groups and the pidfd now. */
	deaths_forget_connection(connection);
	connection->pid_fd = -1;
	connection->peer.groups = NULL;
	connection->peer.n_groups = 0;
	r = server_add_session(server, session);
	if (r < 0) {
		session_free(session);
		connection_error(connection, request_id, HUGEPOOL__CODE__NO_MEMORY,
				 "no memory for a session");
		connection->closing = true;
		return DISPATCH_DONE;
	}
	connection->session = session;
	session_set_connection(session, connection);
	reply_hello(connection, request_id, false);
	return DISPATCH_DONE;
}

/* On the worker that owns the session. */
static void continue_session(struct connection *connection)
{
	const struct pending_hello *hello = &connection->hello;
	struct session *session = session_find(&connection->server->shard, hello->session);

	connection->hello.is_set = false;
	if (!session ||
	    !session_is_claimed_by(session, &connection->peer, hello->token, sizeof(hello->token))) {
		connection_error(
			connection, hello->request_id, HUGEPOOL__CODE__NO_SESSION,
			"no such session of this process at this socket, or it has ended: start a new one");
		return;
	}
	/* The client noticed before us that its old connection is broken. */
	if (session->connection)
		connection_close(session->connection);
	connection->session = session;
	session_set_connection(session, connection);
	reply_hello(connection, hello->request_id, true);
}

void dispatch_pending_hello(struct connection *connection)
{
	const struct pending_hello hello = connection->hello;

	connection->hello.is_set = false;
	/* It has waited for its seat once, and does not move again. */
	if (hello.has_reaped)
		start_session(connection, &hello);
	else
		continue_session(connection);
}

static enum dispatch_result start_new(struct connection *connection, uint64_t request_id, const char *client)
{
	struct pending_hello hello = {.request_id = request_id};

	memcpy(hello.client, client, strnlen(client, sizeof(hello.client) - 1));
	return start_session(connection, &hello);
}

enum dispatch_result hello_handle(struct connection *connection, const Hugepool__Request *request)
{
	const struct service *service = connection->server->service;
	const Hugepool__Hello *hello = request->hello;
	unsigned worker = session_worker(hello->session);

	if (connection->session) {
		connection_error(connection, request->id, HUGEPOOL__CODE__NOT_HELLO,
				 "this connection has a session");
		return DISPATCH_DONE;
	}
	if (hello->version == 0) {
		connection_error(connection, request->id, HUGEPOOL__CODE__BAD_REQUEST,
				 "the protocol version is missing: this daemon speaks 1 to %d",
				 PROTOCOL_VERSION);
		return DISPATCH_DONE;
	}
	if (hello->session == 0) {
		if (connection->pid_fd < 0)
			connection_error(connection, request->id, HUGEPOOL__CODE__NOT_HELLO,
					 "this connection had its session: connect again");
		else
			return start_new(connection, request->id, hello->client);
		return DISPATCH_DONE;
	}
	connection->hello =
		(struct pending_hello){.request_id = request->id, .session = hello->session, .is_set = true};
	if (hello->token.len == SESSION_TOKEN_BYTES)
		memcpy(connection->hello.token, hello->token.data, SESSION_TOKEN_BYTES);
	else
		connection->hello.session = 0;
	if (worker < service->n_servers && worker != connection->server->shard.index) {
		connection_move(connection, service->servers[worker]);
		return DISPATCH_MOVED;
	}
	continue_session(connection);
	return DISPATCH_DONE;
}

enum dispatch_result received_handle(struct connection *connection, const Hugepool__Request *request)
{
	connection_received(connection);
	return DISPATCH_DONE;
}

/* Answered when the last lease has ended. */
enum dispatch_result bye_handle(struct connection *connection, const Hugepool__Request *request)
{
	connection->bye_id = request->id;
	server_end_session(connection->server, connection->session);
	return DISPATCH_DONE;
}
